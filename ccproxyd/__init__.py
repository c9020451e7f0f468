"""The map of the house.

Six processes, each with a root here: `daemon` owns the port, the control socket, the config and all
lives; `gateway` is a request's path; `worker` is LiteLLM's room; `ctl` is the command line;
`demo` is an offline provider to try it all without a key.

Floors, top to bottom; a room imports only from floors below its own:

    daemon, ctl, gateway, worker, demo     the roots, one a process
    supervision, control, telemetry,       lives; the control API; what is counted and logged;
      notify                               the service manager
    config                                 two YAML files into frozen settings
    routing                                a request's facts, the rules, the label
    channel, errors, paths                 messages between processes; failures; where files are
"""

__version__ = "0.1.0"

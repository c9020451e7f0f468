"""Does the real Claude Code notice that ccproxyd stands in its way?

    make claude                          all cases, offline; needs npm once, and Linux
    make claude ARGS="plain tools"       these cases
    make claude ARGS="--list"            which there are

Each case is run in three worlds: `alone`, the client against the provider; `direct`, through a real
daemon whose requests go straight to the provider; and `litellm`, through one that sends everything
through LiteLLM. A world is a process in namespaces of its own: nothing leads out of it but
loopback, and paths and ports are the same in each, so that what the clients say can be compared
word for word.

    plays      what the provider answers, turn by turn
    provider   the provider, which keeps what it was asked
    cases      what is done, and what may differ
    client     one run of the client, with a pipe or on a terminal
    worlds     the namespaces, and what runs in them
    compare    two worlds' accounts of a case
    report     the table
    sums       a server of tools, by which the case `mcp` adds
"""

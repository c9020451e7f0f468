"""The root of `ccproxyd`: it owns the listener, the control socket, the config and all lives.

    main         arguments, exit codes, the way in
    instance     what only one process may own: the lock, the listener, the clients' key
    phases       from the first moment to the last: control socket, signals, watchdog
    waiting      the phase of a config that is wrong
    house        the phase of one that is good: the daemon at work, and which lives there are
    callbacks    what the events of these lives mean
    commands     how each process of the house is started, and in which environment
    address      where it is asked to listen, and where it does
    change       reload and restart: from one config, one generation, one gateway to the next
    invitation   what the demo tells its user to try
    operations   what each verb of the control API does, and what `status` tells

The daemon is never on a request's path, so nothing here has to be fast; it has to be right.
"""

from ccproxyd.daemon.main import main

__all__ = ["main"]

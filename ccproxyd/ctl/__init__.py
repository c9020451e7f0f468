"""ccproxyctl: one request to the daemon, one answer printed.

    parser     the words of the command line; verbs in a table, each with the module that runs it
    reach      finds the daemon, asks it, and names a difference of versions
    service    whether systemd or launchd run it, and what they know and do
    setup      what an installation consists of, and bringing that about
    status, stats, routes, lifecycle, explain, check, env, run, start, logs, install, uninstall,
      completion           the verbs
    serving, detach, tail  whether it serves yet; in the background; the end of a log
    windows                how long a conversation may become on its way through the rules
    overrides              what a client's own settings put before its environment
    machine, commands      where this is, and for whom; the door to other programs
    printing, waiting      tables, words for figures; a line that shows what is waited for

It is started by people at a prompt and by scripts in a loop, so it starts light: a verb's module is
imported when it is called for, rich only for a table on a terminal, the config's room only by the
verbs that read files.

Exit codes: `status` 0 running, 3 not running, 4 cannot tell; the others 0 done, 1 failed, 2 usage,
4 not permitted, 7 not running; 130 interrupted. What `run` runs has its own.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import Final

from ccproxyd.errors import (
    EXIT_FAILED,
    EXIT_NOT_RUNNING,
    EXIT_PERMISSION,
    EXIT_USAGE,
    CcproxydError,
)

EXIT_INTERRUPTED: Final = 130
STATUS_NOT_RUNNING: Final = 3
STATUS_UNKNOWN: Final = 4

_OURS: Final = (EXIT_FAILED, EXIT_USAGE, EXIT_PERMISSION, EXIT_NOT_RUNNING)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; SystemExit for a usage error, `-h`, `--version`."""
    from ccproxyd.ctl.parser import parse

    args = parse(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(args)
        sys.stdout.flush()
    except CcproxydError as error:
        return _complain(args, error)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return EXIT_FAILED
    return code


def _run(args: Namespace) -> int:
    from importlib import import_module

    module = import_module(f"ccproxyd.ctl.{args.module}")
    return int(getattr(module, args.verb)(args))


def _complain(args: Namespace, error: CcproxydError) -> int:
    from ccproxyd.ctl.printing import print_error, print_json

    if args.json:
        print_json(_error_json(error))
    print_error(str(error))
    return _exit_code(args.verb, error)


def _exit_code(verb: str, error: CcproxydError) -> int:
    if verb != "status" or error.exit_code == EXIT_USAGE:
        return error.exit_code if error.exit_code in _OURS else EXIT_FAILED
    return STATUS_NOT_RUNNING if error.exit_code == EXIT_NOT_RUNNING else STATUS_UNKNOWN


def _error_json(error: CcproxydError) -> dict[str, object]:
    """The daemon's own error, or one of the same shape with the HTTP status that would fit."""
    from ccproxyd.control.errors import ControlError

    theirs = getattr(error, "error", None)
    if isinstance(theirs, ControlError):
        return theirs.to_json()
    from ccproxyd.ctl.printing import clean

    codes = {EXIT_NOT_RUNNING: 503, EXIT_PERMISSION: 403, EXIT_USAGE: 400}
    name = type(error).__name__
    return ControlError(name, clean(str(error)), codes.get(error.exit_code, 500)).to_json()


def _silence_stdout() -> None:
    """The reader has gone (`| head -1`); the interpreter's last flush must not say so."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

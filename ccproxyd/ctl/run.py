"""run: a client with everything it needs, and a daemon behind it.

    ccproxyctl run -- claude --continue

A daemon that is down is started as `start` does it, and waited for; one that runs is used as it is.
Then the command takes this process's place: its exit code, its signals and its terminal are its
own, and nothing is left of us that could end the daemon, which others may use as well. Where Claude
Code's own settings would undo what it is given, that is said before.

Exit codes of our own are those of a shell: 127 for a program that is not there, 126 for one that
cannot be run.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

from ccproxyd.control.client import Client, FailedError
from ccproxyd.control.status import Status
from ccproxyd.ctl.env import Place, Variables, place_of_running, variables_at
from ccproxyd.ctl.overrides import CLIENT, overridden, settings_files, unwanted
from ccproxyd.ctl.printing import print_error
from ccproxyd.ctl.reach import client_of, home
from ccproxyd.ctl.serving import complain_of, status_of, wait_until_serving
from ccproxyd.ctl.start import start_in_background
from ccproxyd.errors import EXIT_USAGE

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126

_STARTING: Final = "starting"
_ENDED: Final = "ccproxyd has ended before it served; see: ccproxyctl logs"
_IGNORED_BY_PYTHON: Final = ("SIGPIPE", "SIGXFSZ")
"""What a program expects to end it, and would inherit as ignored."""


def run(args: Namespace) -> int:
    command = _words(args)
    if not command:
        print_error("run needs a command; for example: ccproxyctl run -- claude")
        return EXIT_USAGE
    program = shutil.which(command[0])
    if program is None:
        return _without_program(command[0])
    code, place = _place(args)
    if place is None:
        return code
    variables = variables_at(args, place)
    if Path(program).name == CLIENT:
        _warn_of_settings({**unwanted(oauth=args.oauth), **variables})
    return _become(program, command, variables)


def _without_program(name: str) -> int:
    """As a shell tells them apart."""
    try:
        is_there = os.sep in name and bool(Path(name).stat())
    except (FileNotFoundError, NotADirectoryError):
        is_there = False
    except OSError as error:  # such as a directory on the way that one may not enter
        print_error(f"cannot run {name}: {error.strerror}")
        return NOT_EXECUTABLE
    if not is_there:
        print_error(f"cannot run {name}: there is no such program on the PATH")
        return NOT_FOUND
    print_error(f"cannot run {name}: it is there, but is no program that may be run")
    return NOT_EXECUTABLE


def _warn_of_settings(variables: Variables) -> None:
    for note in overridden(variables, settings_files(os.environ, home(), Path())):
        print_error(f"note: {note}")


def _words(args: Namespace) -> list[str]:
    """Without the `--` that may stand before them."""
    words: list[str] = args.command
    return words[1:] if words[:1] == ["--"] else words


def _place(args: Namespace) -> tuple[int, Place | None]:
    """Where a daemon serves; or, where none does, the exit code."""
    client = client_of(args)
    found = status_of(client)
    if found is None:
        found = _started(args, client)
    elif found.state == _STARTING:
        found = _waited_for(client)
    if not found.listen.port and (code := complain_of(found)):
        return code, None
    if (place := place_of_running(args)) is None:
        raise FailedError(_ENDED)
    return 0, place


def _started(args: Namespace, client: Client) -> Status:
    """Of two that start one at the same time, one finds the other's."""
    try:
        return start_in_background(args)
    except FailedError:
        if status_of(client) is None:
            raise
        return _waited_for(client)


def _waited_for(client: Client) -> Status:
    """
    Raises:
        FailedError: it has ended before it served.
    """
    found = wait_until_serving(client, lambda: status_of(client) is None)
    if found is None:
        raise FailedError(_ENDED)
    return found


def _become(program: str, command: list[str], variables: Variables) -> int:
    for name in _IGNORED_BY_PYTHON:
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    sys.stdout.flush()
    try:
        _execute(program, command, _environment(os.environ, variables))
    except OSError as error:
        print_error(f"cannot run {program}: {error.strerror}")
        return NOT_EXECUTABLE


def _execute(program: str, command: list[str], environ: Mapping[str, str]) -> NoReturn:
    os.execve(program, command, environ)  # noqa: S606  # nosec B606 - what the verb is for


def _environment(environ: Mapping[str, str], variables: Variables) -> dict[str, str]:
    """
    >>> _environment({"A": "1", "B": "1"}, {"A": None, "C": "2"})
    {'B': '1', 'C': '2'}
    """
    kept = {name: value for name, value in environ.items() if name not in variables}
    return kept | {name: value for name, value in variables.items() if value is not None}

"""logs: what the daemon has logged, wherever that is.

    a service of systemd      in the journal
    one of launchd, and what `start --detach` has started      in a file of its own
    one in the foreground     on the terminal that it was started on, where nobody else reads it

A record is one line of JSON. On a terminal it becomes a line for a person; elsewhere it stays as it
is. Between the records a journal has words of systemd's own, such as that it has started the
service: with `--json` they are left out, for jq(1) and its like.
"""

from __future__ import annotations

import datetime
import json
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from ccproxyd.control.client import FailedError, NotPermittedError, NotRunningError
from ccproxyd.control.status import Status
from ccproxyd.ctl.detach import LOG_NAME
from ccproxyd.ctl.machine import this_machine
from ccproxyd.ctl.printing import coloured, is_terminal, print_error, visible
from ccproxyd.ctl.reach import directories, own_client
from ccproxyd.ctl.service.manager import Manager
from ccproxyd.ctl.serving import manager_in_charge, status_of
from ccproxyd.ctl.tail import tail

_CLOCK_SLACK_SECONDS: Final = 5.0
_COLOURS: Final = {"warning": "33", "error": "31", "critical": "31"}


def logs(args: Namespace) -> int:
    manager = manager_in_charge(args)
    lines = manager.logs(args.lines, follow=args.follow) if manager else _of_file(args)
    if args.json:
        lines = (line for line in lines if _record(line))
    count = print_lines(lines, readable=is_terminal(sys.stdout) and not args.json)
    if not count and manager and args.lines:
        _say_why_nothing(manager)
    return 0


def print_lines(lines: Iterable[str], *, readable: bool) -> int:
    """How many there were."""
    count = 0
    render: Callable[[str], str] = Readable() if readable else str
    for line in lines:
        count += 1
        print(render(line.rstrip("\n")), flush=True)
    return count


class Readable:
    """Lines for a person, in the local time; the date is told when another day begins."""

    def __init__(self) -> None:
        self._day = datetime.datetime.now().astimezone().date()

    def __call__(self, line: str) -> str:
        record = _record(line)
        if record is None:
            return visible(line)
        from ccproxyd.telemetry.logs import as_text

        when, level, event = _local(record.pop("time")), record.pop("level"), record.pop("event")
        text = coloured(as_text(when, str(level), str(event), record), _COLOURS.get(str(level)))
        if when.date() == self._day:
            return text
        self._day = when.date()
        return f"{self._day}\n{text}"


def _record(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    is_ours = isinstance(found, dict) and {"time", "level", "event"} <= found.keys()
    return found if is_ours and _is_time(found["time"]) else None


def _is_time(value: object) -> bool:
    try:
        datetime.datetime.fromisoformat(str(value))
    except ValueError:
        return False
    return True


def _local(value: object) -> datetime.datetime:
    return datetime.datetime.fromisoformat(str(value)).astimezone()


def _of_file(args: Namespace) -> Iterator[str]:
    """
    Raises:
        NotRunningError: there is no log, and no daemon.
        FailedError: the daemon that runs writes its log elsewhere.
    """
    file = directories(args).logs / LOG_NAME
    running = status_of(own_client(args))
    if running and not _is_of(file, running):
        raise FailedError(
            f"the daemon (pid {running.pid}) logs to the terminal that it was started on, or where "
            "its --log-file says; with a log to be found: ccproxyctl stop, then "
            "ccproxyctl start --detach"
        )
    if not file.exists():
        raise NotRunningError(f"there is no log: no {file}, and ccproxyd is not running")
    return tail(file, args.lines, follow=args.follow)


def _is_of(file: Path, running: Status) -> bool:
    """A daemon logs its start: a file that is older than that belongs to an earlier one."""
    started = time.time() - running.uptime_seconds
    return file.exists() and file.stat().st_mtime > started - _CLOCK_SLACK_SECONDS


def _say_why_nothing(manager: Manager) -> None:
    if manager.scope == "system" and this_machine().user_id:
        raise NotPermittedError(
            "the journal shows nothing of the system's service to this user; try: "
            "sudo ccproxyctl logs (members of the group systemd-journal may read it, too)"
        )
    print_error(f"nothing is logged of {manager.unit}; it starts with: ccproxyctl start")

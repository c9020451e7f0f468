"""systemd: the unit `ccproxyd.service` of a user or of the system, with its socket.

A start of the unit starts its socket, too. A stop is given both: were the socket left out, the next
request would start the daemon again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NoReturn

from attrs import field, frozen

from ccproxyd.control.client import FailedError, NotPermittedError
from ccproxyd.ctl.commands import Commands, Finished
from ccproxyd.ctl.machine import Machine
from ccproxyd.ctl.service.find import UNIT
from ccproxyd.ctl.service.manager import Scope, Service
from ccproxyd.ctl.service.properties import ASKED, parse_units, service_of
from ccproxyd.ctl.service.reasons import journal_messages, reason_in
from ccproxyd.paths import SYSTEM_RUNTIME

SOCKET: Final = "ccproxyd.socket"
LINGER: Final = "/var/lib/systemd/linger"

_DENIED: Final = ("Access denied", "authentication required", "Permission denied")
_NO_BUS: Final = "Failed to connect to bus"
_JOB_FAILED: Final = re.compile(r"Job for \S+ failed")
_JOURNAL_LINES: Final = 50
_JOURNAL_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.1


@frozen
class Systemd:
    """A manager (see `manager.Manager`): the user's own instance of systemd, or the system's."""

    machine: Machine
    scope: Scope = "user"
    commands: Commands = field(factory=Commands)
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    tells_ready = True

    @property
    def unit(self) -> str:
        return UNIT

    @property
    def control_socket(self) -> Path:
        if self.scope == "system":
            return self.machine.at(str(SYSTEM_RUNTIME)) / "control.sock"
        return self.machine.user_runtime / "ccproxyd" / "control.sock"

    # What it knows

    def show(self) -> Service:
        done = self._ask("show", UNIT, SOCKET, f"--property={','.join(ASKED)}")
        if done.code:
            self._fail(done.said, "show", UNIT)
        units = parse_units(done.out)
        linger = self._lingers() if self.scope == "user" else None
        return service_of(units.get(UNIT, {}), units.get(SOCKET, {}), self.scope, linger=linger)

    def reason(self, since: float | None = None) -> str | None:
        """The journal gets a process's last words a moment after its end."""
        begins = self._last_start() if since is None else f"@{since:.6f}"
        deadline = self.clock() + (0.0 if since is None else _JOURNAL_SECONDS)
        while not (found := self._last_words(begins)) and self.clock() < deadline:
            self.sleep(_POLL_SECONDS)
        return found

    def logs(self, count: int, *, follow: bool) -> Iterator[str]:
        options = ["--output=cat", f"--lines={count}", *["--follow"] * follow]
        return self.commands.lines([*self._journalctl(), *options])

    def _lingers(self) -> bool:
        """loginctl knows no more than whether this file is there, and takes longer."""
        return (self.machine.at(LINGER) / self.machine.user).exists()

    # What it does

    def start(self) -> None:
        """Returns when the daemon has said that it is ready."""
        since = self.clock()
        self._ask("reset-failed", UNIT, SOCKET)  # an earlier failure must not stand in the way
        self._do("start", UNIT, since=since)

    def stop(self, *, wait: bool = True) -> None:
        self._do("stop", *self._units(), *([] if wait else ["--no-block"]))

    def restart(self) -> None:
        since = self.clock()
        self._ask("reset-failed", UNIT)
        self._do("restart", UNIT, since=since)

    def enable(self) -> None:
        self._do("enable", *self._units(), "--quiet")

    def disable(self) -> None:
        self._do("disable", *self._units(), "--now", "--quiet")

    def refresh(self) -> None:
        """A port that is held stays where it is until it is opened again."""
        self._do("daemon-reload")
        found = self.show()
        if found.listens and not found.is_up:
            self._do("restart", SOCKET)

    def forget(self) -> None:
        """The failures of units that are gone would still be listed."""
        self._ask("reset-failed", UNIT, SOCKET)

    def linger(self) -> None:
        """What the user runs goes on when the last session has ended."""
        words = ["loginctl", "enable-linger", self.machine.user]
        done = self.commands.run(words)
        if done.code:
            command = " ".join(words)
            raise FailedError(f"cannot enable lingering: {done.said}; try: sudo {command}")

    def _units(self) -> list[str]:
        """Both, or the service alone where somebody has left the socket out."""
        return [SOCKET, UNIT] if self.show().socket else [UNIT]

    # How it is asked, and what went wrong

    def _ask(self, *words: str) -> Finished:
        options = ["--user"] if self.scope == "user" else ["--no-ask-password"]
        return self.commands.run(["systemctl", *options, "--no-pager", *words])

    def _journalctl(self) -> list[str]:
        """Not `--user -u`: root's own records, and all of a machine that keeps no journal on disk,
        are in the system's journal."""
        named = "--user-unit" if self.scope == "user" else "--unit"
        return ["journalctl", "--quiet", "--no-pager", f"{named}={UNIT}"]

    def _last_start(self) -> str:
        done = self._ask("show", UNIT, "--property=ExecMainStartTimestamp", "--value")
        return done.out.strip() or "today"

    def _last_words(self, begins: str) -> str | None:
        options = ["--output=json", f"--lines={_JOURNAL_LINES}", f"--since={begins}"]
        done = self.commands.run([*self._journalctl(), *options])
        return reason_in(journal_messages(done.out.splitlines()))

    def _do(self, verb: str, *words: str, since: float = 0.0) -> None:
        done = self._ask(verb, *words)
        if done.code:
            self._fail(self._why(done, since), verb, *words)

    def _why(self, done: Finished, since: float) -> str:
        """systemctl says of a job only that it failed, and where to look; so we look."""
        if not since or not _JOB_FAILED.match(done.err):
            return done.said
        failure = self.show().failure
        if "timeout" in done.said and failure:
            return failure
        return self.reason(since) or failure or done.said

    def _fail(self, why: str, *words: str) -> NoReturn:
        why = why.rstrip(".")
        verb = words[0]
        what = f"{verb} {UNIT}" if verb != "daemon-reload" else "reload the units"
        if why.startswith(_NO_BUS) and self.scope == "user":
            runtime = f"XDG_RUNTIME_DIR=/run/user/{self.machine.user_id}"
            login = f"log in as {self.machine.user}, or: export {runtime}"
            raise FailedError(f"cannot {what}: systemctl --user says: {why}; {login}")
        if self.scope == "system" and any(word in why for word in _DENIED):
            advice = f"as root: systemctl {' '.join(words)}"
            raise NotPermittedError(f"cannot {what}: systemctl says: {why}; {advice}")
        raise FailedError(f"cannot {what}: {why}; see: ccproxyctl logs")


def systemd_of(scope: Scope, machine: Machine) -> Systemd:
    """With what `systemctl --user` needs to find the user's instance."""
    own = {"XDG_RUNTIME_DIR": str(machine.user_runtime)} if scope == "user" else {}
    return Systemd(machine, scope, Commands({**machine.environ, **own}))

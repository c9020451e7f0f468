"""launchd: the agent of a user's login session, on macOS.

launchctl's verbs are not those of a daemon. `bootstrap` loads an agent, which starts it, and
`bootout` unloads it; an agent that is loaded and not running is started by `kickstart`. It is ended
by a signal: its exit status 0 then tells launchd to leave it so until the next login.

launchd answers before it has finished, and an agent that is still being unloaded cannot be loaded:
`Bootstrap failed: 5: Input/output error`. So that is tried again. Nor does it know when a daemon is
ready; who starts it has to look.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from attrs import field, frozen

from ccproxyd.control.client import FailedError
from ccproxyd.ctl.commands import Commands, Finished
from ccproxyd.ctl.machine import Machine
from ccproxyd.ctl.service.find import LABEL, agent_file
from ccproxyd.ctl.service.manager import Scope, Service
from ccproxyd.ctl.service.reasons import reason_in
from ccproxyd.ctl.tail import tail
from ccproxyd.paths import Directories, find_directories

LOG_NAME: Final = "ccproxyd.log"
STOP_LIMIT_SECONDS: Final = 900.0

_BUSY: Final = 5
_IN_PROGRESS: Final = 37
_TRIES: Final = 5
_POLL_SECONDS: Final = 0.5
_LAST_LINES: Final = 50


@frozen
class Launchd:
    """A manager, see `manager.Manager`."""

    machine: Machine
    commands: Commands = field(factory=Commands)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    tells_ready = False

    @property
    def unit(self) -> str:
        return LABEL

    @property
    def scope(self) -> Scope:
        return "user"

    @property
    def control_socket(self) -> Path:
        return self._directories.control_socket

    @property
    def log(self) -> Path:
        return self._directories.logs / LOG_NAME

    # What it knows

    def show(self) -> Service:
        known = parse_service(self.commands.run(["launchctl", "print", self._target]).out)
        pid = int(known.get("pid", "0"))
        bad_end = failure(known)
        return Service(
            manager="launchd",
            unit=LABEL,
            scope="user",
            active="active" if pid else "failed" if bad_end else "inactive",
            sub=known.get("state", "not loaded"),
            enabled=agent_file(self.machine).is_file() and not self._is_disabled(),
            pid=pid,
            failure=bad_end,
        )

    def reason(self, since: float | None = None) -> str | None:
        """A log that was not written since then tells of an earlier end."""
        try:
            is_told = self.log.stat().st_mtime >= (since or 0.0)
            return reason_in(list(tail(self.log, _LAST_LINES))) if is_told else None
        except (OSError, FailedError):
            return None

    def logs(self, count: int, *, follow: bool) -> Iterator[str]:
        return tail(self.log, count, follow=follow)

    # What it does

    def start(self) -> None:
        if not self._is_loaded():
            self._load()
        done = self.commands.run(["launchctl", "kickstart", self._target])
        if done.code != _IN_PROGRESS:  # it has been started by being loaded
            self._check("start", done)

    def stop(self, *, wait: bool = True) -> None:
        if self.show().pid:
            self._do("stop", "kill", "SIGTERM", self._target)
        if wait:
            self._wait(lambda: not self.show().pid, "stopping")

    def restart(self) -> None:
        """Loaded anew, since its file may have changed."""
        self.disable()
        self._load()
        self._do("restart", "kickstart", "-k", self._target)

    def enable(self) -> None:
        self._do("enable", "enable", self._target)

    def disable(self) -> None:
        """Unloaded; with its file gone, it is not loaded again."""
        self.stop()
        if self._is_loaded():
            self._do("unload", "bootout", self._target)
            self._wait(lambda: not self._is_loaded(), "being unloaded")

    def refresh(self) -> None:
        """launchd reads the file when it loads the agent; a daemon that runs is left alone."""
        if self._is_loaded() and not self.show().pid:
            self.disable()  # the next start loads it again; to load it here would start it

    def forget(self) -> None:
        """launchd remembers nothing of what is unloaded."""

    def linger(self) -> None:
        raise FailedError("cannot linger: launchd ends what a user runs with the login session")

    # How it is asked

    @property
    def _domain(self) -> str:
        return f"gui/{self.machine.user_id}"

    @property
    def _target(self) -> str:
        return f"{self._domain}/{LABEL}"

    @property
    def _directories(self) -> Directories:
        """launchd hands on nothing of a shell's environment."""
        machine = self.machine
        return find_directories({}, home=machine.home, user_id=machine.user_id, macos=True)

    def _is_loaded(self) -> bool:
        return self.commands.run(["launchctl", "print", self._target]).code == 0

    def _is_disabled(self) -> bool:
        listed = self.commands.run(["launchctl", "print-disabled", self._domain]).out
        return any(f'"{LABEL}" => {word}' in listed for word in ("disabled", "true"))

    def _load(self) -> None:
        words = ["launchctl", "bootstrap", self._domain, str(agent_file(self.machine))]
        done = self.commands.run(words)
        for _ in range(_TRIES):
            if done.code != _BUSY:
                break
            self.sleep(_POLL_SECONDS)
            done = self.commands.run(words)
        self._check("start", done)

    def _do(self, doing: str, *words: str) -> None:
        self._check(doing, self.commands.run(["launchctl", *words]))

    def _check(self, doing: str, done: Finished) -> None:
        if done.code:
            said = f"launchctl says: {done.said}"
            raise FailedError(f"cannot {doing} {LABEL}: {said}; see: ccproxyctl logs")

    def _wait(self, is_over: Callable[[], bool], doing: str) -> None:
        deadline = self.clock() + STOP_LIMIT_SECONDS
        while not is_over():
            if self.clock() > deadline:
                raise FailedError(f"{LABEL} is still {doing}; see: ccproxyctl logs")
            self.sleep(_POLL_SECONDS)


def parse_service(text: str) -> dict[str, str]:
    r"""What `launchctl print` says of a service itself, without the blocks inside.

    >>> parse_service("gui/501/a = {\n\tstate = running\n\tenvironment = {\n\t\tA => 1\n\t}\n}")
    {'state': 'running'}
    """
    lines = (line[1:] for line in text.splitlines() if line[:1] == "\t" and line[1:2] != "\t")
    pairs = (line.partition(" = ") for line in lines)
    return {name: value for name, _, value in pairs if value and value != "{"}


def failure(known: dict[str, str]) -> str | None:
    """
    >>> failure({"last exit code": "78: EX_CONFIG"})
    'exit status 78: EX_CONFIG'
    >>> failure({"last exit code": "(never exited)"}) is None
    True
    """
    if signal := known.get("last terminating signal"):
        return f"killed by a signal, {signal}"
    code = known.get("last exit code", "0")
    return f"exit status {code}" if code[:1].isdigit() and code != "0" else None

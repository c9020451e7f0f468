"""What a service manager knows of the daemon, and what it can be asked to do with it.

The words are systemd's: a service is `active`, `activating`, `deactivating`, `reloading`,
`inactive` or `failed`. launchd's are put into them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from attrs import asdict, frozen

Scope = Literal["user", "system"]

UP: Final = ("active", "activating", "reloading", "deactivating")
"""There is a process, or there will be one in a moment."""


@frozen
class Socket:
    """The port that the service manager holds, and by which a request starts the daemon."""

    unit: str
    active: bool
    enabled: bool = False
    listens: tuple[str, ...] = ()


@frozen
class Service:
    manager: Literal["systemd", "launchd"]
    unit: str
    scope: Scope
    active: str
    sub: str = ""
    enabled: bool = False
    linger: bool | None = None
    """Whether it goes on when its user logs out; None where that means nothing."""
    pid: int = 0
    failure: str | None = None
    """How it ended last, if that was no good end."""
    socket: Socket | None = None

    @property
    def is_quiet(self) -> bool:
        """Nothing runs, and nothing will by itself."""
        by_port = self.socket is not None and (self.socket.active or self.socket.enabled)
        return not (self.is_up or self.enabled or by_port)

    @property
    def is_up(self) -> bool:
        return self.active in UP

    @property
    def running_pid(self) -> int:
        """That of a daemon whose start is over."""
        return self.pid if self.active in {"active", "reloading"} else 0

    @property
    def listens(self) -> bool:
        return self.socket is not None and self.socket.active

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Manager(Protocol):
    """A service manager, as far as this one service goes.

    Each method returns when it is done, and raises NotPermittedError or FailedError with what the
    manager said and the next command.
    """

    @property
    def unit(self) -> str: ...

    @property
    def scope(self) -> Scope: ...

    @property
    def tells_ready(self) -> bool:
        """Whether `start` returns no sooner than the daemon serves."""

    @property
    def control_socket(self) -> Path:
        """Where the daemon that it runs is spoken to."""

    def show(self) -> Service: ...

    def start(self) -> None: ...

    def stop(self, *, wait: bool = True) -> None:
        """The daemon and its port, so that no request starts it again."""

    def restart(self) -> None: ...

    def enable(self) -> None:
        """It is started with every login or boot."""

    def disable(self) -> None:
        """It is stopped, and not started by itself any more."""

    def refresh(self) -> None:
        """Its files have changed."""

    def forget(self) -> None:
        """Its files are gone; nothing of it is to be listed any more."""

    def linger(self) -> None:
        """It goes on when its user logs out."""

    def reason(self, since: float | None = None) -> str | None:
        """The daemon's own word on why it ended, logged since that time, or its last start."""

    def logs(self, count: int, *, follow: bool) -> Iterator[str]:
        """The last lines that it has logged."""

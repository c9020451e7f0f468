"""What `status` answers.

It stands apart from the other answers in `messages.py` for the sake of `ccproxyctl status`, which
runs in loops: to make a frozen class takes a millisecond, and it needs but these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from attrs import field, frozen

from ccproxyd.control.schema import Message


@frozen
class Listen(Message):
    host: str = ""
    port: int = 0


@frozen
class Process(Message):
    """What every process of the house has."""

    pid: int = 0
    rss_bytes: int = 0


@frozen
class Gateway(Process):
    uptime_seconds: float = 0.0
    in_flight: int = 0


@frozen
class Worker(Process):
    generation: int = 0
    state: str = ""
    """starting | ready | draining"""
    uptime_seconds: float = 0.0
    in_flight: int = 0


@frozen
class Fault(Message):
    """Why a config was not taken: the field's path, with its file, and the reason.

    >>> print(Fault("ccproxy.yaml: ccproxy.port", "must be a port number"))
    ccproxy.yaml: ccproxy.port: must be a port number
    """

    path: str = ""
    reason: str = ""

    @classmethod
    def accepts(cls, value: object) -> bool:
        """A bare text is the reason of something that has no path."""
        return isinstance(value, str | Mapping)

    @classmethod
    def from_json(cls, value: object) -> Self:
        return cls(reason=value) if isinstance(value, str) else super().from_json(value)

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason


@frozen
class Lane(Message):
    """How the requests of a label go, and why so."""

    lane: str = ""
    """direct | litellm"""
    reason: str = ""


@frozen
class Standing(Message):
    """How much of a budget is used."""

    scope: str = ""
    """total | label"""
    label: str | None = None
    period: str = ""
    """day | month"""
    limit_usd: float = 0.0
    spent_usd: float = 0.0
    share: float = 0.0
    level: str = ""
    """ok | warning | exceeded"""
    unpriced_requests: int = 0
    resets: str = ""


@frozen
class LastReload(Message):
    ok: bool = True
    generation: int = 0
    error: Fault | None = None
    seconds: float = 0.0


@frozen
class Status(Message):
    version: str = ""
    state: str = ""
    """starting | ready | reloading | degraded | stopping"""
    pid: int = 0
    uptime_seconds: float = 0.0
    config_dir: str = ""
    generation: int = 0
    listen: Listen = Listen()
    control_socket: str = ""
    labels: tuple[str, ...] = ()
    lanes: Mapping[str, Lane] = field(factory=dict)
    """By label."""
    gateway: Gateway | None = None
    workers: tuple[Worker, ...] = ()
    restarts_total: int = 0
    last_exit: str | None = None
    """How a process of the house last ended unasked, as one phrase."""
    last_reload: LastReload | None = None
    template: Process | None = None
    rule_errors: Mapping[str, int] = field(factory=dict)
    """How often each rule raised, by its place in the config."""
    hook_errors: Mapping[str, int] = field(factory=dict)
    """How often each hook failed, or moderation, by its place in the config."""
    budgets: tuple[Standing, ...] = ()
    warnings: tuple[str, ...] = ()

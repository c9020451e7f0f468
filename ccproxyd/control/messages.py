"""What daemon and client say to each other: version 1 of the control API, as types.

`schema.py` says how they are written and read, `status.py` holds the largest of them.

Sizes are in bytes, times in seconds, latencies in milliseconds, costs in US dollars.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import field, frozen

from ccproxyd.control.errors import ControlError
from ccproxyd.control.schema import Message
from ccproxyd.control.status import (
    Fault,
    Gateway,
    LastReload,
    Listen,
    Process,
    Status,
    Worker,
)

__all__ = [
    "API_VERSIONS",
    "ControlError",
    "Explanation",
    "Fault",
    "Gateway",
    "LastReload",
    "Listen",
    "Message",
    "Outcome",
    "Percentiles",
    "Ping",
    "Process",
    "ReloadResult",
    "RestartResult",
    "RouteRule",
    "RouteTarget",
    "Routes",
    "Stats",
    "Status",
    "StopResult",
    "Totals",
    "Worker",
]

API_VERSIONS: Final = ("v1",)


@frozen
class Percentiles(Message):
    """Milliseconds; None where nothing was measured yet."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


@frozen
class Totals(Message):
    """What one label, model or rule came to."""

    requests: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cost_usd: float = 0.0
    latency_ms: Percentiles = Percentiles()
    first_byte_ms: Percentiles = Percentiles()
    fallbacks: int = 0
    """Answered by another label, since this one's model failed."""


@frozen
class Stats(Message):
    since: str = ""
    """RFC 3339."""
    requests_total: int = 0
    failed_total: int = 0
    in_flight: int = 0
    by_label: Mapping[str, Totals] = field(factory=dict)
    by_model: Mapping[str, Totals] = field(factory=dict)
    by_rule: Mapping[str, Totals] = field(factory=dict)
    routing_ms: Percentiles = Percentiles()


@frozen
class ReloadResult(Message):
    ok: bool = False
    generation: int = 0
    changed: str = "nothing"
    """nothing | rules | workers"""
    seconds: float = 0.0
    error: Fault | None = None


@frozen
class RestartResult(Message):
    ok: bool = False
    what: str = "all"
    """all | workers | gateway"""
    generation: int = 0
    seconds: float = 0.0
    error: Fault | None = None


@frozen
class StopResult(Message):
    """The daemon has begun to stop; its socket closes once it is gone."""

    ok: bool = False
    pid: int = 0


@frozen
class Outcome(Message):
    """One rule, measured on one request."""

    label: str = ""
    rule: str = ""
    matched: bool = False
    detail: str = ""


@frozen
class Explanation(Message):
    label: str = ""
    model: str = ""
    rule: str = ""
    reason: str = ""
    lane: str = ""
    lane_reason: str = ""
    token_count: int | None = None
    session_id: str | None = None
    rules: tuple[Outcome, ...] = ()


@frozen
class RouteRule(Message):
    label: str = ""
    rule: str = ""
    sticky: bool = False
    path: str = ""
    """Where it stands: `ccproxy.rules[2]`."""


@frozen
class RouteTarget(Message):
    name: str = ""
    models: tuple[str, ...] = ()


@frozen
class Routes(Message):
    """The table that is in use: rules in their order, and what each label means."""

    generation: int = 0
    default_model_passthrough: bool = True
    rules: tuple[RouteRule, ...] = ()
    targets: tuple[RouteTarget, ...] = ()
    aliases: Mapping[str, str] = field(factory=dict)


@frozen
class Ping(Message):
    name: str = ""
    version: str = ""
    api: tuple[str, ...] = ()

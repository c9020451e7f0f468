"""What the daemon hears of each request: numbers and names, never content.

Its `facts` are what hooks have been told to record of it, such as a header.

`decided` goes out when the route is known, so that a long answer is already counted as in flight;
`finished` when the client has its last byte, or has gone. Both are telemetry: the wire drops them
rather than make a request wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

from attrs import define, field

from ccproxyd.channel import Message
from ccproxyd.gateway.usage import NO_USAGE, Usage
from ccproxyd.routing import Decision

Send = Callable[[Message], None]

CLIENT_GONE = 499
"""nginx's number for a client that went away before its answer; it is never sent."""


@define
class Report:
    """One request's record, filled in on its way."""

    request_id: str
    call_type: str = "carried"
    started: float = field(factory=perf_counter)
    decision: Decision | None = None
    routing_ms: float = 0.0
    first_byte: float | None = None
    status: int = 0
    cut: bool = False
    resent: int = 0
    usage: Usage = NO_USAGE
    lane: str | None = None
    fallback: str | None = None
    """The label that LiteLLM went to when this one's failed."""
    cost_usd: float | None = None
    """What the gateway can tell itself; LiteLLM tells what went through it."""
    facts: Mapping[str, Any] = field(factory=dict)
    """What hooks have to say of the request in its record of the log."""

    def decided(self, decision: Decision, began: float) -> None:
        self.decision = decision
        self.routing_ms = (perf_counter() - began) * 1000

    def answering(self, status: int) -> None:
        """The first byte is about to go to the client."""
        self.status = status
        self.first_byte = perf_counter()

    @property
    def failed(self) -> bool:
        return self.cut or self.status >= 400

    def _names(self) -> dict[str, Any]:
        decision = self.decision
        return {
            "request_id": self.request_id,
            "call_type": self.call_type,
            "label": decision.label if decision else None,
            "rule": decision.rule if decision else None,
            "model": decision.model if decision else None,
        }

    def decided_message(self) -> Message:
        return {"kind": "decided", **self._names(), "routing_ms": round(self.routing_ms, 3)}

    def finished_message(self) -> Message:
        now = perf_counter()
        first = self.first_byte
        return {
            "kind": "finished",
            **self._names(),
            "status": self.status,
            "failed": self.failed,
            "lane": self.lane,
            "fallback": self.fallback,
            "resent": self.resent,
            "input_tokens": self.usage.input_tokens,
            "output_tokens": self.usage.output_tokens,
            "cache_read_tokens": self.usage.cache_read_tokens,
            "cost_usd": self.cost_usd,
            "latency_ms": round((now - self.started) * 1000, 3),
            "first_byte_ms": round((first - self.started) * 1000, 3) if first else None,
            **({"facts": dict(self.facts)} if self.facts else {}),
        }

"""What the daemon hears of each request: numbers and names, never content.

Its `facts` are what hooks have been told to record of it, such as a header.

`decided` goes out when the route and the lane are known, so that a long answer is already counted
as in flight; `finished` when the client has its last byte, or has gone. Both are telemetry: the
wire drops them rather than make a request wait. What the log's records say of the request besides
(`about`) is only found out where the config asks for records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

from attrs import define, field

from ccproxyd.channel import Message
from ccproxyd.gateway.estimates import Estimate, Shortfall
from ccproxyd.gateway.usage import NO_USAGE, Usage
from ccproxyd.routing import Decision, Request
from ccproxyd.routing.request import each_tool
from ccproxyd.telemetry.records import session_mark

Send = Callable[[Message], None]

CARRIED = "carried"
"""In place of a call's type where a path names no model."""
CLIENT_GONE = 499
"""nginx's number for a client that went away before its answer; it is never sent."""
FREE = 0.0
"""The price of a count of tokens, whoever has made it."""
PASSED_ON = "ProviderError"
"""In place of an exception's type where an error of the provider's, or LiteLLM's, is passed on."""
CUT = "CutError"
"""The same where an answer broke off."""


def unpriced(_usage: Usage) -> None:
    """The cost of an answer, where nobody asks for it."""


def nobody_knows(_label: str) -> str | None:
    """The model behind a label, where none is looked up."""


def about(request: Request, original_model: str, session_key: bytes) -> dict[str, Any]:
    """What the records say of a request: numbers and names; of its session, a mark."""
    session = request.session_id
    return {
        "session": session_mark(session, session_key) if session else None,
        "original_model": original_model,
        "message_count": request.message_count,
        "has_tools": next(each_tool(request.body), None) is not None,
        "is_streaming": request.stream,
    }


@define
class Report:
    """One request's record, filled in on its way."""

    request_id: str
    call_type: str = CARRIED
    started: float = field(factory=perf_counter)
    decision: Decision | None = None
    routing_ms: float = 0.0
    first_byte: float | None = None
    status: int = 0
    cut: bool = False
    told_all: bool = False
    """The client has the last event of a stream, though perhaps not the transfer's end."""
    resent: int = 0
    retried: int = 0
    """How often LiteLLM tried again itself."""
    failed_fallbacks: int = 0
    """How many labels it asked in place of this one that failed, too."""
    handed_over: bool = False
    """The direct lane failed, and LiteLLM's took over."""
    error: str | None = None
    """The type of the exception that ended it."""
    usage: Usage = NO_USAGE
    is_estimate: bool = False
    """Of the usage, or some of it."""
    estimate: Estimate | Shortfall | None = None
    """For a stream that was not asked for its usage, or does not get to telling it."""
    lane: str | None = None
    fallback: str | None = None
    """The label that LiteLLM went to when this one's failed."""
    model_of: Callable[[str], str | None] = field(default=nobody_knows, repr=False)
    """The model behind a label."""
    cost_usd: float | None = None
    """What the gateway can tell itself; LiteLLM tells what went through it."""
    facts: Mapping[str, Any] = field(factory=dict)
    """What hooks have to say of the request in its record of the log."""
    find_about: Callable[[], Mapping[str, Any]] = field(default=dict, repr=False)
    """Finds what the records say of it besides, if there are to be any."""
    _about: Mapping[str, Any] | None = None
    cost_as_asked: Callable[[Usage], float | None] = field(default=unpriced, repr=False)
    """What the model that was asked for would have cost."""

    def decided(self, decision: Decision, began: float) -> None:
        self.decision = decision
        self.routing_ms = (perf_counter() - began) * 1000

    def answering(self, status: int) -> None:
        """The first byte is about to go to the client."""
        self.status = status
        self.first_byte = perf_counter()

    def left_by_client(self, error: str) -> None:
        """OpenAI's library leaves as soon as it has the last event, and so has missed nothing."""
        if not self.told_all:
            self.cut, self.status, self.error = True, self.status or CLIENT_GONE, error

    def used(self, told: Usage) -> None:
        """What an answer has told of its usage; an estimate stands in for what it has not."""
        self.usage = told if self.estimate is None else self.estimate.in_place_of(told)
        self.is_estimate = self.usage is not told

    @property
    def about(self) -> Mapping[str, Any]:
        """What the records say of it besides, found when it is first told."""
        if self._about is None:
            self._about = self.find_about()
        return self._about

    @property
    def failed(self) -> bool:
        return self.cut or self.status >= 400

    def _names(self) -> dict[str, Any]:
        decision = self.decision
        return {
            "request_id": self.request_id,
            "call_type": self.call_type,
            "lane": self.lane,
            "label": decision.label if decision else None,
            "rule": decision.rule if decision else None,
            "model": decision.model if decision else None,
            "kept": decision.kept if decision else None,
            **self.about,
        }

    def whose(self) -> dict[str, Any]:
        """For a record that the gateway itself has to tell."""
        session = self.about.get("session")
        return {"request_id": self.request_id, "session": session, "call_type": self.call_type}

    @property
    def _error(self) -> str | None:
        if self.error is not None or not self.failed:
            return self.error
        return PASSED_ON if self.status >= 400 else CUT

    def _original_cost(self) -> float | None:
        """None also for who got what was asked for: that is the price itself."""
        kept = self.decision is not None and self.decision.kept and self.fallback is None
        return None if kept else self.cost_as_asked(self.usage)

    def decided_message(self, lane: str) -> Message:
        """With the lane that is tried first; the answer may be another's."""
        names = {**self._names(), "lane": lane}
        return {"kind": "decided", **names, "routing_ms": round(self.routing_ms, 3)}

    def finished_message(self) -> Message:
        now = perf_counter()
        first = self.first_byte
        return {
            "kind": "finished",
            **self._names(),
            "status": self.status,
            "failed": self.failed,
            "error": self._error,
            "fallback": self.fallback,
            "fallback_model": self.model_of(self.fallback) if self.fallback else None,
            "retries": self.resent + self.retried + self.handed_over,
            "failed_fallbacks": self.failed_fallbacks or None,
            "input_tokens": self.usage.input_tokens,
            "output_tokens": self.usage.output_tokens,
            "cache_read_tokens": self.usage.cache_read_tokens,
            "cost_usd": self.cost_usd,
            "original_cost_usd": self._original_cost(),
            "latency_ms": round((now - self.started) * 1000, 3),
            "first_byte_ms": round((first - self.started) * 1000, 3) if first else None,
            **({"is_estimate": True} if self.is_estimate else {}),
            **({"facts": dict(self.facts)} if self.facts else {}),
        }

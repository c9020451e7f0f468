"""What the log tells of a request's life; pure.

    ccproxy_pre_api_call    its route is decided, and it is sent on
    ccproxy_post_api_call   it has ended
    ccproxy_success         ... well
    ccproxy_failure         ... with an error, cut, or left by its client
    ccproxy_stream_end      its answer was a stream, which is over
    ccproxy_cost            what it cost, where that is only known afterwards

They are made of the gateway's `decided` and `finished` and of the workers' `priced`, on either lane
alike, and say what the switches of `ccproxy.logging` ask for. Each has the request's id, so that
all of one request can be found. By default there are two lines a request, and a third for one that
fails; without its own switch the end of a request is told with `debug` alone.

A route was *effective* if the deployment that it led to answered well at the first attempt: no
error, no resend, no fallback, and nothing cut. The *cost efficiency* is what the answer cost over
what it would have cost by the model that was asked for, with the same usage; below 1 the route has
saved money. It is absent where either price is unknown.

LiteLLM tells a price on its own, mostly after the answer: such a request's price is in
`ccproxy_cost`, else in `ccproxy_post_api_call`, and never in both.

Of a session there is a mark alone, which cannot be turned back: a hash with a key that the daemon
makes at its start and keeps nowhere. A client may name any model it likes; the messages have such
names as `names` makes them harmless.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, Final

from attrs import define, evolve, field, frozen

from ccproxyd.channel import Message
from ccproxyd.config.settings import Logging

_REMEMBERED: Final = 10_000
"""Requests whose price, or whose end, may still come."""
_MARK_BYTES: Final = 8

Facts = Mapping[str, Any]


def _always(_level: str) -> bool:
    return True


@frozen
class Record:
    """One line of the log, without its time."""

    level: str
    event: str
    facts: Facts


@frozen
class Kind:
    """A record and its fields: those that are always told, and those that a switch adds."""

    event: str
    level: str
    switch: str
    fields: tuple[str, ...]
    otherwise: str | None = None
    """The level at which it is told without its switch; None: at none."""
    routing: tuple[str, ...] = ()
    """With `enable_routing_analysis`."""
    costs: tuple[str, ...] = ()
    """With `enable_cost_tracking`."""

    def level_with(self, switches: Logging) -> str | None:
        return self.level if getattr(switches, self.switch) else self.otherwise

    def names(self, switches: Logging) -> tuple[str, ...]:
        """Of its fields, those that are asked for."""
        return (
            *self.fields,
            *(self.routing if switches.enable_routing_analysis else ()),
            *(self.costs if switches.enable_cost_tracking else ()),
        )


_WHO: Final = ("request_id", "session", "call_type", "lane", "label", "rule", "model")
_ASKED: Final = (
    "model_name",
    "original_model",
    "routed_model",
    "message_count",
    "has_tools",
    "is_streaming",
)
_END: Final = ("status", "duration_ms")
_TROUBLE: Final = ("retries", "fallback", "failed_fallbacks")
_TOKENS: Final = ("input_tokens", "output_tokens", "cache_read_tokens")
_PRICE: Final = ("cost_usd", "cost_efficiency")

PRE_API_CALL: Final = Kind(
    "ccproxy_pre_api_call",
    "info",
    "enable_pre_api_call",
    (*_WHO, *_ASKED),
    routing=("kept", "routing_ms"),
)
POST_API_CALL: Final = Kind(
    "ccproxy_post_api_call",
    "info",
    "enable_post_api_call",
    (*_WHO, *_ASKED, *_END, "failed", "first_byte_ms", *_TROUBLE),
    routing=("routing_effective",),
    costs=(*_TOKENS, *_PRICE),
)
SUCCESS: Final = Kind(
    "ccproxy_success",
    "info",
    "enable_success",
    (*_WHO, *_END),
    otherwise="debug",
    costs=(*_TOKENS, *_PRICE),
)
FAILURE: Final = Kind(
    "ccproxy_failure",
    "warning",
    "enable_failure",
    (*_WHO, *_END, "error", *_TROUBLE),
    otherwise="debug",
    costs=(*_TOKENS, *_PRICE),
)
STREAM_END: Final = Kind(
    "ccproxy_stream_end",
    "info",
    "enable_stream_end",
    (*_WHO, "complete", "stream_ms"),
    otherwise="debug",
    costs=(*_TOKENS, *_PRICE),
)
COST: Final = Kind(
    "ccproxy_cost", "info", "enable_cost_tracking", (*_WHO, "fallback"), costs=_PRICE
)

KINDS: Final = (PRE_API_CALL, POST_API_CALL, SUCCESS, FAILURE, STREAM_END, COST)


@define
class Records:
    """Makes records of messages; `tells` says which levels anybody wants.

    >>> told = {"request_id": "r", "label": "think", "status": 200, "latency_ms": 12.0}
    >>> [record.event for record in Records().finished(told, Logging())]
    ['ccproxy_post_api_call', 'ccproxy_success']
    """

    tells: Callable[[str], bool] = field(default=_always)
    _unpriced: OrderedDict[str, Facts] = field(factory=OrderedDict, init=False)
    """What has ended on LiteLLM's lane, by request."""
    _early: OrderedDict[str, float] = field(factory=OrderedDict, init=False)
    _switches: Logging | None = field(default=None, init=False)
    _asked_for: dict[str, tuple[str | None, tuple[str, ...]]] = field(factory=dict, init=False)
    """Level and fields by event, as those switches ask for them."""

    def decided(self, message: Message, switches: Logging) -> Iterator[Record]:
        """A request is sent on."""
        yield from self._records(self._asked(message), switches, PRE_API_CALL)

    def finished(self, message: Message, switches: Logging) -> Iterator[Record]:
        """A request has ended."""
        facts = self._ended(message)
        if switches.enable_cost_tracking:
            self._expect_price(facts, message)
        end = FAILURE if message.get("failed") else SUCCESS
        kinds = (POST_API_CALL, STREAM_END, end) if facts["is_stream"] else (POST_API_CALL, end)
        for record in self._records(facts, switches, *kinds):
            more = message.get("facts") if record.event == POST_API_CALL.event else None
            yield evolve(record, facts={**more, **record.facts}) if more else record

    def priced(self, message: Message, switches: Logging) -> Iterator[Record]:
        """LiteLLM tells what a request cost; it may do so before the request has ended."""
        request_id, cost = message.get("request_id"), message.get("cost_usd")
        if not isinstance(request_id, str) or not isinstance(cost, int | float):
            return
        if (facts := self._unpriced.get(request_id)) is None:
            _remember(self._early, request_id, self._early.get(request_id, 0.0) + cost)
        else:
            yield from self._records({**facts, **_price(cost, facts)}, switches, COST)

    def _records(self, facts: Facts, switches: Logging, *kinds: Kind) -> Iterator[Record]:
        if switches is not self._switches:
            self._switches = switches
            self._asked_for = {
                kind.event: (kind.level_with(switches), kind.names(switches)) for kind in KINDS
            }
        for kind in kinds:
            level, names = self._asked_for[kind.event]
            if level is not None and self.tells(level):
                told = zip(names, map(facts.get, names), strict=True)
                yield Record(level, kind.event, dict(told))

    def _asked(self, message: Message) -> dict[str, Any]:
        """The facts of a request, two of them also as claude-ccproxy calls them."""
        names = {"model_name": message.get("label"), "routed_model": message.get("model")}
        return {**message, **names}

    def _ended(self, message: Message) -> dict[str, Any]:
        facts = self._asked(message)
        early = self._early.pop(message["request_id"], None)
        cost = message.get("cost_usd") if early is None else early
        first, last = message.get("first_byte_ms"), message.get("latency_ms")
        return {
            **facts,
            **_price(cost, facts),
            "duration_ms": last,
            "routing_effective": is_effective(message) if message.get("label") else None,
            "is_stream": bool(message.get("is_streaming")) and is_answered(message),
            "complete": not message.get("failed"),
            "stream_ms": round(last - first, 3) if first is not None and last else None,
        }

    def _expect_price(self, facts: Facts, message: Message) -> None:
        if message.get("lane") == "litellm" and facts["cost_usd"] is None:
            kept = (*_WHO, "kept", "fallback", "original_cost_usd")
            found = {name: facts.get(name) for name in kept}
            _remember(self._unpriced, message["request_id"], found)


def is_answered(message: Message) -> bool:
    """Whether an answer that is no error has begun."""
    return message.get("first_byte_ms") is not None and message.get("status", 0) < 400


def is_effective(message: Message) -> bool:
    """Whether the deployment that the route led to answered well at the first attempt.

    >>> is_effective({"failed": False, "retries": 0}), is_effective({"fallback": "default"})
    (True, False)
    """
    return not (message.get("failed") or message.get("retries") or message.get("fallback"))


def cost_efficiency(cost: float | None, original: float | None) -> float | None:
    """A cost over another, None where it makes no sense.

    >>> cost_efficiency(1.0, 4.0), cost_efficiency(1.0, 0.0), cost_efficiency(None, 4.0)
    (0.25, None, None)
    """
    return round(cost / original, 4) if cost is not None and original else None


def session_mark(session_id: str, key: bytes) -> str:
    """A session's mark in the log: the same for the same session and key, and no way back.

    >>> len(session_mark("s-1", b"key")), session_mark("s-1", b"key") == session_mark("s-1", b"k")
    (16, False)
    """
    raw = session_id.encode("utf-8", "replace")
    return blake2b(raw, digest_size=_MARK_BYTES, key=key).hexdigest()


def _price(cost: float | None, facts: Facts) -> dict[str, float | None]:
    """Who got the model that was asked for has paid its price, whatever that is."""
    as_asked = facts.get("kept") and not facts.get("fallback")
    original = cost if as_asked else facts.get("original_cost_usd")
    shown = None if cost is None else round(cost, 9)
    return {"cost_usd": shown, "cost_efficiency": cost_efficiency(cost, original)}


def _remember(holder: OrderedDict[str, Any], key: str, value: Any) -> None:
    holder[key] = value
    while len(holder) > _REMEMBERED:
        holder.popitem(last=False)

"""Requests, tokens, money and time, by label, by model and by rule.

Fed with the gateway's `decided` and `finished` and the workers' `priced`; nothing here does I/O.
Percentiles come from a histogram with buckets that grow by a tenth, from 10 us to about three
hours: an error of at most 5 %, at a few hundred counters a label, however many requests there were.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from attrs import define, field

from ccproxyd.channel import Message

_GROWTH: Final = 1.1
_SMALLEST_MS: Final = 0.01
_BUCKETS: Final = 220
_REMEMBERED: Final = 10_000
"""Finished requests whose price may still come: LiteLLM reports it after the answer."""
_ROWS: Final = 500
"""Names of one kind; with a wildcard in `model_list` the clients choose them."""
OTHER: Final = "(other)"
"""The row of all names beyond that."""


class Histogram:
    """Durations in milliseconds.

    >>> times = Histogram()
    >>> for value in range(1, 101):
    ...     times.add(value)
    >>> 47 < times.percentile(0.5) < 53
    True
    >>> Histogram().percentile(0.5) is None
    True
    """

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._total = 0

    def add(self, milliseconds: float) -> None:
        bucket = _bucket(milliseconds)
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self._total += 1

    def percentile(self, share: float) -> float | None:
        """The duration that `share` of all did not exceed, None when there were none."""
        wanted, seen = share * self._total, 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= wanted:
                return round(_middle(bucket), 3)
        return None

    def summary(self, *shares: int) -> dict[str, float | None]:
        return {f"p{share}": self.percentile(share / 100) for share in shares}


def _bucket(milliseconds: float) -> int:
    if milliseconds <= _SMALLEST_MS:
        return 0
    return min(_BUCKETS, 1 + int(math.log(milliseconds / _SMALLEST_MS, _GROWTH)))


def _middle(bucket: int) -> float:
    return _SMALLEST_MS * math.pow(_GROWTH, bucket - 0.5)


@define
class Tally:
    """The sums of one label, model or rule."""

    requests: int = 0
    failed: int = 0
    fallbacks: int = 0
    """Answered by another label, since this one's model failed."""
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cost_usd: float = 0.0
    latency: Histogram = field(factory=Histogram)
    first_byte: Histogram = field(factory=Histogram)

    def add(self, message: Message) -> None:
        """A request that was routed here."""
        self.requests += 1
        self.failed += bool(message.get("failed"))
        self.fallbacks += bool(message.get("fallback"))
        self.latency.add(message["latency_ms"])
        if message.get("first_byte_ms") is not None:
            self.first_byte.add(message["first_byte_ms"])

    def charge(self, message: Message) -> None:
        """One that was answered here."""
        self.input_tokens += message.get("input_tokens") or 0
        self.output_tokens += message.get("output_tokens") or 0
        self.cache_read_tokens += message.get("cache_read_tokens") or 0
        self.cost_usd += message.get("cost_usd") or 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "failed": self.failed,
            "fallbacks": self.fallbacks,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cache_read_tokens": self.cache_read_tokens,
            "cost_usd": round(self.cost_usd, 6),
            "latency_ms": self.latency.summary(50, 95, 99),
            "first_byte_ms": self.first_byte.summary(50, 95, 99),
        }


class Stats:
    """All sums since `since`, an ISO 8601 time in UTC.

    >>> stats = Stats("2026-01-01T00:00:00Z")
    >>> names = {"request_id": "1", "label": "think", "model": "m", "rule": "ThinkingRule"}
    >>> stats.decided({**names, "routing_ms": 0.4})
    >>> stats.to_json()["in_flight"]
    1
    >>> stats.finished({**names, "failed": False, "latency_ms": 12.0, "output_tokens": 7})
    >>> stats.to_json()["by_label"]["think"]["output_tokens"]
    7
    """

    def __init__(self, since: str) -> None:
        self._since = since
        self._open: OrderedDict[str, None] = OrderedDict()
        self._by: dict[str, dict[str, Tally]] = {"label": {}, "model": {}, "rule": {}}
        self._total = Tally()
        self._routing = Histogram()
        self._recent: OrderedDict[str, list[Tally]] = OrderedDict()
        self._early_prices: OrderedDict[str, float] = OrderedDict()

    def decided(self, message: Message) -> None:
        # Bounded too: the message that would close it may be one that a full channel dropped.
        _remember(self._open, message["request_id"], None)
        self._routing.add(message["routing_ms"])

    def finished(self, message: Message) -> None:
        request_id = message["request_id"]
        self._open.pop(request_id, None)
        for tally in self._tallies(message):
            tally.add(message)
        payers = self._tallies(answerer(message))
        for tally in payers:
            tally.charge(message)
        _remember(self._recent, request_id, payers)
        if (price := self._early_prices.pop(request_id, None)) is not None:
            _charge(payers, price)

    def priced(self, message: Message) -> None:
        """What LiteLLM says that a request cost; it may come before the request is finished.

        If it comes afterwards, its tokens are added to those that were told.
        """
        request_id, price = message.get("request_id"), message.get("cost_usd")
        if not isinstance(request_id, str) or not isinstance(price, int | float):
            return
        if tallies := self._recent.get(request_id):
            for tally in tallies:
                tally.charge(message)
        else:
            _remember(self._early_prices, request_id, float(price))

    def lost(self) -> None:
        """The gateway died: what was open there will not finish."""
        self._open.clear()

    def to_json(self) -> dict[str, Any]:
        return {
            "since": self._since,
            "requests_total": self._total.requests,
            "failed_total": self._total.failed,
            "in_flight": len(self._open),
            "by_label": _rows(self._by["label"]),
            "by_model": _rows(self._by["model"]),
            "by_rule": _rows(self._by["rule"]),
            "routing_ms": self._routing.summary(50, 99),
        }

    def _tallies(self, message: Message) -> list[Tally]:
        """The total, and the rows of a request; one that was never decided has none."""
        named = [
            _row(rows, message[kind])
            for kind, rows in self._by.items()
            if message.get(kind) is not None
        ]
        return [self._total, *named]


def answerer(message: Message) -> Message:
    """The message with the names of who has answered: there its tokens and its price belong.

    >>> told = {"label": "think", "model": "a/opus", "fallback": "default"}
    >>> answerer(told)["label"], answerer(told)["model"]
    ('default', '(other)')
    """
    if (fallback := message.get("fallback")) is None:
        return message
    return {**message, "label": fallback, "model": message.get("fallback_model") or OTHER}


def _row(rows: dict[str, Tally], name: str) -> Tally:
    if name not in rows and len(rows) >= _ROWS:
        name = OTHER
    return rows.setdefault(name, Tally())


def _charge(tallies: list[Tally], price: float) -> None:
    for tally in tallies:
        tally.cost_usd += price


def _rows(tallies: Mapping[str, Tally]) -> dict[str, dict[str, Any]]:
    return {name: tally.to_json() for name, tally in sorted(tallies.items())}


def _remember(holder: OrderedDict[str, Any], key: str, value: Any) -> None:
    holder[key] = value
    while len(holder) > _REMEMBERED:
        holder.popitem(last=False)

"""What has to hold between contestants, in one table, and whether it does.

Nothing here is a time: a time depends on the machine. What was promised in milliseconds on two
cores is held as a share of what plain LiteLLM takes there for a small request of one client, not
streamed, which is 10 ms: a millisecond is a tenth of that. Megabytes depend on the machine less.
"No fewer" is held as `NO_FEWER`, which is as exact as a median of a few rounds is.

What deciding a route may cost stands in `scripts/bench_decide.py`, for a machine of a known speed.

A ratio is the median of the rounds. For a share of LiteLLM's time each one's best round counts,
because what disturbs a latency only adds to it; every round is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from attrs import frozen

from scripts.bench.deciding import Decided
from scripts.bench.footprint import Footprint, Lazy, Rooms
from scripts.bench.plan import Cell
from scripts.bench.results import PROVIDER, Reading, Results
from scripts.bench.samples import Summary

UNIT: Final = "x of LiteLLM's 1 KB median"
NO_FEWER: Final = 0.97
_RATIO: Final = "x"
_MB: Final = "MB"


@frozen
class Measured:
    """A figure, and what it was made of; None where ours ran and gave none, which the text says."""

    value: float | None
    details: str = ""


@frozen
class Findings:
    """All that a limit can look at."""

    results: Results
    footprint: Footprint | None = None
    deciding: Sequence[Decided] = ()

    def cell(
        self, body: str, *, stream: bool = True, clients: int = 0, rate: int = 0
    ) -> Cell | None:
        wanted = (body, stream, clients, rate)
        for cell in self.results.cells():
            if (cell.body, cell.stream, cell.clients, cell.rate) == wanted:
                return cell
        return None

    def measured(self, cell: Cell, ours: str, other: str, value: float | None) -> Measured | None:
        """A figure of ours; nothing at all where the other one has none either."""
        if value is not None:
            return Measured(value)
        problem, excuse = (self.results.problem(cell, name) for name in (ours, other))
        return Measured(None, problem) if problem and not excuse else None


@frozen
class Limit:
    """One promise: a figure with a bound."""

    what: str
    measure: Callable[[Findings], Measured | None]
    bound: float
    unit: str = _RATIO
    at_least: bool = False

    def holds(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound

    @property
    def sign(self) -> str:
        return ">=" if self.at_least else "<="


@frozen
class Verdict:
    """What became of a limit; without a figure it was not looked at."""

    limit: Limit
    measured: Measured | None = None

    @property
    def missed(self) -> bool:
        if self.measured is None:
            return False
        return self.measured.value is None or not self.limit.holds(self.measured.value)

    def to_json(self) -> dict[str, Any]:
        return {
            "what": self.limit.what,
            "sign": self.limit.sign,
            "bound": self.limit.bound,
            "unit": self.limit.unit,
            "value": self.measured and self.measured.value,
            "details": self.measured and self.measured.details,
            "missed": self.missed,
        }


def rate(summary: Summary) -> float:
    return summary.rate


def p50(summary: Summary) -> float:
    return summary.p50


def p99(summary: Summary) -> float:
    return summary.p99


def judged(findings: Findings, limits: Sequence[Limit]) -> list[Verdict]:
    return [Verdict(limit, limit.measure(findings)) for limit in limits]


def more_requests(
    one: str, other: str, body: str, bound: float, *, stream: bool = True, clients: int = 8
) -> Limit:
    """Requests a second, as a ratio."""

    def measure(findings: Findings) -> Measured | None:
        cell = findings.cell(body, stream=stream, clients=clients)
        if cell is None:
            return None
        value = findings.results.ratio(cell, one, other, rate)
        return findings.measured(cell, one, other, value)

    how = f"{body} {_streamed(stream)}, {_clients(clients)}"
    return Limit(f"{one} / {other}: requests/s, {how}", measure, bound, at_least=True)


def less_added(
    one: str, other: str, body: str, bound: float, *, stream: bool = True, clients: int = 1
) -> Limit:
    """Added latency at the median, as a ratio."""

    def measure(findings: Findings) -> Measured | None:
        cell = findings.cell(body, stream=stream, clients=clients)
        if cell is None:
            return None
        value = findings.results.added_ratio(cell, one, other, p50)
        return findings.measured(cell, one, other, value)

    how = f"{body} {_streamed(stream)}, {_clients(clients)}"
    return Limit(f"{one} / {other}: added median, {how}", measure, bound)


def little_more(
    one: str,
    other: str,
    reading: Reading,
    body: str,
    bound: float,
    *,
    stream: bool = True,
    clients: int = 0,
    rate: int = 0,
) -> Limit:
    """How much longer a request takes, as a share of LiteLLM's own time."""

    def measure(findings: Findings) -> Measured | None:
        cell = findings.cell(body, stream=stream, clients=clients, rate=rate)
        unit = _unit(findings)
        if cell is None or unit is None:
            return None
        pairs = findings.results.pairs(cell, one, other, reading)
        if not pairs:
            return findings.measured(cell, one, other, None)
        best = _best_difference(pairs)
        rounds = ", ".join(f"{ours:.2f} - {his:.2f}" for ours, his in pairs)
        return Measured(best / unit, f"{best:+.2f} ms, best of {rounds}")

    how = f"{body} {_streamed(stream)}, {f'{rate}/s' if rate else _clients(clients)}"
    return Limit(f"{one} - {other}: {reading.__name__}, {how}", measure, bound, UNIT)


def _best_difference(pairs: Sequence[tuple[float, float]]) -> float:
    """Of each the best: a round that went badly for the other must not flatter ours."""
    return min(ours for ours, _ in pairs) - min(his for _, his in pairs)


def decides(what: str, title: str) -> Limit:
    """Of all sorts of conversations the one that comes nearest to its limit counts."""

    def measure(findings: Findings) -> Measured | None:
        found = [one for one in findings.deciding if one.what == what]
        if not found:
            return None
        told = ", ".join(f"{one.milliseconds:.2f} of {one.limit:.2f}" for one in found)
        return Measured(max(one.milliseconds / one.limit for one in found), f"{told} ms")

    return Limit(f"deciding: {title}", measure, 1.0, "x of what it may take")


def room(name: str, look: Callable[[Rooms], float | None], bound: float) -> Limit:
    def measure(findings: Findings) -> Measured | None:
        rooms = findings.footprint.rooms if findings.footprint else None
        value = look(rooms) if rooms else None
        return None if value is None else Measured(value)

    return Limit(name, measure, bound, _MB)


def lazily(
    name: str, look: Callable[[Lazy, Footprint], float | None], bound: float, unit: str
) -> Limit:
    """Says nothing while LiteLLM is started all the same."""

    def measure(findings: Findings) -> Measured | None:
        weighed = findings.footprint
        if weighed is None or weighed.lazy is None or weighed.lazy.litellm_runs:
            return None
        value = look(weighed.lazy, weighed)
        said = f"{weighed.lazy.ready_seconds:.2f} s to the first answer"
        return None if value is None else Measured(value, said)

    return Limit(name, measure, bound, unit)


def _share_of_start(lazy: Lazy, weighed: Footprint) -> float | None:
    others = weighed.ready_seconds.get("litellm")
    return lazy.ready_seconds / others if others else None


def _unit(findings: Findings) -> float | None:
    cell = findings.cell("1 KB", stream=False, clients=1)
    return findings.results.figure(cell, "litellm", p50) if cell else None


def _streamed(stream: bool) -> str:
    return "streamed" if stream else "whole"


def _clients(clients: int) -> str:
    return f"{clients} client{'s' if clients > 1 else ''}"


def _against_litellm() -> Iterator[Limit]:
    for body in ("1 KB", "116 KB"):
        yield more_requests("direct", "litellm", body, 10)
        yield less_added("direct", "litellm", body, 0.1)


LIMITS: Final = (
    *_against_litellm(),
    more_requests("direct", "ccr", "1 KB", 1),
    less_added("direct", "ccr", "1 KB", 1),
    more_requests("direct", "ccr", "116 KB", 15),
    less_added("direct", "ccr", "116 KB", 1 / 15),
    little_more("direct", PROVIDER, p50, "116 KB", 0.1, rate=100),
    little_more("direct", PROVIDER, p99, "116 KB", 0.2, rate=100),
    little_more("lane", "litellm", p50, "1 KB", 0.1, stream=False, clients=1),
    little_more("lane", "litellm", p50, "1 KB", 0.1, clients=1),
    more_requests("lane", "litellm", "1 KB", NO_FEWER),
    more_requests("lane", "litellm", "116 KB", NO_FEWER),
    more_requests("lane-2", "litellm-2", "1 KB", NO_FEWER),
    little_more("lane-2", "litellm-2", p50, "1 KB", 0.1, stream=False, rate=100),
    little_more("lane-2", "litellm-2", p99, "1 KB", 0.2, stream=False, rate=100),
    little_more("lane-2", "litellm-2", p99, "1 KB", 0.2, rate=40),
    little_more("told", "untold", p50, "1 KB", 0.01, clients=1),
    decides("next turn, median", "the next turn of 500 KB, median"),
    decides("next turn, p99", "the next turn of 500 KB, p99"),
    decides("on the loop", "the loop's block at a first turn"),
    decides("the loop's lag meanwhile", "the loop's lag while a first turn is counted"),
    room("ccproxyd: the daemon", lambda rooms: rooms.daemon, 60),
    room("ccproxyd: the gateway", lambda rooms: rooms.gateway, 130),
    room("ccproxyd: one more worker", lambda rooms: rooms.worker, 100),
    lazily("ccproxyd without LiteLLM: all of it", lambda lazy, _: lazy.megabytes, 150, _MB),
    lazily("ccproxyd without LiteLLM: ready", _share_of_start, 0.2, "x of LiteLLM's start"),
)
"""Each with the words that a failed gate shows."""

"""Who is measured with what, and in which order.

A `Cell` is one situation: a sort of body, streamed or not, and a load. A round goes through all
cells, and within a cell through all contestants, beginning each time with another one, so that
neither a drift of the machine nor a place in the order falls on the same one always.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from attrs import frozen

SOLO: Final = ("provider", "litellm", "lane", "direct", "ccr", "claude-ccproxy")
"""One of each sort, with one worker where there are workers."""
RECORDS: Final = ("told", "untold")
"""What the records of a request's life cost: all of them, and none."""
PAIRS: Final = ("litellm-2", "lane-2")
AT_A_RATE: Final = ("provider", *PAIRS, "direct", "ccr", "claude-ccproxy")
DIRECT_AT_A_RATE: Final = ("provider", "direct", "ccr")
CHANGING: Final = ("provider", "litellm", "lane", "direct", "ccr")
WEIGHED: Final = ("provider", "litellm", "lane-2", "direct", "ccr", "claude-ccproxy")
FEW: Final = ("provider", "litellm", "lane", "direct")
ONE_CLIENTS: Final = ("1 KB", True, 1)
MANY_CLIENTS: Final = ("1 KB", True, 8)


@frozen
class Cell:
    """One situation; `clients` for a closed loop, or `rate` for an open one."""

    body: str
    stream: bool
    contestants: tuple[str, ...]
    clients: int = 0
    rate: int = 0

    @property
    def load(self) -> str:
        """As a reader would say it.

        >>> Cell("1 KB", True, (), clients=8).load, Cell("1 KB", True, (), rate=100).load
        ('8 clients', '100/s')
        """
        if self.rate:
            return f"{self.rate}/s"
        return f"{self.clients} client{'s' if self.clients > 1 else ''}"

    @property
    def name(self) -> str:
        return f"{self.body}, {'streamed' if self.stream else 'whole'}, {self.load}"


@frozen
class Plan:
    """A benchmark: cells, and for how long each is looked at."""

    name: str
    cells: tuple[Cell, ...]
    rounds: int
    seconds: float
    """Of a closed loop, after its warm-up."""
    rate_seconds: float
    """Of an open loop."""
    warm_up: float = 0.3
    decides: bool = True
    """What it costs to decide a route is measured, too."""

    def contestants(self) -> set[str]:
        return {name for cell in self.cells for name in cell.contestants}

    def turns(self, present: Iterable[str]) -> Iterator[Turn]:
        """Every single measurement, in order, of the contestants that are there."""
        there = frozenset(present)
        for number in range(self.rounds):
            for cell in self.cells:
                named = [name for name in cell.contestants if name in there]
                for name in rotated(named, number):
                    yield Turn(number, cell, name)


@frozen
class Turn:
    """One measurement."""

    round: int
    cell: Cell
    contestant: str


def rotated(names: Sequence[str], by: int) -> Sequence[str]:
    """The same order, begun elsewhere.

    >>> rotated(["a", "b", "c"], 4)
    ['b', 'c', 'a']
    """
    start = by % len(names) if names else 0
    return [*names[start:], *names[:start]]


_AT_RATES: Final = (
    Cell("1 KB", False, AT_A_RATE, rate=100),
    Cell("1 KB", True, AT_A_RATE, rate=40),  # LiteLLM works twice as long on a stream
    Cell("116 KB", True, DIRECT_AT_A_RATE, rate=100),
)


def _full() -> Plan:
    """Every body under every load."""
    closed = [
        Cell(body, stream, _who(body, stream, clients), clients=clients)
        for body in ("1 KB", "116 KB")
        for stream in (True, False)
        for clients in (1, 8, 32)
    ]
    large = [Cell("500 KB", True, SOLO, clients=clients) for clients in (1, 8)]
    changing = [
        Cell(f"116 KB {how}", True, CHANGING, clients=clients)
        for how in ("growing", "swapped")
        for clients in (1, 8)
    ]
    cells = (*closed, *large, *changing, *_AT_RATES)
    return Plan("full", cells, rounds=3, seconds=1.2, rate_seconds=10.0)


def _who(body: str, stream: bool, clients: int) -> tuple[str, ...]:
    """What a second worker is good for, or a record costs, shows in one situation as in all."""
    more = {ONE_CLIENTS: RECORDS, MANY_CLIENTS: PAIRS}
    return (*SOLO, *more.get((body, stream, clients), ()))


def _quick() -> Plan:
    """What a regression would show in."""
    streamed = tuple(
        Cell(body, True, FEW, clients=clients)
        for body, clients in (("1 KB", 8), ("116 KB", 1), ("116 KB", 8))
    )
    records = Cell("1 KB", True, (*FEW, *RECORDS), clients=1)
    cells = (Cell("1 KB", False, FEW, clients=1), records, *streamed)
    return Plan("quick", cells, rounds=5, seconds=0.8, rate_seconds=0.0)


def _rates() -> Plan:
    """What others' requests cost a request, each three times; and LiteLLM's time as a measure."""
    alone = Cell("1 KB", False, FEW, clients=1)
    return Plan("rates", (alone, *_AT_RATES), rounds=3, seconds=0.8, rate_seconds=10.0)


def _memory() -> Plan:
    """Some work for everybody, so that what is weighed is not the memory of idle processes."""
    cells = tuple(Cell(body, True, WEIGHED, clients=8) for body in ("116 KB", "500 KB"))
    return Plan("memory", cells, rounds=1, seconds=2.0, rate_seconds=0.0, decides=False)


PLANS: Final[Mapping[str, Plan]] = {
    plan.name: plan for plan in (_full(), _quick(), _rates(), _memory())
}

"""All runs of one benchmark, and what they say about contestants beside each other.

A ratio is taken within each round, between runs that were neighbours in time, and the median over
the rounds is what counts. *Added* latency is a contestant's over that of the provider alone, in the
same round: what it costs to have it in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from attrs import define, field, frozen

from scripts.bench.plan import Cell, Turn
from scripts.bench.samples import Summary, median

PROVIDER: Final = "provider"

Reading = Callable[[Summary], float | None]


@frozen
class Run:
    """One measurement: its numbers, or why there are none."""

    turn: Turn
    summary: Summary | None
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        cell = self.turn.cell
        return {
            "round": self.turn.round,
            "contestant": self.turn.contestant,
            "body": cell.body,
            "stream": cell.stream,
            "load": cell.load,
            "problem": self.problem or None,
            **(self.summary.to_json() if self.summary else {}),
        }


@define
class Results:
    """The runs, as they were made."""

    runs: list[Run] = field(factory=list)

    def cells(self) -> list[Cell]:
        return list(dict.fromkeys(run.turn.cell for run in self.runs))

    def of(self, cell: Cell, contestant: str) -> dict[int, Summary]:
        """A contestant's good runs in a cell, by round."""
        return {
            run.turn.round: run.summary
            for run in self._runs(cell, contestant)
            if run.summary is not None and run.summary.held
        }

    def problem(self, cell: Cell, contestant: str) -> str | None:
        """Why there is no number, if there is none."""
        troubles = self.troubles(cell, contestant)
        return troubles[0] if troubles and not self.of(cell, contestant) else None

    def troubles(self, cell: Cell, contestant: str) -> list[str]:
        """What went wrong in each round that has no number."""
        return [
            run.problem or "cannot hold it"
            for run in self._runs(cell, contestant)
            if run.summary is None or not run.summary.held
        ]

    def figure(self, cell: Cell, contestant: str, reading: Reading) -> float | None:
        """The median over the rounds."""
        return _median(reading(summary) for summary in self.of(cell, contestant).values())

    def added(self, cell: Cell, contestant: str, reading: Reading) -> list[float]:
        """Each round's difference to the provider alone."""
        return [mine - his for mine, his in self.pairs(cell, contestant, PROVIDER, reading)]

    def ratio(self, cell: Cell, one: str, other: str, reading: Reading) -> float | None:
        """Of two contestants' figures, the first by the second."""
        pairs = self.pairs(cell, one, other, reading)
        return _median(first / second for first, second in pairs if second)

    def added_ratio(self, cell: Cell, one: str, other: str, reading: Reading) -> float | None:
        """Of two contestants' added latencies, the first by the second."""
        mine, theirs = (
            dict(self._by_round(cell, name, PROVIDER, reading)) for name in (one, other)
        )
        both = mine.keys() & theirs.keys()
        return _median(
            (mine[number][0] - mine[number][1]) / (theirs[number][0] - theirs[number][1])
            for number in both
            if theirs[number][0] > theirs[number][1]
        )

    def pairs(
        self, cell: Cell, one: str, other: str, reading: Reading
    ) -> list[tuple[float, float]]:
        """The figures of two contestants in each round in which both have one."""
        return [pair for _, pair in self._by_round(cell, one, other, reading)]

    def _by_round(
        self, cell: Cell, one: str, other: str, reading: Reading
    ) -> Iterable[tuple[int, tuple[float, float]]]:
        mine, theirs = self.of(cell, one), self.of(cell, other)
        for number in sorted(mine.keys() & theirs.keys()):
            first, second = reading(mine[number]), reading(theirs[number])
            if first is not None and second is not None:
                yield number, (first, second)

    def _runs(self, cell: Cell, contestant: str) -> Iterable[Run]:
        return (
            run for run in self.runs if run.turn.cell == cell and run.turn.contestant == contestant
        )


def middle(values: Sequence[float]) -> float | None:
    """The median of each round's difference, if there was any."""
    return _median(values)


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None

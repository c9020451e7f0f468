"""Results out of a few numbers."""

from __future__ import annotations

from typing import Any

from scripts.bench.plan import Cell, Turn
from scripts.bench.results import Results, Run
from scripts.bench.samples import Summary


def summary(p50: float = 1.0, **more: Any) -> Summary:
    usual: dict[str, Any] = {
        "requests": 100,
        "rate": 1000 / p50,
        "p95": 2 * p50,
        "p99": 3 * p50,
        "first_p50": p50 / 2,
        "first_p99": p50,
        "cpu_ms": p50 / 4,
    }
    return Summary(p50=p50, **(usual | more))


def results(cell: Cell, **rounds: list[Summary | float | str]) -> Results:
    """For each contestant its rounds: a summary, a median, or a problem."""
    return Results(
        [
            Run(Turn(number, cell, name), *_outcome(one))
            for name, found in rounds.items()
            for number, one in enumerate(found)
        ]
    )


def _outcome(one: Summary | float | str) -> tuple[Summary | None, str]:
    if isinstance(one, str):
        return None, one
    return (one, "") if isinstance(one, Summary) else (summary(one), "")

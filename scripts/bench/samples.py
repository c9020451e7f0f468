"""What a run of requests came to: medians, percentiles and rates of what the driver saw.

All times are milliseconds. A percentile is the smallest sample that so many are not above, so it is
one that was measured, and never better than that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from attrs import asdict, define, field, frozen

HELD_SHARE: Final = 0.98
"""Of the requests asked for, how many have to be answered in time for a rate to be held."""
HELD_MS: Final = 500.0
"""How far behind its schedule a server may be at the end."""


@frozen
class Sample:
    """One request: when its answer began and ended, in seconds since it was due."""

    first: float
    last: float


@define
class Taken:
    """What the driver took down of one run."""

    samples: list[Sample] = field(factory=list)
    seconds: float = 0.0
    """How long the samples were collected."""
    answered: int = 0
    """Every good answer, those of the warm-up as well."""
    failures: list[str] = field(factory=list)
    late: list[float] = field(factory=list)
    """By how many seconds the driver itself missed the time at which a request was due."""
    due: int = 0
    """How many requests a schedule asked for; 0 where there was none."""


@frozen
class Summary:
    """One run in numbers."""

    requests: int
    rate: float
    """Answers a second."""
    p50: float
    p95: float
    p99: float
    first_p50: float
    first_p99: float
    cpu_ms: float | None = None
    """Processor time that all processes of the server took for one request."""
    held: bool = True
    """A schedule was kept; without one there is nothing to keep."""
    driver_late_p99: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {name: _rounded(value) for name, value in asdict(self).items()}


def summary_of(taken: Taken, cpu_seconds: float | None = None) -> Summary:
    """The run in numbers.

    Raises:
        ValueError: nothing was answered.
    """
    if not taken.samples:
        raise ValueError("nothing was answered in time")
    whole = sorted(1000 * sample.last for sample in taken.samples)
    first = sorted(1000 * sample.first for sample in taken.samples)
    late = sorted(1000 * one for one in taken.late) or [0.0]
    return Summary(
        requests=len(whole),
        rate=len(whole) / taken.seconds,
        p50=percentile(whole, 50),
        p95=percentile(whole, 95),
        p99=percentile(whole, 99),
        first_p50=percentile(first, 50),
        first_p99=percentile(first, 99),
        cpu_ms=None if cpu_seconds is None else 1000 * cpu_seconds / max(1, taken.answered),
        held=_held(taken),
        driver_late_p99=percentile(late, 99),
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest of them that `percent` of them are not above.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 50), percentile([1.0, 2.0, 3.0, 4.0], 99)
    (2.0, 4.0)
    """
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def median(values: Sequence[float]) -> float:
    """The middle one, or the mean of the two in the middle.

    >>> median([3.0, 1.0, 2.0]), median([1.0, 2.0])
    (2.0, 1.5)
    """
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _held(taken: Taken) -> bool:
    """Enough was answered, and the last ones did not come out of a queue."""
    if not taken.due:
        return True
    newest = sorted(1000 * one.last for one in taken.samples[-max(1, taken.due // 10) :])
    enough = len(taken.samples) >= HELD_SHARE * taken.due
    return enough and percentile(newest, 50) <= HELD_MS


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value

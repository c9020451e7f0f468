"""Numbers out of what a driver took down."""

from __future__ import annotations

import doctest

import pytest

from scripts.bench import samples
from scripts.bench.samples import Sample, Taken, summary_of


def taken(milliseconds: list[float], *, seconds: float = 1.0, due: int = 0) -> Taken:
    found = [Sample(first=one / 2000, last=one / 1000) for one in milliseconds]
    return Taken(found, seconds, answered=len(found), due=due)


def test_the_examples_hold() -> None:
    assert doctest.testmod(samples).failed == 0


def test_a_run_has_its_median_its_late_ones_and_its_rate() -> None:
    summary = summary_of(taken([float(one) for one in range(1, 201)], seconds=2.0))
    assert summary.requests == 200
    assert summary.rate == 100
    assert (summary.p50, summary.p95, summary.p99) == pytest.approx((100, 190, 198))
    assert (summary.first_p50, summary.first_p99) == pytest.approx((50, 99))


def test_processor_time_is_shared_by_all_answers_those_of_the_warm_up_too() -> None:
    run = taken([1.0] * 10)
    run.answered = 40
    assert summary_of(run, cpu_seconds=0.2).cpu_ms == pytest.approx(5)


def test_nothing_answered_is_no_run() -> None:
    with pytest.raises(ValueError, match="nothing was answered"):
        summary_of(taken([]))


def test_a_closed_loop_has_no_rate_to_hold() -> None:
    assert summary_of(taken([5000.0])).held


@pytest.mark.parametrize(
    ("milliseconds", "held"),
    [
        ([2.0] * 100, True),
        ([2.0] * 99, True),
        ([2.0] * 90, False),
        ([2.0] * 50 + [900.0] * 50, False),
        ([900.0] * 50 + [2.0] * 50, True),
    ],
    ids=["all", "nearly all", "too few", "ever later", "recovered"],
)
def test_a_rate_is_held_when_nothing_piles_up(milliseconds: list[float], held: bool) -> None:
    assert summary_of(taken(milliseconds, due=100)).held is held


def test_the_record_has_four_decimals() -> None:
    record = summary_of(taken([1 / 3])).to_json()
    assert record["p50"] == 0.3333
    assert record["requests"] == 1

"""Contestants beside each other, round by round."""

from __future__ import annotations

import pytest

from scripts.bench.limits import p50, rate
from scripts.bench.plan import Cell
from scripts.bench.results import middle
from tests.scripts.bench.figures import results, summary

CELL = Cell("1 KB", True, ("provider", "a", "b"), clients=1)


def test_a_ratio_is_taken_in_each_round() -> None:
    """The machine was ten times as slow in the second round; both felt it."""
    found = results(CELL, a=[2.0, 20.0, 2.2], b=[1.0, 10.0, 1.0])
    assert found.ratio(CELL, "a", "b", p50) == pytest.approx(2.0)
    assert found.figure(CELL, "a", p50) == pytest.approx(2.2)


def test_added_is_what_is_above_the_provider_of_the_same_round() -> None:
    found = results(CELL, provider=[1.0, 5.0], a=[3.0, 9.0], b=[2.0, 7.0])
    assert found.added(CELL, "a", p50) == [2.0, 4.0]
    assert found.added_ratio(CELL, "a", "b", p50) == pytest.approx(2.0)


def test_a_round_that_went_wrong_for_one_counts_for_neither() -> None:
    found = results(CELL, a=[2.0, "status 500", 4.0], b=[1.0, 1.0, 1.0])
    assert found.ratio(CELL, "a", "b", p50) == pytest.approx(3.0)
    assert found.troubles(CELL, "a") == ["status 500"]
    assert found.problem(CELL, "a") is None


def test_where_no_round_is_good_there_is_a_reason_and_no_figure() -> None:
    found = results(CELL, a=["status 500", "reset"], b=[1.0, 1.0])
    assert found.problem(CELL, "a") == "status 500"
    assert found.figure(CELL, "a", p50) is None
    assert found.ratio(CELL, "a", "b", p50) is None


def test_a_rate_that_is_not_held_is_no_figure() -> None:
    found = results(CELL, a=[summary(1.0, held=False)])
    assert found.problem(CELL, "a") == "cannot hold it"
    assert found.figure(CELL, "a", rate) is None


def test_who_never_ran_has_no_problem_and_no_figure() -> None:
    found = results(CELL, a=[1.0])
    assert found.problem(CELL, "b") is None
    assert found.figure(CELL, "b", p50) is None
    assert found.added_ratio(CELL, "a", "b", p50) is None
    assert middle(found.added(CELL, "b", p50)) is None


def test_somebody_faster_than_the_provider_alone_is_no_measure_for_others() -> None:
    found = results(CELL, provider=[2.0], a=[3.0], b=[1.5])
    assert found.added_ratio(CELL, "a", "b", p50) is None


def test_the_record_says_what_was_measured_or_why_not() -> None:
    good, bad = (run.to_json() for run in results(CELL, a=[1.0, "reset"]).runs)
    assert good["problem"] is None
    assert (good["contestant"], good["load"], good["p50"]) == ("a", "1 client", 1.0)
    assert bad["problem"] == "reset"
    assert "p50" not in bad

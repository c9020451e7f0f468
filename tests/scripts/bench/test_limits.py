"""What has to hold, and what is made of it."""

from __future__ import annotations

import pytest

from scripts.bench.deciding import Decided
from scripts.bench.footprint import Footprint, Lazy, Rooms
from scripts.bench.limits import (
    LIMITS,
    Findings,
    Limit,
    decides,
    judged,
    lazily,
    less_added,
    little_more,
    more_requests,
    p50,
    p99,
    room,
)
from scripts.bench.plan import PLANS, Cell
from scripts.bench.processes import Memory
from scripts.bench.results import Results
from tests.scripts.bench.figures import results, summary

EIGHT = Cell("1 KB", True, ("provider", "litellm", "direct"), clients=8)
ONE = Cell("1 KB", True, ("provider", "litellm", "direct"), clients=1)
WHOLE = Cell("1 KB", False, ("litellm",), clients=1)
STEADY = Cell("116 KB", True, ("provider", "direct"), rate=100)


def missed(limit: Limit, findings: Findings) -> bool | None:
    """None where it was not looked at."""
    [verdict] = judged(findings, [limit])
    return None if verdict.measured is None else verdict.missed


@pytest.mark.parametrize(("median", "is_missed"), [(0.9, False), (1.1, True)])
def test_ten_times_the_requests(median: float, is_missed: bool) -> None:
    found = Findings(results(EIGHT, litellm=[10.0], direct=[median]))
    assert missed(more_requests("direct", "litellm", "1 KB", 10), found) is is_missed


@pytest.mark.parametrize(("median", "is_missed"), [(1.9, False), (2.1, True)])
def test_a_tenth_of_the_added_latency(median: float, is_missed: bool) -> None:
    found = Findings(results(ONE, provider=[1.0], litellm=[11.0], direct=[median]))
    assert missed(less_added("direct", "litellm", "1 KB", 0.1), found) is is_missed


def steady(litellm: float, *direct: float) -> Findings:
    unit = results(WHOLE, litellm=[litellm])
    runs = results(STEADY, provider=[1.0] * len(direct), direct=list(direct))
    return Findings(Results([*unit.runs, *runs.runs]))


def test_milliseconds_are_shares_of_what_litellm_takes_on_the_same_machine() -> None:
    limit = little_more("direct", "provider", p50, "116 KB", 0.1, rate=100)
    assert missed(limit, steady(10.0, 2.5)) is True
    assert missed(limit, steady(20.0, 2.5)) is False
    assert missed(limit, Findings(results(STEADY, provider=[1.0], direct=[1.1]))) is None


def test_the_best_round_counts_and_all_are_told() -> None:
    limit = little_more("direct", "provider", p99, "116 KB", 0.2, rate=100)
    [verdict] = judged(steady(10.0, 9.0, 1.5, 4.0), [limit])
    assert verdict.measured is not None
    assert verdict.measured.value == pytest.approx(0.15)
    assert verdict.measured.details == ("+1.50 ms, best of 27.00 - 3.00, 4.50 - 3.00, 12.00 - 3.00")


def test_a_bad_round_of_the_other_one_does_not_flatter_ours() -> None:
    limit = little_more("direct", "provider", p50, "116 KB", 0.1, rate=100)
    runs = results(STEADY, provider=[9.0, 1.0], direct=[9.1, 4.0]).runs
    found = Findings(Results([*results(WHOLE, litellm=[10.0]).runs, *runs]))
    assert missed(limit, found) is True


def test_ours_that_gives_no_figure_has_missed() -> None:
    limit = more_requests("direct", "litellm", "1 KB", 10)
    found = Findings(results(EIGHT, litellm=[10.0], direct=["status 502"]))
    [verdict] = judged(found, [limit])
    assert verdict.missed
    assert verdict.to_json()["details"] == "status 502"


def test_ours_that_cannot_hold_a_rate_has_missed() -> None:
    found = steady(10.0)
    runs = results(STEADY, provider=[1.0], direct=[summary(1.0, held=False)]).runs
    found.results.runs.extend(runs)
    assert missed(little_more("direct", "provider", p50, "116 KB", 0.1, rate=100), found) is True


def test_what_neither_can_do_is_no_fault_of_ours() -> None:
    found = Findings(results(EIGHT, litellm=["reset"], direct=["reset"]))
    assert missed(more_requests("direct", "litellm", "1 KB", 10), found) is None


def test_others_that_give_no_figure_are_no_fault_of_ours() -> None:
    found = Findings(results(EIGHT, litellm=["status 500"], direct=[1.0]))
    assert missed(more_requests("direct", "litellm", "1 KB", 10), found) is None


def test_what_the_plan_left_out_is_not_missed() -> None:
    assert not any(verdict.missed for verdict in judged(Findings(Results()), LIMITS))


WEIGHT = Memory(rss=100, pss=80, uss=60)
ROOMS = Rooms(daemon=40, gateway=120, template=350, worker=110)


def weighed(lazy: Lazy | None = None) -> Findings:
    footprint = Footprint({"a": WEIGHT}, {"a": WEIGHT}, {"litellm": 5.0}, ROOMS, lazy)
    return Findings(Results(), footprint)


def test_megabytes_have_limits() -> None:
    assert missed(room("gateway", lambda rooms: rooms.gateway, 130), weighed()) is False
    assert missed(room("worker", lambda rooms: rooms.worker, 100), weighed()) is True
    assert missed(room("worker", lambda rooms: None, 100), weighed()) is None


def test_a_start_without_litellm_is_judged_only_if_it_was_one() -> None:
    limit = lazily("ready", lambda lazy, _: lazy.ready_seconds, 1.0, "s")
    assert missed(limit, weighed(Lazy(2.0, 130, litellm_runs=False))) is True
    assert missed(limit, weighed(Lazy(2.0, 130, litellm_runs=True))) is None
    assert missed(limit, weighed()) is None


DECIDED = (
    Decided("next turn, median", 0.4, 0.5),
    Decided("next turn, median", 0.7, 0.6),
    Decided("next turn, p99", 0.9, 1.0),
)
FIRST_TURN = (Decided("on the loop", 1.0, 5.0), Decided("the loop's lag meanwhile", 1.0, 5.0))


def test_the_conversation_that_comes_nearest_to_its_limit_counts() -> None:
    findings = Findings(Results(), deciding=DECIDED)
    assert missed(decides("next turn, median", "median"), findings) is True
    assert missed(decides("next turn, p99", "p99"), findings) is False
    assert missed(decides("on the loop", "block"), findings) is None


def everything() -> Findings:
    """What a full run finds where each takes a little longer than the one before."""
    runs = [
        run
        for cell in PLANS["full"].cells
        for number, name in enumerate(cell.contestants)
        for run in results(cell, **{name: [1.0 + number]}).runs
    ]
    lazy = Lazy(0.5, 130, litellm_runs=False)
    footprint = Footprint({}, {}, {"litellm": 5.0}, ROOMS, lazy)
    return Findings(Results(runs), footprint, (*DECIDED, *FIRST_TURN))


def test_a_full_run_looks_at_every_limit() -> None:
    unseen = [one.limit.what for one in judged(everything(), LIMITS) if one.measured is None]
    assert unseen == []


def test_every_limit_is_told_apart() -> None:
    named = [limit.what for limit in LIMITS]
    assert len(set(named)) == len(named)

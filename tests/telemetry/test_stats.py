from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccproxyd.telemetry import stats as module
from ccproxyd.telemetry.stats import OTHER, Histogram, Stats

NAMES = {"label": "think", "model": "anthropic/opus", "rule": "ThinkingRule"}


def histogram(*values: float) -> Histogram:
    made = Histogram()
    for value in values:
        made.add(value)
    return made


@settings(max_examples=100, deadline=None, database=None)
@given(
    st.lists(st.floats(0.1, 10_000_000), min_size=1, max_size=200),
    st.sampled_from([0.5, 0.95, 0.99]),
)
def test_a_percentile_is_right_within_six_percent(values: list[float], share: float) -> None:
    exact = sorted(values)[math.ceil(share * len(values)) - 1]
    assert histogram(*values).percentile(share) == pytest.approx(exact, rel=0.06)


def test_percentiles_of_a_long_tail() -> None:
    random.seed(7)
    values = [random.lognormvariate(6, 1.5) for _ in range(20_000)]
    found = histogram(*values).summary(50, 95, 99)
    assert list(found) == ["p50", "p95", "p99"]
    for name, value in found.items():
        exact = sorted(values)[int(len(values) * int(name[1:]) / 100)]
        assert value == pytest.approx(exact, rel=0.06)


def test_no_percentile_of_nothing() -> None:
    assert Histogram().summary(50, 99) == {"p50": None, "p99": None}


@pytest.mark.parametrize("value", [0.0, -5.0, 0.001])
def test_a_duration_below_all_buckets_is_a_small_one(value: float) -> None:
    assert histogram(value).percentile(0.5) == 0.01


def test_a_duration_above_all_buckets_is_a_large_one() -> None:
    assert (histogram(1e12).percentile(0.5) or 0) > 3 * 3600 * 1000


def test_a_histogram_does_not_grow_with_what_it_counts() -> None:
    many = histogram(*[1.0001**number for number in range(100_000)])
    assert len(many._counts) < 250


def decided(stats: Stats, request_id: str = "1", routing_ms: float = 0.4) -> None:
    stats.decided({**NAMES, "request_id": request_id, "routing_ms": routing_ms})


def finished(stats: Stats, request_id: str = "1", **more: Any) -> None:
    message = {**NAMES, "request_id": request_id, "failed": False, "latency_ms": 12.0, **more}
    stats.finished(message)


def priced(stats: Stats, request_id: Any = "1", cost: Any = 0.25, **tokens: int) -> None:
    stats.priced({"request_id": request_id, "cost_usd": cost, **tokens})


@pytest.fixture
def stats() -> Stats:
    return Stats("2026-01-02T03:04:05Z")


def row(stats: Stats, kind: str = "by_label", name: str = "think") -> Any:
    return stats.to_json()[kind][name]


def test_a_fresh_daemon_has_counted_nothing(stats: Stats) -> None:
    assert stats.to_json() == {
        "since": "2026-01-02T03:04:05Z",
        "requests_total": 0,
        "failed_total": 0,
        "in_flight": 0,
        "by_label": {},
        "by_model": {},
        "by_rule": {},
        "routing_ms": {"p50": None, "p99": None},
    }


def test_a_request_is_in_flight_from_its_route_to_its_end(stats: Stats) -> None:
    decided(stats)
    assert stats.to_json()["in_flight"] == 1
    assert stats.to_json()["requests_total"] == 0
    finished(stats)
    assert stats.to_json()["in_flight"] == 0
    assert stats.to_json()["requests_total"] == 1
    assert stats.to_json()["routing_ms"]["p50"] == pytest.approx(0.4, rel=0.06)


def test_a_request_counts_for_its_label_its_model_and_its_rule(stats: Stats) -> None:
    tokens = {"input_tokens": 10, "output_tokens": 3, "cache_read_tokens": 7}
    finished(stats, first_byte_ms=5.0, **tokens)
    finished(stats, "2", **tokens)
    for kind, name in (
        ("by_label", "think"),
        ("by_model", "anthropic/opus"),
        ("by_rule", "ThinkingRule"),
    ):
        counted = row(stats, kind, name)
        assert counted["requests"] == 2
        assert counted["input_tokens"] == 20
        assert counted["output_tokens"] == 6
        assert counted["cache_read_tokens"] == 14
        assert counted["latency_ms"]["p99"] == pytest.approx(12.0, rel=0.06)
        assert counted["first_byte_ms"]["p50"] == pytest.approx(5.0, rel=0.06)


def test_a_failure_is_a_request_too(stats: Stats) -> None:
    finished(stats, failed=True, input_tokens=None)
    finished(stats, "2")
    assert stats.to_json()["failed_total"] == 1
    assert row(stats)["failed"] == 1
    assert row(stats)["requests"] == 2
    assert row(stats)["first_byte_ms"]["p50"] is None


def test_a_request_that_was_never_routed_counts_in_the_total_alone(stats: Stats) -> None:
    finished(stats, failed=True, label=None, model=None, rule=None)
    told = stats.to_json()
    assert told["requests_total"] == told["failed_total"] == 1
    assert told["by_label"] == told["by_model"] == told["by_rule"] == {}


def test_the_price_comes_after_the_answer(stats: Stats) -> None:
    finished(stats)
    priced(stats, cost=0.25)
    assert row(stats)["cost_usd"] == 0.25


def test_what_a_price_tells_of_its_tokens_is_added_or_taken_away(stats: Stats) -> None:
    finished(stats, input_tokens=4, output_tokens=3)
    priced(stats, input_tokens=107, output_tokens=-1)
    assert (row(stats)["input_tokens"], row(stats)["output_tokens"]) == (111, 2)


def test_the_price_comes_before_the_end_of_the_answer(stats: Stats) -> None:
    decided(stats)
    priced(stats, cost=1)
    assert stats.to_json()["by_label"] == {}
    finished(stats)
    assert row(stats)["cost_usd"] == 1.0
    assert row(stats, "by_model", "anthropic/opus")["cost_usd"] == 1.0


def test_each_of_two_attempts_has_its_price(stats: Stats) -> None:
    finished(stats)
    priced(stats, cost=0.1)
    priced(stats, cost=0.2)
    assert row(stats)["cost_usd"] == 0.3


@pytest.mark.parametrize(
    ("request_id", "cost"), [(None, 1.0), (7, 1.0), ("1", None), ("1", "free"), ("2", 1.0)]
)
def test_a_price_of_nothing_that_is_known_costs_nothing(
    stats: Stats, request_id: Any, cost: Any
) -> None:
    finished(stats)
    priced(stats, request_id, cost)
    assert row(stats)["cost_usd"] == 0.0


def test_what_was_open_in_a_gateway_that_died_is_not_in_flight(stats: Stats) -> None:
    decided(stats, "1")
    decided(stats, "2")
    stats.lost()
    decided(stats, "3")
    assert stats.to_json()["in_flight"] == 1


def test_the_rows_are_sorted_by_name(stats: Stats) -> None:
    for label in ("think", "background", "default"):
        finished(stats, label, label=label)
    assert list(stats.to_json()["by_label"]) == ["background", "default", "think"]


@pytest.mark.parametrize("kind", ["label", "model", "rule"])
def test_names_that_clients_make_up_do_not_fill_the_memory(stats: Stats, kind: str) -> None:
    for number in range(700):
        finished(stats, str(number), **{kind: f"made-up-{number}"})
        priced(stats, str(number), 0.5)
    rows = stats.to_json()[f"by_{kind}"]
    assert len(rows) == 501
    assert rows[OTHER]["requests"] == 200
    assert rows[OTHER]["cost_usd"] == 100.0
    assert sum(one["requests"] for one in rows.values()) == 700
    finished(stats, "again", **{kind: "made-up-0"})
    assert row(stats, f"by_{kind}", "made-up-0")["requests"] == 2


@pytest.fixture
def _small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 3)


@pytest.mark.usefixtures("_small_memory")
def test_a_price_that_comes_much_too_late_is_lost(stats: Stats) -> None:
    for request_id in "12345":
        finished(stats, request_id)
    priced(stats, "1", 8.0)
    priced(stats, "5", 1.0)
    assert row(stats)["cost_usd"] == 1.0


@pytest.mark.usefixtures("_small_memory")
def test_prices_of_requests_that_never_finish_do_not_fill_the_memory(stats: Stats) -> None:
    for number in range(100):
        priced(stats, str(number))
    assert len(stats._early_prices) == 3
    assert len(stats._recent) == 0


@pytest.mark.usefixtures("_small_memory")
def test_requests_whose_end_was_not_told_do_not_fill_the_memory(stats: Stats) -> None:
    for number in range(100):
        decided(stats, str(number))
    assert stats.to_json()["in_flight"] == 3


def test_a_request_that_another_label_answered_is_counted() -> None:
    stats = Stats("2026-01-01T00:00:00Z")
    finished(stats, fallback="default")
    assert (row(stats)["requests"], row(stats)["fallbacks"]) == (1, 1)


@pytest.mark.parametrize(
    ("told", "model"), [({"fallback_model": "a/small"}, "a/small"), ({}, OTHER)]
)
def test_what_it_used_and_cost_is_the_other_labels(told: dict[str, Any], model: str) -> None:
    stats = Stats("2026-01-01T00:00:00Z")
    finished(stats, fallback="default", output_tokens=3, cost_usd=0.5, **told)
    priced(stats, cost=0.25)
    for kind, name in (("by_label", "default"), ("by_model", model), ("by_rule", "ThinkingRule")):
        assert (row(stats, kind, name)["output_tokens"], row(stats, kind, name)["cost_usd"]) == (
            3,
            0.75,
        )
    for kind, name in (("by_label", "think"), ("by_model", "anthropic/opus")):
        assert (row(stats, kind, name)["output_tokens"], row(stats, kind, name)["cost_usd"]) == (
            0,
            0,
        )
    assert row(stats, name="default")["requests"] == 0

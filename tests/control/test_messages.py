import pytest

from ccproxyd.control.messages import (
    Explanation,
    Fault,
    Message,
    Ping,
    ReloadResult,
    RestartResult,
    Routes,
    Stats,
    StopResult,
    Totals,
)
from tests.control.fakes import EXPLANATION, ROUTES, STATS


@pytest.mark.parametrize(
    "message",
    [
        STATS,
        ROUTES,
        EXPLANATION,
        ReloadResult(False, 1, error=Fault("ccproxy.yaml: x", "is wrong")),
        RestartResult(True, "workers", 3, 0.5),
        StopResult(True, 4711),
        Ping("ccproxyd", "0.1.0", ("v1",)),
    ],
    ids=lambda message: type(message).__name__,
)
def test_an_answer_survives_the_socket(message: Message) -> None:
    assert type(message).from_json(message.to_json()) == message


def test_the_names_of_stats_are_those_of_the_api() -> None:
    assert list(Stats().to_json()) == [
        "since",
        "requests_total",
        "failed_total",
        "in_flight",
        "by_label",
        "by_model",
        "by_rule",
        "routing_ms",
    ]
    assert list(Totals().to_json()) == [
        "requests",
        "failed",
        "input_tokens",
        "output_tokens",
        "cache_read_tokens",
        "cost_usd",
        "latency_ms",
        "first_byte_ms",
        "fallbacks",
    ]


def test_the_names_of_an_explanation_are_those_of_the_api() -> None:
    assert list(Explanation().to_json()) == [
        "label",
        "model",
        "rule",
        "reason",
        "lane",
        "lane_reason",
        "token_count",
        "session_id",
        "rules",
    ]
    assert set(EXPLANATION.to_json()["rules"][0]) == {"label", "rule", "matched", "detail"}


def test_the_names_of_the_results_are_those_of_the_api() -> None:
    assert list(ReloadResult().to_json()) == ["ok", "generation", "changed", "seconds", "error"]
    assert "aliases" in Routes().to_json()

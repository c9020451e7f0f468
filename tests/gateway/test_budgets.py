from __future__ import annotations

from typing import Any

import pytest

from ccproxyd.errors import ProxyError
from ccproxyd.gateway.budgets import barred_from, check_unrouted, within_budget
from ccproxyd.routing import Decision, ModelRouter, Request, RoutingTable
from ccproxyd.routing.router import Target
from ccproxyd.telemetry.budgets import Gate

MODELS = ModelRouter(
    RoutingTable(targets=(Target("think", ("anthropic/opus",)), Target("cheap", ("x/small",))))
)
THINK = Decision("think", "ThinkingRule", "anthropic/opus", "thinking is on", "claude")


def gate(on_exceeded: str, label: str | None = "think") -> Gate:
    used_up = {"label": label, "period": "day", "limit_usd": 5.0, "resets": "2026-01-02"}
    return Gate.from_message({"on_exceeded": on_exceeded, "exceeded": [used_up]})


def decided(found: Gate, path: str = "/v1/messages", **body: Any) -> Decision:
    return within_budget(THINK, found, MODELS, Request(body, path=path))


def test_what_is_within_its_budget_goes_on() -> None:
    assert decided(Gate()) is THINK
    assert decided(gate("reject", "cheap")) is THINK
    assert decided(gate("warn")) is THINK


def test_a_used_up_budget_sends_a_request_elsewhere() -> None:
    found = decided(gate("route:cheap"))
    assert (found.label, found.rule, found.model) == ("cheap", "budget", "x/small")
    assert found.reason.startswith("the daily budget of 'think' (5 USD) is used up until")


def test_a_used_up_budget_refuses_a_request_for_good() -> None:
    with pytest.raises(ProxyError, match="is used up until 2026-01-02") as caught:
        decided(gate("reject"))
    assert caught.value.code == 403


def test_a_count_of_tokens_costs_nothing() -> None:
    assert decided(gate("reject"), "/v1/messages/count_tokens") is THINK
    assert decided(gate("route:cheap"), "/v1/messages/count_tokens").label == "cheap"


def test_what_no_other_model_could_answer_is_refused() -> None:
    with pytest.raises(ProxyError):
        decided(gate("route:cheap"), "/v1/embeddings")


@pytest.mark.parametrize("on_exceeded", ["reject", "route:cheap"])
def test_what_has_no_label_is_refused_where_a_budget_of_everything_is_used_up(
    on_exceeded: str,
) -> None:
    with pytest.raises(ProxyError, match=r"the daily budget \(5 USD\) is used up") as caught:
        check_unrouted(gate(on_exceeded, None))
    assert caught.value.code == 403


def test_otherwise_it_goes_on() -> None:
    for found in (Gate(), gate("warn", None), gate("reject", "think"), gate("route:cheap")):
        check_unrouted(found)


def test_a_label_without_budget_stands_in_for_no_other() -> None:
    assert barred_from(THINK, gate("reject", "cheap"), MODELS) == ("cheap",)
    assert barred_from(THINK, gate("reject", "think"), MODELS) == ()
    assert barred_from(THINK, gate("warn", "cheap"), MODELS) == ()

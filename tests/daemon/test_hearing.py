from __future__ import annotations

from typing import Any

import pytest

from ccproxyd.daemon.change import reload
from tests.daemon.dolls import REQUEST, Street, ask_gateway, only_worker

pytestmark = pytest.mark.anyio

DECIDED: dict[str, Any] = {**REQUEST, "kind": "decided", "routing_ms": 0.5}
FINISHED: dict[str, Any] = {**REQUEST, "kind": "finished"}
OFF = ("enable_pre_api_call", "enable_post_api_call", "enable_cost_tracking")


async def test_a_request_is_counted_and_recorded_without_what_it_said(street: Street) -> None:
    async with street.ready() as house:
        await ask_gateway(house, say=[DECIDED, FINISHED])
        [before] = street.facts("ccproxy_pre_api_call")
        [after] = street.facts("ccproxy_post_api_call")
        assert before["request_id"] == after["request_id"] == "r1"
        assert after["output_tokens"] == 7
        assert not {"prompt", REQUEST["prompt"]} & {*before, *after}
        assert REQUEST["prompt"] not in repr(street.records)
        assert house.stats.to_json()["requests_total"] == 1


async def test_what_hooks_have_to_say_of_a_request_is_in_its_record(street: Street) -> None:
    async with street.ready() as house:
        facts = {"message_count": 3, "headers": {"x-app": "cli"}}
        await ask_gateway(house, say=[{**FINISHED, "message_count": 3, "facts": facts}])
        [told] = street.facts("ccproxy_post_api_call")
        assert facts.items() <= told.items()


async def test_a_price_that_comes_later_is_counted_once_and_recorded(street: Street) -> None:
    async with street.ready() as house:
        await ask_gateway(house, say=[DECIDED, {**FINISHED, "lane": "litellm"}])
        price = {"kind": "priced", "request_id": "r1", "cost_usd": 0.5}
        only_worker(house).receive(price)
        [told] = street.facts("ccproxy_cost")
        assert (told["request_id"], told["cost_usd"]) == ("r1", 0.5)
        assert house.stats.to_json()["by_label"]["default"]["cost_usd"] == 0.5


@pytest.mark.parametrize("order", ["before", "after"])
async def test_what_litellm_tells_stands_in_place_of_an_estimate(
    street: Street, order: str
) -> None:
    estimate = {"is_estimate": True, "input_tokens": 4, "output_tokens": 2}
    told = {"input_tokens": 100, "output_tokens": 5, "cache_read_tokens": 11}
    price = {"kind": "priced", "request_id": "r1", "cost_usd": 0.5, **told}
    async with street.ready() as house:
        if order == "before":
            only_worker(house).receive(price)
        await ask_gateway(house, say=[DECIDED, {**FINISHED, "lane": "litellm", **estimate}])
        if order == "after":
            only_worker(house).receive(price)
        row = house.stats.to_json()["by_label"]["default"]
        assert {**told, "cost_usd": 0.5}.items() <= row.items()
        [after] = street.facts("ccproxy_post_api_call")
        assert after["input_tokens"] == (100 if order == "before" else 4)


async def test_what_is_switched_off_is_not_recorded_but_counted(street: Street) -> None:
    async with street.ready() as house:
        street.config.write(ours={"logging": dict.fromkeys(OFF, False)})
        await reload(house)
        await ask_gateway(house, say=[DECIDED, {**FINISHED, "lane": "litellm"}])
        only_worker(house).receive({"kind": "priced", "request_id": "r1", "cost_usd": 0.5})
        told = [(level, event) for level, event, _ in street.records if "ccproxy_" in event]
        assert told == [("debug", "ccproxy_success")]
        assert house.stats.to_json()["by_label"]["default"]["cost_usd"] == 0.5


async def test_what_a_library_says_again_and_again_is_told_less_often(street: Street) -> None:
    async with street.ready() as house:
        line = {"kind": "log", "level": "warning", "logger": "LiteLLM", "where": "a.py:1"}
        await ask_gateway(house, say=[line] * 12)
        told = street.facts("a library has logged something")
        assert [facts.get("times", 1) for facts in told] == [1, 10]


async def test_a_model_that_is_called_like_a_key_is_kept_nowhere(street: Street) -> None:
    secret = "sk-ant-api03-0123456789abcdef"
    called = dict.fromkeys(("label", "model", "original_model"), f"anthropic/{secret}")
    async with street.ready() as house:
        await ask_gateway(house, say=[{**DECIDED, **called}, {**FINISHED, **called}])
        house.purse.ledger.flush()
        assert secret not in repr(house.stats.to_json()) + repr(street.records)
        assert house.stats.to_json()["by_model"].keys() != set()
        kept = (street.directories.state / "usage.db").read_bytes()
        assert secret.encode() not in kept
        assert b"anthropic/" in kept


@pytest.mark.parametrize("which", [{"label": "x" * 200}, {"fallback": "x" * 200}])
async def test_a_budget_is_found_by_the_whole_name_of_its_label(
    street: Street, which: dict[str, str]
) -> None:
    [label] = which.values()
    budgets = {"per_label": {label: {"daily_usd": 1.0}}}
    street.config.write(ours={"budgets": budgets}, models=("default", label))
    async with street.ready() as house:
        await ask_gateway(house, say=[{**FINISHED, **which, "cost_usd": 0.5}])
        assert house.purse.to_json()[0]["spent_usd"] == 0.5


async def test_a_price_that_comes_later_counts_for_the_budgets(street: Street) -> None:
    street.config.write(ours={"budgets": {"daily_usd": 9.0}})
    async with street.ready() as house:
        await ask_gateway(house, say=[{**FINISHED, "lane": "litellm"}])
        assert house.purse.to_json()[0]["unpriced_requests"] == 1
        only_worker(house).receive({"kind": "priced", "request_id": "r1", "cost_usd": 0.5})
        [told] = house.purse.to_json()
        assert (told["spent_usd"], told["unpriced_requests"]) == (0.5, 0)

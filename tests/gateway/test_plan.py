from typing import Any

import orjson
import pytest
from attrs import evolve

from ccproxyd.gateway.lanes.litellm import Order
from ccproxyd.gateway.plan import (
    Plan,
    choice_for,
    cost_as_asked,
    order_for,
    plan_as_it_is,
    plan_route,
)
from ccproxyd.gateway.table import Table
from ccproxyd.routing import Decision, Request
from ccproxyd.telemetry.usage import Usage
from tests.gateway.house import Call, build_table, write_config

OURS = """
ccproxy:
  lanes: {direct: auto}
  timeouts: {first_byte: 60, idle: 50}
"""
MODELS = """
model_list:
  - {model_name: claude-sonnet-5, litellm_params: {model: anthropic/claude-sonnet-5, api_key: k}}
  - model_name: "claude-*"
    litellm_params: {model: "anthropic/claude-*", api_key: k, timeout: 9, stream_timeout: 7}
  - {model_name: gemini, litellm_params: {model: gemini/pro, api_key: k}}
  - {model_name: chat, litellm_params: {model: openai/gpt-4o, api_key: k}}
"""
HI = [{"role": "user", "content": "hi"}]


@pytest.fixture
def table(tmp_path: Any) -> Table:
    return build_table(write_config(tmp_path, OURS, MODELS))


def planned(table: Table, model: str, *, path: str = "/v1/messages", **more: Any) -> Plan:
    """The plan of a request, its route decided by the table."""
    raw = orjson.dumps({"model": model, "messages": HI, **more})
    request = Request(orjson.loads(raw), path=path)
    decision = table.router.decide(request)
    exchange = Call(path=path, body=raw).exchange()
    return plan_route(exchange, table, request, raw, decision, "r-1")


def test_what_names_no_model_is_litellms_as_it_is(table: Table) -> None:
    plan = plan_as_it_is(Call(path="/v1/files").exchange(), table, b"raw")
    assert plan.errand is None
    assert (plan.order().body, plan.order().decision) == (b"raw", None)


def test_a_body_that_keeps_its_model_stays_as_it_came(table: Table) -> None:
    errand = planned(table, "claude-sonnet-5").errand
    assert errand is not None
    assert errand.body == orjson.dumps({"model": "claude-sonnet-5", "messages": HI})


def test_a_wildcards_model_is_the_providers_own(table: Table) -> None:
    errand = planned(table, "claude-opus-4-8[1m]").errand
    assert errand is not None
    assert orjson.loads(errand.body)["model"] == "claude-opus-4-8"


def test_a_request_for_which_a_hook_has_named_the_model_was_written_for_the_clients(
    table: Table,
) -> None:
    raw = orjson.dumps({"model": "claude-haiku-4-5", "thinking": {"type": "adaptive"}})
    request = Request(orjson.loads(raw))
    found = table.router.decide(request)
    decision = evolve(found, requested_model="claude-opus-4-8", kept=False)
    errand = plan_route(Call(body=raw).exchange(), table, request, raw, decision, "r").errand
    assert errand is not None
    assert orjson.loads(errand.body)["thinking"]["type"] == "enabled"


def test_a_count_goes_to_its_own_path(table: Table) -> None:
    errand = planned(table, "claude-sonnet-5", path="/v1/messages/count_tokens").errand
    assert errand is not None
    assert errand.path_end == "/count_tokens"


def test_the_shorter_limit_holds(table: Table) -> None:
    errand = planned(table, "claude-opus-4-8").errand
    assert errand is not None
    assert (errand.timeouts.first_byte, errand.timeouts.idle) == (9, 9)
    errand = planned(table, "claude-opus-4-8", stream=True).errand
    assert errand is not None
    assert (errand.timeouts.first_byte, errand.timeouts.idle) == (7, 7)
    errand = planned(table, "claude-sonnet-5").errand
    assert errand is not None
    assert (errand.timeouts.first_byte, errand.timeouts.idle) == (60, 50)


def test_litellms_order_is_always_there(table: Table) -> None:
    plan = planned(table, "claude-sonnet-5")
    handed = {
        "label": "claude-sonnet-5",
        "request_id": "r-1",
        "requested_model": "claude-sonnet-5",
        "kept": True,
    }
    assert plan.order().decision == handed
    assert planned(table, "gemini").errand is None


def test_what_hooks_have_noted_goes_along_with_the_decision(table: Table) -> None:
    raw = orjson.dumps({"model": "gemini"})
    request = Request(orjson.loads(raw))
    decision = table.router.decide(request)
    notes = {"session_id": "s"}
    exchange = Call(body=raw).exchange()
    order = plan_route(exchange, table, request, raw, decision, "r", notes).order()
    assert order.decision is not None
    assert order.decision["metadata"] == notes


def test_so_do_the_labels_that_may_not_stand_in(table: Table) -> None:
    raw = orjson.dumps({"model": "gemini"})
    request = Request(orjson.loads(raw))
    decision = table.router.decide(request)
    exchange = Call(body=raw).exchange()
    barred = ("chat", "claude-*")
    order = plan_route(exchange, table, request, raw, decision, "r", barred=barred).order()
    assert order.decision is not None
    assert order.decision["barred"] == barred


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/v1/embeddings", {"model": "chat", "messages": HI}),
        ("/v1/audio/speech", {"model": "chat", "messages": HI, "stream": True}),
    ],
)
def test_litellm_is_asked_for_no_stream_of_what_cannot_stream(
    table: Table, path: str, sent: dict[str, Any]
) -> None:
    assert orjson.loads(planned(table, "chat", path=path, stream=True).order().body) == sent


def test_a_count_through_litellm_asks_for_the_label(table: Table) -> None:
    decision = Decision("gemini", "r", "gemini/pro", "", "other")
    raw = orjson.dumps({"model": "other"})
    request = Request({"model": "other"}, path="/v1/messages/count_tokens")
    exchange = Call(path=request.path, body=raw).exchange()
    order = plan_route(exchange, table, request, raw, decision, "r").order()
    assert orjson.loads(order.body) == {"model": "gemini"}


COUNT = "/v1/messages/count_tokens"
ADAPTIVE = {"type": "adaptive"}
MARKED = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]


def counted(tmp_path: Any, label: str, **more: Any) -> Any:
    """What LiteLLM is asked to count of a request for Opus that goes to a label."""
    return orjson.loads(order_to_count(tmp_path, label, **more).body)


def order_to_count(tmp_path: Any, label: str, *, betas: str = "", **more: Any) -> Order:
    models = MODELS.replace("{model: gemini/pro", "{model: gemini/pro, rpm: 1")
    table = build_table(write_config(tmp_path, "ccproxy: {rules: []}", models))
    raw = orjson.dumps({"model": "claude-opus-4-8", "messages": HI, **more})
    request = Request(orjson.loads(raw), headers={"anthropic-beta": betas}, path=COUNT)
    model = table.models.target_of(label).models[0]  # type: ignore[union-attr]
    decision = Decision(label, "r", model.replace("*", "haiku-4-5"), "", "claude-opus-4-8")
    plan = plan_route(Call(path=COUNT, body=raw).exchange(), table, request, raw, decision, "r")
    assert plan.to_count is request
    return plan.order()


def test_what_is_counted_is_what_the_model_would_get(tmp_path: Any) -> None:
    body = counted(tmp_path, "claude-haiku-4-5", thinking=ADAPTIVE, system=MARKED)
    assert (body["model"], body["thinking"]["type"]) == ("claude-haiku-4-5", "enabled")
    assert body["system"] == MARKED


def test_it_is_counted_with_the_betas_that_the_model_takes(tmp_path: Any) -> None:
    """LiteLLM has no hook that could say so."""
    betas = "claude-code-20250219,mid-conversation-system-2026-04-07"
    swapped = order_to_count(tmp_path, "claude-haiku-4-5", betas=betas)
    assert swapped.betas == ("claude-code-20250219",)
    assert order_to_count(tmp_path, "claude-haiku-4-5", betas="claude-code-20250219").betas is None
    assert order_to_count(tmp_path, "gemini", betas=betas).betas is None


def test_nothing_of_anthropics_own_is_counted_elsewhere(tmp_path: Any) -> None:
    body = counted(tmp_path, "gemini", system=MARKED, metadata={"user_id": "me"})
    system = [{"type": "text", "text": "Be brief."}]
    assert body == {"model": "gemini", "messages": HI, "system": system}


def test_the_choice_is_told_with_its_reason(table: Table) -> None:
    request = Request({"model": "chat"}, path="/v1/messages")
    choice = choice_for(table, request, table.router.decide(request))
    assert choice.reason == "LiteLLM translates between anthropic and openai"


def test_an_order_has_the_configs_patience(table: Table) -> None:
    assert order_for(Call().exchange(), table, b"").timeouts == table.settings.timeouts


@pytest.mark.parametrize(("first_byte", "streamed"), [(60, 60), (5, 50)])
def test_a_label_with_fallbacks_leaves_time_for_them(
    tmp_path: Any, first_byte: int, streamed: int
) -> None:
    ours = OURS.replace("first_byte: 60", f"first_byte: {first_byte}")
    ours += "  fallbacks: {gemini: [claude-sonnet-5]}\n"
    table = build_table(write_config(tmp_path, ours, MODELS))
    for stream, patience in ((False, first_byte), (True, streamed)):
        order = planned(table, "gemini", stream=stream).order()
        assert order.decision is not None
        assert order.decision["patience"] == patience
        assert order.timeouts.first_byte == 6 * patience
    alone = planned(table, "chat").order()
    assert alone.decision is not None
    assert "patience" not in alone.decision
    assert alone.timeouts.first_byte == first_byte


def test_an_errand_knows_the_fallbacks_of_its_label_unless_it_counts(tmp_path: Any) -> None:
    ours = f"{OURS}  fallbacks: {{claude-opus-4-8: [gemini]}}\n"
    table = build_table(write_config(tmp_path, ours, MODELS))

    def falls_back(model: str, path: str = "/v1/messages") -> bool:
        errand = planned(table, model, path=path).errand
        assert errand is not None
        return errand.falls_back

    assert falls_back("claude-opus-4-8")
    assert not falls_back("claude-opus-4-7"), "the same wildcard serves it"
    assert not falls_back("claude-opus-4-8", "/v1/messages/count_tokens")


def test_a_plan_knows_the_lane_that_it_tries_first(table: Table) -> None:
    assert planned(table, "claude-sonnet-5").lane == "direct"
    assert planned(table, "gemini").lane == "litellm"


def test_an_answer_is_priced_as_if_the_model_that_was_asked_for_had_given_it(table: Table) -> None:
    """Whatever the model that did answer calls itself."""
    answer = Usage(input_tokens=1_000_000, output_tokens=0, model="claude-haiku-4-5")

    def cost(model: str) -> float | None:
        decision = Decision("chat", "r", "openai/gpt-4o", "", model)
        return cost_as_asked(table, decision, Request({}))(answer)

    assert cost("claude-opus-4-8[1m]") == pytest.approx(5.0)  # the wildcard serves it
    assert cost("gpt-4") == pytest.approx(30.0)  # nobody serves it, but its price is public
    assert cost("gemini") is None
    assert cost("nobody-knows-it") is None


@pytest.mark.parametrize("tier", ["priority", "flex"])
def test_what_was_asked_for_is_priced_in_the_tier_that_was_asked_for(
    table: Table, tier: str
) -> None:
    """An answer that went through LiteLLM does not say in which it was served."""
    answer = Usage(input_tokens=1_000_000, output_tokens=0)

    def cost(**body: Any) -> float:
        decision = Decision("chat", "r", "openai/gpt-4o", "", "gpt-5")
        return cost_as_asked(table, decision, Request(body))(answer) or 0.0

    factor = {"priority": 2.0, "flex": 0.5}[tier]
    assert cost(service_tier=tier) == pytest.approx(cost() * factor)
    assert cost() > 0


def test_where_no_cost_is_to_be_recorded_nothing_is_priced(tmp_path: Any) -> None:
    ours = "ccproxy: {logging: {enable_cost_tracking: false}}"
    table = build_table(write_config(tmp_path, ours, MODELS))
    decision = Decision("chat", "r", "openai/gpt-4o", "", "claude-sonnet-5")
    assert cost_as_asked(table, decision, Request({}))(Usage(input_tokens=1)) is None

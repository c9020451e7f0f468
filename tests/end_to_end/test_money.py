"""What is spent on either lane, told and untold, and where requests go when it is too much."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import yaml

from tests.support.daemon import (
    Daemon,
    Setup,
    anthropic_model,
    running_daemon,
    without_litellm,
)
from tests.support.provider import RunningProvider, running_provider

CHAT = "/v1/chat/completions"
LITTLE = {"daily_usd": 0.00001}


def openai_model(name: str, url: str, model: str) -> dict[str, Any]:
    params = {"model": f"openai/{model}", "api_base": f"{url}/v1", "api_key": "sk-provider"}
    return {"model_name": name, "litellm_params": params}


def models(url: str) -> list[dict[str, Any]]:
    return [
        openai_model("chat", url, "gpt-4o"),
        openai_model("spare", url, "gpt-4o-mini"),
        openai_model("broken", url, "gpt-5"),
        openai_model("ailing", url, "gpt-5-mini"),
        anthropic_model("translated", url, model="anthropic/claude-opus-4-8"),
    ]


@pytest.fixture(scope="module")
def provider() -> Iterator[RunningProvider]:
    with running_provider() as provider:
        yield provider


def on_either_lane(provider: RunningProvider, **ours: Any) -> Any:
    return running_daemon(Setup(rules=[], models=models, ours=ours), provider.url)


@pytest.fixture(scope="module")
def direct(provider: RunningProvider) -> Iterator[Daemon]:
    budgets = {"per_label": {"chat": LITTLE}, "on_exceeded": "route:spare"}
    with on_either_lane(provider, **without_litellm(), budgets=budgets) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def through_litellm(provider: RunningProvider) -> Iterator[Daemon]:
    """Nothing goes past LiteLLM, which tells the prices."""
    budgets = {"per_label": {"chat": LITTLE}, "on_exceeded": "reject"}
    fallbacks = {"broken": "spare", "ailing": ["chat", "spare"], "translated": "spare"}
    with on_either_lane(provider, budgets=budgets, fallbacks=fallbacks) as daemon:
        yield daemon


def streamed(daemon: Daemon, model: str = "chat", text: str = "hello") -> httpx.Response:
    """An OpenAI stream as most clients ask for it, without its usage."""
    messages = [{"role": "user", "content": text}]
    body = {"model": model, "stream": True, "messages": messages}
    return daemon.client.post(CHAT, json=body)


def until(
    is_so: Callable[[httpx.Response], bool], ask: Callable[[], httpx.Response]
) -> httpx.Response:
    """The first such answer; what is on its way when a budget runs out still goes on."""
    return next(one for one in iter(ask, None) if is_so(one))


def change(daemon: Daemon, **budgets: Any) -> None:
    def changed(text: str) -> str:
        document = yaml.safe_load(text)
        document["ccproxy"]["budgets"] = budgets
        return yaml.safe_dump(document)

    daemon.edit("ccproxy.yaml", changed)
    daemon.ctl("reload")


def end_of(daemon: Daemon, answer: httpx.Response) -> Any:
    request_id = answer.headers["x-ccproxy-request-id"]
    return daemon.happened("ccproxy_post_api_call", request_id=request_id)


def price_of(daemon: Daemon, answer: httpx.Response) -> Any:
    """LiteLLM may tell it before the end of the answer, or afterwards."""
    told = end_of(daemon, answer)
    if "cost_usd" in told:
        return told
    return daemon.happened("ccproxy_cost", request_id=told["request_id"])


def standing(daemon: Daemon) -> Any:
    [found] = daemon.ask("status")["budgets"]
    return found


def test_a_stream_that_does_not_tell_its_usage_uses_a_budget_up(direct: Daemon) -> None:
    first = streamed(direct)
    assert (first.status_code, first.headers["x-ccproxy-label"]) == (200, "chat")
    assert '"usage"' not in first.text
    told = end_of(direct, first)
    assert told["lane"] == "direct"
    assert min(told["input_tokens"], told["output_tokens"], told["cost_usd"]) > 0
    moved = until(lambda one: one.headers["x-ccproxy-label"] != "chat", lambda: streamed(direct))
    named = [moved.headers[f"x-ccproxy-{name}"] for name in ("label", "rule", "model")]
    assert named == ["spare", "budget", "openai/gpt-4o-mini"]
    assert moved.status_code == 200
    assert standing(direct)["level"] == "exceeded"


def test_then_it_may_be_refused_and_others_go_on(direct: Daemon) -> None:
    change(direct, per_label={"chat": LITTLE}, on_exceeded="reject")
    refused = until(lambda one: one.status_code != 200, lambda: streamed(direct))
    assert (refused.status_code, refused.headers["x-should-retry"]) == (403, "false")
    assert "of 'chat'" in refused.json()["error"]["message"]
    assert streamed(direct, "spare").status_code == 200


def test_a_budget_of_everything_leaves_no_way_around_it(direct: Daemon) -> None:
    change(direct, daily_usd=0.00001, on_exceeded="reject")
    until(lambda one: one.status_code == 403, lambda: streamed(direct))
    assert streamed(direct, "spare").status_code == 403
    own_path = direct.client.post("/anthropic/v1/messages", json={"model": "claude-opus-4-8"})
    assert (own_path.status_code, own_path.json()["type"]) == (403, "error")
    assert direct.client.get("/v1/models").status_code == 200


def test_a_fallback_is_paid_by_the_label_that_answered(through_litellm: Daemon) -> None:
    answer = streamed(through_litellm, "broken", "hello @@status=500;for=gpt-5@@")
    assert (answer.status_code, answer.headers["x-ccproxy-fallback"]) == (200, "spare")
    cost = price_of(through_litellm, answer)["cost_usd"]
    stats = through_litellm.ask("stats")
    assert stats["by_label"]["spare"]["cost_usd"] == pytest.approx(cost, abs=1e-6)
    assert stats["by_model"]["openai/gpt-4o-mini"]["output_tokens"] > 0
    assert (stats["by_label"]["broken"]["fallbacks"], stats["by_label"]["broken"]["cost_usd"]) == (
        1,
        0,
    )


def test_so_is_one_to_a_provider_that_nobody_has_asked_for_its_usage(
    through_litellm: Daemon,
) -> None:
    """LiteLLM decides by the first label whether to ask, and would make 0 of the price."""
    answer = streamed(through_litellm, "translated", "hello @@status=500;for=claude-opus-4-8@@")
    assert (answer.status_code, answer.headers["x-ccproxy-fallback"]) == (200, "spare")
    assert price_of(through_litellm, answer)["cost_usd"] > 0


def test_litellms_own_prices_use_a_budget_up_as_well(through_litellm: Daemon) -> None:
    first = streamed(through_litellm)
    told = end_of(through_litellm, first)
    assert '"usage"' not in first.text
    assert told["lane"] == "litellm"
    assert min(told["input_tokens"], told["output_tokens"]) > 0
    assert price_of(through_litellm, first)["cost_usd"] > 0
    refused = until(lambda one: one.status_code != 200, lambda: streamed(through_litellm))
    assert refused.status_code == 403
    assert standing(through_litellm)["unpriced_requests"] == 0
    assert streamed(through_litellm, "spare").status_code == 200
    ailing = streamed(through_litellm, "ailing", "hello @@status=500;for=gpt-5-mini@@")
    assert ailing.headers["x-ccproxy-fallback"] == "spare", (
        "the first one has nothing left to spend"
    )


def test_the_statistics_have_the_tokens_that_litellms_price_is_for(
    through_litellm: Daemon, provider: RunningProvider
) -> None:
    """It has asked the provider for its usage, where the client had not."""
    before = through_litellm.ask("stats")["by_label"]["spare"]
    answer = streamed(through_litellm, "spare", "hello @@say=one two three@@")
    assert '"usage"' not in answer.text
    assert price_of(through_litellm, answer)["cost_usd"] > 0
    told = through_litellm.ask("stats")["by_label"]["spare"]
    used = [told[name] - before[name] for name in ("input_tokens", "output_tokens")]
    assert used == [provider.requests[-1].input_tokens, 3]

from typing import Any

import pytest

from ccproxyd.config.lanes import DIRECT, LITELLM, Endpoint, Lane
from ccproxyd.gateway.lanes.choice import Choice, choose
from ccproxyd.routing import Decision, Request

ANTHROPIC = Endpoint("anthropic", "https://a/v1/messages", "k")
OPENAI = Endpoint("openai", "https://o/v1/chat/completions", "k")
KEYLESS = Endpoint("anthropic", "https://a/v1/messages")


def choice(
    endpoint: Endpoint | None = ANTHROPIC,
    *,
    path: str = "/v1/messages",
    model: str = "anthropic/claude-opus-4-8",
    requested: str = "claude-opus-4-8",
    body: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
    has_token: bool = False,
) -> Choice:
    lane = Lane(DIRECT if endpoint else LITELLM, "so it is", endpoint)
    decision = Decision("think", "ThinkingRule", model, "", requested)
    request = Request(body or {}, path=path, headers=headers or {})
    return choose(lane, decision, request, has_token=has_token)


def test_a_request_in_the_providers_protocol_goes_direct() -> None:
    assert choice() == Choice(DIRECT, "so it is", ANTHROPIC)
    assert choice(path="/v1/messages/count_tokens").lane == DIRECT
    assert choice(OPENAI, path="/v1/chat/completions").lane == DIRECT
    assert choice(OPENAI, path="/chat/completions").lane == DIRECT


def test_what_the_label_needs_litellm_for_is_the_reason() -> None:
    assert choice(None) == Choice(LITELLM, "so it is")


@pytest.mark.parametrize(
    ("endpoint", "path", "reason"),
    [
        (ANTHROPIC, "/v1/chat/completions", "LiteLLM translates between openai and anthropic"),
        (OPENAI, "/v1/messages", "LiteLLM translates between anthropic and openai"),
        (OPENAI, "/v1/embeddings", "LiteLLM serves /v1/embeddings"),
        (OPENAI, "/v1/responses", "LiteLLM serves /v1/responses"),
    ],
)
def test_another_protocol_is_translated(endpoint: Endpoint, path: str, reason: str) -> None:
    assert choice(endpoint, path=path) == Choice(LITELLM, reason)


@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        ({"fallbacks": ["x"]}, {}, "the field fallbacks is for LiteLLM"),
        ({"tags": ["x"], "cache": {}}, {}, "the field cache is for LiteLLM"),
        ({}, {"x-litellm-tags": "x"}, "the header x-litellm-tags is for LiteLLM"),
    ],
)
def test_a_request_that_speaks_to_litellm_gets_to_it(
    body: dict[str, Any], headers: dict[str, str], reason: str
) -> None:
    assert choice(body=body, headers=headers) == Choice(LITELLM, reason)


def test_the_header_of_our_key_is_none_of_litellms() -> None:
    assert choice(headers={"x-litellm-api-key": "sk-1"}).lane == DIRECT


def test_without_a_key_the_clients_own_token_must_be_there() -> None:
    assert choice(KEYLESS, has_token=True).lane == DIRECT
    assert "no key is configured" in choice(KEYLESS).reason


@pytest.mark.parametrize(
    ("model", "requested", "lane"),
    [
        ("openai/gpt-5.2", "gpt-5.2", DIRECT),
        ("openai/gpt-5.2", "openai/gpt-5.2", DIRECT),
        ("openai/gpt-5.2", "gpt-4o", LITELLM),
        ("openai/o3", "think", LITELLM),
        ("openai/gpt-4o", "gpt-5.2", DIRECT),
        ("openai/local-model", "think", DIRECT),
    ],
)
def test_a_swap_to_a_reasoning_model_of_openais_is_adapted(
    model: str, requested: str, lane: str
) -> None:
    found = choice(OPENAI, path="/v1/chat/completions", model=model, requested=requested)
    assert found.lane == lane

"""What LiteLLM relays as it is, by the real proxy: to a provider, or to a place of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.proxy.answers import Answer, ask
from tests.integration.proxy.house import PROVIDER_KEY
from tests.support.daemon import Daemon, Setup, anthropic_model, message_body, running_daemon
from tests.support.provider import RunningProvider

PATHS = ("/anthropic/v1/messages", "/own/messages")


@pytest.fixture(scope="module")
def daemon(provider: RunningProvider) -> Iterator[Daemon]:
    own = {
        "path": "/own/messages",
        "target": f"{provider.url}/v1/messages",
        "headers": {"x-api-key": PROVIDER_KEY},
    }
    environment = {
        "ANTHROPIC_API_BASE": provider.url,
        "ANTHROPIC_API_KEY": PROVIDER_KEY,
        "OPENAI_API_BASE": f"{provider.url}/v1",
        "OPENAI_BASE_URL": f"{provider.url}/v1",
        "OPENAI_API_KEY": PROVIDER_KEY,
        "GEMINI_API_BASE": provider.url,
        "GEMINI_API_KEY": PROVIDER_KEY,
    }
    setup = Setup(
        rules=[],
        models=lambda url: [anthropic_model("default", url)],
        litellm={
            "general_settings": {"pass_through_endpoints": [own]},
            "environment_variables": environment,
            "files_settings": [{"custom_llm_provider": "openai", "api_key": PROVIDER_KEY}],
        },
    )
    with running_daemon(setup, provider.url) as running:
        yield running


def passed(daemon: Daemon, path: str, text: str = "hello", **more: Any) -> Answer:
    body = message_body(text, model="claude-opus-4-8", **more)
    headers = {"x-api-key": daemon.key}
    with httpx.Client(base_url=str(daemon.client.base_url), timeout=60) as client:
        return ask(client, path, json=body, headers=headers)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [False, True])
def test_it_reaches_the_provider_under_the_providers_key_and_no_rule_is_asked(
    daemon: Daemon, provider: RunningProvider, path: str, stream: bool
) -> None:
    answer = passed(daemon, path, stream=stream)
    assert (answer.status, answer.is_stream, answer.text) == (200, stream, "mock: ok")
    asked = provider.requests[-1]
    assert (asked.model, asked.headers["x-api-key"]) == ("claude-opus-4-8", PROVIDER_KEY)
    assert daemon.key not in str(asked.headers)
    assert "x-ccproxy-label" not in answer.headers
    request_id = answer.headers["x-ccproxy-request-id"]
    record = daemon.happened("ccproxy_post_api_call", request_id=request_id)
    assert (record["call_type"], record["lane"], record["status"]) == ("carried", "litellm", 200)


@pytest.mark.parametrize("path", PATHS)
def test_an_error_of_the_providers_keeps_its_status_and_its_words(
    daemon: Daemon, path: str
) -> None:
    answer = passed(daemon, path, "@@status=429;retry-after=7;message=slow down@@")
    assert (answer.status, answer.headers["retry-after"]) == (429, "7")
    assert answer.json["error"]["message"] == "slow down"


BUSY = "@@status=429;retry-after=7;message=slow down@@"
BATCH = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("/v1/vector_stores", {"json": {"name": BUSY}}),
        ("/v1/vector_stores/vs_1/search", {"json": {"query": BUSY}}),
        ("/v1/containers", {"json": {"name": BUSY}}),
        ("/v1/batches", {"json": {"input_file_id": BUSY, **BATCH}}),
        ("/v1/files", {"data": {"purpose": "user_data"}, "files": {"file": (BUSY, b"x")}}),
    ],
)
def test_what_has_no_model_is_asked_once_and_fails_as_the_provider_says(
    daemon: Daemon, provider: RunningProvider, path: str, parts: dict[str, Any]
) -> None:
    before = len(provider.requests)
    with httpx.Client(base_url=str(daemon.client.base_url), timeout=60) as client:
        answer = ask(client, path, headers={"x-api-key": daemon.key}, **parts)
    assert (answer.status, answer.headers.get("retry-after")) == (429, "7"), answer.body
    assert answer.json["error"]["message"] == "slow down"
    assert len(provider.requests) == before + 1


@pytest.mark.parametrize("header", ["x-api-key", "x-goog-api-key"])
def test_googles_own_paths_are_reached_with_a_key_of_ours(
    daemon: Daemon, provider: RunningProvider, header: str
) -> None:
    """LiteLLM looks for its key there alone where Google's clients have theirs."""
    path = "/gemini/v1beta/models/gemini-2.5-pro:generateContent"
    with httpx.Client(base_url=str(daemon.client.base_url), timeout=60) as client:
        answer = ask(client, path, json={"contents": []}, headers={header: daemon.key})
    assert answer.json["candidates"][0]["content"]["parts"] == [{"text": "mock: ok"}]
    asked = provider.requests[-1]
    assert asked.path == path.removeprefix("/gemini")
    assert not {"x-goog-api-key", "x-litellm-api-key", "authorization"} & set(asked.headers)


def test_what_litellm_lacks_for_a_provider_is_said(daemon: Daemon) -> None:
    """It answers "Internal server error" at best, and where prisma is not installed not at all."""
    with httpx.Client(base_url=str(daemon.client.base_url), timeout=60) as client:
        answer = ask(client, "/azure/v1/chat", json={}, headers={"x-api-key": daemon.key})
    assert answer.status == 500
    assert "AZURE_API_BASE" in answer.json["error"]["message"]

"""Both lanes through a whole daemon, with the real LiteLLM behind one of them."""

from collections.abc import Iterator

import psutil
import pytest

from tests.support.daemon import (
    Daemon,
    Setup,
    anthropic_model,
    message_body,
    running_daemon,
    without_litellm,
)
from tests.support.provider import RunningProvider, running_provider

LAZY = Setup(
    rules=[{"label": "think", "rule": "ThinkingRule"}],
    ours=without_litellm(),
    models=lambda url: [
        anthropic_model("default", url),
        anthropic_model("think", url),
        {
            "model_name": "chat",
            "litellm_params": {"model": "openai/gpt-4o", "api_base": f"{url}/v1", "api_key": "k"},
        },
    ],
)


@pytest.fixture(scope="module")
def provider() -> Iterator[RunningProvider]:
    with running_provider() as provider:
        yield provider


@pytest.fixture(scope="module")
def daemon(provider: RunningProvider) -> Iterator[Daemon]:
    """One daemon for the stories below, which go from asleep to awake."""
    with running_daemon(LAZY, provider.url) as daemon:
        yield daemon


def test_without_litellm_a_request_is_answered(daemon: Daemon, provider: RunningProvider) -> None:
    assert "worker" not in daemon.children()
    answer = daemon.message(thinking={"type": "enabled", "budget_tokens": 1024})
    assert answer.headers["x-ccproxy-lane"] == "direct"
    assert answer.headers["x-ccproxy-label"] == "think"
    assert answer.json()["model"] == "mock-think"
    assert provider.requests[-1].headers["x-api-key"] == "sk-provider"
    record = daemon.happened("ccproxy_post_api_call", label="think")
    assert record["lane"] == "direct"
    assert record["cost_usd"] is None if "cost_usd" in record else True


def test_the_lanes_are_told(daemon: Daemon) -> None:
    lanes = daemon.ask("status")["lanes"]
    assert lanes["chat"] == {"lane": "direct", "reason": "openai/gpt-4o speaks openai's protocol"}
    found = daemon.ask("explain", "--prompt", "hi")
    assert (found["lane"], found["label"]) == ("direct", "default")


def test_without_litellm_everything_is_small(daemon: Daemon) -> None:
    family = psutil.Process(daemon.process.pid)
    sizes = [one.memory_full_info().pss for one in [family, *family.children(recursive=True)]]
    assert sum(sizes) < 150 * 1024 * 1024


def test_a_request_that_needs_litellm_wakes_it(daemon: Daemon) -> None:
    body = message_body(model="chat")
    answer = daemon.client.post("/v1/messages", json=body)
    assert answer.status_code == 200
    assert answer.headers["x-ccproxy-lane"] == "litellm"
    assert daemon.ask("status")["workers"][0]["state"] == "ready"
    assert daemon.happened("ccproxy_post_api_call", lane="litellm")["label"] == "chat"

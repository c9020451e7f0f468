"""LiteLLM's own second attempts, as the log tells of them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.daemon import Daemon, Setup, anthropic_model
from tests.support.provider import RunningProvider

CALLS = {
    "/v1/messages": lambda text: {"max_tokens": 9, "messages": [{"role": "user", "content": text}]},
    "/v1/chat/completions": lambda text: {"messages": [{"role": "user", "content": text}]},
    "/v1/responses": lambda text: {"input": text},
}
RETRIES = 2


def openai_model(name: str, url: str) -> dict[str, Any]:
    params = {"model": f"openai/mock-{name}", "api_base": f"{url}/v1", "api_key": "sk-provider"}
    return {"model_name": name, "litellm_params": {**params, "max_retries": 0}}


@pytest.fixture(scope="module")
def setup_of_module() -> Setup:
    return Setup(
        rules=[],
        models=lambda url: [
            anthropic_model("claude", url, max_retries=0),
            openai_model("gpt", url),
        ],
        litellm={"router_settings": {"num_retries": RETRIES, "disable_cooldowns": True}},
    )


@pytest.mark.parametrize("times", [0, 1, 9])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", CALLS)
@pytest.mark.parametrize("model", ["claude", "gpt"])
def test_each_is_counted_and_a_route_with_one_was_not_effective(
    daemon: Daemon, provider: RunningProvider, path: str, stream: bool, model: str, times: int
) -> None:
    before = len(provider.requests)
    fails = f"@@status=500;times={times};message={path}{stream}{model}@@"
    text = f"hello {fails}" if times else "hello"
    body = {"model": model, "stream": stream, **CALLS[path](text)}
    answer = daemon.client.post(path, json=body)
    asked = len(provider.requests) - before
    assert not [name for name in answer.headers if name.startswith("x-litellm")]
    request_id = answer.headers["x-ccproxy-request-id"]
    record = daemon.happened("ccproxy_post_api_call", request_id=request_id)
    assert record["retries"] == asked - 1 == min(times, RETRIES)
    assert record["routing_effective"] == (times == 0)

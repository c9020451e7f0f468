"""A client that goes through the proxy reads what it would read from the provider itself.

Where no model was swapped: past LiteLLM byte for byte; through LiteLLM with the same content, event
for event, but for what LiteLLM writes itself (ids, times, fields that say nothing).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest

from tests.integration.proxy.answers import PATIENCE, Answer, ask
from tests.integration.proxy.house import NEW_KEY
from tests.integration.proxy.rows import CANARY, NEEDS_LITELLM
from tests.support.provider import RunningProvider

MODELS: Final = {"/v1/messages": "claude-sonnet-4-5", "/v1/chat/completions": "gpt-4o"}
SCRIPTS: Final = {
    "a text": f"say={CANARY} one two three",
    "a cache": "cached=900",
    "a long text": "events=40",
    "bad request": "status=400;message=no",
    "rate limit": "status=429;retry-after=7;message=no",
    "overload": "status=529;message=no",
}

each_path = pytest.mark.parametrize("path", MODELS)
each_script = pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
each_way = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest.fixture
def straight(provider: RunningProvider) -> Iterator[httpx.Client]:
    """A client of the provider."""
    with httpx.Client(base_url=provider.url, timeout=PATIENCE) as client:
        yield client


def body(path: str, script: str, *, stream: bool) -> dict[str, Any]:
    more = {"stream_options": {"include_usage": True}} if stream and "chat" in path else {}
    return {
        "model": MODELS[path],
        "max_tokens": 64,
        "messages": [{"role": "user", "content": f"hello @@number=3;input=1000;{script}@@"}],
        "stream": stream,
        **more,
    }


def proxied(client: httpx.Client, path: str, script: str, *, stream: bool, lane: str) -> Answer:
    headers = {"x-api-key": NEW_KEY, **(NEEDS_LITELLM if lane == "litellm" else {})}
    answer = ask(client, path, json=body(path, script, stream=stream), headers=headers)
    assert answer.headers["x-ccproxy-rule"] == "passthrough"
    assert answer.headers["x-ccproxy-lane"] == lane
    return answer


@each_way
@each_script
@each_path
def test_past_litellm_an_answer_is_the_providers_byte_for_byte(
    client: httpx.Client, straight: httpx.Client, path: str, script: str, stream: bool
) -> None:
    theirs = ask(straight, path, json=body(path, script, stream=stream))
    ours = proxied(client, path, script, stream=stream, lane="direct")
    assert (ours.status, ours.body) == (theirs.status, theirs.body)
    assert told_by_the_provider(ours) == told_by_the_provider(theirs)


def told_by_the_provider(answer: Answer) -> dict[str, str]:
    """The headers without those of our own and those of a single connection."""
    return {
        name: value
        for name, value in answer.headers.items()
        if not name.startswith("x-ccproxy-")
        and name not in ("date", "server", "connection", "transfer-encoding")
    }


@each_way
@each_script
@each_path
def test_through_litellm_an_answer_has_the_providers_content(
    client: httpx.Client, straight: httpx.Client, path: str, script: str, stream: bool
) -> None:
    theirs = ask(straight, path, json=body(path, script, stream=stream))
    ours = proxied(client, path, script, stream=stream, lane="litellm")
    assert ours.status == theirs.status
    assert ours.headers.get("retry-after") == theirs.headers.get("retry-after")
    if theirs.is_stream:
        assert outline(ours) == outline(theirs)
        assert ours.is_ended
    elif theirs.status == 200:
        assert content(ours.json) == content(theirs.json)
    else:
        assert ours.json == theirs.json


def content(said: dict[str, Any]) -> dict[str, Any]:
    """What a client shows, stores and counts of a whole answer."""
    usage = said["usage"]
    if "choices" in said:
        [choice] = said["choices"]
        return {
            "model": said["model"],
            "said": (choice["message"]["role"], choice["message"]["content"]),
            "why": choice["finish_reason"],
            "tokens": [usage[name] for name in ("prompt_tokens", "completion_tokens")],
        }
    names = ("input_tokens", "output_tokens", "cache_read_input_tokens")
    kept = ("type", "role", "model", "content", "stop_reason", "stop_sequence")
    return {name: said[name] for name in kept} | {"tokens": [usage[name] for name in names]}


def outline(answer: Answer) -> dict[str, Any]:
    """The events that carry something, in order, and what all of them come to."""
    events = answer.events
    return {
        "steps": [step for event in events if (step := step_of(event))],
        "tokens": [counted for event in events if (counted := tokens_of(event))][-1],
    }


def step_of(event: dict[str, Any]) -> tuple[Any, ...] | None:
    if "choices" not in event:
        said = event.get("delta") or event.get("content_block") or {}
        return (event["type"], event.get("index"), said.get("text"), said.get("stop_reason"))
    for choice in event["choices"]:
        text, why = choice["delta"].get("content"), choice.get("finish_reason")
        return (text, why) if text or why else None
    return None


def tokens_of(event: dict[str, Any]) -> tuple[int, ...] | None:
    usage = event.get("usage") or {}
    names = ("input_tokens", "output_tokens", "prompt_tokens", "completion_tokens")
    return tuple(usage[name] for name in names if name in usage)

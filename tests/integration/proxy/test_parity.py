"""A client that goes through the proxy reads what it would read from the provider itself.

Where no model was swapped: past LiteLLM byte for byte; so are a message and its stream through
LiteLLM, and a chat there has the same content, event for event, but for what LiteLLM writes itself
(times, the order of fields, those that say nothing).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import httpx
import orjson
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

CALL: Final = {"id": "call-1", "type": "function"}
FUNCTION: Final = {"name": "Lookup", "arguments": '{"word": "sea"}'}
USAGE: Final = {
    "prompt_tokens": 90,
    "completion_tokens": 12,
    "total_tokens": 102,
    "prompt_tokens_details": {"cached_tokens": 30},
    "completion_tokens_details": {"reasoning_tokens": 4},
}
BLOCKS: Final[tuple[dict[str, Any], ...]] = (
    {"type": "thinking", "thinking": "a word for it", "signature": "c2lnbmVk"},
    {"type": "text", "text": "I look."},
    {"type": "tool_use", "id": "toolu-1", "name": "Lookup", "input": {"word": "sea"}},
)
MESSAGE: Final[dict[str, Any]] = {
    "id": "msg_9",
    "type": "message",
    "role": "assistant",
    "model": MODELS["/v1/messages"],
    "content": [*BLOCKS],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 90, "output_tokens": 12, "cache_read_input_tokens": 30},
}
CHAT: Final[dict[str, Any]] = {
    "id": "chatcmpl-9",
    "object": "chat.completion",
    "created": 1767225600,
    "model": MODELS["/v1/chat/completions"],
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "I look.",
                "tool_calls": [{**CALL, "function": FUNCTION}],
            },
            "finish_reason": "tool_calls",
        }
    ],
    "usage": USAGE,
}
ANSWERS: Final = {"/v1/messages": MESSAGE, "/v1/chat/completions": CHAT}
"""A thought, where the API tells them, some words, and a call of a tool."""


def framed_message() -> Iterator[dict[str, Any]]:
    begun = {**MESSAGE, "content": [], "stop_reason": None}
    thought, said, called = BLOCKS
    yield {"type": "message_start", "message": begun}
    yield from framed_block(0, thought, "thinking_delta", "signature_delta")
    yield from framed_block(1, said, "text_delta")
    yield {"type": "content_block_start", "index": 2, "content_block": {**called, "input": {}}}
    for piece in ('{"word": ', '"sea"}'):
        delta = {"type": "input_json_delta", "partial_json": piece}
        yield {"type": "content_block_delta", "index": 2, "delta": delta}
    yield {"type": "content_block_stop", "index": 2}
    stop = {"stop_reason": "tool_use", "stop_sequence": None}
    yield {"type": "message_delta", "delta": stop, "usage": MESSAGE["usage"]}
    yield {"type": "message_stop"}


def framed_block(index: int, block: dict[str, Any], *kinds: str) -> Iterator[dict[str, Any]]:
    empty = {name: value if name == "type" else "" for name, value in block.items()}
    yield {"type": "content_block_start", "index": index, "content_block": empty}
    for kind in kinds:
        name = kind.removesuffix("_delta")
        delta = {"type": kind, name: block[name]}
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}


def framed_chat() -> Iterator[dict[str, Any]]:
    head = {**CHAT, "object": "chat.completion.chunk"}
    del head["usage"]
    begun = {**CALL, "index": 0, "function": {**FUNCTION, "arguments": ""}}
    pieces = [{"index": 0, "function": {"arguments": one}} for one in ('{"word": ', '"sea"}')]
    deltas: list[dict[str, Any]] = [
        {"role": "assistant", "content": ""},
        {"content": "I look."},
        *({"tool_calls": [call]} for call in (begun, *pieces)),
    ]
    for delta in deltas:
        yield {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    yield {**head, "choices": [], "usage": USAGE}


FRAMES: Final = {
    "/v1/messages": "".join(
        f"event: {one['type']}\ndata: {orjson.dumps(one).decode()}\n\n" for one in framed_message()
    ),
    "/v1/chat/completions": "".join(
        f"data: {one}\n\n"
        for one in (*(orjson.dumps(one).decode() for one in framed_chat()), "[DONE]")
    ),
}

each_lane = pytest.mark.parametrize("lane", ["direct", "litellm"])
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
def test_a_message_through_litellm_is_the_providers_byte_for_byte(
    client: httpx.Client, straight: httpx.Client, script: str, stream: bool
) -> None:
    path = "/v1/messages"
    theirs = ask(straight, path, json=body(path, script, stream=stream))
    ours = proxied(client, path, script, stream=stream, lane="litellm")
    assert (ours.status, ours.body) == (theirs.status, theirs.body)
    assert ours.headers.get("retry-after") == theirs.headers.get("retry-after")


@each_way
@each_script
def test_a_chat_through_litellm_has_the_providers_content(
    client: httpx.Client, straight: httpx.Client, script: str, stream: bool
) -> None:
    path = "/v1/chat/completions"
    theirs = ask(straight, path, json=body(path, script, stream=stream))
    ours = proxied(client, path, script, stream=stream, lane="litellm")
    assert ours.status == theirs.status
    assert ours.headers.get("retry-after") == theirs.headers.get("retry-after")
    assert_same_content(ours, theirs)


@each_lane
@each_way
@each_path
def test_thoughts_and_calls_of_tools_arrive_as_they_are(
    client: httpx.Client, straight: httpx.Client, path: str, stream: bool, lane: str
) -> None:
    script = f"body={FRAMES[path] if stream else orjson.dumps(ANSWERS[path]).decode()}"
    theirs = ask(straight, path, json=body(path, script, stream=stream))
    ours = proxied(client, path, script, stream=stream, lane=lane)
    assert b"Lookup" in theirs.body
    if lane == "direct" or "messages" in path:
        assert ours.body == theirs.body
    else:
        assert_same_content(ours, theirs)


def assert_same_content(ours: Answer, theirs: Answer) -> None:
    if theirs.is_stream:
        assert [*map(step_of, ours.events)] == [*map(step_of, theirs.events)]
        assert tokens_of(ours.events[-1]["usage"]) == tokens_of(theirs.events[-1]["usage"])
        assert ours.is_ended
    elif theirs.status == 200:
        assert content(ours.json) == content(theirs.json)
    else:
        assert ours.body == theirs.body


def content(said: dict[str, Any]) -> dict[str, Any]:
    """What a client shows, stores and counts of a whole chat."""
    [choice] = said["choices"]
    message = choice["message"]
    return {
        **{name: said[name] for name in ("id", "object", "created", "model")},
        "said": [message.get(name) for name in ("role", "content", "tool_calls")],
        "why": choice["finish_reason"],
        "tokens": tokens_of(said["usage"]),
    }


def step_of(event: dict[str, Any]) -> dict[str, Any]:
    """What one event adds; the last has no choice, or one that says nothing."""
    choice = (event["choices"] or [{}])[0]
    delta = choice.get("delta") or {}
    return {
        **{name: event[name] for name in ("id", "object", "model")},
        "said": [delta.get(name) for name in ("role", "content")],
        "called": [called_in(one) for one in delta.get("tool_calls") or ()],
        "why": choice.get("finish_reason"),
    }


def called_in(piece: dict[str, Any]) -> list[Any]:
    """LiteLLM says of each piece, and not of the first alone, that it is a function's."""
    return [piece.get(name) for name in ("index", "id", "function")]


def tokens_of(usage: dict[str, Any]) -> list[Any]:
    details = usage["prompt_tokens_details"]["cached_tokens"]
    return [usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"], details]

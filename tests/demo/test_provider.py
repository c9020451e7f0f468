"""The demo provider as an ASGI application, spoken to without a server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import frozen

from ccproxyd.demo.provider import DemoProvider, Event

pytestmark = pytest.mark.anyio

MESSAGES = [{"role": "user", "content": "secret"}] * 3
THREE = "demo: this answer comes from demo-think, for a request of 3 messages"


@frozen
class Answered:
    status: int
    content_type: str
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw)


async def ask(path: str, body: object, *, method: str = "POST", pieces: int = 1) -> Answered:
    """One exchange; the body goes in as many pieces as asked."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    cut = len(raw) // pieces
    parts = [raw[i * cut : (i + 1) * cut] for i in range(pieces - 1)] + [raw[(pieces - 1) * cut :]]
    sent: list[Event] = []

    async def receive() -> Event:
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(event: Event) -> None:
        sent.append(event)

    await DemoProvider()({"type": "http", "method": method, "path": path}, receive, send)
    start, *rest = sent
    assert not rest[-1].get("more_body")
    content_type = dict(start["headers"])[b"content-type"].decode()
    return Answered(start["status"], content_type, b"".join(event["body"] for event in rest))


async def test_a_message_names_the_model_and_the_number_of_messages() -> None:
    answered = await ask("/v1/messages", {"model": "demo-think", "messages": MESSAGES})
    assert answered.body["content"] == [{"type": "text", "text": THREE}]
    assert answered.body["model"] == "demo-think"


async def test_chat_and_responses_say_the_same() -> None:
    chat = await ask("/v1/chat/completions", {"model": "demo-think", "messages": MESSAGES})
    assert chat.body["choices"][0]["message"]["content"] == THREE
    response = await ask("/v1/responses", {"model": "demo-think", "input": MESSAGES})
    assert response.body["output"][0]["content"][0]["text"] == THREE


async def test_a_single_message_is_one() -> None:
    response = await ask("/v1/responses", {"model": "m", "input": "text"})
    assert response.body["output"][0]["content"][0]["text"].endswith("a request of 1 message")


@pytest.mark.parametrize(
    ("path", "last"),
    [
        ("/v1/messages", b"message_stop"),
        ("/v1/chat/completions", b"[DONE]"),
        ("/v1/responses", b"response.completed"),
    ],
)
async def test_a_stream_is_a_stream(path: str, last: bytes) -> None:
    answered = await ask(path, {"model": "m", "messages": MESSAGES, "stream": True})
    assert answered.content_type.startswith("text/event-stream")
    assert last in answered.raw.split(b"\n\n")[-2]


@pytest.mark.parametrize(
    ("options", "told"), [({"include_usage": True}, True), ("nonsense", False)]
)
async def test_a_chat_stream_tells_its_usage_when_asked(options: object, told: bool) -> None:
    body = {"model": "m", "messages": MESSAGES, "stream": True, "stream_options": options}
    answered = await ask("/v1/chat/completions", body)
    assert (b'"usage"' in answered.raw) is told


async def test_a_larger_request_counts_more_tokens() -> None:
    small = await ask("/v1/messages/count_tokens", {"messages": MESSAGES})
    large = await ask("/v1/messages/count_tokens", {"messages": MESSAGES * 10})
    assert 0 < small.body["input_tokens"] < large.body["input_tokens"]


@pytest.mark.parametrize("encoding", ["float", "base64"])
async def test_embeddings_come_one_for_each_text(encoding: str) -> None:
    body = {"model": "m", "input": ["a", "b"], "encoding_format": encoding}
    answered = await ask("/v1/embeddings", body)
    assert len(answered.body["data"]) == 2


async def test_the_base_may_lack_its_version() -> None:
    answered = await ask("/chat/completions", {"model": "m", "messages": MESSAGES})
    assert answered.status == 200


async def test_a_body_in_pieces_is_one_body() -> None:
    answered = await ask("/v1/messages", {"model": "demo-think", "messages": MESSAGES}, pieces=5)
    assert answered.body["content"][0]["text"] == THREE


async def test_fields_of_the_wrong_type_do_no_harm() -> None:
    answered = await ask("/v1/messages", {"model": 7, "messages": "x", "stream": "yes"})
    assert answered.body["model"] == "7"


@pytest.mark.parametrize("raw", [b"", b"secret", b'["secret"]', b"\xff"])
async def test_a_bad_body_is_refused_without_repeating_it(raw: bytes) -> None:
    answered = await ask("/v1/messages", raw)
    assert (answered.status, answered.body["error"]["type"]) == (400, "invalid_request_error")
    assert b"secret" not in answered.raw


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("HEAD", "/", 200), ("POST", "/v1/nothing", 404), ("GET", "/v1/messages", 405)],
)
async def test_other_paths_and_methods(method: str, path: str, status: int) -> None:
    assert (await ask(path, b"", method=method)).status == status

"""The demo provider: says which model was asked, and how many messages it got.

That is enough to see a rule at work: the model's name is the label's. A request is parsed, answered
and forgotten; nothing of it is logged, and no error repeats it. Tokens are counted as a quarter of
the body's bytes, which is near enough for a look at the statistics.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from itertools import count
from typing import Any, Final

import orjson
from attrs import frozen

from ccproxyd.demo import answers
from ccproxyd.demo.answers import Answer, Body

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

_JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream; charset=utf-8"


@frozen
class Reply:
    """What to send: one piece of JSON, or the frames of a stream."""

    status: int
    content_type: str
    pieces: Iterable[bytes]


@frozen
class Asked:
    """A request's body, of which any field may be missing or of the wrong type."""

    body: Mapping[str, Any]
    size: int
    number: int

    @property
    def model(self) -> str:
        return str(self.body.get("model", ""))

    @property
    def stream(self) -> bool:
        return self.body.get("stream") is True

    @property
    def tokens(self) -> int:
        return max(1, self.size // 4)

    @property
    def message_count(self) -> int:
        """Messages, or whatever the API has in their place: input items, texts to embed."""
        given = self.body.get("messages", self.body.get("input"))
        return len(given) if isinstance(given, list) else 1

    @property
    def usage_wanted(self) -> bool:
        options = self.body.get("stream_options")
        return isinstance(options, Mapping) and options.get("include_usage") is True

    def answer(self) -> Answer:
        plural = "" if self.message_count == 1 else "s"
        text = (
            f"demo: this answer comes from {self.model},"
            f" for a request of {self.message_count} message{plural}"
        )
        return Answer(self.model, answers.words(text), self.tokens, number=self.number)


class DemoProvider:
    """The ASGI application."""

    def __init__(self) -> None:
        self._numbers = count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            raw = await _read(receive)
            await _send(send, self._reply(scope["method"], scope["path"], raw))

    def _reply(self, method: str, path: str, raw: bytes) -> Reply:
        if path == "/":
            return _json(200, {"name": "ccproxyd demo"})
        reply = _REPLIES.get(path.removeprefix("/v1"))
        if reply is None:
            return _refuse(404, "not_found_error", "the demo provider has no such path")
        if method != "POST":
            return _refuse(405, "invalid_request_error", "this path takes POST")
        body = _parse(raw)
        if body is None:
            return _refuse(400, "invalid_request_error", "the body is not a JSON object")
        return reply(Asked(body, len(raw), next(self._numbers)))


def _message(asked: Asked) -> Reply:
    answer = asked.answer()
    if asked.stream:
        return _events(answers.message_frames(answer))
    return _json(200, answers.message(answer))


def _count_tokens(asked: Asked) -> Reply:
    return _json(200, {"input_tokens": asked.tokens})


def _chat(asked: Asked) -> Reply:
    answer = asked.answer()
    if asked.stream:
        return _events(answers.chat_frames(answer, usage=asked.usage_wanted))
    return _json(200, answers.chat(answer))


def _response(asked: Asked) -> Reply:
    answer = asked.answer()
    if asked.stream:
        return _events(answers.response_frames(answer))
    return _json(200, answers.response(answer))


def _embeddings(asked: Asked) -> Reply:
    encoded = asked.body.get("encoding_format") == "base64"
    vectors = answers.embeddings(asked.model, asked.message_count, asked.tokens, encoded=encoded)
    return _json(200, vectors)


_REPLIES: Final[Mapping[str, Callable[[Asked], Reply]]] = {
    "/messages": _message,
    "/messages/count_tokens": _count_tokens,
    "/chat/completions": _chat,
    "/responses": _response,
    "/embeddings": _embeddings,
}


def _json(status: int, body: Body) -> Reply:
    return Reply(status, _JSON, [orjson.dumps(body)])


def _events(frames: Iterable[bytes]) -> Reply:
    return Reply(200, _EVENTS, frames)


def _refuse(status: int, type_: str, message: str) -> Reply:
    """An error that both families of clients can read."""
    return _json(status, {"type": "error", "error": {"type": type_, "message": message}})


def _parse(raw: bytes) -> Mapping[str, Any] | None:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) else None


async def _read(receive: Receive) -> bytes:
    pieces = []
    more = True
    while more:
        event = await receive()
        pieces.append(event.get("body", b""))
        more = event.get("more_body", False)
    return b"".join(pieces)


async def _send(send: Send, reply: Reply) -> None:
    headers = [(b"content-type", reply.content_type.encode())]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    for piece in reply.pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})

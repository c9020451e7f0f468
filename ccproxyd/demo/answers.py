"""What a provider answers, as plain data: Anthropic's messages and OpenAI's three conversations.

An `Answer` is a model's text with its usage. Each API has two forms of it: a body, and the frames
of a stream of server-sent events. Anthropic and OpenAI's responses name their events; OpenAI's
chat and text completions only number their choices, and end with `[DONE]`. Nothing here reads a
request or a clock: the same answer is the same bytes.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import orjson
from attrs import frozen

Body = dict[str, Any]

DONE: Final = b"data: [DONE]\n\n"
CREATED: Final = 1_767_225_600
"""When everything here was made: the first second of 2026."""


@frozen
class Answer:
    """One answer of one model; a stream sends a frame for each piece of the text."""

    model: str
    pieces: tuple[str, ...]
    input_tokens: int
    cached_tokens: int = 0
    number: int = 1

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def output_tokens(self) -> int:
        return len(self.pieces)

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


def words(text: str) -> tuple[str, ...]:
    """The text in pieces, about as a model's tokens come.

    >>> words("one two three")
    ('one', ' two', ' three')
    """
    first, *rest = text.split(" ")
    return (first, *(f" {word}" for word in rest))


def event(name: str, data: Mapping[str, Any]) -> bytes:
    r"""A frame with a name.

    >>> event("ping", {"type": "ping"})
    b'event: ping\ndata: {"type":"ping"}\n\n'
    """
    return b"event: %s\n" % name.encode() + unnamed(data)


def unnamed(data: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"


# -- Anthropic: POST /v1/messages


def message(answer: Answer) -> Body:
    text = {"type": "text", "text": answer.text}
    usage = _message_usage(answer, answer.output_tokens)
    return _message(answer) | {"content": [text], "stop_reason": "end_turn", "usage": usage}


def message_frames(answer: Answer) -> Iterator[bytes]:
    started = _message(answer) | {"usage": _message_usage(answer, 1)}
    block = {"type": "text", "text": ""}
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    usage = _message_usage(answer, answer.output_tokens)
    yield _typed("message_start", message=started)
    yield _typed("content_block_start", index=0, content_block=block)
    yield _typed("ping")
    for piece in answer.pieces:
        delta = {"type": "text_delta", "text": piece}
        yield _typed("content_block_delta", index=0, delta=delta)
    yield _typed("content_block_stop", index=0)
    yield _typed("message_delta", delta=end, usage=usage)
    yield _typed("message_stop")


def _message(answer: Answer) -> Body:
    return {
        "id": f"msg_{answer.number:06d}",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _message_usage(answer: Answer, output_tokens: int) -> Body:
    """Anthropic counts what was read from the cache apart from the rest of the input."""
    return {
        "input_tokens": answer.input_tokens - answer.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": answer.cached_tokens,
        "output_tokens": output_tokens,
    }


def _typed(type_: str, **fields: Any) -> bytes:
    return event(type_, {"type": type_, **fields})


# -- OpenAI: POST /v1/chat/completions


def chat(answer: Answer) -> Body:
    said = {"role": "assistant", "content": answer.text, "refusal": None}
    choice = {"index": 0, "message": said, "logprobs": None, "finish_reason": "stop"}
    return _chat(answer, "chat.completion") | {"choices": [choice], "usage": _chat_usage(answer)}


def chat_frames(answer: Answer, *, usage: bool = False) -> Iterator[bytes]:
    """The stream; with its usage only if `stream_options.include_usage` asked for it."""
    yield _chunk(answer, {"role": "assistant", "content": ""}, None)
    for piece in answer.pieces:
        yield _chunk(answer, {"content": piece}, None)
    yield _chunk(answer, {}, "stop")
    if usage:
        last = {"choices": [], "usage": _chat_usage(answer)}
        yield unnamed(_chat(answer, "chat.completion.chunk") | last)
    yield DONE


def _chunk(answer: Answer, delta: Body, reason: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    return unnamed(_chat(answer, "chat.completion.chunk") | {"choices": [choice]})


def _chat(answer: Answer, kind: str) -> Body:
    id_ = f"chatcmpl-{answer.number:06d}"
    return {"id": id_, "object": kind, "created": CREATED, "model": answer.model}


def _chat_usage(answer: Answer) -> Body:
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.total_tokens,
        "prompt_tokens_details": {"cached_tokens": answer.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


# -- OpenAI: POST /v1/responses


def response(answer: Answer) -> Body:
    return _response(answer, "completed", [_item(answer, "completed", answer.text)])


def response_frames(answer: Answer) -> Iterator[bytes]:
    for number, (type_, fields) in enumerate(_response_events(answer)):
        yield _typed(type_, sequence_number=number, **fields)


def _response_events(answer: Answer) -> Iterator[tuple[str, Body]]:
    begun = {"response": _response(answer, "in_progress", [])}
    item = {"item_id": f"msg_{answer.number:06d}", "output_index": 0}
    part = {**item, "content_index": 0}
    yield "response.created", begun
    yield "response.in_progress", begun
    empty = _item(answer, "in_progress", None)
    yield "response.output_item.added", {"output_index": 0, "item": empty}
    yield "response.content_part.added", {**part, "part": _text_part("")}
    for piece in answer.pieces:
        yield "response.output_text.delta", {**part, "delta": piece, "logprobs": []}
    yield "response.output_text.done", {**part, "text": answer.text, "logprobs": []}
    yield "response.content_part.done", {**part, "part": _text_part(answer.text)}
    done = _item(answer, "completed", answer.text)
    yield "response.output_item.done", {"output_index": 0, "item": done}
    yield "response.completed", {"response": response(answer)}


def _response(answer: Answer, status: str, output: list[Body]) -> Body:
    return {
        "id": f"resp_{answer.number:06d}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": answer.model,
        "output": output,
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": _response_usage(answer) if status == "completed" else None,
    }


def _item(answer: Answer, status: str, text: str | None) -> Body:
    return {
        "type": "message",
        "id": f"msg_{answer.number:06d}",
        "status": status,
        "role": "assistant",
        "content": [] if text is None else [_text_part(text)],
    }


def _text_part(text: str) -> Body:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _response_usage(answer: Answer) -> Body:
    return {
        "input_tokens": answer.input_tokens,
        "input_tokens_details": {"cached_tokens": answer.cached_tokens},
        "output_tokens": answer.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": answer.total_tokens,
    }


# -- OpenAI: POST /v1/embeddings

EMBEDDING: Final = (0.5, -0.25, 0.125, 1.0)


def embeddings(model: str, count: int, input_tokens: int, *, encoded: bool = False) -> Body:
    """`count` equal vectors, as numbers or as base64 of little-endian floats."""
    vector: str | Sequence[float] = _packed(EMBEDDING) if encoded else EMBEDDING
    data = [{"object": "embedding", "index": i, "embedding": vector} for i in range(count)]
    usage = {"prompt_tokens": input_tokens, "total_tokens": input_tokens}
    return {"object": "list", "data": data, "model": model, "usage": usage}


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()

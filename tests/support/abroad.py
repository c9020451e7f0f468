"""How Google, Amazon and Cohere answer a chat, as plain data; the mock of a provider serves them.

Sources: Google's `generateContent` and `streamGenerateContent?alt=sse`; Amazon Bedrock's `Converse`
and `ConverseStream`, whose stream is of binary frames (`application/vnd.amazon.eventstream`); and
Cohere's `/v2/chat`, whose stream is of lines of JSON for who accepts `application/json`, as LiteLLM
does, and its `/v1/chat`.

Each says in its last words why it has ended: `finishReason`, `messageStop`, `message-end`,
`stream-end`.
"""

from __future__ import annotations

import base64
import struct
from binascii import crc32
from collections.abc import Iterator
from typing import Any, Final

import orjson

from ccproxyd.demo.answers import Answer, Body, message_frames, unnamed

_STRING: Final = 7
"""The type of a frame's header whose value is a text."""


def error_frame(path: str, message: str) -> bytes:
    """The error in mid-stream, as each of them says it: that it has too much to do."""
    if "/chat" in path:
        return _ended({"finish_reason": "ERROR", "error": message})
    if path.endswith("/converse-stream"):
        return amazon_frame("serviceUnavailableException", {"message": message}, "exception")
    return unnamed({"error": {"code": 503, "message": message, "status": "UNAVAILABLE"}})


# -- Google


def google(answer: Answer) -> Body:
    return _google(answer, answer.text, "STOP")


def google_frames(answer: Answer) -> Iterator[bytes]:
    *pieces, last = answer.pieces
    for piece in pieces:
        yield unnamed(_google(answer, piece, None))
    yield unnamed(_google(answer, last, "STOP"))


def _google(answer: Answer, text: str, reason: str | None) -> Body:
    said = {"role": "model", "parts": [{"text": text}]}
    ended = {"finishReason": reason} if reason else {}
    return {
        "candidates": [{"content": said, "index": 0, **ended}],
        "usageMetadata": {
            "promptTokenCount": answer.input_tokens,
            "candidatesTokenCount": answer.output_tokens,
            "totalTokenCount": answer.total_tokens,
        },
        "modelVersion": "gemini-2.5-pro",
        "responseId": f"google-{answer.number:06d}",
    }


# -- Amazon


def amazon(answer: Answer) -> Body:
    said = {"role": "assistant", "content": [{"text": answer.text}]}
    metrics = {"metrics": {"latencyMs": 1}}
    return {
        "output": {"message": said},
        "stopReason": "end_turn",
        "usage": _amazon_usage(answer),
        **metrics,
    }


def amazon_frames(answer: Answer) -> Iterator[bytes]:
    yield amazon_frame("messageStart", {"role": "assistant"})
    for piece in answer.pieces:
        delta = {"contentBlockIndex": 0, "delta": {"text": piece}}
        yield amazon_frame("contentBlockDelta", delta)
    yield amazon_frame("contentBlockStop", {"contentBlockIndex": 0})
    yield amazon_frame("messageStop", {"stopReason": "end_turn"})
    usage = _amazon_usage(answer)
    yield amazon_frame("metadata", {"usage": usage, "metrics": {"latencyMs": 1}})


def invoked_frames(path: str, answer: Answer) -> Iterator[bytes]:
    """Of `InvokeModelWithResponseStream`: each model in words of its own."""
    for said in _invoked(path, answer):
        packed = base64.b64encode(orjson.dumps(said)).decode()
        yield amazon_frame("chunk", {"bytes": packed})


def _invoked(path: str, answer: Answer) -> Iterator[Body]:
    if "anthropic" in path:
        for frame in message_frames(answer):
            yield orjson.loads(frame.partition(b"data: ")[2])
    else:
        yield from map(_MODELS[path.split("/")[2].partition(".")[0]], *_with_reasons(answer))


def _with_reasons(answer: Answer) -> tuple[tuple[str, ...], list[str | None]]:
    return answer.pieces, [*[None] * (len(answer.pieces) - 1), "stop"]


def _of_llama(piece: str, reason: str | None) -> Body:
    return {"generation": piece, "generation_token_count": 1, "stop_reason": reason}


def _of_mistral(piece: str, reason: str | None) -> Body:
    return {"outputs": [{"text": piece, "stop_reason": reason}]}


_MODELS: Final = {"meta": _of_llama, "mistral": _of_mistral}


def amazon_frame(name: str, body: Any, kind: str = "event") -> bytes:
    """Lengths, headers and payload, each part with its checksum; a name, or an exception's."""
    named = {":message-type": kind, f":{kind}-type": name, ":content-type": "application/json"}
    headers = b"".join(_header(key, value) for key, value in named.items())
    payload = orjson.dumps(body)
    lengths = struct.pack(">II", len(headers) + len(payload) + 16, len(headers))
    begun = lengths + struct.pack(">I", crc32(lengths)) + headers + payload
    return begun + struct.pack(">I", crc32(begun))


def _header(name: str, value: str) -> bytes:
    said = value.encode()
    return (
        struct.pack(">B", len(name)) + name.encode() + struct.pack(">BH", _STRING, len(said)) + said
    )


def _amazon_usage(answer: Answer) -> Body:
    return {
        "inputTokens": answer.input_tokens,
        "outputTokens": answer.output_tokens,
        "totalTokens": answer.total_tokens,
    }


# -- Cohere


def cohere(answer: Answer) -> Body:
    said = {"role": "assistant", "content": [{"type": "text", "text": answer.text}]}
    ended = {"finish_reason": "COMPLETE", "usage": _cohere_usage(answer)}
    return {"id": _cohere_id(answer), "message": said, **ended}


def cohere_frames(answer: Answer) -> Iterator[bytes]:
    begun = {"message": {"role": "assistant", "content": [], "tool_calls": []}}
    yield _line({"id": _cohere_id(answer), "type": "message-start", "delta": begun})
    block = {"message": {"content": {"type": "text", "text": ""}}}
    yield _line({"type": "content-start", "index": 0, "delta": block})
    for piece in answer.pieces:
        delta = {"message": {"content": {"text": piece}}}
        yield _line({"type": "content-delta", "index": 0, "delta": delta})
    yield _line({"type": "content-end", "index": 0})
    yield _ended({"finish_reason": "COMPLETE", "usage": _cohere_usage(answer)})


def old_cohere_frames(answer: Answer) -> Iterator[bytes]:
    """Of `/v1/chat`."""
    begun = {"event_type": "stream-start", "generation_id": _cohere_id(answer)}
    yield _line({"is_finished": False, **begun})
    for piece in answer.pieces:
        yield _line({"is_finished": False, "event_type": "text-generation", "text": piece})
    response = {"text": answer.text, "meta": {"tokens": _cohere_usage(answer)["tokens"]}}
    ended = {"event_type": "stream-end", "finish_reason": "COMPLETE", "response": response}
    yield _line({"is_finished": True, **ended})


def _ended(told: Body) -> bytes:
    return _line({"type": "message-end", "delta": told})


def _line(event: Body) -> bytes:
    return orjson.dumps(event) + b"\n"


def _cohere_id(answer: Answer) -> str:
    return f"cohere-{answer.number:06d}"


def _cohere_usage(answer: Answer) -> Body:
    counts = {"input_tokens": answer.input_tokens, "output_tokens": answer.output_tokens}
    return {"billed_units": counts, "tokens": counts}

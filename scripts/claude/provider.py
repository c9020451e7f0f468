"""Anthropic's API, as far as Claude Code uses it, on loopback: it answers by `plays` and keeps what
it was asked.

What it says is the same for the same question: ids are counted by play and turn, and usage is
always the same, so that what a client makes of it can be compared. It is served in plain HTTP, and
with TLS under Anthropic's own name, which is the only one that a subscription's token is sent to.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from aiohttp import web
from attrs import asdict, frozen

from scripts.claude.plays import Failure, Part, Turn, directory_of, part_of, placed, text, told

PORT: Final = 9100
TLS_PORT: Final = 443
CLIENTS_PORT: Final = 4000
"""Where the client goes: to the daemon, or to the provider if there is none."""
_LIMIT: Final = 256 * 1024 * 1024
_PIECE: Final = 24
_LONG_ENOUGH: Final = 0.5
_CLASSIFIER: Final = "security monitor"
_USAGE: Final = {
    "cache_creation_input_tokens": 200,
    "cache_read_input_tokens": 300,
    "service_tier": "standard",
}


@frozen
class Asked:
    """One request as it came."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: Any

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Provider:
    """`asked` is what came since it was last taken, oldest first."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.busy = 0
        self._failed: Counter[tuple[str, int]] = Counter()
        self._runner: web.AppRunner | None = None

    async def start(self, certificate: ssl.SSLContext, *, alone: bool) -> None:
        app = web.Application(client_max_size=_LIMIT)
        app.router.add_post("/v1/messages", self._messages)
        app.router.add_post("/v1/messages/count_tokens", self._count)
        app.router.add_route("*", "/{anything:.*}", self._anything)
        self._runner = web.AppRunner(app, access_log=None, max_field_size=65536)
        await self._runner.setup()
        for port in (PORT, CLIENTS_PORT) if alone else (PORT,):
            await web.TCPSite(self._runner, "127.0.0.1", port).start()
        await web.TCPSite(self._runner, "127.0.0.1", TLS_PORT, ssl_context=certificate).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def take(self) -> list[Asked]:
        """What came since the last time; what was to fail a number of times does so again."""
        taken, self.asked = self.asked, []
        self._failed.clear()
        return taken

    async def _record(self, request: web.Request) -> Any:
        raw = await request.read()
        body = json.loads(raw) if raw else None
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append(Asked(request.method, request.path, request.query_string, headers, body))
        return body

    async def _anything(self, request: web.Request) -> web.Response:
        await self._record(request)
        if request.path == "/":
            return web.Response()
        return _error(Failure(404, "not_found_error", f"mock: no {request.path}"))

    async def _count(self, request: web.Request) -> web.Response:
        await self._record(request)
        return web.json_response({"input_tokens": 1234})

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        body = await self._record(request)
        self.busy += 1
        try:
            return await self._play(request, body)
        finally:
            self.busy -= 1

    async def _play(self, request: web.Request, body: Mapping[str, Any]) -> web.StreamResponse:
        part = special(body) or part_of(body)
        if part.turn.failure and self._is_to_fail(part, part.turn.failure, body["model"]):
            return _error(part.turn.failure)
        message = answer(part, body)
        if not body.get("stream"):
            return web.json_response(message, headers=_headers(part))
        return await _stream(request, part, list(frames(message)))

    def _is_to_fail(self, part: Part, failure: Failure, model: str) -> bool:
        if failure.spares and failure.spares in model:
            return False
        self._failed[part.play, part.step] += 1
        return failure.times is None or self._failed[part.play, part.step] <= failure.times


def special(body: Mapping[str, Any]) -> Part | None:
    """What is answered whatever the play: a form to fill in, and whether a command may run."""
    config = body.get("output_config") or {}
    form = (config.get("format") or {}).get("schema")
    if form:
        return Part("form", 0, Turn((text(json.dumps(filled_in(form))),)))
    if _CLASSIFIER in told(body.get("system"))[:600]:
        short = bool(body.get("stop_sequences"))
        verdict = "<block>no" if short else "<thinking>fine</thinking><block>no</block>"
        stop = "stop_sequence" if short else "end_turn"
        return Part("classifier", 0, Turn((text(verdict),), stop=stop))
    return None


def filled_in(form: Mapping[str, Any]) -> Any:
    """The least that a JSON schema takes.

    >>> filled_in({"type": "object", "properties": {"title": {"type": "string"}}})
    {'title': 'A title'}
    """
    if "enum" in form:
        return form["enum"][0]
    if form.get("type") == "object":
        return {name: filled_in(one) for name, one in form.get("properties", {}).items()}
    plain = {"string": "A title", "integer": 1, "number": 1, "boolean": True, "array": []}
    return plain.get(str(form.get("type")))


def answer(part: Part, body: Mapping[str, Any]) -> dict[str, Any]:
    """The whole message."""
    blocks = list(_blocks(part, body))
    calls = any(block["type"] == "tool_use" for block in blocks)
    usage = {**_USAGE, "input_tokens": part.turn.input_tokens, "output_tokens": 50}
    if any(block["type"] == "server_tool_use" for block in blocks):
        usage["server_tool_use"] = {"web_search_requests": 1}
    return {
        "id": f"msg_{_id(part)}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": blocks,
        "stop_reason": part.turn.stop or ("tool_use" if calls else "end_turn"),
        "stop_sequence": None,
        "usage": usage,
    }


def _blocks(part: Part, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Thinking is only for those who asked for it."""
    thinks = (body.get("thinking") or {}).get("type") in ("enabled", "adaptive")
    directory = directory_of(body)
    for index, block in enumerate(part.turn.blocks):
        if block["type"] == "tool_use":
            call = {"id": f"toolu_{_id(part)}_{index}", "input": placed(block["input"], directory)}
            yield {**block, **call}
        elif thinks or block["type"] != "thinking":
            yield dict(block)


def _id(part: Part) -> str:
    return f"{part.play or 'none'}_{part.step}".replace(" ", "_")


def _headers(part: Part) -> dict[str, str]:
    return {"request-id": f"req_{_id(part)}", "anthropic-ratelimit-unified-status": "allowed"}


def frames(message: Mapping[str, Any]) -> Iterator[bytes]:
    """The same as a stream."""
    usage = message["usage"]
    begun = {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    yield _frame("message_start", message=begun)
    for index, block in enumerate(message["content"]):
        empty, deltas = _pieces(block)
        yield _frame("content_block_start", index=index, content_block=empty)
        if index == 0:
            yield _frame("ping")
        for delta in deltas:
            yield _frame("content_block_delta", index=index, delta=delta)
        yield _frame("content_block_stop", index=index)
    ended = {"stop_reason": message["stop_reason"], "stop_sequence": message["stop_sequence"]}
    yield _frame("message_delta", delta=ended, usage=usage)
    yield _frame("message_stop")


def _pieces(block: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block as it begins, and what is added to it."""
    match block["type"]:
        case "text":
            said = [{"type": "text_delta", "text": one} for one in _cut_up(block["text"])]
            return {"type": "text", "text": ""}, said
        case "thinking":
            thought = _cut_up(block["thinking"])
            deltas = [{"type": "thinking_delta", "thinking": one} for one in thought]
            signed = {"type": "signature_delta", "signature": block["signature"]}
            return {"type": "thinking", "thinking": "", "signature": ""}, [*deltas, signed]
        case "tool_use" | "server_tool_use":
            given = _cut_up(json.dumps(block["input"]))
            parts = [{"type": "input_json_delta", "partial_json": one} for one in given]
            return {**block, "input": {}}, parts
    return dict(block), []


def _cut_up(whole: str) -> list[str]:
    return [whole[at : at + _PIECE] for at in range(0, len(whole), _PIECE)]


def _frame(type_: str, **fields: Any) -> bytes:
    data = json.dumps({"type": type_, **fields})
    return f"event: {type_}\ndata: {data}\n\n".encode()


async def _stream(request: web.Request, part: Part, events: list[bytes]) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={**_headers(part), "content-type": "text/event-stream; charset=utf-8"}
    )
    await response.prepare(request)
    for number, event in enumerate(events):
        if number in (part.turn.cut, part.turn.breaks) and not part.turn.at_once:
            await asyncio.sleep(_LONG_ENOUGH)  # what was said before has arrived by then
        if number == part.turn.cut:
            assert request.transport is not None
            request.transport.close()
            return response
        if number == part.turn.breaks:
            error = {"type": "overloaded_error", "message": "Overloaded"}
            await response.write(_frame("error", error=error))
            break
        await response.write(event)
    await response.write_eof()
    return response


def _error(failure: Failure) -> web.Response:
    error = {"type": failure.type, "message": failure.message}
    body = {"type": "error", "error": error, "request_id": "req_error"}
    return web.json_response(body, status=failure.status, headers=dict(failure.headers))

"""How many tokens a request has: the provider's own count where there is one, else ours.

A client that asks must be told. Claude Code takes any failure to mean that there is nobody who
counts, and finds out by sending the real request, sixteen times over, for one token of answer each.
So whatever the provider or LiteLLM says instead of a number, or does not say in time, the request's
tokens are counted here; the answer then has a header that says so. What is wrong with the request
itself (no key, no JSON, no route, a refusal by a hook) has been answered before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import orjson
from attrs import define, field

from ccproxyd.errors import CcproxydError, ProxyError
from ccproxyd.gateway.estimates import IN_THREAD, by_length
from ccproxyd.gateway.exchange import Exchange, header_pairs
from ccproxyd.gateway.lanes.litellm import Log
from ccproxyd.gateway.replies import json_reply
from ccproxyd.gateway.report import Report
from ccproxyd.routing import Request

PATIENCE_SECONDS: Final = 5.0
"""For somebody else's count. Its user looks on, and ours is not far off."""

_HEADER: Final = "x-ccproxy-token-count"
_ESTIMATE: Final = header_pairs([(_HEADER, "estimate")])
_LITELLMS_SOURCE: Final = "litellm_count_source"
_LITELLMS_OWN: Final = "local_estimate"

Ask = Callable[[Exchange], Awaitable[None]]


@define
class _Held:
    """An answer that is not sent yet."""

    messages: list[MutableMapping[str, Any]] = field(factory=list)

    async def send(self, message: MutableMapping[str, Any]) -> None:
        self.messages.append(message)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"]) if self.messages else 0

    @property
    def json(self) -> dict[str, Any]:
        body = b"".join(message.get("body", b"") for message in self.messages)
        try:
            found = orjson.loads(body)
        except orjson.JSONDecodeError:
            return {}
        return found if isinstance(found, dict) else {}


async def answer_count(
    exchange: Exchange, request: Request, ask: Ask, report: Report, log: Log
) -> None:
    """Answer with the count that `ask` writes into an exchange, or else with our own."""
    held = _Held()
    failure = await _failure(exchange, ask, held)
    if failure:
        log("info", f"cannot get a count, it is ours: {failure}", request_id=report.request_id)
        await _answer_ourselves(exchange, request, report)
    else:
        await _answer_with(exchange, held)


async def count_tokens(request: Request) -> int:
    """Our own count, off the loop if it takes long."""
    try:
        if request.new_characters > IN_THREAD:
            await asyncio.to_thread(lambda: request.token_count)
        return request.token_count
    except CcproxydError:  # all of it: a client that is told too little compacts too late
        return by_length(orjson.dumps(dict(request.body)))


async def _failure(exchange: Exchange, ask: Ask, held: _Held) -> str:
    """Why there is no count, "" if there is one; of an exception not of ours the kind alone."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await ask(exchange.aside(held.send))
    except TimeoutError:
        return f"none came within {PATIENCE_SECONDS:.0f} s"
    except ProxyError as error:
        return error.message
    except Exception as error:
        return type(error).__name__
    if held.status != 200:
        return f"HTTP {held.status}"
    return "" if type(held.json.get("input_tokens")) is int else "the answer has none"


async def _answer_with(exchange: Exchange, held: _Held) -> None:
    start, *rest = held.messages
    is_litellms = held.json.get(_LITELLMS_SOURCE) == _LITELLMS_OWN
    marks = _ESTIMATE if is_litellms else []
    exchange.started = True
    for message in ({**start, "headers": [*start["headers"], *marks]}, *rest):
        await exchange.send(message)


async def _answer_ourselves(exchange: Exchange, request: Request, report: Report) -> None:
    tokens = await count_tokens(request)
    exchange.extra += _ESTIMATE
    report.answering(200)
    report.cut, report.lane = False, None
    await exchange.reply(json_reply({"input_tokens": tokens}))

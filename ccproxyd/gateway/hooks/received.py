"""A request in the form that functions of the user's own expect it: LiteLLM's.

Credentials are not for them: every header that could hold one is left out, and so is a key in the
query.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import orjson

from ccproxyd.config.entries import names_credential
from ccproxyd.gateway.auth import without_key
from ccproxyd.gateway.exchange import Exchange
from ccproxyd.gateway.hooks.moderation import Asked
from ccproxyd.gateway.hooks.pipeline import Passage
from ccproxyd.gateway.hooks.said import Said, said_in, said_in_bytes, said_in_query

RELAYED: Final = "pass_through_endpoint"
"""LiteLLM's call type of what it relays as it is."""
_PROTOCOL: Final = "sec-websocket-protocol"
"""A browser's only place for a key."""


def received(exchange: Exchange) -> dict[str, Any]:
    """`proxy_server_request`, but for the body."""
    query = without_key(exchange.query)
    host = exchange.headers.get("host", "localhost")
    return {
        "url": f"http://{host}{exchange.raw_path}{'?' + query if query else ''}",
        "method": exchange.method,
        "headers": {name: value for name, value in exchange.headers.items() if _is_shown(name)},
    }


def asked_in(passage: Passage, scope: str, query: str = "") -> Asked:
    """What moderation judges of a request that has passed the hooks; of a form all that is sent."""
    request = passage.request

    def texts() -> Iterator[Said]:
        yield from said_in_query(without_key(query))
        if passage.is_form:
            yield from said_in_bytes(passage.raw, request.headers.get("content-type", ""))
        else:
            yield from said_in(request, scope)

    return Asked(
        texts=texts,
        data=lambda: passage.draft.data,
        call_type=request.call_type,
        raw=passage.raw,
    )


def asked_in_bytes(raw: bytes, exchange: Exchange) -> Asked:
    """What it judges of a request that is carried as it is."""

    def texts() -> Iterator[Said]:
        yield from said_in_query(without_key(exchange.query))
        yield from said_in_bytes(raw, exchange.headers.get("content-type", ""))

    return Asked(
        texts=texts,
        data=lambda: {**_body_of(raw), "proxy_server_request": received(exchange)},
        call_type=RELAYED,
        raw=raw,
    )


def _body_of(raw: bytes) -> dict[str, Any]:
    if not raw:
        return {}
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        found = None
    return found if isinstance(found, dict) else {"input": raw.decode("utf-8", "replace")}


def _is_shown(header: str) -> bool:
    return not names_credential(header) and header != _PROTOCOL

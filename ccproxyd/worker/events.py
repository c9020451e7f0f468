"""An error event in a stream that LiteLLM writes, with what really happened in it.

Each API has an event of its own for an error. LiteLLM puts its words there, and a status, in
letters, for a code.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from ccproxyd.errors import UNREADABLE, ProxyError, UpstreamTimeout, message_in, proxy_error
from ccproxyd.worker.failures import PROVIDER
from ccproxyd.worker.underway import Slot
from ccproxyd.worker.words import has_broken, has_stalled, parsed, plain, status_in

_ERROR_EVENTS: Final = (
    b"event: error\n",
    b"event: response.failed\n",
    b'data: {"error"',
    b'data: {"type":"error"',
)
_OF_A_CHAT: Final = {"message", "type", "param", "code"}


def cleared(piece: bytes, slot: Slot) -> bytes:
    """A piece of a stream; if it is an error event of LiteLLM's, with what really happened in it.

    What the provider itself has sent stays as it is, byte for byte.
    """
    if not (piece.startswith(_ERROR_EVENTS) or (slot.failure and b"error" in piece)):
        return piece
    before, mark, rest = piece.partition(b"data: ")
    data, *after = rest.partition(b"\n")
    event = parsed(data)
    changed = _cleared_event(event, slot) if isinstance(event, dict) else event
    if changed == event:
        return piece
    return b"".join((before, mark, orjson.dumps(changed), *after))


def _cleared_event(event: dict[str, Any], slot: Slot) -> dict[str, Any]:
    if isinstance(response := event.get("response"), dict):
        return {**event, "response": _cleared_event(response, slot)}
    error = event.get("error")
    said = error.get("message") if isinstance(error, dict) else None
    if not isinstance(error, dict) or not isinstance(said, str):
        return event
    broken = _how_it_broke(said, slot)
    slot.has_broken = slot.has_broken or broken is not None
    broken = broken or _of_a_chat(error, said, slot)
    told = _told(broken, event) if broken else {"message": plain(said)}
    return {**event, "error": {**error, **told}}


def _of_a_chat(error: dict[str, Any], said: str, slot: Slot) -> ProxyError | None:
    """LiteLLM's own event for a chat completion, which has a status for a code, in letters."""
    code = error.get("code")
    status = status_in(code) if isinstance(code, str) else None
    if error.keys() != _OF_A_CHAT or status is None:
        return None
    return proxy_error(plain(said), slot.status or status)


def _how_it_broke(said: str, slot: Slot) -> ProxyError | None:
    """What became of the connection, if that was it and not the provider's own word."""
    known = slot.failure if slot.failure and slot.failure.source != PROVIDER else None
    if has_stalled(said) or (known and known.status == UpstreamTimeout.code):
        return UpstreamTimeout("the answer stopped coming")
    if known and message_in(parsed(known.body)) == UNREADABLE:
        return ProxyError(UNREADABLE, code=502)
    if has_broken(said) or known:
        return ProxyError("the answer was cut: the provider went away", code=502)
    return None


def _told(error: ProxyError, event: dict[str, Any]) -> dict[str, Any]:
    """Each API's events have their own idea of a type and a code."""
    match event:
        case {"type": "error"}:
            kind = "timeout_error" if isinstance(error, UpstreamTimeout) else "api_error"
            return {"type": kind, "message": error.message}
        case {"object": "response"}:
            return {"message": error.message}
        case _:
            return error.to_json()["error"]

"""The hooks that we bring along, but for the two that route.

    extract_session_id   the client's session: to LiteLLM's callbacks; the log has a mark of it
    capture_headers      headers of the request that the config names: to the log, and to callbacks
    request_analyzer     how large the request is, and of what kind: to the log
    response_enhancer    the route in claude-ccproxy's words: to the headers of the answer

`forward_oauth` and `forward_apikey` are switches, which `gateway.table` reads where a client's own
credential might go along.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from ccproxyd.routing import Decision, Request
from ccproxyd.telemetry.redact import redact

MOST_CHARACTERS: Final = 200
"""Of a header's value; more than any client sends that says what it is."""


def session_notes(request: Request) -> dict[str, Any]:
    session = request.session_id
    return {"session_id": session[:MOST_CHARACTERS]} if session else {}


def captured_headers(request: Request, wanted: Iterable[str]) -> dict[str, str]:
    """The headers that are there, without what looks like a secret."""
    found = {name: request.headers[name] for name in wanted if name in request.headers}
    return {name: redact(value)[:MOST_CHARACTERS] for name, value in found.items()}


def header_notes(captured: Mapping[str, str], request: Request) -> dict[str, Any]:
    """Captured headers as claude-ccproxy told them to LangFuse."""
    told = {f"header_{name}": value for name, value in captured.items()}
    return {"trace_metadata": {**told, "http_path": request.path}}


def request_facts(request: Request) -> dict[str, Any]:
    """What a request is like. Its tokens are told if a rule has asked for them, not for this."""
    return {
        "message_count": request.message_count,
        "has_tools": request.has_tools,
        "stream": request.stream,
        "token_count": request.asked_token_count,
    }


def route_headers(original_model: str, decision: Decision) -> list[tuple[str, str]]:
    """Claude-ccproxy's names for what `x-ccproxy-label` and `x-ccproxy-model` tell as well."""
    return [
        ("x-ccproxy-model-name", decision.label),
        ("x-ccproxy-original-model", original_model),
        ("x-ccproxy-routed-model", decision.model),
    ]

"""Our own answers, in the shape that the client's library reads.

Anthropic's clients want `{"type": "error", "error": {"type", "message"}}` and act on the type;
everybody else gets OpenAI's `{"error": {"message", "type", "param", "code"}}`. `x-should-retry`
is Anthropic's own header: it spares the user 90 s of hopeless retries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from attrs import field, frozen

from ccproxyd.errors import ProxyError, anthropic_type
from ccproxyd.gateway.paths import Dialect


@frozen
class Reply:
    """A whole answer: status, header pairs, body."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(factory=dict)
    media_type: str = "application/json"

    def pairs(self) -> list[tuple[bytes, bytes]]:
        own = {
            "content-type": self.media_type,
            "content-length": str(len(self.body)),
            **self.headers,
        }
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in own.items()]


def json_reply(value: Any, status: int = 200) -> Reply:
    return Reply(status, orjson.dumps(value))


def error_reply(
    error: ProxyError, dialect: Dialect, headers: Mapping[str, str] | None = None
) -> Reply:
    """A failure as the client's library expects to read it."""
    return Reply(error.code, orjson.dumps(error_body(error, dialect)), headers or {})


def presentable(error: ProxyError) -> ProxyError:
    """The same failure with the status of one: the user's own code may raise any.

    >>> presentable(ProxyError("no", code=200)).code
    500
    """
    code: object = error.code
    if isinstance(code, int) and 400 <= code <= 599 and isinstance(error.message, str):
        return error
    return ProxyError(str(error.message))


def error_body(error: ProxyError, dialect: Dialect) -> dict[str, Any]:
    """The body alone.

    >>> error_body(ProxyError("no", code=401), Dialect.ANTHROPIC)
    {'type': 'error', 'error': {'type': 'authentication_error', 'message': 'no'}}
    >>> error_body(ProxyError("no", code=401), Dialect.OPENAI)["error"]["code"]
    401
    """
    if dialect is Dialect.ANTHROPIC:
        kind = anthropic_type(error.code)
        return {"type": "error", "error": {"type": kind, "message": error.message}}
    return {
        "error": {
            "message": error.message,
            "type": error.type,
            "param": None,
            "code": error.code,
        }
    }


def error_event(error: ProxyError, dialect: Dialect) -> bytes:
    """The last frame of a stream that was cut after it had begun."""
    data = orjson.dumps(error_body(error, dialect))
    name = b"event: error\n" if dialect is Dialect.ANTHROPIC else b""
    return name + b"data: " + data + b"\n\n"

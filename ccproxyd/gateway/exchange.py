"""One request and its answer, as this process holds them: ASGI's scope and its two calls.

uvicorn waits in `send` while the client's buffer is full, which is the back-pressure that a long
stream needs. A client that reads nothing at all is dropped by `server`.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final, Self
from urllib.parse import quote

from ccproxyd.gateway.bodies import Receive
from ccproxyd.gateway.browsers import asks_from_a_page, for_a_page
from ccproxyd.gateway.paths import Dialect, dialect_of, usual_path
from ccproxyd.gateway.replies import Reply

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Pairs = list[tuple[bytes, bytes]]


_LONGEST_NAME: Final = 512
"""Of a model or a label in a header; a client may name whatever it likes."""
_CLOSE: Final = [(b"connection", b"close")]
_EVENTS: Final = b"text/event-stream"


class Exchange:
    """A request with its headers in a mapping, and an answer that can be started once."""

    def __init__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = usual_path(scope["path"])
        raw_path: str = scope.get("raw_path", b"").decode("latin-1")
        self.raw_path = raw_path if raw_path and self.path == scope["path"] else self.path
        self.query: str = scope.get("query_string", b"").decode("latin-1")
        self.header_pairs: Pairs = scope["headers"]
        self.headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        self.receive = receive
        self.send = send
        self.extra: Pairs = []
        self.lane = ""
        """The lane that answers, once there is one."""
        self.started = False
        self.ended = False
        self.streams = False
        """What has been started is a stream of events."""
        self.is_last: Callable[[], bool] = lambda: False
        """Whether the connection is not to be kept alive; asked when the answer starts."""

    @property
    def dialect(self) -> Dialect:
        return dialect_of(self.path, self.headers)

    def set_header(self, name: str, value: str) -> None:
        """Have the request say something else, or what it did not say."""
        raw = name.encode("latin-1")
        others = [pair for pair in self.header_pairs if pair[0] != raw]
        self.header_pairs = [*others, (raw, value.encode("latin-1"))]
        self.headers[name] = value

    def drop_header(self, name: str) -> None:
        """Have the request not say something."""
        raw = name.encode("latin-1")
        self.header_pairs = [pair for pair in self.header_pairs if pair[0] != raw]
        self.headers.pop(name, None)

    def aside(self, send: Send) -> Self:
        """The same request, with its answer going elsewhere; its extra headers are shared."""
        twin = copy.copy(self)
        twin.send = send
        return twin

    async def start(self, status: int, headers: Pairs) -> None:
        self.started = True
        self.streams = dict(headers).get(b"content-type", b"").startswith(_EVENTS)
        lane = header_pairs([("x-ccproxy-lane", self.lane)]) if self.lane else []
        last = _CLOSE if self.is_last() else []
        pairs = [*headers, *self.extra, *lane, *last]
        pairs = for_a_page(pairs) if asks_from_a_page(self.headers) else pairs
        await self.send({"type": "http.response.start", "status": status, "headers": pairs})

    async def write(self, piece: bytes, *, more: bool = True) -> None:
        """Hand a piece to the client, when it has taken the ones before.

        The last one has left when this returns: uvloop writes at the end of a turn of its loop, so
        that what was done first would keep the client waiting.
        """
        await self.send({"type": "http.response.body", "body": piece, "more_body": more})
        if not more:
            self.ended = True
            await asyncio.sleep(0)

    async def end(self) -> None:
        await self.write(b"", more=False)

    async def reply(self, reply: Reply) -> None:
        """An answer of our own, whole; HEAD gets the head alone."""
        await self.start(reply.status, reply.pairs())
        await self.write(b"" if self.method == "HEAD" else reply.body, more=False)

    async def until_gone(self) -> None:
        """Return when the client has gone; meaningful once the body is read."""
        while (await self.receive())["type"] != "http.disconnect":
            pass


def in_ascii(text: str) -> str:
    """A name as a header takes it: printable ASCII; a label may be anything that YAML can write.

    >>> in_ascii("größe"), in_ascii("claude-opus-4-8[1m]")
    ('gr%C3%B6%C3%9Fe', 'claude-opus-4-8[1m]')
    """
    text = text[:_LONGEST_NAME]
    return text if text.isascii() and text.isprintable() else quote(text, safe=" /:@+,;=")


def header_pairs(named: Iterable[tuple[str, str]]) -> Pairs:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in named]

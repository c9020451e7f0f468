"""What one connection to the control socket may cost.

uvicorn reads a request for as long as its client cares to send it. Here a connection has a deadline
for the head of each request and a bound on its size, a deadline for taking an answer, and a place
among a limited number. What is refused gets an answer in the one shape that errors have, and its
connection is closed. The deadline and bound of a body are the application's: `server.py`.

The uid of the peer goes with each request, as the ASGI extension `ccproxyd.peer`.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from typing import Any, Final

import orjson
from attrs import frozen
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ccproxyd import __version__
from ccproxyd.control.errors import ControlError

SERVER: Final = f"ccproxyd/{__version__}"
"""Stands in each answer's `Server` header, by which a client knows us and our version."""

PEER: Final = "ccproxyd.peer"

_AROUND: Final = len(b": \r\n")
"""What stands between and behind a header's name and value."""
_CREDENTIALS: Final = struct.Struct("iII")
"""struct ucred of unix(7): pid, uid, gid."""


@frozen
class Limits:
    """Sizes in bytes, times in seconds."""

    body_bytes: int = 4 * 1024 * 1024
    head_bytes: int = 64 * 1024
    head_seconds: float = 5.0
    body_seconds: float = 10.0
    write_seconds: float = 30.0
    connections: int = 64
    farewell_seconds: float = 3.0
    """What a request in flight is given when the server ends."""


class _HeadTooLargeError(Exception):
    """For the parser alone."""


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, limits: Limits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._peer: int | None = None
        self._head_bytes = 0
        self._headers_bytes = 0
        self._head = _Deadline(self.loop, limits.head_seconds, self._give_up)
        self._write = _Deadline(self.loop, limits.write_seconds, self._abort)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._peer = peer_uid(transport)
        self._head.start()
        if len(self.connections) > self._limits.connections:
            self._refuse("Busy", f"more than {self._limits.connections} connections", 503)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head.cancel()
        self._write.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head.running and self._head_bytes > self._limits.head_bytes:
            self._refuse_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {PEER: {"uid": self._peer}}
        self._headers_bytes = 0
        self._head.start()

    def on_url(self, url: bytes) -> None:
        self._headers_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A head that came in one piece is whole before its bytes are counted."""
        self._headers_bytes += len(name) + len(value) + _AROUND
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._headers_bytes > self._limits.head_bytes:
            raise _HeadTooLargeError  # the parser gives up, and `send_400_response` is asked
        self._head.cancel()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        super().on_message_complete()

    def shutdown(self) -> None:
        """Called when the server ends: what is not asked by now will not be carried out."""
        super().shutdown()
        if self.cycle is not None and self.cycle.more_body:
            self._refuse("Stopping", "ccproxyd is stopping", 503)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write.start()

    def resume_writing(self) -> None:
        self._write.cancel()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the name is uvicorn's
        if self._headers_bytes > self._limits.head_bytes:
            self._refuse_head()
        else:
            self._refuse("BadRequest", "this is not an HTTP request", 400)

    def _abort(self) -> None:
        self.transport.abort()

    def _refuse_head(self) -> None:
        limit = f"more than {self._limits.head_bytes} bytes of headers"
        self._refuse("HeadersTooLarge", limit, 431)

    def _give_up(self) -> None:
        limit = f"no request within {self._limits.head_seconds:g} seconds"
        self._refuse("RequestTimeout", limit, 408)

    def _refuse(self, kind: str, message: str, code: int) -> None:
        self._head.cancel()
        if not self.transport.is_closing():
            self.transport.write(_refusal(ControlError(kind, message, code)))
            self.transport.close()


def peer_uid(transport: asyncio.BaseTransport) -> int | None:
    """The uid at the other end of a Unix socket; None where the system does not tell."""
    option = getattr(socket, "SO_PEERCRED", None)
    given = transport.get_extra_info("socket")
    if option is None or given is None:
        return None
    # A socket of our own, since uvloop's stand-in has no getsockopt().
    with socket.socket(fileno=os.dup(given.fileno())) as own:
        _, uid, _ = _CREDENTIALS.unpack(
            own.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size)
        )
    return int(uid)


class _Deadline:
    """A timer that is started once until it is cancelled."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seconds: float, action: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._seconds = seconds
        self._action = action
        self._timer: asyncio.TimerHandle | None = None

    @property
    def running(self) -> bool:
        return self._timer is not None

    def start(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._action)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _refusal(error: ControlError) -> bytes:
    """An answer that no application gave, as bytes on the wire."""
    body = orjson.dumps(error.to_json())
    fields = (
        f"server: {SERVER}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return STATUS_LINE[error.code] + fields.encode() + body

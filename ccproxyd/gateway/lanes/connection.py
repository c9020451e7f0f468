"""HTTP/1.1 as its client speaks it: one connection, and the one answer that is on it.

A general client does for a request what a relay has no use for: it builds URLs, headers and bodies
as objects, decodes, redirects, and starts tasks and timers for each. Here a request is two pieces
of bytes, and an answer its status, its headers as they came, and the pieces of its body; llhttp
parses it, by httptools.

What an answer's end is, is the protocol's business (RFC 9112, section 6.3): so many bytes, the last
chunk, or the end of the connection where nothing is said; a HEAD, a 204 and a 304 have no body. An
answer that ends otherwise is cut, and the error says so. 1xx answers are passed over, and so is
what trails the last chunk. A status below 100 or from 600 on is none: no server could hand it on. A
connection is used again only when nothing at all is left on it.

There is one timer for a connection, not one for each wait: a wait moves the deadline, and a timer
that comes too early goes on to it.

None of the errors here quotes what came over the wire.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

import httptools

from ccproxyd.gateway.exchange import Pairs

MAX_HEAD_BYTES: Final = 512 * 1024
HIGH_WATER_BYTES: Final = 512 * 1024
"""What may wait here for a client that takes its answer slowly."""

_TIMER_SLACK: Final = 0.002
"""The loop's timers are good for a millisecond."""
_STATUSES: Final = range(200, 600)
BODYLESS: Final = frozenset({204, 304})
_MAY_BE_EMPTY: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class HungUpError(ConnectionError):
    """The other end went away before its answer was complete, or did not speak HTTP."""


class Connection(asyncio.Protocol):
    """A connection. `on_lost` is called when it is gone, `on_free` when it may be used again."""

    def __init__(
        self, on_free: Callable[[Connection], None], on_lost: Callable[[Connection], None]
    ) -> None:
        self._on_free = on_free
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = self._deadline = 0.0
        self._busy = False
        self.free_since = 0.0
        self._forget()

    def _forget(self) -> None:
        """Nothing of an answer is there."""
        self.status = 0
        self.headers: Pairs = []
        self._head_bytes = 0
        self._has_head = False
        self._is_interim = False
        self._until_close = False
        self._pieces: list[bytes] = []
        self._piece_bytes = 0
        self._complete = False
        self._spoilt = False
        self._error: HungUpError | None = None

    # -- for whoever asks

    async def asked(
        self, head: bytes, body: bytes, deadline: float, *, without_body: bool = False
    ) -> None:
        """Send a request and wait for the head of its answer, or let go of the connection.

        `without_body` is for a request whose answer has none, whatever it says.

        Raises:
            HungUpError: there will be no answer.
            TimeoutError: the loop's clock has come to the deadline.
        """
        self._forget()
        self._busy, self._without_body = True, without_body
        try:
            self._transport.writelines((head, body) if body else (head,))
            await self._begun(deadline)
        except BaseException:
            self.let_go()
            raise

    async def read(self, deadline: float) -> bytes:
        """What has come of the body, when something has; nothing at its end.

        Raises:
            HungUpError: the answer is cut.
            TimeoutError: the loop's clock has come to the deadline.
        """
        while not self._pieces:
            if self._complete:
                return b""
            if self._error is not None:
                raise self._error
            await self._news(deadline)
        return self._taken()

    @property
    def at_end(self) -> bool:
        """Nothing is to be read any more."""
        return self._complete and not self._pieces

    @property
    def has_spoken(self) -> bool:
        """Something of an answer has come."""
        return self._head_bytes > 0

    @property
    def is_usable(self) -> bool:
        """Whether a request may be sent."""
        return not self._busy and not self._transport.is_closing()

    def let_go(self) -> None:
        """Keep the connection for another request, if nothing of this one is left on it."""
        self._busy = self._until_close = False
        transport = self._transport
        is_clean = self._complete and not self._spoilt and not self._pieces
        if is_clean and not transport.is_closing() and not transport.get_write_buffer_size():
            self._on_free(self)
        else:
            transport.abort()

    def close(self) -> None:
        """An end that we make is none of the answer's."""
        self._until_close = False
        self._transport.abort()

    def _taken(self) -> bytes:
        pieces = self._pieces
        if self._piece_bytes > HIGH_WATER_BYTES:
            self._transport.resume_reading()
        self._pieces, self._piece_bytes = [], 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # -- waiting

    async def _begun(self, deadline: float) -> None:
        while not self._has_head:
            if self._error is not None:
                raise self._error
            await self._news(deadline)

    async def _news(self, deadline: float) -> None:
        self._waiter = self._loop.create_future()
        self._expect_by(deadline)
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _expect_by(self, deadline: float) -> None:
        self._deadline = deadline
        if self._timer is not None and self._timer_at > deadline:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer_at = deadline
            self._timer = self._loop.call_at(deadline, self._check_time)

    def _check_time(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() + _TIMER_SLACK < self._deadline:
            self._expect_by(self._deadline)
        else:
            self._waiter.set_exception(TimeoutError())

    # -- the transport's

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        if not self._busy:
            self._transport.abort()  # an answer to nothing
            return
        if not self._has_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail()
        if not self._has_head and self._head_bytes > MAX_HEAD_BYTES:
            self._fail()
        if self._piece_bytes > HIGH_WATER_BYTES:
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        if self._until_close and error is None:
            self._complete = True
        self._fail()
        self._wake()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._on_lost(self)

    def _fail(self) -> None:
        """What follows an answer that is complete does it no harm, but the connection."""
        self._spoilt = True
        if not self._complete and self._error is None:
            self._error = HungUpError()
        self._transport.abort()

    # -- the parser's

    def on_message_begin(self) -> None:
        self._spoilt = self._spoilt or self._complete
        self._is_interim = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._has_head:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._complete or 100 <= status < 200:
            self._is_interim = True
            if not self._has_head:
                self.headers = []
            return
        if not is_final(status):
            self._fail()
            return
        self._has_head, self.status = True, status
        if self._without_body:
            self._complete = self._spoilt = True  # the parser may wait for a body all the same
        elif status not in BODYLESS:
            self._until_close = not any(map(_tells_the_end, self.headers))

    def on_body(self, piece: bytes) -> None:
        if not self._complete:
            self._pieces.append(piece)
            self._piece_bytes += len(piece)

    def on_message_complete(self) -> None:
        if not self._is_interim:
            self._complete = True
            self._spoilt = self._spoilt or not self._parser.should_keep_alive()


def request_head(method: str, target: str, host: str, headers: Pairs, body: bytes) -> bytes:
    r"""The head of a request with this body.

    >>> request_head("GET", "/a?b", "lan", [(b"x-a", b"1")], b"")
    b'GET /a?b HTTP/1.1\r\nhost: lan\r\nx-a: 1\r\n\r\n'

    Raises:
        ValueError: something in it, such as a key of the config's, would end its line.
    """
    lines = [f"{method} {target} HTTP/1.1".encode("latin-1"), f"host: {host}".encode("latin-1")]
    lines += [b"%b: %b" % pair for pair in headers]
    if body or method not in _MAY_BE_EMPTY:
        lines.append(b"content-length: %d" % len(body))
    said = b"\r\n".join(lines)
    breaks = len(lines) - 1
    if said.count(b"\n") != breaks or said.count(b"\r") != breaks or b"\0" in said:
        raise ValueError("a line break in a header")
    return said + b"\r\n\r\n"


def is_final(status: int) -> bool:
    """Whether an answer can have this status, and it is the answer itself and nothing before it.

    >>> is_final(529), is_final(600), is_final(101)
    (True, False, False)
    """
    return status in _STATUSES


def _tells_the_end(header: tuple[bytes, bytes]) -> bool:
    name, value = header
    return name == b"content-length" or (
        name == b"transfer-encoding" and value.lower().rstrip().endswith(b"chunked")
    )

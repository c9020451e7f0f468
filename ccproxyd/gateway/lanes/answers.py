"""What both lanes do with an answer: wait for its beginning, pass it on, look for its usage.

The client's answer starts with the first piece of the body, not with the head, so that a lane may
still turn elsewhere until there is something to show; and an answer of known, moderate length is
taken whole before it is passed on.

A stream that is cut later ends as a failure that the client can see: an error frame, then a
transfer that is visibly incomplete, so that nobody takes half an answer for a whole one.

A provider that refuses a key of ours is our fault, not the client's: relayed as it is, a 401 would
have the client ask its user to log in, or try again for a minute and a half.

aiohttp's exceptions can quote headers and bytes; only their types are ever told.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
from attrs import field, frozen

from ccproxyd.config.settings import Timeouts
from ccproxyd.errors import ProxyError, UpstreamTimeout
from ccproxyd.gateway.exchange import Exchange, Pairs
from ccproxyd.gateway.replies import error_event
from ccproxyd.gateway.report import Report
from ccproxyd.gateway.usage import NO_USAGE, StreamUsage, usage_of_json
from ccproxyd.telemetry.usage import Usage

WHOLE_BYTES: Final = 1024 * 1024

HOP_BY_HOP: Final = frozenset(
    "connection keep-alive proxy-authenticate proxy-authorization te trailer transfer-encoding "
    "upgrade".split()
)
NOT_SENT: Final = HOP_BY_HOP | {"host", "content-length", "accept-encoding", "expect"}
DIED: Final = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError)

_NOT_RETURNED: Final = HOP_BY_HOP | {"date", "server"}
_BODYLESS: Final = frozenset({204, 304})


@frozen
class Answer:
    """An answer of which at least the first piece is there."""

    status: int
    headers: Pairs
    first: bytes
    rest: AsyncIterator[bytes] = field(repr=False)
    whole: bool
    streams: bool
    is_json: bool = False


class KeyRefusedError(ProxyError):
    """The provider does not take the key that the config has for it; trying again is no use."""

    code = 502


def check_key(status: int, label: str, *, is_ours: bool) -> None:
    """Refuse to relay a 401 that is about a key of ours.

    Raises:
        KeyRefusedError: it is.
    """
    if status == 401 and is_ours:
        whose = f" of the label {label!r}" if label else ""
        raise KeyRefusedError(
            f"the provider refuses the key{whose}; put the right one into config.yaml or the file "
            "env beside it, then: ccproxyctl reload"
        )


@asynccontextmanager
async def in_time(timeouts: Timeouts) -> AsyncIterator[None]:
    """The time that an answer has to begin.

    Raises:
        UpstreamTimeout: it did not.
    """
    try:
        async with asyncio.timeout(timeouts.first_byte):
            yield
    except TimeoutError:
        raise UpstreamTimeout(f"no answer began within {timeouts.first_byte:.0f} s") from None


async def opened(response: aiohttp.ClientResponse, timeouts: Timeouts) -> Answer:
    """Wait for the first piece, or for all of a short answer."""
    length = response.content_length
    whole = length is not None and length <= WHOLE_BYTES
    pieces = _pieces(response, timeouts.idle)
    first = await response.read() if whole else await anext(pieces, b"")
    return Answer(
        status=response.status,
        headers=_returned(response),
        first=first,
        rest=pieces,
        whole=whole,
        streams=response.content_type == "text/event-stream",
        is_json=response.content_type == "application/json",
    )


def let_go(response: aiohttp.ClientResponse) -> None:
    """Keep the connection for the next request, if nothing of this one is left on it."""
    response.release() if response.content.at_eof() else response.close()


async def _pieces(response: aiohttp.ClientResponse, idle_seconds: float) -> AsyncIterator[bytes]:
    while True:
        async with asyncio.timeout(idle_seconds):
            piece = await response.content.readany()
        if not piece:
            return
        yield piece


def _returned(response: aiohttp.ClientResponse) -> Pairs:
    return [
        (name.lower(), value)
        for name, value in response.raw_headers
        if (text := name.decode("latin-1").lower()) not in _NOT_RETURNED
        and not text.startswith("x-ccproxy-")
    ]


async def pass_on(answer: Answer, exchange: Exchange, report: Report, source: str) -> None:
    """Hand an answer to the client; `source` is who gave it, for when it breaks off."""
    report.answering(answer.status)
    await exchange.start(answer.status, answer.headers)
    if answer.whole or answer.status in _BODYLESS or exchange.method == "HEAD":
        await exchange.write(answer.first, more=False)
        report.usage = usage_of_json(answer.first)
    else:
        await _stream(answer, exchange, report, source)


async def _stream(answer: Answer, exchange: Exchange, report: Report, source: str) -> None:
    reader = _reader_of(answer)
    feed = reader.feed
    try:
        await _relay(answer.first, feed, exchange)
        async for piece in answer.rest:
            await _relay(piece, feed, exchange)
        await exchange.end()
    except (*DIED, TimeoutError) as error:
        report.cut = True
        if answer.streams:
            # No final piece after this frame: the transfer stays visibly incomplete. The blank
            # line ends a frame that was cut in its middle.
            await exchange.write(b"\n\n" + error_event(_reason(error, source), exchange.dialect))
    finally:
        report.usage = reader.usage


async def _relay(piece: bytes, feed: Callable[[bytes], None], exchange: Exchange) -> None:
    """What it says of its usage can wait; the client cannot."""
    await exchange.write(piece)
    feed(piece)


class _Unread:
    """Neither events nor JSON: of a long file each piece would be copied for nothing."""

    usage = NO_USAGE

    def feed(self, piece: bytes) -> None:
        """Of no interest."""


class _JSONUsage:
    """The usage of an answer whose length nobody told, as far as it is not too long."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= WHOLE_BYTES:
            self._pieces.append(piece)

    @property
    def usage(self) -> Usage:
        return NO_USAGE if self._size > WHOLE_BYTES else usage_of_json(b"".join(self._pieces))


def _reader_of(answer: Answer) -> StreamUsage | _JSONUsage | _Unread:
    if answer.streams:
        return StreamUsage()
    return _JSONUsage() if answer.is_json else _Unread()


def _reason(error: BaseException, source: str) -> ProxyError:
    if isinstance(error, TimeoutError):
        return UpstreamTimeout("the answer stopped coming")
    return ProxyError(f"the answer was cut: {source} went away", code=502)

"""What both lanes do with an answer: wait for its beginning, pass it on, look for its usage.

The client's answer starts with the first piece of the body, not with the head, so that a lane may
still turn elsewhere until there is something to show; and an answer of known, moderate length is
taken whole before it is passed on.

A stream that is cut later ends as a failure that the client can see: an error frame, then a
transfer that is visibly incomplete, so that nobody takes half an answer for a whole one. So does
one of which the head alone has come (`BrokenOff`): a status would be another answer than the
provider's, and Claude Code would repeat itself, while it asks without a stream when one breaks.

A provider that refuses a key of ours is our fault, not the client's: relayed as it is, a 401 would
have the client ask its user to log in, or try again for a minute and a half.

Both lanes hand an answer over as an `Incoming`, whichever client has asked for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Protocol

from attrs import define, field, frozen

from ccproxyd.config.settings import Timeouts
from ccproxyd.errors import ProxyError, UpstreamTimeout
from ccproxyd.gateway.exchange import Exchange, Pairs
from ccproxyd.gateway.lanes.connection import BODYLESS, HungUpError
from ccproxyd.gateway.replies import error_event
from ccproxyd.gateway.report import Report
from ccproxyd.gateway.usage import NO_USAGE, StreamUsage, usage_of_json
from ccproxyd.routing.request import CONVERSATIONS
from ccproxyd.telemetry.usage import Usage

WHOLE_BYTES: Final = 1024 * 1024
_JSON: Final = b"application/json"
_ENDLESS_SECONDS: Final = 5.0
"""For the rest of a failure whose length nobody has told; then what there is is passed on."""

HOP_BY_HOP: Final = frozenset(
    "connection keep-alive proxy-authenticate proxy-authorization te trailer transfer-encoding "
    "upgrade".split()
)
NOT_SENT: Final = HOP_BY_HOP | {"host", "content-length", "accept-encoding", "expect"}

_NOT_RETURNED: Final = frozenset(name.encode() for name in (*HOP_BY_HOP, "date", "server"))


class Incoming(Protocol):
    """An answer whose head is there, the names of its headers in small letters."""

    status: int
    headers: Pairs

    @property
    def at_end(self) -> bool:
        """Nothing is to be read any more."""

    async def read(self, deadline: float) -> bytes:
        """What has come of the body, when something has; nothing at its end.

        Raises:
            HungUpError: the answer is cut.
            TimeoutError: the loop's clock has come to the deadline.
        """

    def let_go(self) -> None:
        """Keep the connection for another request, if nothing of this one is left on it."""


_LENGTH: Final = b"content-length"
_A_STREAM: Final = b"text/event-stream"


@define
class BrokenOff:
    """An answer that has come to its end too early."""

    status: int
    headers: Pairs
    at_end: bool = False

    async def read(self, deadline: float) -> bytes:  # noqa: ARG002
        """
        Raises:
            HungUpError: in any case.
        """
        raise HungUpError

    def let_go(self) -> None:
        """There is no connection any more."""


@frozen
class Answer:
    """An answer of which at least the first piece is there, or a stream that has broken before."""

    status: int
    headers: Pairs
    first: bytes
    rest: Incoming = field(repr=False)
    whole: bool
    streams: bool
    is_json: bool = False
    idle_seconds: float = Timeouts().idle


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
async def in_time(timeouts: Timeouts, deadline: float) -> AsyncIterator[None]:
    """The time that an answer has to begin; `deadline` is the loop's.

    Raises:
        UpstreamTimeout: it did not.
    """
    try:
        async with asyncio.timeout_at(deadline):
            yield
    except TimeoutError:
        raise too_late(timeouts) from None


def too_late(timeouts: Timeouts) -> UpstreamTimeout:
    return UpstreamTimeout(f"no answer began within {timeouts.first_byte:.0f} s")


async def opened(
    incoming: Incoming, timeouts: Timeouts, deadline: float, *, json_is_whole: bool = False
) -> Answer:
    """Wait for the first piece, or for all of a short answer.

    Args:
        json_is_whole: JSON of untold length is one value, and no list that grows.

    Raises:
        HungUpError, TimeoutError: neither came.
    """
    said = dict(incoming.headers)
    length = said.get(_LENGTH, b"")
    kind = _kind(incoming.headers)
    is_short = _is_short(incoming, length) or (json_is_whole and not length and kind == _JSON)
    first, whole = await incoming.read(deadline), False
    if is_short and (length or incoming.status < 400):
        first, whole = await _filled(incoming, first, deadline, at_best=False)
    elif is_short:
        soon = min(deadline, asyncio.get_running_loop().time() + _ENDLESS_SECONDS)
        first, whole = await _filled(incoming, first, soon, at_best=True)
    return Answer(
        status=incoming.status,
        headers=_returned(incoming.headers),
        first=first,
        rest=incoming,
        whole=whole,
        streams=kind == _A_STREAM,
        is_json=kind == _JSON,
        idle_seconds=timeouts.idle,
    )


async def _filled(
    incoming: Incoming, first: bytes, deadline: float, *, at_best: bool
) -> tuple[bytes, bool]:
    """The rest of a short answer, and whether that is all; `at_best` as far as it comes."""
    try:
        while not incoming.at_end and len(first) <= WHOLE_BYTES:
            first += await incoming.read(deadline)
    except (HungUpError, TimeoutError):
        if not at_best:
            raise
        return first, False
    return first, len(first) <= WHOLE_BYTES


def _is_short(incoming: Incoming, length: bytes) -> bool:
    """A failure is until it turns out not to be, where its length is not told."""
    return int(length) <= WHOLE_BYTES if length.isdigit() else incoming.status >= 400


def is_stream(incoming: Incoming) -> bool:
    """Whether its head promises events."""
    return incoming.status < 400 and _kind(incoming.headers) == _A_STREAM


def broken_off(status: int, headers: Pairs) -> Answer:
    """The answer that a stream is of which nothing but this head has come."""
    told = [pair for pair in _returned(headers) if pair[0] != _LENGTH]
    rest = BrokenOff(status, told)
    return Answer(status, told, first=b"", rest=rest, whole=False, streams=True)


def _kind(headers: Pairs) -> bytes:
    return dict(headers).get(b"content-type", b"").partition(b";")[0].strip().lower()


def _returned(headers: Pairs) -> Pairs:
    return [
        (name, value)
        for name, value in headers
        if name not in _NOT_RETURNED and not name.startswith(b"x-ccproxy-")
    ]


async def pass_on(answer: Answer, exchange: Exchange, report: Report, source: str) -> None:
    """Hand an answer to the client; `source` is who gave it, for when it breaks off."""
    report.answering(answer.status)
    if answer.status in BODYLESS:
        # Such an answer may name a length all the same; uvicorn would wait for so much.
        named = [pair for pair in answer.headers if pair[0] != _LENGTH]
        await exchange.start(answer.status, named)
        await exchange.end()
        return
    await exchange.start(answer.status, answer.headers)
    if answer.whole or exchange.method == "HEAD":
        await exchange.write(answer.first, more=False)
        await _read_whole(answer, report)
    else:
        await _stream(answer, exchange, report, source)


async def _stream(answer: Answer, exchange: Exchange, report: Report, source: str) -> None:
    reader = _InPassing(_reader_of(answer, report))
    try:
        await _relayed(answer, exchange, reader, report, source)
        if report.estimate is not None:
            reader.catch_up()
            await report.estimate.settled()
    finally:
        report.used(reader.usage)
        report.cut = report.cut or reader.has_failed
        report.told_all = reader.has_ended


async def _relayed(
    answer: Answer, exchange: Exchange, reader: _InPassing, report: Report, source: str
) -> None:
    try:
        await _relay(answer, exchange, reader.feed)
    except (HungUpError, TimeoutError) as error:
        report.cut, report.error = True, _name_of(error)
        if answer.streams and not reader.has_ended:
            # No final piece after this frame: the transfer stays visibly incomplete. The blank
            # line ends a frame that was cut in its middle.
            await exchange.write(b"\n\n" + error_event(_reason(error, source), exchange.dialect))
    else:
        report.cut = _is_half(answer, reader, report.call_type)


def _is_half(answer: Answer, reader: _InPassing | StreamUsage, call_type: str) -> bool:
    """Whether an answer came to an end that it did not say; its bytes are the provider's even so.

    A proxy on the way can make a whole transfer of half an answer.
    """
    is_plain = dict(answer.headers).get(b"content-encoding", b"identity") == b"identity"
    says_so = answer.streams and is_plain and call_type in CONVERSATIONS
    return says_so and not reader.is_whole


async def _read_whole(answer: Answer, report: Report) -> None:
    """What is to be known of an answer that is there at once, which a short stream may be."""
    if not answer.streams:
        report.usage = usage_of_json(answer.first)
        return
    reader = _events_reader(report)
    reader.feed(answer.first)
    if report.estimate is not None:
        await report.estimate.settled()
    report.used(reader.usage)
    report.cut = reader.has_failed or _is_half(answer, reader, report.call_type)


async def _relay(answer: Answer, exchange: Exchange, feed: Callable[[bytes], None]) -> None:
    """What a piece says of its usage can wait; the client cannot."""
    loop, incoming = asyncio.get_running_loop(), answer.rest
    piece = answer.first
    while not incoming.at_end:
        await exchange.write(piece)
        feed(piece)
        piece = await incoming.read(loop.time() + answer.idle_seconds)
    await exchange.write(piece, more=False)
    feed(piece)


class _InPassing:
    """A reader that gets a piece when the client has got it, in the loop's next turn."""

    def __init__(self, reader: StreamUsage | _JSONUsage | _Unread) -> None:
        self._reader = reader
        self._pieces: list[bytes] = []

    def feed(self, piece: bytes) -> None:
        if not self._pieces:
            asyncio.get_running_loop().call_soon(self.catch_up)
        self._pieces.append(piece)

    def catch_up(self) -> None:
        """Read what has been fed."""
        pieces, self._pieces = self._pieces, []
        for piece in pieces:
            self._reader.feed(piece)

    @property
    def usage(self) -> Usage:
        self.catch_up()
        return self._reader.usage

    @property
    def has_failed(self) -> bool:
        self.catch_up()
        return self._reader.has_failed

    @property
    def has_ended(self) -> bool:
        self.catch_up()
        return self._reader.has_ended

    @property
    def is_whole(self) -> bool:
        self.catch_up()
        return self._reader.is_whole


class _Unread:
    """Neither events nor JSON: of a long file each piece would be copied for nothing."""

    usage = NO_USAGE
    has_failed = has_ended = False
    is_whole = True

    def feed(self, piece: bytes) -> None:
        """Of no interest."""


class _JSONUsage:
    """The usage of an answer whose length nobody told, as far as it is not too long."""

    has_failed = has_ended = False
    is_whole = True

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


def _reader_of(answer: Answer, report: Report) -> StreamUsage | _JSONUsage | _Unread:
    if answer.streams:
        return _events_reader(report)
    return _JSONUsage() if answer.is_json else _Unread()


def _events_reader(report: Report) -> StreamUsage:
    return StreamUsage(None if report.estimate is None else report.estimate.read)


def _name_of(error: BaseException) -> str:
    """What the log calls it: of an answer that stopped coming, what the client is told."""
    kind = UpstreamTimeout if isinstance(error, TimeoutError) else type(error)
    return kind.__name__


def _reason(error: BaseException, source: str) -> ProxyError:
    if isinstance(error, TimeoutError):
        return UpstreamTimeout("the answer stopped coming")
    return ProxyError(f"the answer was cut: {source} went away", code=502)

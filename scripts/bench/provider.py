"""The mock provider: a process that answers as fast as it can, and counts what it was asked.

    python -m scripts.bench.provider

It prints its port, and ends when its standard input does. Each answer was encoded at the start; a
stream goes out an event at a time, each a piece of its own on the wire, as from a real provider.
`GET /count` says how many messages it has answered.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Iterator
from typing import Final, cast

import httptools
import orjson
import uvloop
from attrs import define, frozen

from ccproxyd.demo.answers import Answer, message, message_frames
from scripts.bench.bodies import MODEL

TEXT: Final = ("mock:", " eight", " pieces", " of", " text", " and", " then", " done")
SAID: Final = "".join(TEXT).encode()
"""The text that a whole answer has."""
LAST: Final = b'"type":"message_stop"'
"""What the last event of a stream has."""

_ASKS_FOR_STREAM: Final = (b'"stream":true', b'"stream": true')
_HEAD: Final = b"HTTP/1.1 200 OK\r\nserver: mock\r\nrequest-id: req_mock\r\ncontent-type: "


@frozen
class Answers:
    """What there is to say, ready to be written."""

    whole: bytes
    stream: tuple[bytes, ...]


@define
class Count:
    """How many messages were answered."""

    messages: int = 0


def prepared() -> Answers:
    answer = Answer(MODEL, TEXT, input_tokens=30_000)
    events = [_chunk(frame) for frame in message_frames(answer)]
    start = _HEAD + b"text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
    first, *between, last = events
    return Answers(
        whole=_whole(orjson.dumps(message(answer))),
        stream=(start + first, *between, last + b"0\r\n\r\n"),
    )


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _whole(body: bytes) -> bytes:
    return _HEAD + b"application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


class Connection(asyncio.Protocol):
    """One client, one request after the other."""

    def __init__(self, answers: Answers, count: Count) -> None:
        self._answers = answers
        self._count = count
        self._parser = httptools.HttpRequestParser(self)
        self._pieces: list[bytes] = []
        self._url = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_message_begin(self) -> None:
        self._pieces, self._url = [], b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        if self._url == b"/count":
            self._transport.write(_whole(b"%d" % self._count.messages))
            return
        self._count.messages += 1
        body = b"".join(self._pieces)
        # It is among the last fields of a body, so the search begins at the end.
        if any(body.rfind(words) >= 0 for words in _ASKS_FOR_STREAM):
            self._next_event(iter(self._answers.stream))
        else:
            self._transport.write(self._answers.whole)

    def _next_event(self, events: Iterator[bytes]) -> None:
        """One an iteration of the loop, or they would leave as one piece."""
        event = next(events, None)
        if event is not None and not self._transport.is_closing():
            self._transport.write(event)
            self._loop.call_soon(self._next_event, events)


async def start(count: Count) -> asyncio.Server:
    """The server, on a loopback port of its own."""
    answers = prepared()
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: Connection(answers, count), "127.0.0.1", 0)


def port_of(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])


async def _serve() -> None:
    server = await start(Count())
    print(port_of(server), flush=True)
    gc.freeze()
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, _read_on, over)
    await over.wait()


def _read_on(over: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 1024):
        over.set()


if __name__ == "__main__":
    uvloop.run(_serve())

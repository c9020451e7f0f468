"""A worker that does what a test tells it: HTTP/1.1 on a Unix socket, one play a request.

    async with ScriptedWorker(directory / "1.0.sock") as worker:
        worker.plays.extend([dies(), answers(b"{}")])

Requests are kept as they came in `requests`. Without a play left, `default` is played.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

import orjson
from attrs import define, field, frozen

from ccproxyd.gateway.pool import Address

PATIENCE = 60.0
Pairs = list[tuple[str, str]]


@frozen
class Received:
    """One request as it came."""

    method: str
    target: str
    headers: Pairs
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for found, value in self.headers if found.lower() == name), None)

    def names(self) -> set[str]:
        return {name.lower() for name, _ in self.headers}

    def json(self) -> dict:
        return orjson.loads(self.body)


@define
class Caller:
    """The other end while a play is on."""

    request: Received
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    written: int = 0

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()
        self.written += len(data)

    async def gone(self) -> None:
        """Return when the gateway has dropped the request."""
        with suppress(ConnectionError):
            await self.reader.read()

    def die(self) -> None:
        self.writer.transport.abort()


Play = Callable[[Caller], Awaitable[None]]


def head(status: int, *headers: tuple[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode()


def answers(body: bytes = b'{"ok": true}', status: int = 200, *headers: tuple[str, str]) -> Play:
    """The whole of an answer, its length told."""
    fixed = [("content-type", "application/json"), ("content-length", str(len(body)))]

    async def play(caller: Caller) -> None:
        await caller.write(head(status, *fixed, *headers) + body)

    return play


def begins(*pieces: bytes, kind: str = "text/event-stream", also: Play | None = None) -> Play:
    """A stream's beginning, and then whatever else."""

    async def play(caller: Caller) -> None:
        await caller.write(head(200, ("content-type", kind), ("transfer-encoding", "chunked")))
        for piece in pieces:
            await caller.write(chunk(piece))
        if also:
            await also(caller)

    return play


def streams(*pieces: bytes, kind: str = "text/event-stream") -> Play:
    """A stream from its beginning to its end."""

    async def end(caller: Caller) -> None:
        await caller.write(b"0\r\n\r\n")

    return begins(*pieces, kind=kind, also=end)


def chunk(piece: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(piece), piece)


def dies(after: bytes = b"") -> Play:
    """It takes the request and goes away, with these last bytes."""

    async def play(caller: Caller) -> None:
        if after:
            await caller.write(after)
            caller.writer.close()
        else:
            caller.die()

    return play


def holds(until: asyncio.Event, then: Play) -> Play:
    async def play(caller: Caller) -> None:
        await until.wait()
        await then(caller)

    return play


class ScriptedWorker:
    """Listens on a socket; `abandoned` is set when the gateway drops a request."""

    def __init__(self, path: Path, generation: int = 1) -> None:
        self.address = Address(
            name=path.stem,
            generation=generation,
            socket=str(path),
            secret=f"secret-of-{generation}",
            key=f"sk-worker-{generation}",
        )
        self.requests: list[Received] = []
        self.plays: deque[Play] = deque()
        self.default: Play = answers()
        self.connections = 0
        self._news = asyncio.Event()
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.address.socket)

    async def stop(self) -> None:
        """As a process that is killed: the socket's file stays, and nobody listens on it."""
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        await self._server.wait_closed()

    async def start_again(self) -> None:
        os.unlink(self.address.socket)  # noqa: PTH108 - a socket is quickly gone
        await self.start()

    async def seen(self, count: int) -> None:
        """Return when so many requests have come."""
        async with asyncio.timeout(PATIENCE):
            while len(self.requests) < count:
                self._news.clear()
                await self._news.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while not writer.is_closing():
                    await self._answer(await _read(reader), reader, writer)
        finally:
            self._open.discard(writer)
            writer.close()

    async def _answer(
        self, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.requests.append(request)
        self._news.set()
        play = self.plays.popleft() if self.plays else self.default
        await play(Caller(request, reader, writer))


async def _read(reader: asyncio.StreamReader) -> Received:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = lines[0].split(" ")
    headers = [tuple(line.split(": ", 1)) for line in lines[1:] if line]
    length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
    return Received(method, target, headers, await reader.readexactly(length))


async def becomes(condition: Callable[[], object]) -> None:
    """Let the others run until something holds for which there is no event."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


@define
class Moment:
    """Something that a play reaches, for a test to wait for."""

    event: asyncio.Event = field(factory=asyncio.Event)

    def __call__(self) -> None:
        self.event.set()

    async def comes(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.event.wait()


def notes_leaving(moment: Moment) -> Play:
    """Wait until the gateway drops the request, and say so."""

    async def play(caller: Caller) -> None:
        await caller.gone()
        moment()

    return play

"""Answers as servers give them, in all the ways in which HTTP/1.1 can say where one ends."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from ccproxyd.gateway.lanes import connection as connection_module
from ccproxyd.gateway.lanes.connection import Connection, HungUpError
from tests.gateway.scripted import PATIENCE, becomes

pytestmark = pytest.mark.anyio

HEAD = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class Asker:
    """A connection to a server that gives the answers of a list, and what became of it."""

    def __init__(self):
        self.free, self.lost = [], []

    async def connect(self, port):
        loop = asyncio.get_running_loop()
        _, self.connection = await loop.create_connection(
            lambda: Connection(self.free.append, self.lost.append), "127.0.0.1", port
        )

    async def ask(self, **more):
        """Status and body."""
        deadline = asyncio.get_running_loop().time() + PATIENCE
        await self.connection.asked(HEAD, b"{}", deadline, **more)
        body = b""
        while piece := await self.connection.read(deadline):
            body += piece
        self.connection.let_go()
        return self.connection.status, body


@asynccontextmanager
async def asking(*answers, closes=False):
    """Each answer is bytes, or something to await with the server's side of the connection."""

    async def serve(reader, writer):
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(2)
            if callable(answer):
                await answer(reader, writer)
            else:
                writer.write(answer)
        if not closes:
            await reader.read()
        writer.close()

    async with asyncio.timeout(PATIENCE):
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            asker = Asker()
            await asker.connect(server.sockets[0].getsockname()[1])
            yield asker
            asker.connection.close()


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (OK, b"{}"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b""),
        (CHUNKED + b"1\r\na\r\n2;note=1\r\nbc\r\n0\r\n\r\n", b"abc"),
        (CHUNKED + b"1\r\na\r\n0\r\ntrailer: 1\r\n\r\n", b"a"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: x\r\n\r\n" + OK, b"{}"),
    ],
)
async def test_what_ends_by_itself_leaves_the_connection_for_another_request(raw, body):
    async with asking(raw, OK) as asker:
        assert await asker.ask() == (200, body)
        assert asker.free == [asker.connection]
        assert await asker.ask() == (200, b"{}")
        assert [name for name, _ in asker.connection.headers] == [b"content-length"]


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nto the end", b"to the end"),
        (b"HTTP/1.0 200 OK\r\ncontent-type: x\r\n\r\nold", b"old"),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\na", b"a"),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\na", b"a"),
    ],
)
async def test_what_ends_with_the_connection_does_not(raw, body):
    async with asking(raw, closes=True) as asker:
        assert await asker.ask() == (200, body)
        await becomes(lambda: asker.lost)
        assert asker.free == []


@pytest.mark.parametrize("status", [204, 304])
async def test_some_answers_have_no_body_whatever_they_say(status):
    async with asking(b"HTTP/1.1 %d X\r\ncontent-length: 5\r\n\r\n" % status) as asker:
        assert await asker.ask() == (status, b"")


async def test_nor_has_one_to_a_head():
    async with asking(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n") as asker:
        assert await asker.ask(without_body=True) == (200, b"")
        assert asker.free == []


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab",
        CHUNKED + b"5\r\nab",
        CHUNKED + b"2\r\nab\r\n",
    ],
)
async def test_a_cut_answer_is_told_from_a_whole_one_but_not_kept_back(raw):
    async with asking(raw, closes=True) as asker:
        deadline = asyncio.get_running_loop().time() + PATIENCE
        await asker.connection.asked(HEAD, b"{}", deadline)
        assert await asker.connection.read(deadline) == b"ab"
        with pytest.raises(HungUpError):
            await asker.connection.read(deadline)


@pytest.mark.parametrize(
    ("raw", "has_spoken"),
    [
        (b"", False),
        (b"HTTP/1.1 200", True),
        (b"HTTP/1.1 600 X\r\ncontent-length: 2\r\n\r\nab", True),
        (b"HTTP/1.1 099 X\r\ncontent-length: 2\r\n\r\nab", True),
        (b"SSH-2.0-OpenSSH\r\n\r\n", True),
        (b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", True),
    ],
)
async def test_what_is_no_answer_is_an_error(raw, has_spoken):
    async with asking(raw, closes=True) as asker:
        with pytest.raises(HungUpError):
            await asker.ask()
        assert asker.connection.has_spoken is has_spoken
        await becomes(lambda: asker.lost)
        assert asker.free == []


async def test_a_head_without_end_is_an_error(monkeypatch):
    monkeypatch.setattr(connection_module, "MAX_HEAD_BYTES", 1000)
    async with asking(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200) as asker:
        with pytest.raises(HungUpError):
            await asker.ask()


@pytest.mark.parametrize("late", [b"more", OK])
async def test_a_connection_that_says_more_than_was_asked_is_not_used_again(late):
    async def serve_both(_reader, writer):
        writer.write(OK + late)

    async with asking(serve_both) as asker:
        assert await asker.ask() == (200, b"{}")
        assert asker.free == []


async def test_nor_one_that_speaks_when_it_is_not_asked():
    speak = asyncio.Event()

    async def serve(_reader, writer):
        writer.write(OK)
        await speak.wait()
        writer.write(b"more")

    async with asking(serve) as asker:
        await asker.ask()
        assert asker.connection.is_usable
        speak.set()
        await becomes(lambda: asker.lost)
        assert not asker.connection.is_usable


async def test_an_answer_that_comes_too_late_is_not_waited_for():
    async with asking(b"") as asker:
        soon = asyncio.get_running_loop().time() + 0.01
        with pytest.raises(TimeoutError):
            await asker.connection.asked(HEAD, b"{}", soon)
        await becomes(lambda: asker.lost)


async def test_a_deadline_may_come_before_the_one_of_the_last_wait_or_after_it():
    go_on = asyncio.Event()

    async def serve(_reader, writer):
        writer.write(CHUNKED)
        await go_on.wait()
        writer.write(b"1\r\na\r\n")

    async with asking(serve) as asker:
        loop, connection = asyncio.get_running_loop(), asker.connection
        await connection.asked(HEAD, b"{}", loop.time() + PATIENCE)
        with pytest.raises(TimeoutError):
            await connection.read(loop.time() + 0.01)
        go_on.set()
        assert await connection.read(loop.time() + PATIENCE) == b"a"
        with pytest.raises(TimeoutError):
            await connection.read(loop.time() + 0.01)


async def test_whoever_does_not_read_on_gets_no_more_than_fits(monkeypatch):
    monkeypatch.setattr(connection_module, "HIGH_WATER_BYTES", 1000)
    size = 20_000_000

    async def serve(_reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        writer.write(bytes(size))

    async with asking(serve) as asker:
        deadline = asyncio.get_running_loop().time() + PATIENCE
        await asker.connection.asked(HEAD, b"{}", deadline)
        first = await asker.connection.read(deadline)
        transport = asker.connection._transport
        await becomes(lambda: not transport.is_reading())
        assert asker.connection._piece_bytes < size / 4
        rest = 0
        while piece := await asker.connection.read(deadline):
            rest += len(piece)
        assert len(first) + rest == size
        asker.connection.let_go()
        assert asker.free == [asker.connection]


async def test_an_answer_that_is_not_read_to_its_end_closes_the_connection():
    async with asking(OK) as asker:
        deadline = asyncio.get_running_loop().time() + PATIENCE
        await asker.connection.asked(HEAD, b"{}", deadline)
        asker.connection.let_go()
        await becomes(lambda: asker.lost)
        assert asker.free == []


async def test_a_server_that_answers_before_it_has_read_keeps_no_connection():
    """What it has not read would be taken for the next request."""

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1000)
    async with server, asyncio.timeout(PATIENCE):
        asker = Asker()
        await asker.connect(server.sockets[0].getsockname()[1])
        deadline = asyncio.get_running_loop().time() + PATIENCE
        await asker.connection.asked(HEAD, bytes(30_000_000), deadline)
        assert asker.connection.status == 413
        asker.connection.let_go()
        await becomes(lambda: asker.lost)
        assert asker.free == []


async def test_what_follows_a_complete_answer_does_it_no_harm():
    late = b"HTTP/1.1 500 No\r\nx-late: 1\r\ncontent-length: 2\r\n\r\n{}"
    async with asking(OK + late) as asker:
        assert await asker.ask() == (200, b"{}")
        assert asker.connection.headers == [(b"content-length", b"2")]
        assert asker.free == []


async def test_an_end_that_we_make_is_none_of_the_answers():
    async def without_an_end(reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhalf")

    async with asking(without_an_end) as asker:
        deadline = asyncio.get_running_loop().time() + PATIENCE
        await asker.connection.asked(HEAD, b"{}", deadline)
        assert await asker.connection.read(deadline) == b"half"
        asker.connection.close()
        with pytest.raises(HungUpError):
            await asker.connection.read(deadline)

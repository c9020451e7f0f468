import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager

import aiohttp
import pytest

from ccproxyd.gateway.lanes.connection import HungUpError
from ccproxyd.gateway.lanes.fetched import Fetched, Fetcher
from ccproxyd.gateway.lanes.upstream import UnreachableError
from tests.gateway.scripted import PATIENCE, ScriptedWorker, answers, begins, streams

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def fetched(sockets, play):
    async with ScriptedWorker(sockets / "1.0.sock") as worker:
        worker.default = play
        connector = aiohttp.UnixConnector(worker.address.socket)
        async with aiohttp.ClientSession(connector=connector) as session:
            yield Fetched(await session.get("http://worker/")), worker


def soon(seconds=PATIENCE):
    return asyncio.get_running_loop().time() + seconds


async def test_an_answer_is_read_to_its_end_and_its_connection_kept(sockets):
    async with fetched(sockets, streams(b"a", b"b")) as (answer, worker):
        assert answer.status == 200
        assert (b"content-type", b"text/event-stream") in answer.headers
        body = b""
        while piece := await answer.read(soon()):
            body += piece
        assert (body, answer.at_end) == (b"ab", True)
        answer.let_go()
        assert worker.connections == 1


async def test_names_of_headers_are_in_small_letters(sockets):
    async with fetched(sockets, answers(b"{}", 200, ("X-Name", "Value"))) as (answer, _):
        assert (b"x-name", b"Value") in answer.headers


async def test_a_cut_answer_is_an_error_of_ours(sockets):
    async def die(caller):
        caller.writer.close()

    async with fetched(sockets, begins(b"a", also=die)) as (answer, _):
        assert await answer.read(soon()) == b"a"
        with pytest.raises(HungUpError) as caught:
            await answer.read(soon())
        assert (str(caught.value), caught.value.__suppress_context__) == ("", True)


async def test_what_does_not_come_in_time_is_not_waited_for(sockets):
    async def wait(caller):
        await caller.gone()

    async with fetched(sockets, begins(also=wait)) as (answer, _):
        with pytest.raises(TimeoutError):
            await answer.read(soon(0.01))
        answer.let_go()


# Asking


@pytest.fixture
async def fetcher():
    fetcher = Fetcher()
    yield fetcher
    await fetcher.close()


@asynccontextmanager
async def server(respond):
    async def serve(reader, writer):
        writer.write(respond(await reader.readuntil(b"\r\n\r\n")))
        writer.close()

    async with asyncio.timeout(PATIENCE):
        found = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with found:
            yield f"http://127.0.0.1:{found.sockets[0].getsockname()[1]}"


async def test_a_request_goes_as_it_is(fetcher):
    heads = []

    def respond(head):
        heads.append(head)
        return b"HTTP/1.1 201 Created\r\ncontent-length: 1\r\n\r\na"

    async with server(respond) as url:
        answer = await fetcher.fetch("POST", f"{url}/a%20b?c=d", [(b"x-a", b"1")], b"{}")
        assert (answer.status, await answer.read(soon())) == (201, b"a")
    assert heads[0].startswith(b"POST /a%20b?c=d HTTP/1.1\r\n")
    assert b"\r\nx-a: 1\r\n" in heads[0]
    assert b"user-agent" not in heads[0].lower()


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"", HungUpError),
        (b"SSH-2.0\r\n\r\n", UnreachableError),
        (b"HTTP/1.1 600 X\r\ncontent-length: 2\r\n\r\n{}", HungUpError),
        (b"HTTP/1.1 099 X\r\ncontent-length: 2\r\n\r\n{}", HungUpError),
        (b"HTTP/1.1 101 X\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", HungUpError),
    ],
)
async def test_what_does_not_answer_is_an_error_of_ours(fetcher, raw, error):
    async with server(lambda _: raw) as url:
        with pytest.raises(error) as caught:
            await fetcher.fetch("POST", url, [], b"{}")
        assert str(caught.value) == ""


async def test_so_is_nobody_there(fetcher):
    with pytest.raises(UnreachableError):
        await fetcher.fetch("POST", "http://127.0.0.1:1/", [], b"{}")


def test_the_gateway_starts_without_what_few_requests_need():
    code = "import sys, ccproxyd.gateway.server; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

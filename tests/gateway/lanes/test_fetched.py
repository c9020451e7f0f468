import asyncio
from contextlib import asynccontextmanager

import aiohttp
import pytest

from ccproxyd.gateway.lanes.connection import HungUpError
from ccproxyd.gateway.lanes.fetched import Fetched
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

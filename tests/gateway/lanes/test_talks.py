import pytest

from ccproxyd.errors import ProxyError
from ccproxyd.gateway.lanes.connection import HungUpError
from ccproxyd.gateway.lanes.talks import Talks
from ccproxyd.gateway.lanes.upstream import UnreachableError
from tests.gateway.scripted import ScriptedWorker, answers, dies

pytestmark = pytest.mark.anyio


@pytest.fixture
async def talks():
    talks = Talks()
    yield talks
    await talks.close()


async def opened(talks, worker):
    return await talks.open(worker.address, "/v1/realtime", [("x-a", "1")], ["realtime"])


@pytest.mark.parametrize(("status", "code"), [(403, 403), (200, 502)])
async def test_a_worker_that_does_not_want_to_talk_says_so(talks, sockets, status, code):
    async with ScriptedWorker(sockets / "1.0.sock") as worker:
        worker.default = answers(b"{}", status)
        with pytest.raises(ProxyError, match="does not open this WebSocket") as caught:
            await opened(talks, worker)
        assert caught.value.code == code
        assert worker.requests[0].header("x-a") == "1"
        assert worker.requests[0].header("sec-websocket-protocol") == "realtime"


async def test_a_worker_that_dies_is_told_from_one_that_is_not_there(talks, sockets):
    async with ScriptedWorker(sockets / "1.0.sock") as worker:
        worker.default = dies()
        with pytest.raises(HungUpError):
            await opened(talks, worker)
    with pytest.raises(UnreachableError):
        await opened(talks, worker)


async def test_a_worker_that_is_gone_is_forgotten(talks, sockets):
    async with ScriptedWorker(sockets / "1.0.sock") as worker:
        for _ in range(2):
            with pytest.raises(ProxyError):
                await opened(talks, worker)
            await talks.forget("1.0")
    await talks.forget("never there")

import asyncio
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from ccproxyd.gateway.pool import Address
from ccproxyd.gateway.websocket import WebSocketExchange
from ccproxyd.telemetry.budgets import Gate
from ccproxyd.worker.verdict import Verdict, unseal
from tests.gateway.house import CANARY, KEY, MODELS, open_house, serving, write_config
from tests.gateway.scripted import PATIENCE, becomes

pytestmark = pytest.mark.anyio

URL = "/v1/realtime?model=claude-haiku-4-5"
HEADERS = {"authorization": f"Bearer {KEY}"}


class RealtimeWorker:
    """Echoes frames; the text `close N` closes with that code, `die` cuts the connection."""

    def __init__(self, path):
        self.address = Address("1.0", 1, str(path), "secret", "sk-worker")
        self.requests = []
        self.code = asyncio.get_running_loop().create_future()
        self.status = 101

    async def talk(self, request):
        self.requests.append(request)
        if self.status != 101:
            return web.Response(status=self.status, text=CANARY)
        socket = web.WebSocketResponse(protocols=["realtime"])
        await socket.prepare(request)
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                await socket.send_bytes(message.data)
            elif message.data == "die":
                request.transport.abort()
            elif message.data.startswith("close"):
                await socket.close(code=int(message.data.split()[1]))
            else:
                await socket.send_str(message.data)
        if not self.code.done():
            self.code.set_result(socket.close_code)
        return socket


@asynccontextmanager
async def realtime(sockets):
    worker = RealtimeWorker(sockets / "1.0.sock")
    app = web.Application()
    app.router.add_get("/{any:.*}", worker.talk)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, worker.address.socket).start()
    try:
        yield worker
    finally:
        await runner.cleanup()


@pytest.fixture
async def worker(sockets):
    async with realtime(sockets) as worker:
        yield worker


@pytest.fixture
async def house(config_dir, worker):
    async with open_house(config_dir, worker.address) as house:
        yield house


@pytest.fixture
async def client(house):
    async with serving(house.app) as url, aiohttp.ClientSession(url) as session:
        yield session


def connected(client, url=URL, headers=HEADERS, **more):
    return client.ws_connect(url, headers=headers, **more)


async def refused(client, *arguments, **more):
    """The status with which a handshake was refused."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        await connected(client, *arguments, **more)
    return refusal.value.status


async def ended(house):
    """What the daemon was told of a conversation that is over."""
    await becomes(lambda: not house.app.in_flight)
    return house.finished()


async def test_frames_go_there_and_back(house, client, worker):
    async with connected(client) as talk:
        await talk.send_str("héllo")
        assert await talk.receive_str() == "héllo"
        await talk.send_bytes(b"\x00" * 2_000_000)
        assert await talk.receive_bytes() == b"\x00" * 2_000_000
    finished = await ended(house)
    assert (finished["status"], finished["failed"], finished["call_type"]) == (
        101,
        False,
        "realtime",
    )
    assert finished["label"] == house.decided()["label"] == "claude-haiku-4-5"
    assert house.app.pool.in_flight() == {"1.0": 0}


async def test_the_worker_gets_our_key_and_decision_and_none_of_the_clients(client, worker):
    headers = {**HEADERS, "x-ccproxy-decision": "forged", "x-app": "cli"}
    async with connected(client, f"{URL}&intent=x&key={KEY}", headers=headers):
        pass
    [request] = worker.requests
    assert KEY not in repr(request.headers) + str(request.url)
    assert request.headers["authorization"] == "Bearer sk-worker"
    assert request.headers["x-app"] == "cli"
    assert request.query["intent"] == "x"
    decision = request.headers.getall("x-ccproxy-decision")
    assert [type(unseal(one, "secret")) for one in decision] == [Verdict]


async def test_an_answer_says_how_it_was_routed(client):
    async with connected(client) as talk:
        assert talk._response.headers["x-ccproxy-label"] == "claude-haiku-4-5"


async def test_a_model_is_asked_for_by_its_label(client, worker):
    async with connected(client, "/v1/realtime?model=claude-haiku-4-5%5B1m%5D"):
        pass
    assert worker.requests[0].query["model"] == "claude-haiku-4-5"


async def test_what_names_no_model_is_carried_undecided(client, worker):
    async with connected(client, "/v1/realtime?intent=transcription"):
        pass
    assert "x-ccproxy-decision" not in worker.requests[0].headers


async def test_where_moderation_is_on_no_conversation_is_begun(tmp_path, worker):
    config = write_config(tmp_path, "ccproxy: {moderation: {enabled: true, deny: [x]}}")
    async with (
        open_house(config, worker.address) as house,
        serving(house.app) as url,
        aiohttp.ClientSession(url) as client,
    ):
        assert await refused(client) == 400
    assert worker.requests == []


@pytest.mark.parametrize("on_exceeded", ["reject", "route:think"])
@pytest.mark.parametrize(
    ("label", "url"),
    [("claude-haiku-4-5", URL), (None, URL), (None, "/v1/realtime"), (None, "/deepgram/listen")],
)
async def test_where_a_budget_is_used_up_no_conversation_is_begun(
    house, client, worker, label, url, on_exceeded
):
    used_up = {"label": label, "period": "day", "limit_usd": 5.0, "resets": "2026-01-02"}
    house.app.gate = Gate.from_message({"on_exceeded": on_exceeded, "exceeded": [used_up]})
    assert await refused(client, url) == 403
    assert worker.requests == []


async def test_a_browser_names_its_key_among_the_protocols(client, worker):
    protocols = ["realtime", f"openai-insecure-api-key.{KEY}", "openai-beta.realtime-v1"]
    async with connected(client, headers={}, protocols=protocols) as talk:
        assert talk.protocol == "realtime"
    offered = worker.requests[0].headers["sec-websocket-protocol"]
    assert [name.strip() for name in offered.split(",")] == ["realtime", "openai-beta.realtime-v1"]


@pytest.mark.parametrize("code", [1000, 1008, 4001])
async def test_the_client_hears_with_which_code_the_worker_closed(house, client, code):
    async with connected(client) as talk:
        await talk.send_str(f"close {code}")
        await talk.receive()
        assert talk.close_code == code
    assert not (await ended(house))["failed"]


@pytest.mark.parametrize("code", [1000, 4001])
async def test_the_worker_hears_with_which_code_the_client_closed(client, worker, code):
    async with connected(client) as talk:
        await talk.close(code=code)
    assert await asyncio.wait_for(worker.code, PATIENCE) == code


async def test_a_worker_that_dies_is_a_failure_for_both(house, client):
    async with connected(client) as talk:
        await talk.send_str("die")
        await talk.receive()
        assert talk.close_code == 1011
    assert (await ended(house))["failed"]


async def test_a_client_that_dies_leaves_nothing_open(house, client, worker):
    async with connected(client) as talk:
        talk._response.connection.transport.abort()
        assert await asyncio.wait_for(worker.code, PATIENCE) in (1000, 1011)
    assert (await ended(house))["status"] == 101


async def test_nobody_talks_without_the_key(house, client, worker):
    assert await refused(client, headers={}) == 401
    assert await refused(client, headers={"authorization": "Bearer wrong"}) == 401
    assert worker.requests == []
    assert [told["status"] for told in house.sent] == [401, 401]


async def test_there_is_nothing_to_talk_to_at_other_paths(client, worker):
    assert await refused(client, "/nowhere") == 404
    assert worker.requests == []


@pytest.mark.parametrize("path", ["/v1/responses", "/openai/v1/responses?model=claude-haiku-4-5"])
async def test_what_is_asked_for_by_requests_is_not_talked_about(house, client, worker, path):
    assert await refused(client, path) == 426
    assert worker.requests == []
    assert house.finished()["failed"]


async def test_and_its_client_is_told_what_is_spoken_there(client):
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        await connected(client, "/v1/responses")
    said = refusal.value.headers
    assert (said["upgrade"], said["connection"]) == ("HTTP/1.1", "upgrade, close")


async def test_a_model_that_nobody_serves_is_not_found(client, worker):
    assert await refused(client, "/v1/realtime?model=nobodys") == 404
    assert worker.requests == []


@pytest.mark.parametrize(("status", "told"), [(403, 403), (200, 502)])
async def test_what_the_worker_refuses_is_refused(house, client, worker, status, told):
    worker.status = status
    assert await refused(client) == told
    assert (await ended(house))["failed"]
    assert CANARY not in house.told()


async def test_it_waits_for_a_worker(house, client, worker):
    house.app.pool.replace([])
    waiting = asyncio.ensure_future(connected(client).__aenter__())
    await becomes(lambda: house.app.pool.waiting)
    house.app.pool.replace([worker.address])
    talk = await waiting
    await talk.send_str("hello")
    assert await talk.receive_str() == "hello"
    await talk.close()


async def test_a_client_that_leaves_while_it_waits_is_gone(house, worker):
    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        raise OSError(CANARY)

    house.app.pool.replace([worker.address])
    scope = {
        "type": "websocket",
        "path": "/v1/realtime",
        "query_string": b"",
        "headers": [(b"x-api-key", KEY.encode())],
    }
    await house.app(scope, receive, send)
    assert house.finished()["status"] == 101
    assert house.finished()["failed"]
    assert house.logged == []


async def test_where_litellm_keeps_the_keys_a_clients_go_along(tmp_path, worker):
    general = "general_settings: {master_key: sk-master, database_url: 'postgresql://x'}"
    write_config(tmp_path, litellm=f"{MODELS}\n{general}")
    headers = {"authorization": "Bearer sk-one-of-many"}
    async with (
        open_house(tmp_path, worker.address) as house,
        serving(house.app) as url,
        aiohttp.ClientSession(url) as client,
        connected(client, headers=headers),
    ):
        pass
    assert worker.requests[0].headers.getall("authorization") == ["Bearer sk-one-of-many"]


def test_a_handshake_is_a_get():
    scope = {"path": "/v1/realtime", "headers": [], "subprotocols": ["realtime"]}
    exchange = WebSocketExchange(scope, None, None)
    assert (exchange.method, exchange.protocols) == ("GET", ["realtime"])

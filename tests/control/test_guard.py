from pathlib import Path

import anyio
import pytest

from ccproxyd import __version__
from ccproxyd.control.guard import Limits
from tests.control.fakes import FakeOperations, running
from tests.control.wire import ask, parse, read_all, request

pytestmark = pytest.mark.anyio

PING = request("GET", "/ping")
SHORT = 0.05


@pytest.mark.parametrize("sent", [b"", b"GET /ping HTTP/1.1\r\nHost: local"])
async def test_a_client_that_sends_no_whole_head_is_cut(path: Path, sent: bytes) -> None:
    async with (
        running(path, FakeOperations(), limits=Limits(head_seconds=SHORT)),
        await anyio.connect_unix(path) as connection,
    ):
        if sent:
            await connection.send(sent)
        reply = parse(await read_all(connection))
    assert reply.error == ("RequestTimeout", 408)
    assert reply.headers["connection"] == "close"


async def test_the_deadline_holds_for_a_second_request_on_a_connection(path: Path) -> None:
    ping = PING.replace(b"Connection: close", b"Connection: keep-alive")
    async with (
        running(path, FakeOperations(), limits=Limits(head_seconds=SHORT)),
        await anyio.connect_unix(path) as connection,
    ):
        await connection.send(ping)
        assert parse(await connection.receive()).code == 200
        await connection.send(b"GET /pi")
        assert parse(await read_all(connection)).error == ("RequestTimeout", 408)


async def test_a_body_that_never_arrives_is_cut(path: Path) -> None:
    partial = request("POST", "/v1/explain", b"{}", Content_Length="3")
    async with running(path, FakeOperations(), limits=Limits(body_seconds=SHORT)):
        assert (await ask(path, partial)).error == ("RequestTimeout", 408)


async def test_an_endless_head_is_cut(path: Path) -> None:
    endless = b"GET /ping HTTP/1.1\r\nX: " + b"x" * 3000
    async with running(path, FakeOperations(), limits=Limits(head_bytes=2000)):
        assert (await ask(path, endless)).error == ("HeadersTooLarge", 431)


@pytest.mark.parametrize(
    "whole",
    [
        request("GET", "/ping", X="x" * 3000),
        request("GET", "/ping?" + "x" * 3000),
        PING.replace(b"\r\n\r\n", b"\r\n" + 600 * b"x:\r\n" + b"\r\n"),
    ],
    ids=["a long header", "a long address", "many headers"],
)
async def test_a_head_that_comes_in_one_piece_is_cut_as_well(path: Path, whole: bytes) -> None:
    async with running(path, FakeOperations(), limits=Limits(head_bytes=2000)):
        assert (await ask(path, whole)).error == ("HeadersTooLarge", 431)


async def test_a_long_body_does_not_count_as_head(path: Path) -> None:
    body = b'{"body": {"text": "%s"}}' % (b"x" * 3000)
    async with running(path, FakeOperations(), limits=Limits(head_bytes=2000)):
        reply = await ask(path, request("POST", "/v1/explain", body))
    assert reply.code == 200


@pytest.mark.parametrize("sent", [b"hello\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"GET \xff"])
async def test_what_is_not_http_is_refused_in_the_shape_of_errors(path: Path, sent: bytes) -> None:
    async with running(path, FakeOperations()):
        assert (await ask(path, sent)).error == ("BadRequest", 400)


async def test_a_connection_too_many_is_refused_and_the_others_are_served(path: Path) -> None:
    async with running(path, FakeOperations()), anyio.create_task_group() as group:
        held = [await anyio.connect_unix(path) for _ in range(64)]
        refused = await ask(path, PING)
        assert refused.error == ("Busy", 503)
        assert "64" in refused.message
        await held[0].send(PING)
        assert parse(await read_all(held[0])).code == 200
        for connection in held:
            group.start_soon(connection.aclose)


async def test_a_place_that_was_left_is_free(path: Path) -> None:
    async with running(path, FakeOperations(), limits=Limits(connections=1)):
        for _ in range(3):
            assert (await ask(path, PING)).code == 200


async def test_a_client_that_does_not_read_its_answer_is_cut(path: Path) -> None:
    large = {"text": "x" * 8_000_000}
    limits = Limits(write_seconds=SHORT, connections=1)
    async with (
        running(path, FakeOperations(status=large), limits=limits),
        await anyio.connect_unix(path) as connection,
    ):
        await connection.send(request("GET", "/v1/status"))
        await gone(path)
        received = await read_all(connection)
    assert 0 < len(received) < 8_000_000


async def test_a_client_that_reads_slowly_gets_its_whole_answer(path: Path) -> None:
    large = {"text": "x" * 8_000_000}
    async with running(path, FakeOperations(status=large)):
        assert (await ask(path, request("GET", "/v1/status"))).json == large


async def gone(path: Path) -> None:
    """Until the server, told to serve one connection at a time, serves this one."""
    while (await ask(path, PING)).code == 503:  # pragma: no branch
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("data", [PING, b"no http\r\n\r\n", request("GET", "/nothing")])
async def test_every_answer_names_the_daemon_and_its_version(path: Path, data: bytes) -> None:
    async with running(path, FakeOperations()):
        reply = await ask(path, data)
    assert reply.headers["server"] == f"ccproxyd/{__version__}"


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": True})], ids=["uvloop"])
async def test_the_peer_is_known_under_uvloop_too(path: Path) -> None:
    async with running(path, FakeOperations(), owners=frozenset({54321})):
        assert (await ask(path, request("GET", "/v1/status"))).error == ("NotPermitted", 403)
    async with running(path, FakeOperations()):
        assert (await ask(path, request("GET", "/v1/status"))).code == 200


async def test_where_the_system_tells_no_peer_the_mode_of_the_socket_is_enough(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("socket.SO_PEERCRED", raising=False)
    async with running(path, FakeOperations(), owners=frozenset({54321})):
        assert (await ask(path, request("GET", "/v1/status"))).code == 200

import asyncio
import ssl
from contextlib import asynccontextmanager

import certifi
import pytest

from ccproxyd.gateway.lanes import upstream as upstream_module
from ccproxyd.gateway.lanes.connection import request_head
from ccproxyd.gateway.lanes.upstream import Origin, UnreachableError, Upstream
from tests.gateway.lanes.authority import write_authority
from tests.gateway.scripted import PATIENCE, ScriptedWorker, becomes

pytestmark = pytest.mark.anyio


@pytest.fixture
async def upstream():
    upstream = Upstream()
    yield upstream
    upstream.close()


# Certificates


async def test_each_way_of_looking_at_certificates_is_made_once(upstream):
    assert await upstream.context(True) is await upstream.context(True)
    contexts = [await upstream.context(verify) for verify in (True, False, certifi.where())]
    assert len(set(map(id, contexts))) == 3
    modes = [ssl.CERT_REQUIRED, ssl.CERT_NONE, ssl.CERT_REQUIRED]
    assert [one.verify_mode for one in contexts] == modes


async def test_authorities_may_stand_in_a_directory(upstream, tmp_path):
    assert await upstream.context(str(tmp_path))


async def test_a_file_that_holds_none_is_an_error(upstream, tmp_path):
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(ssl.SSLError):
        await upstream.context(str(tmp_path / "ca.pem"))
    with pytest.raises(FileNotFoundError):
        await upstream.context(str(tmp_path / "missing.pem"))


# Connections

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


@asynccontextmanager
async def server(**more):
    """A server that says OK to whatever ends a line, and its origin."""

    async def serve(reader, writer):
        while await reader.readline():
            writer.write(OK)
        writer.close()

    found = await asyncio.start_server(serve, "127.0.0.1", 0, **more)
    async with found, asyncio.timeout(PATIENCE):
        yield Origin("127.0.0.1", found.sockets[0].getsockname()[1])


async def asked(connection):
    deadline = asyncio.get_running_loop().time() + PATIENCE
    await connection.asked(b"GET /\r\n", b"", deadline)
    assert await connection.read(deadline) == b"{}"
    connection.let_go()


async def test_a_connection_is_kept_for_its_origin(upstream):
    async with server() as origin:
        assert upstream.kept(origin) is None
        first, second = await upstream.connect(origin), await upstream.connect(origin)
        await asked(first)
        await asked(second)
        assert upstream.kept(Origin("127.0.0.1", 1)) is None
        assert [upstream.kept(origin) for _ in range(3)] == [second, first, None]


async def test_one_that_the_server_has_closed_is_not_kept(upstream):
    async with server() as origin:
        connection = await upstream.connect(origin)
        await asked(connection)
        connection.close()
        assert upstream.kept(origin) is None
        await becomes(lambda: not any(upstream._open.values()))


async def test_one_that_nobody_needs_is_closed_after_a_while(upstream, monkeypatch):
    monkeypatch.setattr(upstream_module, "KEEPALIVE_SECONDS", 0.01)
    async with server() as origin:
        await asked(await upstream.connect(origin))
        await becomes(lambda: not any(upstream._open.values()))
        assert upstream.kept(origin) is None


async def test_one_that_is_too_old_is_not_used(upstream, monkeypatch):
    async with server() as origin:
        await asked(await upstream.connect(origin))
        monkeypatch.setattr(upstream_module, "KEEPALIVE_SECONDS", 0.0)
        assert upstream.kept(origin) is None


async def test_a_server_that_is_gone_for_good_is_forgotten(upstream):
    async with server() as origin:
        idle, busy = await upstream.connect(origin), await upstream.connect(origin)
        await asked(idle)
        upstream.forget(origin)
        assert upstream.kept(origin) is None
        assert not busy.is_usable


async def test_a_server_may_be_a_unix_socket(upstream, sockets):
    async with ScriptedWorker(sockets / "1.0.sock") as worker:
        origin = Origin(path=worker.address.socket)
        connection = await upstream.connect(origin)
        head = request_head("POST", "/", "worker", [], b"{}")
        await connection.asked(head, b"{}", asyncio.get_running_loop().time() + PATIENCE)
        assert (connection.status, worker.requests[0].body) == (200, b"{}")


async def test_nobody_there_is_an_error_with_its_cause(upstream):
    with pytest.raises(UnreachableError) as caught:
        await upstream.connect(Origin("127.0.0.1", 1))
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


async def test_a_certificate_is_looked_at_as_the_origin_says(upstream, tmp_path):
    authority, context = write_authority(tmp_path)
    async with server(ssl=context) as plain:
        for verify in (str(authority), False):
            await asked(await upstream.connect(Origin(plain.host, plain.port, True, verify)))
        with pytest.raises(UnreachableError) as caught:
            await upstream.connect(Origin(plain.host, plain.port, True))
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


async def test_a_missing_file_of_authorities_is_such_an_error_too(upstream, tmp_path):
    with pytest.raises(UnreachableError) as caught:
        await upstream.connect(Origin("127.0.0.1", 1, True, str(tmp_path / "missing.pem")))
    assert isinstance(caught.value.__cause__, FileNotFoundError)

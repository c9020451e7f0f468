import json
import logging
import os
import signal
import socket
import stat
from pathlib import Path
from typing import Any

import anyio
import pytest

from ccproxyd import __version__
from ccproxyd.control.errors import ControlError
from ccproxyd.control.guard import Limits
from ccproxyd.control.server import bind_control_socket
from ccproxyd.control.verbs import VERBS, Verb
from ccproxyd.errors import AddressInUseError, CcproxydError, ConfigError, ProxyError
from tests.control.fakes import EXPLANATION, STATUS, FakeOperations, running
from tests.control.wire import Reply, ask, parse, read_all, request

pytestmark = pytest.mark.anyio

SECRET = "what the user asked"


async def answer_to(path: Path, data: bytes, **options: Any) -> Reply:
    async with running(path, options.pop("operations", FakeOperations()), **options):
        return await ask(path, data)


def post(verb: str, payload: Any) -> bytes:
    return request("POST", f"/v1/{verb}", json.dumps(payload).encode())


# The socket


def test_the_socket_is_its_owners_alone_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        with bind_control_socket(path):
            assert stat.S_IMODE(path.lstat().st_mode) == 0o600
        assert os.umask(0) == 0
    finally:
        os.umask(before)


def test_a_dead_socket_is_replaced(path: Path) -> None:
    with bind_control_socket(path):
        pass
    with bind_control_socket(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_live_socket_is_left_alone(path: Path) -> None:
    with bind_control_socket(path) as listener:
        with pytest.raises(AddressInUseError, match="another ccproxyd"):
            bind_control_socket(path)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            listener.accept()[0].close()


def test_a_file_that_is_no_socket_is_left_alone(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(CcproxydError, match="no socket"):
        bind_control_socket(path)
    assert path.read_text() == "precious"


def test_a_path_that_is_too_long_is_named(path: Path) -> None:
    with pytest.raises(CcproxydError, match=r"cannot bind .*too long"):
        bind_control_socket(path.with_name("x" * 200))


def test_a_place_that_cannot_be_looked_at_is_named(path: Path) -> None:
    path.write_text("")
    with pytest.raises(CcproxydError, match="Not a directory"):
        bind_control_socket(path / "control.sock")


# The verbs


async def test_ping_says_who_is_there(path: Path) -> None:
    reply = await answer_to(path, request("GET", "/ping"))
    assert reply.json == {"name": "ccproxyd", "version": __version__, "api": ["v1"]}


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb.name != "ping"])
async def test_a_verb_is_carried_out_and_answered(path: Path, verb: Verb) -> None:
    operations = FakeOperations()
    body = b'{"body": {}}' if verb.name == "explain" else b""
    reply = await answer_to(path, request(verb.method, verb.path, body), operations=operations)
    assert (reply.code, reply.headers["content-type"]) == (200, "application/json")
    assert reply.json == json.loads(json.dumps(operations.answers[verb.name]))
    assert [name for name, _ in operations.calls] == [verb.name]


@pytest.mark.parametrize(
    ("payload", "what"),
    [({}, "all"), ({"what": "workers"}, "workers"), ({"what": "gateway"}, "gateway")],
)
async def test_restart_takes_what_is_to_be_replaced(
    path: Path, payload: dict[str, str], what: str
) -> None:
    operations = FakeOperations()
    assert (await answer_to(path, post("restart", payload), operations=operations)).code == 200
    assert operations.calls == [("restart", what)]


async def test_explain_takes_a_request(path: Path) -> None:
    operations = FakeOperations()
    payload = {"body": {"model": "m"}, "headers": {"X-A": "1"}, "path": "/v1/chat/completions"}
    reply = await answer_to(path, post("explain", payload), operations=operations)
    assert reply.json == json.loads(json.dumps(EXPLANATION.to_json()))
    assert operations.calls == [("explain", payload)]


async def test_explain_fills_in_what_a_request_may_leave_out(path: Path) -> None:
    operations = FakeOperations()
    await answer_to(path, post("explain", {"body": {}}), operations=operations)
    assert operations.calls == [("explain", {"body": {}, "headers": {}, "path": "/v1/messages"})]


async def test_connections_are_kept_for_more_requests(path: Path) -> None:
    data = request("GET", "/ping", Connection="keep-alive")
    async with running(path, FakeOperations()), await anyio.connect_unix(path) as connection:
        for _ in range(2):
            await connection.send(data)
            assert parse(await connection.receive()).code == 200


# What is refused


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://a.example"},
        {"Origin": "null"},
        {"Referer": "http://localhost/"},
        {"Host": "a.example"},
        {"Host": "localhost.a.example:80"},
    ],
)
@pytest.mark.parametrize("target", ["/ping", "/v1/status", "/nothing"])
async def test_a_web_page_is_refused(path: Path, headers: dict[str, str], target: str) -> None:
    operations = FakeOperations()
    reply = await answer_to(path, request("GET", target, **headers), operations=operations)
    assert reply.error == ("NotPermitted", 403)
    assert operations.calls == []


@pytest.mark.parametrize("host", ["", "localhost", "LOCALHOST:80", "ccproxyd"])
async def test_our_own_hosts_are_served(path: Path, host: str) -> None:
    assert (await answer_to(path, request("GET", "/ping", Host=host))).code == 200


async def test_a_foreign_user_may_ping_and_nothing_else(path: Path) -> None:
    operations = FakeOperations()
    async with running(path, operations, owners=frozenset({54321})):
        assert (await ask(path, request("GET", "/ping"))).code == 200
        reply = await ask(path, request("POST", "/v1/stop"))
    assert reply.error == ("NotPermitted", 403)
    assert operations.calls == []


@pytest.mark.parametrize(
    ("target", "meant"),
    [
        ("/v1/reolad", "/v1/reload"),
        ("/v1/status/", "/v1/status"),
        ("/v2/reload", "/v1/reload"),
        ("/pnig", "/ping"),
    ],
)
async def test_an_unknown_path_is_told_what_was_meant(path: Path, target: str, meant: str) -> None:
    reply = await answer_to(path, request("GET", target))
    assert reply.error == ("UnknownPath", 404)
    assert f"did you mean {meant!r}?" in reply.message


async def test_an_unknown_path_like_no_other_is_only_refused(path: Path) -> None:
    reply = await answer_to(path, request("GET", "/"))
    assert reply.message == "there is no '/'"


async def test_a_wrong_method_is_told_the_right_one(path: Path) -> None:
    reply = await answer_to(path, request("GET", "/v1/reload"))
    assert reply.error == ("WrongMethod", 405)
    assert reply.headers["allow"] == "POST"
    assert reply.message == "/v1/reload takes POST, not GET"


@pytest.mark.parametrize(
    ("verb", "body", "said"),
    [
        ("reload", b"{", "not JSON"),
        ("reload", b"[]", "must be a JSON object"),
        ("reload", b'{"force": true}', "reload takes no 'force'"),
        ("restart", b'{"waht": "all"}', "did you mean 'what'?"),
        ("restart", b'{"what": "worker"}', "did you mean 'workers'?"),
        ("restart", b'{"what": ["all"]}', "there is no part"),
        ("explain", b"", "body: must be"),
        ("explain", b'{"body": []}', "body: must be"),
        ("explain", b'{"body": {}, "headers": []}', "200"),
        ("explain", b'{"body": {}, "headers": {"a": 1}}', "headers: must be"),
        ("explain", b'{"body": {}, "headers": [1]}', "headers: must be"),
        ("explain", b'{"body": {}, "path": 1}', "path: must be"),
    ],
)
async def test_a_bad_payload_is_told_what_is_wrong(
    path: Path, verb: str, body: bytes, said: str
) -> None:
    reply = await answer_to(path, request("POST", f"/v1/{verb}", body))
    if said == "200":
        assert reply.code == 200
    else:
        assert reply.error == ("BadRequest", 400)
        assert said in reply.message


async def test_a_body_that_says_it_is_too_large_is_not_read(path: Path) -> None:
    announced = request("POST", "/v1/explain", Content_Length=str(4 * 1024 * 1024 + 1))
    assert (await answer_to(path, announced)).error == ("TooLarge", 413)


async def test_a_body_that_grows_too_large_is_cut(path: Path) -> None:
    head = request("POST", "/v1/explain", Transfer_Encoding="chunked")
    chunked = head.replace(b"Content-Length: 0\r\n", b"") + b"2000\r\n" + b"x" * 0x2000 + b"\r\n"
    limits = Limits(body_bytes=4096)
    assert (await answer_to(path, chunked, limits=limits)).error == ("TooLarge", 413)


async def test_a_body_as_large_as_allowed_is_taken(path: Path) -> None:
    frame = b'{"body": {"text": ""}}'
    body = frame.replace(b'""', b'"' + b"x" * (4 * 1024 * 1024 - len(frame)) + b'"')
    assert len(body) == 4 * 1024 * 1024
    assert (await answer_to(path, request("POST", "/v1/explain", body))).code == 200


# What goes wrong


@pytest.mark.parametrize(
    ("error", "kind", "code", "message"),
    [
        (ControlError("Busy", "a reload is under way", 409), "Busy", 409, "a reload is under way"),
        (ConfigError("a.yaml: x", "is wrong"), "ConfigError", 422, "a.yaml: x: is wrong"),
        (CcproxydError("the disk is full"), "CcproxydError", 409, "the disk is full"),
        (ProxyError("no such label", 404), "ProxyError", 404, "no such label"),
        (
            ExceptionGroup("tasks", [ExceptionGroup("more", [CcproxydError("the disk is full")])]),
            "CcproxydError",
            409,
            "the disk is full",
        ),
    ],
)
async def test_an_expected_failure_is_answered_as_it_is(
    path: Path, error: Exception, kind: str, code: int, message: str
) -> None:
    reply = await answer_to(
        path, request("POST", "/v1/reload"), operations=FakeOperations(reload=error)
    )
    assert reply.error == (kind, code)
    assert reply.message == message


@pytest.mark.parametrize(
    "error", [KeyError(SECRET), ExceptionGroup(SECRET, [KeyError(SECRET), ValueError(SECRET)])]
)
async def test_a_bug_is_named_without_its_text(
    path: Path, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    operations = FakeOperations(status=error)
    with caplog.at_level(logging.DEBUG):
        reply = await answer_to(path, request("GET", "/v1/status"), operations=operations)
    assert reply.error == ("Bug", 500)
    assert type(error).__name__ in reply.message
    [logged] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert logged.getMessage().startswith(f"cannot status: {type(error).__name__} at fakes.py:")
    assert SECRET not in reply.message + caplog.text
    assert "Traceback" not in reply.body.decode() + caplog.text


async def test_an_answer_that_is_not_json_is_a_bug(path: Path) -> None:
    operations = FakeOperations(status={1: 2})
    reply = await answer_to(path, request("GET", "/v1/status"), operations=operations)
    assert reply.error == ("Bug", 500)


async def test_the_server_outlives_a_bug(path: Path) -> None:
    async with running(path, FakeOperations(status=KeyError())):
        await ask(path, request("GET", "/v1/status"))
        assert (await ask(path, request("GET", "/v1/stats"))).code == 200


# The end


class Stopping(FakeOperations):
    """An operation that is under way until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = anyio.Event()
        self.released = anyio.Event()
        self.finished = False

    async def stop(self) -> Any:
        self.entered.set()
        await self.released.wait()
        self.finished = True
        return await super().stop()


async def test_the_answer_of_stop_goes_out_after_the_end_has_begun(path: Path) -> None:
    operations = Stopping()
    async with (
        running(path, operations) as server,
        await anyio.connect_unix(path) as connection,
    ):
        await connection.send(request("POST", "/v1/stop"))
        await operations.entered.wait()
        server.cancel()
        operations.released.set()
        with anyio.CancelScope(shield=True):
            reply = parse(await read_all(connection))
    assert reply.json == {"ok": True, "pid": 4711}


async def test_an_operation_that_outlives_the_farewell_is_ended_with_an_answer(path: Path) -> None:
    operations = Stopping()
    limits = Limits(farewell_seconds=0.05)
    async with (
        running(path, operations, limits=limits) as server,
        await anyio.connect_unix(path) as connection,
    ):
        await connection.send(request("POST", "/v1/stop"))
        await operations.entered.wait()
        server.cancel()
        with anyio.CancelScope(shield=True):
            reply = parse(await read_all(connection))
    assert reply.error == ("Stopping", 503)
    assert not operations.finished


async def test_idle_and_half_sent_connections_do_not_delay_the_end(path: Path) -> None:
    async with running(path, FakeOperations()) as server:
        idle = await anyio.connect_unix(path)
        half = await anyio.connect_unix(path)
        await half.send(b"POST /v1/explain HTTP/1.1\r\nContent-Length: 9\r\n\r\n")
        assert (await ask(path, request("GET", "/ping"))).code == 200
        server.cancel()
        with anyio.CancelScope(shield=True):
            assert await read_all(idle) == b""
            assert parse(await read_all(half)).error == ("Stopping", 503)
            await idle.aclose()
            await half.aclose()


async def test_the_sockets_file_is_gone_at_the_end(path: Path) -> None:
    async with running(path, FakeOperations()):
        assert list(path.parent.iterdir()) == [path]
    assert list(path.parent.iterdir()) == []


async def test_a_file_that_somebody_removed_already_is_no_matter(path: Path) -> None:
    async with running(path, FakeOperations()):
        await anyio.Path(path).unlink()


async def test_an_operation_goes_on_when_its_client_leaves(path: Path) -> None:
    operations = Stopping()
    async with running(path, operations):
        async with await anyio.connect_unix(path) as connection:
            await connection.send(request("POST", "/v1/stop"))
            await operations.entered.wait()
        operations.released.set()
        await ask(path, request("GET", "/ping"))
        assert operations.finished


async def test_a_client_that_leaves_within_its_body_is_no_matter(path: Path) -> None:
    operations = FakeOperations()
    async with running(path, operations):
        async with await anyio.connect_unix(path) as connection:
            await connection.send(request("POST", "/v1/explain", b"{", Content_Length="9"))
        assert (await ask(path, request("GET", "/ping"))).code == 200
    assert operations.calls == []


async def test_the_daemons_signal_handlers_stay(path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    async with running(path, FakeOperations()):
        await ask(path, request("GET", "/ping"))
        assert signal.getsignal(signal.SIGTERM) is before


async def test_the_status_is_what_the_daemon_says(path: Path) -> None:
    reply = await answer_to(path, request("GET", "/v1/status"))
    assert reply.json["state"] == STATUS.state


async def test_a_client_that_does_not_read_does_not_delay_the_end(path: Path) -> None:
    operations = FakeOperations(status={"text": "x" * 8_000_000})
    limits = Limits(farewell_seconds=0.05)
    with socket.socket(socket.AF_UNIX) as client:
        async with running(path, operations, limits=limits):
            client.connect(str(path))
            client.sendall(request("GET", "/v1/status"))
            await anyio.wait_readable(client)
        client.settimeout(5)
        received = sum(iter(lambda: len(client.recv(65536)), 0))
    assert 0 < received < 8_000_000


# What must not leave


def without_secret(text: str) -> str:
    return text.replace("hunter2", "[redacted]")


async def test_each_sentence_of_an_answer_is_cleaned_and_what_others_act_on_is_not(
    path: Path,
) -> None:
    fault = {"path": "a", "reason": "OSError: hunter2"}
    labels = {"labels": ["hunter2"], "config_dir": "/home/hunter2"}
    told = {"last_reload": {"error": fault}, "warnings": ["of hunter2"]}
    status = {**STATUS.to_json(), **labels, **told}
    asked = FakeOperations(status=status)
    reply = await answer_to(
        path, request("GET", "/v1/status"), operations=asked, clean=without_secret
    )
    assert reply.json["last_reload"]["error"] == {"path": "a", "reason": "OSError: [redacted]"}
    assert reply.json["warnings"] == ["of [redacted]"]
    assert reply.json["pid"] == STATUS.pid
    assert {name: reply.json[name] for name in labels} == labels


async def test_an_error_is_cleaned(path: Path) -> None:
    asked = FakeOperations(reload=ConfigError("a.yaml: x", "OSError: hunter2"))
    reply = await answer_to(path, post("reload", {}), operations=asked, clean=without_secret)
    assert reply.json["error"]["message"] == "a.yaml: x: OSError: [redacted]"

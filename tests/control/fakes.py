"""A daemon that is only its control API, on a real Unix socket."""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio.from_thread import start_blocking_portal

from ccproxyd.control.guard import Limits
from ccproxyd.control.messages import (
    Explanation,
    Gateway,
    Listen,
    Outcome,
    Percentiles,
    Process,
    ReloadResult,
    RestartResult,
    RouteRule,
    Routes,
    RouteTarget,
    Stats,
    Status,
    StopResult,
    Totals,
    Worker,
)
from ccproxyd.control.server import bind_control_socket, serve

STATUS = Status(
    version="0.1.0",
    state="ready",
    pid=4711,
    uptime_seconds=11520.0,
    config_dir="/home/a/.ccproxy",
    generation=2,
    listen=Listen("127.0.0.1", 4000),
    control_socket="/run/user/7/ccproxyd/control.sock",
    labels=("default", "think"),
    gateway=Gateway(pid=4712, rss_bytes=58_000_000, uptime_seconds=11519.0, in_flight=3),
    workers=(Worker(pid=4713, rss_bytes=154_000_000, generation=2, state="ready", in_flight=1),),
    template=Process(pid=4714, rss_bytes=380_000_000),
)
STATS = Stats(
    since="2026-01-02T03:04:05+00:00",
    requests_total=1200,
    failed_total=3,
    in_flight=2,
    by_label={
        "think": Totals(1200, 3, 7_000_000, 8000, 9000, 1.5, Percentiles(812.0, 4210.0, 9000.0))
    },
    by_model={"anthropic/opus": Totals(requests=1200)},
    by_rule={"ThinkingRule": Totals(requests=1200)},
    routing_ms=Percentiles(0.24, None, 0.9),
)
ROUTES = Routes(
    generation=2,
    rules=(RouteRule("think", "ThinkingRule", sticky=True, path="ccproxy.rules[0]"),),
    targets=(RouteTarget("default", ("anthropic/sonnet",)), RouteTarget("think", ("a/b", "c/d"))),
    aliases={"smart": "think"},
)
EXPLANATION = Explanation(
    label="think",
    model="anthropic/opus",
    rule="ThinkingRule",
    reason="rule 2 matched",
    lane="litellm",
    token_count=61234,
    session_id="s-1",
    rules=(
        Outcome("token_count", "TokenCountRule", False, "61234 tokens <= 90000"),
        Outcome("think", "ThinkingRule", True, "effort xhigh"),
    ),
)


class FakeOperations:
    """Answers from `answers`, raising what is an exception; keeps what it was asked in `calls`."""

    def __init__(self, **answers: Any) -> None:
        self.answers: dict[str, Any] = {
            "status": STATUS.to_json(),
            "stats": STATS.to_json(),
            "routes": ROUTES.to_json(),
            "reload": ReloadResult(True, 3, "rules", 0.01).to_json(),
            "restart": RestartResult(True, "all", 3, 0.4).to_json(),
            "stop": StopResult(True, 4711).to_json(),
            "explain": EXPLANATION.to_json(),
            **answers,
        }
        self.calls: list[tuple[str, Any]] = []

    async def status(self) -> Any:
        return self._answer("status")

    async def stats(self) -> Any:
        return self._answer("stats")

    async def routes(self) -> Any:
        return self._answer("routes")

    async def reload(self) -> Any:
        return self._answer("reload")

    async def restart(self, what: str) -> Any:
        return self._answer("restart", what)

    async def stop(self) -> Any:
        return self._answer("stop")

    async def explain(self, payload: Any) -> Any:
        return self._answer("explain", payload)

    def _answer(self, verb: str, asked: Any = None) -> Any:
        self.calls.append((verb, asked))
        answer = self.answers[verb]
        if isinstance(answer, BaseException):
            raise answer
        return answer


@contextlib.contextmanager
def short_directory() -> Iterator[Path]:
    """A Unix socket's path has room for about 100 bytes; pytest's tmp_path may be longer."""
    directory = Path(tempfile.mkdtemp(prefix="ccd-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@contextlib.asynccontextmanager
async def running(path: Path, operations: Any, **options: Any) -> AsyncIterator[anyio.CancelScope]:
    """The server, until the block ends or the scope that it gets is cancelled."""
    listener = bind_control_socket(path)
    async with anyio.create_task_group() as group:
        group.start_soon(partial(serve, listener, operations, **options))
        try:
            yield group.cancel_scope
        finally:
            group.cancel_scope.cancel()


@contextlib.contextmanager
def running_in_thread(path: Path, operations: Any, **options: Any) -> Iterator[None]:
    """The server, for a client that blocks."""
    limits = options.pop("limits", Limits())
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(running(path, operations, limits=limits, **options)),
    ):
        yield


@contextlib.contextmanager
def canned(path: Path, *answers: bytes | None) -> Iterator[None]:
    """A server that reads once from each connection and sends one answer; None is silence."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()
    done = threading.Event()
    thread = threading.Thread(target=_answer_each, args=(listener, answers, done))
    thread.start()
    try:
        yield
    finally:
        done.set()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()


def _answer_each(
    listener: socket.socket, answers: tuple[bytes | None, ...], done: threading.Event
) -> None:
    for answer in answers:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.recv(65536)
            if answer is None:
                done.wait()
            else:
                connection.sendall(answer)


def http(body: bytes, code: int = 200, server: str = "ccproxyd/0.1.0") -> bytes:
    return b"HTTP/1.1 %d X\r\nServer: %s\r\n\r\n%s" % (code, server.encode(), body)

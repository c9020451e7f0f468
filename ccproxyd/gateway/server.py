"""The gateway as a process: a wire to the daemon on one side, uvicorn on the listener on the other.

The daemon speaks first: `prepare` with the config and the keys, then `commit`; only then does
uvicorn accept. From there on a config changes in the same two steps, so that a module of
the user's that does not load is an answer to `prepare` and touches nothing.

A `drain` makes this process the lame duck of a replacement: it closes its own copy of the listener,
asks every keep-alive client to reconnect, and goes when the last answer is out. A `stop` is the
same with less patience; where systemd has the port, who reconnects waits there for the next daemon.
When the wire ends the daemon is gone, and nobody would restart a worker or pass on a reload: the
gateway goes too.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import faulthandler
import gc
import logging
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, cast

import psutil
import uvicorn
import uvloop
from attrs import define, field
from httptools import HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ccproxyd.config.fresh import keep_modules, take_back_modules
from ccproxyd.errors import ConfigError, ProxyError, ValidationError
from ccproxyd.gateway.app import App
from ccproxyd.gateway.hooks.calls import Caller, Failed, TooManyError, TooSlow
from ccproxyd.gateway.lanes.direct import DirectLane
from ccproxyd.gateway.lanes.litellm import LiteLLMLane
from ccproxyd.gateway.lanes.upstream import Upstream
from ccproxyd.gateway.paths import dialect_of, usual_path
from ccproxyd.gateway.pool import Address, Pool
from ccproxyd.gateway.prices import load_prices
from ccproxyd.gateway.replies import error_reply
from ccproxyd.gateway.table import Table
from ccproxyd.routing import StickyTable, TokenCounter, Toolsets
from ccproxyd.telemetry.budgets import Gate
from ccproxyd.telemetry.prices import PriceList
from ccproxyd.telemetry.repeats import Repeats
from ccproxyd.wire import Wire, connect, hold_on_to

HEARTBEAT_SECONDS: Final = 5.0
DUCK_SECONDS: Final = 2.0
"""How long keep-alive clients get, after the last answer, to ask again and be told to reconnect.

An answer that had begun before could not say so: the client of a long stream will use its
connection once more, and right after the stream's end.
"""
STOP_QUIET_SECONDS: Final = 0.5
"""The same for a stop, which somebody waits for. A connection just accepted, whose request has not
been read yet, must not be closed under it: the client would see a reset."""
_QUIET_CHECK_SECONDS: Final = 0.1
_COLLECTED_AFTER: Final = 50_000
"""Objects; Python's own measure is 700."""
USUAL_BODY_BYTES: Final = 1024 * 1024
_HEAD: Final = b"HTTP/1.1 "
_UPGRADING: Final = frozenset({b"connection", b"upgrade", b"http2-settings"})
_CLOSE: Final = (b"connection", b"close")
LOAD_SECONDS: Final = 60.0
"""How long the users' modules may take to load; a reload, a stop and a restart wait for them."""
_NEVER_LOADED: Final = (
    "a module that rules, hooks or moderation name does not finish loading; it may wait for"
    " something. Mend it, then "
)
_AT_THE_START: Final = "start ccproxyd again"
_AT_A_RELOAD: Final = "run 'ccproxyctl restart' and 'ccproxyctl reload'"
"""Its name is locked in this process, until the import of it ends."""
_NO_END: Final = "ASGI callable returned without completing response."
ORPHAN_SECONDS: Final = 5.0
"""What a request in flight gets when the daemon is gone."""


@define
class Gateway:
    """The process's state: what is in force, what is prepared, and the server that uses it."""

    listener: socket.socket
    wire: Wire | None = None
    app: App | None = None
    prepared: Table | None = None
    prices: PriceList | None = None
    server: _Server | None = None
    rule_errors: Counter[str] = field(factory=Counter)
    hook_errors: Counter[str] = field(factory=Counter)
    repeats: Repeats = field(factory=Repeats, repr=False)
    gate: Gate = field(factory=Gate)
    memory: StickyTable = field(factory=StickyTable)
    serving: asyncio.Event = field(factory=asyncio.Event)
    ending: asyncio.Event = field(factory=asyncio.Event)
    tasks: set[asyncio.Task[None]] = field(factory=set)
    lag_ms: float = 0.0
    me: psutil.Process = field(factory=psutil.Process)
    _told_busy: bool = False
    """The last heartbeat spoke of requests in flight."""
    loader: Caller = field(factory=lambda: Caller(LOAD_SECONDS, most_threads=1))
    loading: asyncio.Lock = field(factory=asyncio.Lock)
    """Modules are the whole process's: one config at a time has its own loaded."""
    when_warm: Callable[[], None] = lambda: None
    """Called when all is loaded that stays."""

    def send(self, message: dict[str, Any] | Any) -> None:
        if self.wire is not None:
            self.wire.send(message)

    def is_busy(self) -> bool:
        """Whether somebody waits for an answer."""
        return self.app is not None and self.app.in_flight > 0

    def settle(self) -> None:
        """Nobody does any more; who asks for the state a moment later is not to read otherwise."""
        if self._told_busy:
            self._tell_vital_signs()
        if self.wire is not None:
            self.wire.settle()

    def log(self, level: str, event: str, **facts: Any) -> None:
        self.send({"kind": "log", "level": level, "event": event, **facts})

    def receive(self, message: dict[str, Any]) -> None:
        """One command of the daemon's; the daemon waits for the answer where order matters."""
        self._begin(self._obey(message))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _obey(self, message: dict[str, Any]) -> None:
        command = getattr(self, f"do_{message['kind']}", None)
        if command is None:
            answer: dict[str, Any] = {"ok": False, "error": {"reason": "unknown command"}}
        else:
            answer = await self._answered(command, message)
        if "id" in message:
            self.send({"kind": "answer", "id": message["id"], **answer})

    async def _answered(self, command: Any, message: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"ok": True, **(await command(message) or {})}
        except ConfigError as error:
            named = {"path": error.path, "reason": error.reason, "hint": error.hint}
            return {"ok": False, "error": named}
        except ProxyError as error:
            return {"ok": False, "error": {"reason": error.message, "code": error.code}}
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # who asks waits for an answer, whatever this was
            reason = f"internal error in the gateway: {type(error).__name__}"
            return {"ok": False, "error": {"reason": reason}}

    async def do_prepare(self, message: dict[str, Any]) -> None:
        """Build the table that `commit` will put in force; user modules load in a thread.

        Raises:
            ConfigError, ProxyError: it cannot be built, or a module does not return.
        """
        async with self.loading:
            self._drop_prepared()
            try:
                self.prepared = await self._load(message)
            except BaseException:
                take_back_modules()
                raise

    async def _load(self, message: dict[str, Any]) -> Table:
        """One thread loads, and no other until it is back; one that never is holds up nobody."""
        try:
            table: Table = await self.loader.call(self._build_table, message)
        except Failed as failed:
            error = failed.__cause__ or failed
            if isinstance(failed, TooSlow) or isinstance(error, TooManyError):
                advice = _AT_THE_START if self.app is None else _AT_A_RELOAD
                raise ProxyError(_NEVER_LOADED + advice) from None
            raise error from None
        return table

    def _drop_prepared(self) -> None:
        """What is in force has its modules again."""
        self.prepared = None
        take_back_modules()

    def _build_table(self, message: dict[str, Any]) -> Table:
        if self.prices is None:
            self.prices = load_prices()
        return Table.build(message, self.memory, self._rule_failed, self.prices, self._hook_failed)

    async def do_commit(self, message: dict[str, Any]) -> dict[str, Any]:
        """The prepared table comes into force, with its workers in the same moment."""
        if self.prepared is None:
            raise ProxyError("nothing is prepared")
        if self.app is None:
            self.app = self._new_app(self.prepared)
            self.serving.set()
        self.app.table, self.prepared = self.prepared, None
        keep_modules()
        self.rule_errors.clear()
        self.hook_errors.clear()
        self.repeats = Repeats()
        if "workers" in message:
            return await self.do_workers(message)
        return {}

    async def do_abandon(self, message: dict[str, Any]) -> None:  # noqa: ARG002 - a command
        async with self.loading:
            self._drop_prepared()

    async def do_workers(self, message: dict[str, Any]) -> dict[str, Any]:
        """Who takes requests from now on; the answer names everybody that has some of ours."""
        app = self._app()
        app.pool.reason = message.get("reason") or "no worker is ready yet"
        app.pool.replace(Address.from_message(worker) for worker in message["workers"])
        return {"workers": list(app.pool.in_flight())}

    async def do_budgets(self, message: dict[str, Any]) -> None:
        """Which budgets are used up; it may come before there is anything to serve."""
        self.gate = Gate.from_message(message)
        if self.app is not None:
            self.app.gate = self.gate

    async def do_explain(self, message: dict[str, Any]) -> dict[str, Any]:
        app = self._app()
        headers = {str(k).lower(): str(v) for k, v in (message.get("headers") or {}).items()}
        path = message.get("path") or "/v1/messages"
        # In a thread: a first count of half a megabyte takes 30 ms.
        return {"result": await asyncio.to_thread(app.explain, message["body"], headers, path)}

    async def do_drain(self, message: dict[str, Any]) -> None:
        """Be the lame duck: new connections go to the replacement, which has the listener too."""
        await self._depart(message.get("seconds", 600.0), DUCK_SECONDS)

    async def do_stop(self, message: dict[str, Any]) -> None:
        """It may come more than once, and before anything is served; the earliest limit counts."""
        self.ending.set()
        if self.server is not None:
            self._begin(self._depart(message.get("seconds", 30.0), STOP_QUIET_SECONDS))

    async def _depart(self, seconds: float, quiet: float) -> None:
        """Take no new connection, and go when the old ones have been quiet for a while."""
        app, loop = self._app(), asyncio.get_running_loop()
        deadline = loop.time() + seconds
        app.leaving, app.last_end = True, time.monotonic()
        self._close_listener()
        while (left := deadline - loop.time()) > 0:
            await asyncio.sleep(min(_QUIET_CHECK_SECONDS, left))
            if app.quiet_seconds() >= quiet or not self._server().server_state.connections:
                break
        self._leave(max(0.0, left))

    def _close_listener(self) -> None:
        """This process's copy of it: who else has one goes on accepting."""
        for listening in self._server().servers:
            listening.close()

    def _leave(self, seconds: float) -> None:
        """Go when nothing is in flight any more, after `seconds` at the latest."""
        server = self._server()
        server.should_exit = True
        asyncio.get_running_loop().call_later(seconds, server.cut_off)

    def _app(self) -> App:
        if self.app is None:
            raise ProxyError("no config is in force yet")
        return self.app

    def _server(self) -> _Server:
        if self.server is None:
            raise ProxyError("the gateway does not serve yet")
        return self.server

    def _new_app(self, table: Table) -> App:
        pool = Pool(self._idle, lambda: self.send({"kind": "wanted"}))
        return App(
            table=table,
            pool=pool,
            lane=LiteLLMLane(pool, self.log),
            direct=DirectLane(Upstream()),
            counter=TokenCounter(),
            toolsets=Toolsets(),
            send_report=self.send,
            log=self.log,
            gate=self.gate,
            on_idle=self.settle,
        )

    def _idle(self, worker: str) -> None:
        self.send({"kind": "idle", "worker": worker})
        self.receive({"kind": "forget", "worker": worker})

    async def do_forget(self, message: dict[str, Any]) -> None:
        await self._app().lane.forget(message["worker"])

    def _rule_failed(self, path: str, error: BaseException, place: str) -> None:
        """A rule that raises is no match."""
        self.rule_errors[path] += 1
        self._complain("cannot evaluate a rule", error, place, rule=path)

    def _hook_failed(self, path: str, error: BaseException, place: str) -> None:
        """The same for a hook, or for what moderates."""
        self.hook_errors[path] += 1
        self._complain("cannot run a hook", error, place, hook=path)

    def _complain(self, event: str, error: BaseException, place: str, **whose: str) -> None:
        """The exception's message could quote the request: it is not told."""
        kind = type(error).__name__
        count = self.repeats.worth_telling((event, *whose.values(), kind, place))
        if count is not None:
            times = {"times": count} if count > 1 else {}
            self.log("warning", event, **whose, error=kind, where=place or None, **times)

    async def serve(self) -> None:
        """Accept and answer until told to leave, or until the daemon is gone."""
        wire = self.wire
        if wire is None:
            return
        if not await self._first_config(wire):
            return
        self.server = _Server(_settings_of(self._app()), lambda: self.send({"kind": "ready"}))
        beside = [
            asyncio.create_task(self._beat()),
            asyncio.create_task(self._follow_daemon(wire)),
            asyncio.create_task(self._warm()),
        ]
        try:
            await self.server.serve(sockets=[self.listener])
        finally:
            for task in beside:
                task.cancel()
            await self._app().close()

    async def _warm(self) -> None:
        """Load the tokenizer (0.14 s, 48 MB) before a request has to wait for it, if any will."""
        app = self._app()
        if app.table.router.reads_tokens:
            with contextlib.suppress(Exception):  # whoever needs it will say what is wrong
                await asyncio.to_thread(app.counter.count_text, "warm")
        self.when_warm()

    async def _first_config(self, wire: Wire) -> bool:
        events = (self.serving, self.ending, wire.closed)
        waits = {asyncio.create_task(event.wait()) for event in events}
        _, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        return self.serving.is_set() and not self.ending.is_set()

    async def _follow_daemon(self, wire: Wire) -> None:
        await wire.closed.wait()
        # The next daemon needs the port while the last answers go out here.
        await self._depart(ORPHAN_SECONDS, STOP_QUIET_SECONDS)

    async def _beat(self) -> None:
        """Tell how this process is."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + HEARTBEAT_SECONDS
            self._tell_vital_signs()
            await asyncio.sleep(HEARTBEAT_SECONDS)
            self.lag_ms = (loop.time() - due) * 1000

    def _tell_vital_signs(self) -> None:
        self._told_busy = self.is_busy()
        self.send({"kind": "heartbeat", **self._vital_signs()})

    def _vital_signs(self) -> dict[str, Any]:
        app = self._app()
        return {
            "lag_ms": round(self.lag_ms, 3),
            "rss_bytes": self.me.memory_info().rss,
            "in_flight": app.in_flight,
            "waiting": app.pool.waiting,
            "workers": app.pool.in_flight(),
            "rule_errors": dict(self.rule_errors),
            "hook_errors": dict(self.hook_errors),
        }


class _Server(uvicorn.Server):
    """uvicorn, which says when it accepts, and leaves signals to the daemon."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()

    def cut_off(self) -> None:
        """Wait for nothing any longer."""
        for task in list(self.server_state.tasks):
            task.cancel()
        self.force_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """^C at a terminal reaches this process as well; the daemon decides what it means."""
        yield


class _Transport:
    """A transport on which the head of an answer leaves together with what follows at once.

    uvicorn writes them one after the other, and each write is a call of the system, and a packet.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""

    def write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(_HEAD):
            self._head = data
            self._loop.call_soon(self._flush)
            return
        self._transport.write(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        self._head = b""
        self._transport.abort()

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _Parser(HttpRequestParser):
    """As uvicorn has it, and it remembers where a head ended that asks for another protocol."""

    end_of_head = 0
    """Bytes, of the piece in which it ended."""

    def __init__(self, protocol: HttpToolsProtocol) -> None:
        super().__init__(protocol)
        self.set_dangerous_leniencies(lenient_data_after_close=True)

    def feed_data(self, data: Any) -> None:
        self.end_of_head = 0
        try:
            super().feed_data(data)
        except HttpParserUpgrade as upgrade:
            self.end_of_head = upgrade.args[0]
            raise


class _Protocol(HttpToolsProtocol):
    """uvicorn's, for a server that wants whole bodies, and whose clients may stop to read.

    A client that takes nothing of its answer for too long is dropped: uvicorn waits for it for
    ever, and `close` would wait for it too. A body of usual size is handed over when it is there,
    where uvicorn would stop and go on to read after each 64 KB.

    Java's client asks with each request whether the server would rather speak HTTP/2. A server that
    would not says nothing to that and answers; the parser, on the other hand, is done after the
    head of such a request, and uvicorn answers it as if it had no body. So another one reads it,
    without the question.
    """

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.parser = _Parser(self)
        self.transport = cast("asyncio.Transport", _Transport(transport, self.loop))

    def data_received(self, data: bytes) -> None:
        """A head that asks is read again without the question, and what stands behind it after it.

        There may be another such head, and as many as fit into a piece of a client's.
        """
        super().data_received(data)
        rest = memoryview(data)
        while (end := cast("_Parser", self.parser).end_of_head) and self._is_asked_in_vain():
            rest = rest[end:]
            head, self.parser = self._head_without_upgrade(), _Parser(self)
            for piece in (head, rest):
                super().data_received(cast("bytes", piece))

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing is wrong with asking."""

    def _is_asked_in_vain(self) -> bool:
        """For another protocol than WebSocket's; a CONNECT has no body, and is none of these."""
        parser = self.parser
        is_asked = parser.should_upgrade() and parser.get_method() != b"CONNECT"
        return is_asked and not self._should_upgrade()

    def _head_without_upgrade(self) -> bytes:
        kept = [pair for pair in self.headers if pair[0] not in _UPGRADING]
        if any(name == b"connection" and b"close" in value.lower() for name, value in self.headers):
            kept.append(_CLOSE)
        lines = b"".join(b"%s: %s\r\n" % pair for pair in kept)
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        return b"%s %s HTTP/%s\r\n%s\r\n" % (method, self.url, version, lines)

    def on_headers_complete(self) -> None:
        if not self._is_asked_in_vain():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self._is_asked_in_vain():
            super().on_message_complete()

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        is_usual = len(cycle.body) + len(body) <= USUAL_BODY_BYTES
        if is_usual and not cycle.response_complete and not self.parser.should_upgrade():
            cycle.body += body
        else:
            super().on_body(body)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's own words
        """What is no HTTP is refused in the shape of every other failure, as far as it was read."""
        path, _, _ = (self.url or b"").decode("latin-1").partition("?")
        headers = self.headers or []
        dialect = dialect_of(usual_path(path), {name.decode("latin-1"): "" for name, _ in headers})
        reply = error_reply(ValidationError("the request is not valid HTTP"), dialect)
        pairs = [*reply.pairs(), _CLOSE]
        lines = [b"%s: %s\r\n" % pair for pair in pairs]
        head = b"HTTP/1.1 400 Bad Request\r\n"
        self.transport.write(b"".join([head, *lines, b"\r\n", reply.body]))
        self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        seconds = cast("App", self.config.app).write_seconds
        self._patience = self.loop.call_later(seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._lose_no_patience()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._lose_no_patience()

    def _lose_no_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


def _settings_of(app: App) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_Protocol,
        loop="uvloop",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        proxy_headers=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=30,
        backlog=2048,
    )


class _OverWire(logging.Handler):
    """What a library logs: level, place and exception type; its text could quote a request.

    An answer that broke off is left without its end on purpose, and has a record of its own.
    """

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(logging.WARNING)
        self.addFilter(lambda record: record.msg != _NO_END)
        self._gateway = gateway

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
        self._gateway.log(
            record.levelname.lower(),
            "a library has logged something",
            logger=record.name,
            where=f"{Path(record.pathname).name}:{record.lineno}",
            error=error,
        )


def _collect_seldom() -> None:
    """Look for cyclic garbage among what is new alone, and not several times within a request.

    To look at all that stays takes 30 ms and more, in the middle of somebody's answer. And the body
    of a request is a thousand objects or more, which go when it ends, without any search.
    """
    gc.freeze()
    gc.set_threshold(_COLLECTED_AFTER, 10, 10)


async def _run(listener: socket.socket, channel: socket.socket) -> None:
    gateway = Gateway(listener, when_warm=_collect_seldom)
    logging.getLogger().handlers = [_OverWire(gateway)]
    gateway.wire = await connect(channel, gateway.receive, gateway.is_busy)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, gateway.receive, {"kind": "stop"})
    try:
        await gateway.serve()
    finally:
        gateway.wire.close()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="ccproxyd.gateway", description=__doc__)
    parser.add_argument("--listener", type=int, required=True, help="the listening socket's number")
    parser.add_argument("--channel", type=int, required=True, help="the wire's number")
    arguments = parser.parse_args(argv)
    listener = socket.socket(fileno=arguments.listener)
    channel = socket.socket(fileno=arguments.channel)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    hold_on_to(channel, 4 * ORPHAN_SECONDS)
    uvloop.run(_run(listener, channel))
    return 0

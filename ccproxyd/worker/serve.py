"""What one order asks for: LiteLLM started, proved, served on a Unix socket, stopped with grace.

Importing this module imports LiteLLM; see `process.load`. Whatever goes wrong before `ready` is a
`StartError`. After it a worker ends when `orders.stop` says so: it takes no more connections, gives
the requests that it has their time, reports the last prices, and shuts LiteLLM down.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import psutil
import uvicorn

from ccproxyd.channel import Message
from ccproxyd.config.aliases import install_aliases
from ccproxyd.worker import (
    abandoned,
    doors,
    endings,
    handler,
    logs,
    mended,
    messages,
    outgoing,
    selftest,
    spending,
)
from ccproxyd.worker.handler import CCProxyHandler, GatewayPolicy, Price
from ccproxyd.worker.intake import Intake
from ccproxyd.worker.order import Order, Orders, StartError, refusing

HEARTBEAT_SECONDS: Final = 5.0

_BEATS: Final = 10  # the lag is the worst of so many naps in a heartbeat
_KEEP_ALIVE_SECONDS: Final = 75  # longer than the gateway's: it is the one to close
_SETTLE_SECONDS: Final = 5.0
_SHUT_DOWN_SECONDS: Final = 10.0

_log = logging.getLogger(__name__)

Send = Callable[[Message], None]


async def serve(
    order: Order, send: Send, orders: Orders, *, on_request: Callable[[], None]
) -> None:
    """Serve until told to stop; `on_request` is called at every request, before LiteLLM sees it.

    Raises:
        StartError: the worker never became ready.
    """
    async with _litellm(order, send) as (callback, state):
        models = _models(order)
        intake = Intake(doors.app(), secret=order.secret, state=state, patience=_patience())
        await _prove(intake, callback, order)
        intake.on_request = on_request
        with _listener(order.socket) as listener:
            server = Server(intake)
            telling = _tell(send, server, intake, models)
            async with _beside(telling, _stopper(server, orders)):
                await server.serve(sockets=[listener])
        await doors.settle_events(_SETTLE_SECONDS)


def is_unforeseen(record: logging.LogRecord) -> bool:
    """An answer that broke is left without its end on purpose (`answering`)."""
    return record.msg != "ASGI callable returned without completing response."


class Server(uvicorn.Server):
    """uvicorn that leaves the signals alone and says when it accepts connections."""

    def __init__(self, app: Intake) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="httptools",
                loop="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            )
        )
        self.accepting = asyncio.Event()
        logging.getLogger("uvicorn.error").addFilter(is_unforeseen)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.accepting.set()

    def stop(self, seconds: float) -> None:
        """Take no more connections, and cut what is left after this long."""
        self.config.timeout_graceful_shutdown = seconds  # type: ignore[assignment]
        self.should_exit = True


# -- start


@asynccontextmanager
async def _litellm(
    order: Order, send: Send
) -> AsyncIterator[tuple[CCProxyHandler, Mapping[str, Any]]]:
    """LiteLLM running on the order's config, our handler among its callbacks just once."""
    callback = _install_handler(order, send)
    messages.mend(partial(outgoing.lent_to_a_count, environ=os.environ))
    endings.let_streams_end_as_they_do()
    mended.mend()
    spending.price_what_had_come()
    running = doors.started(order.config)
    with refusing("LiteLLM cannot start"):
        state = await running.__aenter__()
    try:
        logs.empty(doors.loggers())  # the config may have asked for handlers
        doors.discard_callbacks(handler.is_duplicate_of(callback))
        yield callback, state
    finally:
        await _shut_down(running)


async def _shut_down(running: AbstractAsyncContextManager[Any]) -> None:
    """Nothing is left to lose by now, so a LiteLLM that will not end is left behind."""
    try:
        async with asyncio.timeout(_SHUT_DOWN_SECONDS):
            await running.__aexit__(None, None, None)
    except Exception:
        _log.warning("cannot shut LiteLLM down", exc_info=True)


def _install_handler(order: Order, send: Send) -> CCProxyHandler:
    """Make the instance that LiteLLM will find under the handler's dotted name.

    The user's callbacks are imported from the config directory, last of all places, and may know
    the handler by the name that claude-ccproxy gave it.
    """

    def report(price: Price) -> None:
        if not price.request_id.startswith(selftest.ID_PREFIX):
            send({"kind": "priced", **attrs.asdict(price)})

    sys.path.append(str(order.config_dir))
    install_aliases(CCProxyHandler)
    callback = CCProxyHandler(GatewayPolicy(), report)
    handler.proxy_handler_instance = callback
    return callback


def _models(order: Order) -> list[str]:
    """What LiteLLM really loaded; a config that it did not read leaves it without the self-test."""
    models = doors.loaded_models()
    if order.selftest not in models:
        raise StartError(f"LiteLLM did not load {order.config}: it has no model '{order.selftest}'")
    return [name for name in models if name != order.selftest]


def _patience() -> float | None:
    return abandoned.PATIENCE_SECONDS if doors.ends_what_nobody_awaits() else None


async def _prove(app: Intake, callback: CCProxyHandler, order: Order) -> None:
    with refusing("the routing handler is not in place"):
        sent = await selftest.probe(app, key=order.key, secret=order.secret, label=order.selftest)
    if callback.applied != sent:
        raise StartError("the routing handler is not in place: LiteLLM did not call it")


@contextmanager
def _listener(path: Path) -> Iterator[socket.socket]:
    """A Unix socket that the owner alone can connect to; uvicorn would open it to everybody."""
    with refusing(f"cannot listen on {path}"):
        listener = _bound(path)
    try:
        yield listener
    finally:
        listener.close()
        path.unlink(missing_ok=True)


def _bound(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(os.fspath(path))
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(mask)
    return listener


# -- life


@asynccontextmanager
async def _beside(*coroutines: Any) -> AsyncIterator[None]:
    """Run these until the body ends."""
    tasks = [asyncio.ensure_future(one) for one in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _stopper(server: Server, orders: Orders) -> None:
    server.stop(await orders.stop)


async def _tell(send: Send, server: Server, intake: Intake, models: list[str]) -> None:
    """Ready as soon as it is so, and from then on a heartbeat every five seconds.

    One that spoke of requests is followed soon by one that says that they are done.
    """
    await server.accepting.wait()
    send({"kind": "ready", "models": models, "rss_bytes": _rss_bytes()})
    lag = 0.0
    while True:
        told = intake.in_flight
        send(_heartbeat(lag, told))
        lag = 0.0
        for _ in range(_BEATS):
            lag = max(lag, await _nap(HEARTBEAT_SECONDS / _BEATS))
            if told and not intake.in_flight:
                break


async def _nap(seconds: float) -> float:
    """How many seconds too late the loop came back."""
    loop = asyncio.get_running_loop()
    due = loop.time() + seconds
    await asyncio.sleep(seconds)
    return max(0.0, loop.time() - due)


def _heartbeat(lag: float, in_flight: int) -> Message:
    return {
        "kind": "heartbeat",
        "lag_ms": round(lag * 1000, 1),
        "rss_bytes": _rss_bytes(),
        "in_flight": in_flight,
    }


def _rss_bytes() -> int:
    return int(psutil.Process().memory_info().rss)

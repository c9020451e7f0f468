"""The demo provider as a process: a wire to the daemon on one side, a listener on the other.

It says `ready` when it accepts, beats, and ends at a `stop`, at SIGTERM, or when the wire ends: the
daemon is gone then, for whatever reason. SIGINT is not for it, since ^C in a terminal may reach
the daemon too, which decides what to stop and in which order.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import faulthandler
import logging
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import uvicorn

from ccproxyd.demo.provider import DemoProvider
from ccproxyd.wire import Wire, connect

HEARTBEAT_SECONDS: Final = 5.0
_GRACE_SECONDS: Final = 1


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    # The protocol is named so that asyncio sees TCP and sets TCP_NODELAY.
    tcp = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener = socket.socket(*tcp, fileno=arguments.listener)
    channel = socket.socket(fileno=arguments.channel)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    # The text of a traceback could quote a request; without a handler it would be printed.
    logging.getLogger().addHandler(logging.NullHandler())
    asyncio.run(serve(listener, channel))
    return 0


async def serve(listener: socket.socket, channel: socket.socket) -> None:
    """Answer on the listener until told to stop, or until the other end of the channel is gone."""
    server = _Server(_settings())

    def stop() -> None:
        server.should_exit = True

    def receive(message: dict[str, Any]) -> None:
        if message["kind"] == "stop":
            stop()

    wire = await connect(channel, receive)
    server.on_started = lambda: wire.send({"kind": "ready"})
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    tasks = [asyncio.create_task(_beat(wire)), asyncio.create_task(_follow(wire, stop))]
    try:
        await server.serve(sockets=[listener])
    finally:
        for task in tasks:
            task.cancel()
        wire.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ccproxyd.demo", description="An offline provider.")
    parser.add_argument("--listener", type=int, required=True, help="the listening socket's number")
    parser.add_argument("--channel", type=int, required=True, help="the wire's number")
    return parser


def _settings() -> uvicorn.Config:
    return uvicorn.Config(
        DemoProvider(),
        interface="asgi3",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


class _Server(uvicorn.Server):
    """uvicorn, which says when it accepts, and whose signals are ours.

    Left to itself it would end by killing itself with the signal that it caught.
    """

    on_started: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _beat(wire: Wire) -> None:
    while True:
        wire.send({"kind": "heartbeat"})
        await asyncio.sleep(HEARTBEAT_SECONDS)


async def _follow(wire: Wire, stop: Callable[[], None]) -> None:
    await wire.closed.wait()
    stop()

"""The process around a worker: its channel, its voice, its signals, and how it says that it failed.

`load` is a step of its own, for it takes seconds and depends on nothing in an order: a template
takes it once, forks for each order, and runs `work` in the child on the channel that came with it.
A terminal's ^C reaches the whole process group, so it is ignored here; the daemon decides.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol

import uvloop

from ccproxyd.channel import Message
from ccproxyd.errors import EXIT_FAILED
from ccproxyd.wire import Wire, connect, hold_on_to
from ccproxyd.worker import environment, logs
from ccproxyd.worker.logs import Descriptors, Journal
from ccproxyd.worker.order import Order, Orders, StartError, refusing

_FAREWELL_SECONDS: Final = 5.0
_ALONE_SECONDS: Final = 60.0
"""Longer than a stop in good order: what is left then hangs."""

_log = logging.getLogger(__name__)


class Serve(Protocol):
    """`serve.serve`, which has imported LiteLLM."""

    def __call__(
        self,
        order: Order,
        send: Callable[[Message], None],
        orders: Orders,
        *,
        on_request: Callable[[], None],
    ) -> Awaitable[None]: ...


class Voice:
    """The journal and the descriptors of this process, and how both fall silent."""

    def __init__(self) -> None:
        self.journal = Journal()
        self._descriptors = Descriptors()

    def take_over(self) -> None:
        logs.take_over(self.journal)
        self._descriptors.keep_for_crashes()

    def hush(self) -> None:
        """A request is here: from now on nothing that could be private is said."""
        if not self.journal.private:
            self.journal.close_text()
            self._descriptors.close()


class Uplink:
    """The way to the daemon, from any thread."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def send(self, message: Message) -> None:
        if threading.get_ident() == self._thread:
            self._wire.send(message)
        else:
            with suppress(RuntimeError):  # the loop is closed: nobody listens any more
                self._loop.call_soon_threadsafe(self._wire.send, message)


def load() -> Serve:
    """Import LiteLLM, and build what it would otherwise build at its first request.

    Raises:
        StartError: it cannot be imported.
    """
    environment.prepare(os.environ)
    with refusing("LiteLLM cannot be loaded"):
        from ccproxyd.worker import doors
        from ccproxyd.worker.serve import serve

        doors.build_routes()
        logs.empty(doors.loggers())
    return serve


def load_what_is_shared() -> None:
    """After `load`, in a process from which workers are forked."""
    from ccproxyd.worker import doors

    doors.load_what_is_shared()


async def work(channel: socket.socket, voice: Voice, load: Callable[[], Serve] = load) -> int:
    """Wait for the order on this channel and do it; the process's exit code."""
    orders = Orders()
    wire = await connect(channel, orders.receive)
    uplink = Uplink(wire)
    voice.journal.attach(uplink.send)
    _stop_at_the_end_of(wire, orders)
    try:
        return await _obey(orders, uplink, voice, load)
    finally:
        wire.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(wire.closed.wait(), _FAREWELL_SECONDS)


async def _obey(orders: Orders, uplink: Uplink, voice: Voice, load: Callable[[], Serve]) -> int:
    message = await orders.first()
    if message is None:
        return 0
    try:
        order = Order.from_message(message)
        await load()(order, uplink.send, orders, on_request=voice.hush)
    except StartError as error:
        words = voice.journal.last_words()
        uplink.send({"kind": "failed", "reason": str(error), "last_words": words})
        return EXIT_FAILED
    except Exception:
        _log.exception("cannot go on serving")
        return EXIT_FAILED
    return 0


def _stop_at_the_end_of(wire: Wire, orders: Orders) -> None:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, orders.stop_within)
    ended = loop.create_task(wire.closed.wait())
    ended.add_done_callback(lambda _: orders.stop_within())


def main(argv: Sequence[str]) -> int:
    """`python -m ccproxyd.worker [--template] --channel FD`."""
    parser = argparse.ArgumentParser(prog="ccproxyd.worker")
    parser.add_argument("--channel", type=int, required=True, metavar="FD")
    parser.add_argument("--template", action="store_true", help="fork workers on request")
    arguments = parser.parse_args(argv)
    channel = socket.socket(fileno=arguments.channel)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return _template(channel) if arguments.template else run(channel)


def run(channel: socket.socket, load: Callable[[], Serve] = load) -> int:
    """Be a worker on this channel; the process's exit code."""
    hold_on_to(channel, _ALONE_SECONDS)
    voice = Voice()
    voice.take_over()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work(channel, voice, load))


def _template(channel: socket.socket) -> int:
    from ccproxyd.worker.template import main as template

    return template(channel)

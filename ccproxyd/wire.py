"""A channel's end on a socket, for whichever process holds it.

`Wire` is an asyncio protocol: `send` never waits, `ask` sends a command and waits for its answer,
and the end of the stream means that the other process is gone. It is the lifeline as well: a
gateway or worker whose wire ends has lost its daemon and must not outlive it for long. A process
whose loop hangs would not notice, so `hold_on_to` watches the same socket from a thread.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Final, cast

from ccproxyd.channel import ChannelError, Decoder, Message, encode, may_be_dropped, may_wait

BACKLOG_BYTES: Final = 4 * 1024 * 1024
"""How much telemetry may wait for a daemon that is busy: about ten seconds of a full gateway."""

GATHER_SECONDS: Final = 0.02
"""How long what is for statistics alone is gathered: to wake the daemon for each request would cost
both ends more than all the rest of the telemetry."""
GATHER_AT_MOST_SECONDS: Final = 0.1
"""How long where this process has more urgent things to do: the daemon would take a processor from
the answer that somebody is waiting for."""

Receiver = Callable[[dict[str, Any]], None]


class WireClosedError(Exception):
    """The other process went away while its answer was awaited."""


class Wire(asyncio.Protocol):
    """One end; `receive` is called with each message that is not an answer to an `ask`.

    While `is_busy` says so, what may wait does: until `settle` says that it is over, mostly.
    """

    def __init__(self, receive: Receiver, is_busy: Callable[[], bool] = lambda: False) -> None:
        self._receive = receive
        self._is_busy = is_busy
        self._decoder = Decoder()
        self._transport: asyncio.WriteTransport | None = None
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = itertools.count(1)
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._is_due = False
        self._timer: asyncio.TimerHandle | None = None
        self.closed = asyncio.Event()
        self.dropped = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._decoder.feed(data):
                self._dispatch(message)
        except ChannelError:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.closed.set()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(WireClosedError())
        self._waiting.clear()

    def send(self, message: Message) -> None:
        """Hand a message to the socket; telemetry is dropped when the other end does not read."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if may_be_dropped(message) and self._backlog(transport) > BACKLOG_BYTES:
            self.dropped += 1
        elif may_wait(message):
            self._gather(encode(message))
        else:
            self._flush()
            transport.write(encode(message))

    def _backlog(self, transport: asyncio.WriteTransport) -> int:
        return transport.get_write_buffer_size() + self._gathered_bytes

    def _gather(self, line: bytes) -> None:
        if not self._gathered:
            self._timer = asyncio.get_running_loop().call_later(GATHER_SECONDS, self._due)
        self._gathered.append(line)
        self._gathered_bytes += len(line)

    def _due(self) -> None:
        if self._is_busy():
            self._is_due = True
            left = GATHER_AT_MOST_SECONDS - GATHER_SECONDS
            self._timer = asyncio.get_running_loop().call_later(left, self._flush)
        else:
            self._flush()

    def settle(self) -> None:
        """Nothing is urgent any more: what has waited for that goes."""
        if self._is_due:
            self._flush()

    def _flush(self) -> None:
        """What was gathered goes before anything later."""
        transport = self._transport
        if self._gathered and transport is not None and not transport.is_closing():
            transport.write(b"".join(self._gathered))
        self._gathered.clear()
        self._gathered_bytes, self._is_due = 0, False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def send_descriptors(self, line: bytes, descriptors: list[int]) -> None:
        """One line with descriptors beside it (unix(7), SCM_RIGHTS), past the transport's buffer.

        Raises:
            OSError: the other end is gone, or does not read.
        """
        if self._transport is None or self._transport.get_write_buffer_size():
            raise OSError("the other end does not read")
        end = self._transport.get_extra_info("socket")
        with socket.socket(fileno=os.dup(end.fileno())) as copy:
            socket.send_fds(copy, [line], descriptors)

    async def ask(self, message: Message) -> dict[str, Any]:
        """Send a command and wait for its answer.

        Raises:
            WireClosedError: the other process is gone.
        """
        if self.closed.is_set():
            raise WireClosedError
        number = next(self._numbers)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self.send({**message, "id": number})
            return await future
        finally:
            self._waiting.pop(number, None)

    def close(self) -> None:
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def _dispatch(self, message: dict[str, Any]) -> None:
        if message["kind"] != "answer":
            self._receive(message)
        elif (future := self._waiting.get(message.get("id", 0))) and not future.done():
            future.set_result(message)


async def connect(
    end: socket.socket, receive: Receiver, is_busy: Callable[[], bool] = lambda: False
) -> Wire:
    """Put a wire on one end of a socketpair; the wire owns the socket from here on."""
    end.setblocking(False)
    loop = asyncio.get_running_loop()
    _, wire = await loop.create_connection(lambda: Wire(receive, is_busy), sock=end)
    return wire


def hold_on_to(end: socket.socket, grace_seconds: float) -> None:
    """End this process, at the latest so long after the other end of its wire is gone.

    The loop normally notices first and leaves in good order; this is for the one that hangs.
    """
    copy = os.dup(end.fileno())
    watching = threading.Thread(
        target=_outlive, args=(copy, grace_seconds), name="lifeline", daemon=True
    )
    watching.start()


def _outlive(descriptor: int, grace_seconds: float) -> None:
    poll = select.poll()
    # Only the hang-up: what arrives is the loop's to read.
    poll.register(descriptor, getattr(select, "POLLRDHUP", 0))
    poll.poll()
    time.sleep(grace_seconds)
    os.kill(os.getpid(), signal.SIGKILL)

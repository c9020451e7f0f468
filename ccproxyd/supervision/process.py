"""The operating system's door: start a process, speak to it, wait for it, hear its last words.

A child gets one end of a socketpair (its wire), whatever descriptors it needs, and nothing else. It
has a session of its own, so that ^C at a terminal reaches the daemon alone. What it writes to its
standard streams comes line by line, bounded.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import anyio
from anyio.abc import Process as AnyioProcess
from attrs import define, field, frozen

from ccproxyd.channel import Message
from ccproxyd.wire import Wire, connect

_LINE_BYTES: Final = 4096
_LAST_WORDS_SECONDS: Final = 1.0


@frozen
class Command:
    """What to run: the words before `--channel N`, which is added, and what it inherits."""

    words: Sequence[str]
    environ: Mapping[str, str]
    inherited: Sequence[int] = ()


class Lines(asyncio.Protocol):
    """Cuts a pipe into lines; one that is too long is cut, not kept growing."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = b""
        self._transport: asyncio.BaseTransport | None = None
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:_LINE_BYTES]
        for line in lines:
            self._tell(line)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._tell(self._rest)
        self.ended.set()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _tell(self, line: bytes) -> None:
        if text := line[:_LINE_BYTES].decode("utf-8", "replace").rstrip():
            self._on_line(text)


@define
class Child(ABC):
    """A running process of ours, however it was made."""

    pid: int
    wire: Wire
    lines: Lines = field(repr=False)

    def send(self, message: Message) -> None:
        self.wire.send(message)

    async def ask(self, message: Message) -> dict[str, Any]:
        return await self.wire.ask(message)

    @abstractmethod
    def signal(self, number: int) -> None:
        """Send a signal; one that comes too late is no error."""

    @abstractmethod
    async def exit_status(self) -> int:
        """Wait for its end; negative for a signal."""

    async def wait(self) -> int:
        """The exit status, once it is gone and its last words are heard."""
        status = await self.exit_status()
        # What it said last may still be on its way to us; a child of its own may hold the pipes.
        with anyio.move_on_after(_LAST_WORDS_SECONDS):
            await self.wire.closed.wait()
            await self.lines.ended.wait()
        self.wire.close()
        self.lines.close()
        return status


@define
class SpawnedChild(Child):
    """A child in the ordinary sense."""

    process: AnyioProcess = field(repr=False)

    def signal(self, number: int) -> None:
        try:
            self.process.send_signal(signal.Signals(number))
        except ProcessLookupError:
            return

    async def exit_status(self) -> int:
        return await self.process.wait()


@define
class Ends:
    """Both ends of what ties a process to us: ours, and the two descriptors that it gets."""

    ours: socket.socket
    theirs: socket.socket
    reading: int
    writing: int

    @classmethod
    def make(cls) -> Ends:
        ours, theirs = socket.socketpair()
        reading, writing = os.pipe()
        return cls(ours, theirs, reading, writing)

    def given(self) -> None:
        """The process has its own copies."""
        self.theirs.close()
        os.close(self.writing)

    def abandon(self) -> None:
        """There is no process."""
        self.ours.close()
        os.close(self.reading)

    async def connect(
        self, receive: Callable[[dict[str, Any]], None], on_line: Callable[[str], None]
    ) -> tuple[Wire, Lines]:
        pipe = os.fdopen(self.reading, "rb", buffering=0)
        loop = asyncio.get_running_loop()
        _, lines = await loop.connect_read_pipe(lambda: Lines(on_line), pipe)
        return await connect(self.ours, receive), lines


async def spawn(
    command: Command,
    receive: Callable[[dict[str, Any]], None],
    on_line: Callable[[str], None],
) -> Child:
    """Start a process with a wire to it.

    Raises:
        OSError: it cannot be started.
    """
    ends = Ends.make()
    try:
        process = await anyio.open_process(
            [*command.words, "--channel", str(ends.theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=ends.writing,
            stderr=ends.writing,
            env=command.environ,
            pass_fds=[ends.theirs.fileno(), *command.inherited],
            start_new_session=True,
        )
    except OSError:
        ends.abandon()
        raise
    finally:
        ends.given()
    wire, lines = await ends.connect(receive, on_line)
    return SpawnedChild(process.pid, wire, lines, process)


def describe_exit(status: int) -> str:
    """An exit status in words.

    >>> describe_exit(-9), describe_exit(1)
    ('killed by SIGKILL', 'exited with status 1')
    """
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"

"""The daemon's side of a gateway: its wire, and the process or the task at the other end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
from attrs import define, field

from ccproxyd.gateway.server import Gateway
from ccproxyd.wire import Wire, connect
from tests.gateway.house import order_to_prepare
from tests.gateway.scripted import PATIENCE, ScriptedWorker


@define(eq=False)
class Daemon:
    """What the daemon says to a gateway and hears from it."""

    messages: list[dict[str, Any]] = field(factory=list)
    wire: Wire = field(init=False)
    _news: asyncio.Event = field(factory=asyncio.Event)

    def heard(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        self._news.set()

    async def until(
        self, kind: str, accept: Callable[[dict[str, Any]], bool] = lambda _: True
    ) -> dict[str, Any]:
        """The first message of this kind that is accepted, as soon as it came."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for message in self.messages:
                    if message["kind"] == kind and accept(message):
                        return message
                self._news.clear()
                await self._news.wait()

    async def ask(self, kind: str, **more: Any) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            return await self.wire.ask({"kind": kind, **more})

    async def prepare(self, config_dir: Path) -> dict[str, Any]:
        return await self.ask(**order_to_prepare(config_dir))

    async def put_in_force(self, config_dir: Path) -> None:
        assert (await self.prepare(config_dir))["ok"]
        assert (await self.ask("commit"))["ok"]

    async def publish(self, *workers: ScriptedWorker, **more: Any) -> set[str]:
        """Say who takes requests; the names of those who have some."""
        listed = [{name: getattr(worker.address, name) for name in _ADDRESS} for worker in workers]
        answer = await self.ask("workers", workers=listed, **more)
        assert answer["ok"]
        return set(answer["workers"])

    async def serving(self, config_dir: Path, *workers: ScriptedWorker) -> None:
        """From nothing to serving."""
        await self.put_in_force(config_dir)
        await self.until("ready")
        await self.publish(*workers)

    def heard_text(self) -> str:
        return orjson.dumps(self.messages).decode()


_ADDRESS = ("name", "generation", "socket", "secret", "key")


@define(eq=False)
class Process(Daemon):
    """A gateway as a process; `end` waits for it."""

    process: subprocess.Popen[bytes] = field(init=False)

    async def start(self, listener: socket.socket) -> None:
        ours, theirs = socket.socketpair()
        self.process = started(listener, theirs)
        theirs.close()
        self.wire = await connect(ours, self.heard)

    async def end(self) -> tuple[int, str]:
        """Its exit status, and what it wrote to its standard streams: its stacks, if it hangs."""
        try:
            said, _ = await asyncio.to_thread(self.process.communicate, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGUSR1)
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self.process.communicate, timeout=1)
            self.process.kill()
            said, _ = await asyncio.to_thread(self.process.communicate)
        return self.process.returncode, said.decode()

    async def bury(self) -> None:
        """Whatever became of the test, nothing is left."""
        self.wire.close()
        if self.process.poll() is None:
            self.process.kill()
            await self.end()


def started(listener: socket.socket, channel: socket.socket) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "ccproxyd.gateway"),
            *("--listener", str(listener.fileno()), "--channel", str(channel.fileno())),
        ],
        pass_fds=[listener.fileno(), channel.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


@asynccontextmanager
async def gateway_process(listener: socket.socket) -> AsyncIterator[Process]:
    process = Process()
    await process.start(listener)
    try:
        yield process
    finally:
        await process.bury()


@define(eq=False)
class Inside(Daemon):
    """A gateway in the test's own loop; `serving_task` ends when it leaves."""

    gateway: Gateway = field(init=False)
    task: asyncio.Task[None] = field(init=False)


@asynccontextmanager
async def gateway_inside(listener: socket.socket) -> AsyncIterator[Inside]:
    daemon = Inside()
    ours, theirs = socket.socketpair()
    daemon.wire = await connect(ours, daemon.heard)
    daemon.gateway = Gateway(listener)
    daemon.gateway.wire = await connect(theirs, daemon.gateway.receive)
    daemon.task = asyncio.create_task(daemon.gateway.serve())
    try:
        yield daemon
    finally:
        daemon.wire.send({"kind": "stop", "seconds": 0})
        async with asyncio.timeout(PATIENCE):
            await daemon.task
        daemon.wire.close()
        daemon.gateway.wire.close()
        listener.close()

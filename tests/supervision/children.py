"""Small processes that speak the channel, and an owner who remembers what became of them.

A child is Python without site-packages, so that it is there in milliseconds. Its script finds
`say(line)`, `obey()` (read orders until `stop` or the wire's end, then exit) and
`forever()` (hear nothing, but do not outlive the wire).
"""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from attrs import define, field

from ccproxyd.supervision.lifecycle import Life, Limits, State, Wanted
from ccproxyd.supervision.process import Child, Command, spawn
from ccproxyd.supervision.supervisor import Supervised

PATIENCE = 20.0

PRELUDE = """
import os, select, signal, sys
wire = int(sys.argv[-1])

def say(line):
    os.write(wire, line.encode() + b"\\n")

def obey():
    heard = b""
    while b'"stop"' not in heard:
        heard = os.read(wire, 65536)
        if not heard:
            break
    sys.exit(0)

def forever():
    end = select.poll()
    end.register(wire, 0)
    end.poll()
"""
READY = """say('{"kind":"ready"}')"""

OBEDIENT = f"{READY}\nobey()"
"""Is ready, and goes when it is told."""
DEAF = f"{READY}\nforever()"
"""Is ready, and goes only by a signal."""
SLOW = "signal.signal(signal.SIGUSR1, signal.SIG_IGN)\nforever()"
"""Is never ready."""
BROKEN = """
say('{"kind":"failed","reason":"no such model","last_words":"ValueError: gpt-99"}')
sys.exit(1)
"""
DYING = "sys.exit(3)"


def command(script: str, *, inherited: Iterable[int] = ()) -> Command:
    words = [sys.executable, "-I", "-S", "-c", PRELUDE + script]
    return Command(words, {}, list(inherited))


@define(eq=False)
class Owner:
    """Callbacks that keep the story: `ready`, `withdrawn`, an exit's reason."""

    story: list[str] = field(factory=list)
    messages: list[dict[str, Any]] = field(factory=list)
    lines: list[str] = field(factory=list)
    _news: anyio.Event = field(factory=anyio.Event)

    async def ready(self, life: Supervised) -> None:
        self._add("ready")

    async def withdrawn(self, life: Supervised) -> None:
        self._add("withdrawn")

    def exited(self, life: Supervised) -> None:
        self._add(str(life.last_exit))

    def heard(self, life: Supervised, message: dict[str, Any]) -> None:
        self.messages.append(message)
        self._tell()

    def said(self, line: str) -> None:
        self.lines.append(line)
        self._tell()

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait for a story that is long enough, or whatever else is looked for."""
        while not holds():
            await self._news.wait()

    def beats(self) -> int:
        return sum(message["kind"] == "heartbeat" for message in self.messages)

    def _add(self, chapter: str) -> None:
        self.story.append(chapter)
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()


def life_of(
    *scripts: str,
    owner: Owner | None = None,
    limits: Limits | None = None,
    name: str = "1.0",
    again: bool = True,
) -> Supervised:
    """A life whose first start runs the first script, and so on; the last one is used again."""
    owner = owner or Owner()

    async def launch(life: Supervised) -> Child:
        script = scripts[min(life.starts, len(scripts)) - 1]
        return await spawn(command(script), life.receive, owner.said)

    return Supervised(name, launch, owner, limits or Limits(), Life(again=again))


@asynccontextmanager
async def living(*lives: Supervised) -> AsyncIterator[None]:
    """Run them; whatever is left at the end is ended."""
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            for life in lives:
                group.start_soon(life.run)
            try:
                yield
            finally:
                end(*lives)


def end(*lives: Supervised) -> None:
    for life in lives:
        life.want(Wanted.DOWN)
        if life.child is not None:
            life.child.signal(signal.SIGKILL)


async def reaches(life: Supervised, state: State) -> None:
    """Wait for a state that nobody is told of."""
    while life.state is not state:  # noqa: ASYNC110
        await anyio.sleep(0.005)

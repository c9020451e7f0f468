"""Carries out what the table of `lifecycle` says, for one life.

Events come from everywhere (the wire, the kernel, a command) and are queued; `run` takes them one
by one, with the state's timer and the heartbeat's as the only clocks. What a ready or a lost
process means for others is not decided here: it goes to the callbacks.

A process is silent only while somebody listens. If all of us were stopped together (^Z, a frozen
container, a virtual machine that was moved), it could not beat, and is not to blame for it.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import anyio
from anyio.abc import TaskGroup
from attrs import define, field, frozen

from ccproxyd.errors import CcproxydError
from ccproxyd.supervision.lifecycle import (
    Do,
    Event,
    Life,
    Limits,
    Moment,
    State,
    Wanted,
    step,
    want,
)
from ccproxyd.supervision.process import Child, describe_exit

HEARTBEAT_LIMIT_SECONDS: Final = 30.0
LISTEN_SECONDS: Final = 5.0
"""A nap; what it takes longer than this we were not there ourselves."""
DUMP_SIGNAL: Final = signal.SIGUSR1
"""faulthandler writes the stacks of all threads on it, and of nothing that they hold."""
_BEATING: Final = frozenset({State.READY, State.DRAINING})

Launch = Callable[["Supervised"], Awaitable[Child]]


class Callbacks(Protocol):
    """What the owner of a life wants to know."""

    async def ready(self, life: Supervised) -> None: ...

    async def withdrawn(self, life: Supervised) -> None: ...

    def exited(self, life: Supervised) -> None: ...

    def heard(self, life: Supervised, message: dict[str, Any]) -> None: ...


@frozen
class _Happened:
    event: Event
    child: Child | None = None


@define(eq=False)
class Supervised:
    """One process that is kept as it is wanted."""

    name: str
    launch: Launch = field(repr=False)
    callbacks: Callbacks = field(repr=False)
    limits: Limits = field(factory=Limits)
    life: Life = field(factory=Life)
    child: Child | None = None
    starts: int = 0
    started_at: float = 0.0
    vital_signs: dict[str, Any] = field(factory=dict)
    last_exit: str | None = None
    failure: dict[str, Any] | None = None
    """What this process said of its own start's failure, in a `failed` message."""
    last_failure: dict[str, Any] | None = None
    """The same of the one that ended last."""
    ready: anyio.Event = field(factory=anyio.Event, repr=False)
    gone: anyio.Event = field(factory=anyio.Event, repr=False)
    _last_beat: float = 0.0
    _events: Any = field(init=False, repr=False)
    _queue: Any = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._events, self._queue = anyio.create_memory_object_stream[_Happened](float("inf"))

    @property
    def state(self) -> State:
        return self.life.state

    @property
    def is_degraded(self) -> bool:
        return self.life.backoff.is_degraded(anyio.current_time())

    def want(self, wanted: Wanted) -> None:
        self.life = want(self.life, wanted)
        self.happened(Event.WANTED)

    def happened(self, event: Event, child: Child | None = None) -> None:
        """Queue an event; one of a former process of this life is ignored when its turn comes."""
        self._events.send_nowait(_Happened(event, child or self.child))

    def receive(self, message: dict[str, Any]) -> None:
        """A message from the process."""
        kind = message["kind"]
        self._last_beat = anyio.current_time()
        if kind == "heartbeat":
            self.vital_signs = message
        elif kind == "failed":
            self.failure = message
        self.callbacks.heard(self, message)
        if kind == "ready":
            self.happened(Event.READY)

    async def run(self) -> None:
        """Live until the life is over."""
        async with anyio.create_task_group() as group:
            self.happened(Event.WANTED)
            while not self.gone.is_set():
                happened = await self._next()
                if happened.child is self.child or happened.event is Event.WANTED:
                    await self._take_step(happened.event, group)
            group.cancel_scope.cancel()

    async def _next(self) -> _Happened:
        """The next event; heartbeats move the deadline without being events."""
        while (deadline := self._deadline()) > (now := anyio.current_time()):
            wakes = min(deadline, now + LISTEN_SECONDS) if self.state in _BEATING else deadline
            with anyio.move_on_at(wakes):
                return await self._queue.receive()  # type: ignore[no-any-return]
            self._last_beat += anyio.current_time() - wakes
        late = self.life.timer is not None and self.life.timer <= anyio.current_time()
        return _Happened(Event.TIMER if late else Event.HUNG, self.child)

    def _deadline(self) -> float:
        beat = self._last_beat + HEARTBEAT_LIMIT_SECONDS
        limits = [self.life.timer] if self.life.timer is not None else []
        return min([*limits, beat] if self.state in _BEATING else limits, default=float("inf"))

    async def _take_step(self, event: Event, group: TaskGroup) -> None:
        # Jitter is no secret.
        moment = Moment(anyio.current_time(), self.limits, random.random())  # noqa: S311  # nosec B311
        self.life, todo = step(self.life, event, moment)
        if event is Event.EXITED:
            self.child = None
        for one in todo:
            await self._carry_out(one, group)

    async def _carry_out(self, what: Do, group: TaskGroup) -> None:
        match what:
            case Do.SPAWN:
                await self._spawn(group)
            case Do.ANNOUNCE:
                await self.callbacks.ready(self)
                self.ready.set()
            case Do.WITHDRAW:
                await self.callbacks.withdrawn(self)
            case Do.STOP:
                self._send({"kind": "stop", "seconds": self.limits.stop})
            case Do.TERMINATE:
                self._signal(signal.SIGTERM)
            case Do.DUMP:
                self._signal(DUMP_SIGNAL)
            case Do.KILL:
                self._signal(signal.SIGKILL)
            case Do.GONE:
                self.gone.set()

    async def _spawn(self, group: TaskGroup) -> None:
        self.starts += 1
        self.started_at = self._last_beat = anyio.current_time()
        self.vital_signs, self.failure = {}, None
        try:
            self.child = await self.launch(self)
        except (OSError, ValueError, CcproxydError) as error:
            # A ValueError is an environment that execve(2) cannot take: a NUL in a value.
            why = getattr(error, "strerror", None) or error
            self.last_exit = f"cannot be started: {why}"
            self.callbacks.exited(self)
            self._events.send_nowait(_Happened(Event.EXITED, None))
            return
        group.start_soon(self._wait_for, self.child)

    async def _wait_for(self, child: Child) -> None:
        self.last_exit = describe_exit(await child.wait())
        self.last_failure = self.failure
        self.callbacks.exited(self)
        self.happened(Event.EXITED, child)

    def _send(self, message: dict[str, Any]) -> None:
        if self.child is not None:
            self.child.send(message)

    def _signal(self, number: int) -> None:
        if self.child is not None:
            self.child.signal(number)

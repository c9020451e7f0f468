"""Workers that share a config, and how one such generation replaces another.

A generation is all or nothing: it serves once every one of its workers is ready, and one that
fails to start ends it, with the reason for whoever asked. The old generation keeps serving all the
while. When the new one has taken over, each old worker finishes its own requests and goes, at the
latest at its drain limit.

A generation that nobody needs yet may take over asleep: it is begun when it is woken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import anyio
from anyio import CancelScope
from anyio.abc import TaskGroup
from attrs import define, field, frozen

from ccproxyd.errors import CcproxydError
from ccproxyd.supervision.holders import Holders
from ccproxyd.supervision.lifecycle import Event, State, Wanted
from ccproxyd.supervision.supervisor import Supervised


class GenerationFailedError(CcproxydError):
    """A worker of a new generation did not become ready; `words` are its last, redacted."""

    def __init__(self, reason: str, words: str = "") -> None:
        super().__init__(reason)
        self.words = words


@frozen
class Seal:
    """What only this generation's workers and the gateway know."""

    secret: str
    key: str


class Rendered(Protocol):
    """What was written for a generation, as far as its life needs to know."""

    def address(self, name: str) -> dict[str, Any]: ...

    def remove(self, names: list[str]) -> None: ...


@define(eq=False)
class Generation:
    """The workers of one config."""

    number: int
    rendering: Rendered = field(repr=False)
    workers: list[Supervised] = field(factory=list)
    started: int = 0
    """How many workers it ever had; their names count on."""
    models: frozenset[str] = frozenset()
    """The model names that its LiteLLM really loaded."""
    begun: bool = False

    def ready_workers(self) -> list[Supervised]:
        return [worker for worker in self.workers if worker.state is State.READY]

    @property
    def is_live(self) -> bool:
        return any(not worker.gone.is_set() for worker in self.workers)

    def want(self, wanted: Wanted) -> None:
        for worker in self.workers:
            worker.want(wanted)

    async def serving(self) -> None:
        """Wait until every worker is ready.

        Raises:
            GenerationFailedError: one is not, and will not be tried again.
        """
        failed: list[Supervised] = []
        async with anyio.create_task_group() as group:
            for worker in self.workers:
                group.start_soon(_watch, worker, failed, group.cancel_scope)
            for worker in self.workers:
                await worker.ready.wait()
            group.cancel_scope.cancel()
        if failed:
            raise _failure_of(failed[0])

    async def ended(self) -> None:
        """Wait until all are gone, also those that join while it waits."""
        while waiting := [worker for worker in self.workers if not worker.gone.is_set()]:
            await waiting[0].gone.wait()


async def _watch(worker: Supervised, failed: list[Supervised], scope: CancelScope) -> None:
    await worker.gone.wait()
    failed.append(worker)
    scope.cancel()


def _failure_of(worker: Supervised) -> GenerationFailedError:
    failure = worker.failure or {}
    reason = failure.get("reason") or f"worker {worker.name} {worker.last_exit or 'did not start'}"
    return GenerationFailedError(str(reason), str(failure.get("last_words") or ""))


@define(eq=False)
class Generations:
    """All generations that live: the one that serves, and those that finish."""

    group: TaskGroup = field(repr=False)
    current: Generation | None = None
    live: list[Generation] = field(factory=list)
    holders: Holders = field(factory=Holders)
    departure: anyio.Event = field(factory=anyio.Event, init=False, repr=False)
    """The next one by which a generation has gone."""

    def workers(self) -> Iterator[tuple[Generation, Supervised]]:
        for generation in self.live:
            for worker in generation.workers:
                yield generation, worker

    def begin(self, generation: Generation) -> None:
        """Start a generation's workers beside those that serve."""
        generation.begun = True
        self.live.append(generation)
        for worker in generation.workers:
            self.group.start_soon(worker.run)
        self.group.start_soon(self._bury, generation)

    async def exchange(self, generation: Generation, old: Supervised, new: Supervised) -> bool:
        """One worker in place of another of its generation; whether it came to that."""
        generation.workers.append(new)
        self.group.start_soon(new.run)
        await _either(new.ready, new.gone)
        if new.ready.is_set():
            old.want(Wanted.DRAIN)
            await old.gone.wait()
            generation.workers.remove(old)
        else:
            generation.workers.remove(new)
        return new.ready.is_set()

    async def fewer_than(self, limit: int) -> None:
        """Wait until so many have gone that one more may live."""
        while len(self.live) >= limit:
            await self.departure.wait()

    def take_over(self, generation: Generation) -> None:
        """The generation serves from now on; the one before it drains."""
        before, self.current = self.current, generation
        if before is not None and before.begun:
            before.want(Wanted.DRAIN)

    @property
    def asleep(self) -> bool:
        """Whether the generation that serves has not been needed yet."""
        return self.current is not None and not self.current.begun

    def wake(self) -> Generation | None:
        """Begin the generation that is asleep, if one is."""
        if self.current is None or self.current.begun:
            return None
        self.begin(self.current)
        return self.current

    # -- what the gateways have

    def asked(self, gateway: Supervised) -> None:
        self.holders.asked(gateway)

    def held(self, gateway: Supervised, workers: Iterable[str]) -> None:
        self.holders.has(gateway, workers)
        self.let_go()

    def idle(self, gateway: Supervised, worker: str) -> None:
        self.holders.released(gateway, worker)
        self.let_go()

    def gateway_left(self, gateway: Supervised) -> None:
        self.holders.left(gateway)
        self.let_go()

    def let_go(self) -> None:
        """Tell the draining workers of which nobody has anything left."""
        for _, worker in self.workers():
            if worker.state is State.DRAINING and self.holders.is_free(worker.name):
                worker.happened(Event.IDLE)

    async def _bury(self, generation: Generation) -> None:
        await generation.ended()
        names = [worker.name for worker in generation.workers]
        self.live.remove(generation)
        generation.rendering.remove(names)
        if self.current is generation:
            self.current = None
        self.departure.set()
        self.departure = anyio.Event()


async def _either(one: anyio.Event, other: anyio.Event) -> None:
    async with anyio.create_task_group() as group:
        for event in (one, other):
            group.start_soon(_then_cancel, event, group.cancel_scope)


async def _then_cancel(event: anyio.Event, scope: CancelScope) -> None:
    await event.wait()
    scope.cancel()

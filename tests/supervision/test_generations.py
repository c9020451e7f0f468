from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from attrs import define, field

from ccproxyd.supervision.generations import (
    Generation,
    GenerationFailedError,
    Generations,
)
from ccproxyd.supervision.lifecycle import State, Wanted
from ccproxyd.supervision.supervisor import Supervised
from tests.supervision.children import (
    BROKEN,
    DYING,
    OBEDIENT,
    PATIENCE,
    SLOW,
    Owner,
    end,
    life_of,
    reaches,
)

pytestmark = pytest.mark.anyio

GATEWAY = life_of(OBEDIENT, name="gateway")
LAME_DUCK = life_of(OBEDIENT, name="gateway")


@define(eq=False)
class Files:
    """What was written for a generation; `removed` says for which names it was removed."""

    removed: list[list[str]] = field(factory=list)

    def address(self, name: str) -> dict[str, Any]:
        return {"name": name}

    def remove(self, names: list[str]) -> None:
        self.removed.append(names)


@define(eq=False)
class Worker(Owner):
    """Callbacks as the daemon has them: a worker that leaves is known to the generations."""

    generations: Generations | None = None

    async def withdrawn(self, life: Supervised) -> None:
        await super().withdrawn(life)
        if self.generations is not None:
            self.generations.let_go()


def generation(
    *scripts: str, number: int = 1, generations: Generations | None = None
) -> Generation:
    made = Generation(number, Files())
    for index, script in enumerate(scripts):
        owner = Worker(generations=generations)
        life = life_of(script, owner=owner, name=f"{number}.{index}", again=False)
        made.workers.append(life)
    return made


GATEWAY: Any = "the gateway"
LAME_DUCK: Any = "the one before it"
"""Who has something of a worker's; a name is enough here."""


def files_of(one: Generation) -> list[list[str]]:
    assert isinstance(one.rendering, Files)
    return one.rendering.removed


@asynccontextmanager
async def house() -> AsyncIterator[Generations]:
    """A task group whose lives are ended with the test."""
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            generations = Generations(group)
            try:
                yield generations
            finally:
                end(*[worker for _, worker in generations.workers()])


async def serving(generations: Generations, one: Generation) -> Generation:
    generations.begin(one)
    await one.serving()
    generations.take_over(one)
    return one


async def test_a_generation_serves_when_all_its_workers_are_ready() -> None:
    async with house() as generations:
        one = await serving(generations, generation(OBEDIENT, OBEDIENT))
        assert [worker.name for worker in one.ready_workers()] == ["1.0", "1.1"]
        assert generations.current is one
        assert [worker.name for _, worker in generations.workers()] == ["1.0", "1.1"]
        assert one.is_live


async def test_one_worker_that_fails_is_the_end_of_a_generation() -> None:
    async with house() as generations:
        old = await serving(generations, generation(OBEDIENT))
        new = generation(OBEDIENT, BROKEN, number=2)
        generations.begin(new)
        with pytest.raises(GenerationFailedError, match=r"^no such model$") as failure:
            await new.serving()
        assert failure.value.words == "ValueError: gpt-99"
        new.want(Wanted.DOWN)
        await new.ended()
        assert generations.current is old
        assert old.workers[0].state is State.READY
    assert files_of(new) == [["2.0", "2.1"]]


async def test_a_worker_that_dies_without_a_word_is_told_by_its_exit() -> None:
    async with house() as generations:
        new = generation(DYING)
        generations.begin(new)
        with pytest.raises(GenerationFailedError, match=r"^worker 1\.0 exited with status 3$"):
            await new.serving()


async def test_a_generation_that_is_stopped_before_it_served_says_so() -> None:
    async with house() as generations:
        new = generation(SLOW)
        new.want(Wanted.DOWN)
        generations.begin(new)
        with pytest.raises(GenerationFailedError, match=r"^worker 1\.0 did not start$"):
            await new.serving()


async def replaced(generations: Generations, *scripts: str) -> Generation:
    """A generation that drains, for another one has taken its place; the gateway has it still."""
    old = await serving(generations, generation(*scripts, generations=generations))
    generations.held(GATEWAY, [worker.name for worker in old.workers])
    await serving(generations, generation(OBEDIENT, number=2, generations=generations))
    for worker in old.workers:
        await reaches(worker, State.DRAINING)
    return old


async def still_draining(worker: Supervised) -> bool:
    await anyio.wait_all_tasks_blocked()
    return worker.state is State.DRAINING


async def test_the_new_generation_takes_over_and_the_old_one_drains() -> None:
    async with house() as generations:
        old = await replaced(generations, OBEDIENT)
        new = generations.current
        assert new is not None
        assert generations.live == [old, new]
        assert not files_of(old)
        generations.idle(GATEWAY, "1.0")
        await old.ended()
        await anyio.wait_all_tasks_blocked()
        assert generations.live == [new]
        assert files_of(old) == [["1.0"]]
        assert not old.is_live


async def test_idle_before_the_worker_drains_is_not_lost() -> None:
    async with house() as generations:
        old = await serving(generations, generation(OBEDIENT, generations=generations))
        generations.held(GATEWAY, ["1.0"])
        generations.idle(GATEWAY, "1.0")
        assert old.workers[0].state is State.READY
        await serving(generations, generation(OBEDIENT, number=2, generations=generations))
        await old.ended()


async def test_a_worker_that_came_back_from_a_crash_is_not_idle_because_it_was() -> None:
    async with house() as generations:
        old = await serving(generations, generation(OBEDIENT, generations=generations))
        generations.held(GATEWAY, ["1.0"])
        generations.idle(GATEWAY, "1.0")
        generations.asked(GATEWAY)
        generations.held(GATEWAY, ["1.0"])
        await serving(generations, generation(OBEDIENT, number=2, generations=generations))
        await reaches(old.workers[0], State.DRAINING)
        assert await still_draining(old.workers[0])
        generations.idle(GATEWAY, "1.0")
        await old.ended()


async def test_idle_is_about_one_worker() -> None:
    async with house() as generations:
        old = await replaced(generations, OBEDIENT, OBEDIENT)
        generations.idle(GATEWAY, "1.0")
        await old.workers[0].gone.wait()
        assert await still_draining(old.workers[1])
        assert old.is_live


async def test_what_a_lame_duck_has_is_waited_for() -> None:
    async with house() as generations:
        old = await serving(generations, generation(OBEDIENT, generations=generations))
        generations.held(LAME_DUCK, ["1.0"])
        generations.held(GATEWAY, [])
        old.want(Wanted.DRAIN)
        await reaches(old.workers[0], State.DRAINING)
        assert await still_draining(old.workers[0])
        generations.gateway_left(LAME_DUCK)
        await old.ended()


async def test_a_gateway_that_does_not_know_a_draining_worker_has_nothing_of_it() -> None:
    async with house() as generations:
        old = await replaced(generations, OBEDIENT, OBEDIENT)
        generations.held(GATEWAY, ["1.1"])
        await old.workers[0].gone.wait()
        assert await still_draining(old.workers[1])
        generations.held(GATEWAY, [])
        await old.ended()


async def test_a_gateway_that_does_not_know_a_ready_worker_does_not_end_it() -> None:
    async with house() as generations:
        one = await serving(generations, generation(OBEDIENT, generations=generations))
        generations.held(GATEWAY, [])
        await anyio.wait_all_tasks_blocked()
        assert one.workers[0].state is State.READY


async def test_one_worker_is_exchanged_for_another() -> None:
    async with house() as generations:
        one = await serving(generations, generation(OBEDIENT, generations=generations))
        old, new = one.workers[0], life_of(OBEDIENT, name="1.1", again=False)
        generations.held(GATEWAY, ["1.0"])
        exchanged: list[bool] = []

        async def exchange() -> None:
            exchanged.append(await generations.exchange(one, old, new))

        async with anyio.create_task_group() as group:
            group.start_soon(exchange)
            await new.ready.wait()
            await reaches(old, State.DRAINING)
            assert one.workers == [old, new]
            generations.idle(GATEWAY, "1.0")
        assert exchanged == [True]
        assert one.workers == [new]
        assert one.ready_workers() == [new]
        assert generations.current is one
    assert files_of(one) == [["1.1"]]


async def test_a_worker_stays_if_the_one_that_should_replace_it_fails() -> None:
    async with house() as generations:
        one = await serving(generations, generation(OBEDIENT))
        [old] = one.workers
        assert not await generations.exchange(one, old, life_of(DYING, name="1.1", again=False))
        assert one.workers == [old]
        assert old.state is State.READY


async def test_an_exchange_that_a_reload_overtakes_ends_with_its_generation() -> None:
    async with house() as generations:
        one = await serving(generations, generation(OBEDIENT, generations=generations))
        old, new = one.workers[0], life_of(SLOW, name="1.1", again=False)
        async with anyio.create_task_group() as group:
            group.start_soon(generations.exchange, one, old, new)
            await reaches(new, State.STARTING)
            await serving(generations, generation(OBEDIENT, number=2, generations=generations))
            await old.gone.wait()
            end(new)
        await one.ended()


async def test_when_the_generation_in_force_is_gone_there_is_none() -> None:
    async with house() as generations:
        one = await serving(generations, generation(OBEDIENT))
        one.want(Wanted.DOWN)
        await one.ended()
        await anyio.wait_all_tasks_blocked()
        assert generations.current is None
        assert generations.live == []


async def test_a_worker_that_crashes_is_back_in_its_generation() -> None:
    async with house() as generations:
        one = await serving(generations, generation(OBEDIENT))
        worker = one.workers[0]
        assert worker.child is not None
        worker.child.signal(signal.SIGKILL)
        await reaches(worker, State.WAITING)
        assert one.ready_workers() == []
        await reaches(worker, State.READY)
        assert one.ready_workers() == [worker]
    assert files_of(one) == [["1.0"]]

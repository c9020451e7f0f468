from __future__ import annotations

import errno
import signal

import anyio
import pytest

from ccproxyd.errors import CcproxydError
from ccproxyd.supervision import backoff, supervisor
from ccproxyd.supervision.lifecycle import Event, Limits, State, Wanted
from ccproxyd.supervision.process import Child, Command, spawn
from ccproxyd.supervision.supervisor import Supervised
from ccproxyd.telemetry.redact import is_stack_line
from tests.supervision.children import (
    BROKEN,
    DEAF,
    DYING,
    OBEDIENT,
    READY,
    SLOW,
    Owner,
    command,
    life_of,
    living,
    reaches,
)

pytestmark = pytest.mark.anyio

BEATING = f"""
import time
{READY}
while True:
    say('{{"kind":"heartbeat","in_flight":3}}')
    time.sleep(0.05)
"""
HANGING = f"""
import faulthandler
faulthandler.register(signal.SIGUSR1)
{READY}
forever()
"""


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def _no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "FIRST_SECONDS", 0.001)


async def test_a_process_is_kept_until_it_is_not_wanted(owner: Owner) -> None:
    life = life_of(OBEDIENT, owner=owner)
    async with living(life):
        await life.ready.wait()
        assert life.state is State.READY
        life.want(Wanted.DOWN)
        await life.gone.wait()
    assert owner.story == ["ready", "withdrawn", "exited with status 0"]
    assert life.child is None


@pytest.mark.usefixtures("_no_delay")
async def test_a_process_that_was_killed_is_started_again(owner: Owner) -> None:
    life = life_of(OBEDIENT, owner=owner)
    async with living(life):
        await life.ready.wait()
        assert life.child is not None
        life.child.signal(signal.SIGKILL)
        await owner.until(lambda: owner.story.count("ready") == 2)
        assert life.starts == 2
        assert life.state is State.READY
    assert owner.story[:4] == ["ready", "killed by SIGKILL", "withdrawn", "ready"]


@pytest.mark.usefixtures("_no_delay")
async def test_a_process_that_dies_five_times_is_degraded_and_tried_again(owner: Owner) -> None:
    life = life_of(*[DYING] * 5, OBEDIENT, owner=owner)
    async with living(life):
        assert not life.is_degraded
        await life.ready.wait()
        assert life.is_degraded
    assert owner.story[:6] == ["exited with status 3"] * 5 + ["ready"]


async def test_a_new_worker_that_fails_is_not_tried_again_and_leaves_its_reason(
    owner: Owner,
) -> None:
    life = life_of(BROKEN, owner=owner, again=False)
    async with living(life):
        await life.gone.wait()
    assert life.starts == 1
    assert life.failure is not None
    assert life.failure["reason"] == "no such model"
    assert not life.ready.is_set()


@pytest.mark.usefixtures("_no_delay")
async def test_a_new_start_forgets_the_failure_of_the_one_before(owner: Owner) -> None:
    life = life_of(BROKEN, OBEDIENT, owner=owner)
    async with living(life):
        await life.ready.wait()
        assert life.failure is None


async def test_a_start_that_takes_too_long_is_killed(owner: Owner) -> None:
    limits = Limits(start=0.1, dump=0.01, kill=5.0)
    life = life_of(SLOW, owner=owner, limits=limits, again=False)
    async with living(life):
        await life.gone.wait()
    assert owner.story == ["killed by SIGKILL"]


async def test_a_process_that_does_not_stop_is_killed(owner: Owner) -> None:
    life = life_of(DEAF, owner=owner, limits=Limits(stop=0.05))
    async with living(life):
        await life.ready.wait()
        life.want(Wanted.DOWN)
        await life.gone.wait()
    assert owner.story == ["ready", "withdrawn", "killed by SIGKILL"]


async def test_a_process_is_told_how_long_it_has_to_stop(owner: Owner) -> None:
    script = f"""
{READY}
heard = os.read(wire, 1000)
print(heard.decode())
"""
    life = life_of(script, owner=owner, limits=Limits(stop=7.0))
    async with living(life):
        await life.ready.wait()
        life.want(Wanted.DOWN)
        await life.gone.wait()
    assert owner.lines == ['{"kind":"stop","seconds":7.0}']


async def test_a_process_without_a_heartbeat_leaves_its_stacks_and_is_killed(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "HEARTBEAT_LIMIT_SECONDS", 0.1)
    life = life_of(HANGING, SLOW, owner=owner, limits=Limits(dump=1.0))
    async with living(life):
        await owner.until(lambda: "killed by SIGKILL" in owner.story)
    assert owner.story[:3] == ["ready", "withdrawn", "killed by SIGKILL"]
    assert owner.lines
    assert all(is_stack_line(line) for line in owner.lines)


async def test_a_heart_that_beats_is_never_called_hung(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "HEARTBEAT_LIMIT_SECONDS", 1.0)
    life = life_of(BEATING, owner=owner)
    async with living(life):
        await owner.until(lambda: owner.beats() >= 40)
        assert owner.story == ["ready"]
        assert life.vital_signs["in_flight"] == 3


class Clock:
    """The loop's, which can be put forward as if nobody had been there meanwhile."""

    def __init__(self) -> None:
        self.real = anyio.current_time
        self.ahead = 0.0
        self.seen = anyio.Event()

    def __call__(self) -> float:
        if self.ahead:
            self.seen.set()
        return self.real() + self.ahead


async def test_a_process_is_not_to_blame_for_a_time_at_which_all_of_us_were_stopped(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "LISTEN_SECONDS", 0.01)
    monkeypatch.setattr(anyio, "current_time", clock := Clock())
    life = life_of(OBEDIENT, owner=owner)
    async with living(life):
        await life.ready.wait()
        clock.ahead = 10 * supervisor.HEARTBEAT_LIMIT_SECONDS
        await clock.seen.wait()
        life.want(Wanted.DOWN)
        await life.gone.wait()
    assert owner.story == ["ready", "withdrawn", "exited with status 0"]


async def test_a_worker_that_drains_needs_a_heartbeat_too(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = life_of(DEAF, owner=owner, limits=Limits(dump=0.01))
    async with living(life):
        await life.ready.wait()
        life.want(Wanted.DRAIN)
        await reaches(life, State.DRAINING)
        monkeypatch.setattr(supervisor, "HEARTBEAT_LIMIT_SECONDS", 0.0)
        life.happened(Event.READY)  # no more than a reason to look at the clock
        await life.gone.wait()
    assert owner.story[-1].startswith("killed by")


async def test_a_worker_drains_until_it_is_idle(owner: Owner) -> None:
    life = life_of(OBEDIENT, owner=owner)
    async with living(life):
        await life.ready.wait()
        life.want(Wanted.DRAIN)
        await owner.until(lambda: "withdrawn" in owner.story)
        assert not life.gone.is_set()
        life.happened(Event.IDLE)
        await life.gone.wait()
    assert owner.story == ["ready", "withdrawn", "exited with status 0"]


async def test_a_worker_that_never_gets_idle_goes_at_its_drain_limit(owner: Owner) -> None:
    life = life_of(OBEDIENT, owner=owner, limits=Limits(drain=0.01))
    async with living(life):
        await life.ready.wait()
        life.want(Wanted.DRAIN)
        await life.gone.wait()
    assert owner.story[-1] == "exited with status 0"


@pytest.mark.usefixtures("_no_delay")
@pytest.mark.parametrize("event", [Event.EXITED, Event.HUNG])
async def test_what_happened_to_a_former_process_is_not_the_new_ones_business(
    owner: Owner, event: Event
) -> None:
    life = life_of(OBEDIENT, owner=owner)
    async with living(life):
        await life.ready.wait()
        former = life.child
        assert former is not None
        former.signal(signal.SIGKILL)
        await owner.until(lambda: owner.story.count("ready") == 2)
        life.happened(event, former)
        life.want(Wanted.DRAIN)
        await reaches(life, State.DRAINING)
        assert life.child is not None
    assert owner.story.count("withdrawn") == 2


@pytest.mark.usefixtures("_no_delay")
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file"), "cannot be started: No such file"),
        (OSError("odd"), "cannot be started: odd"),
        (CcproxydError("no listener"), "cannot be started: no listener"),
    ],
)
async def test_what_cannot_be_started_is_tried_again(
    owner: Owner, error: Exception, told: str
) -> None:
    async def launch(life: Supervised) -> Child:
        if life.starts < 3:
            raise error
        return await spawn(command(OBEDIENT), life.receive, owner.said)

    life = Supervised("1.0", launch, owner)
    async with living(life):
        await life.ready.wait()
    assert owner.story[:3] == [told, told, "ready"]


async def test_an_environment_that_no_process_can_have_is_a_reason(owner: Owner) -> None:
    async def launch(life: Supervised) -> Child:
        return await spawn(Command(["true"], {"A": "\0"}), life.receive, owner.said)

    life = Supervised("1.0", launch, owner)
    async with living(life):
        await owner.until(lambda: owner.story)
    assert owner.story[0].startswith("cannot be started: embedded null byte")


async def test_a_life_that_is_not_wanted_before_it_began_is_over() -> None:
    life = life_of(OBEDIENT)
    life.want(Wanted.DOWN)
    with anyio.fail_after(1):
        await life.run()
    assert life.starts == 0


async def test_orders_and_signals_to_nobody_are_no_error() -> None:
    life = life_of(OBEDIENT)
    life._send({"kind": "stop"})
    life._signal(signal.SIGKILL)
    assert life.child is None

"""One process's life as a table: wanted x state x event.

What is *wanted* of a process (`UP`, `DRAIN`: finish what you have and go, `DOWN`) is kept apart
from what it *is*. An event moves a life by one row of `TABLE` and yields actions, which the shell
(`supervisor`) carries out; no row does anything itself. A pair that has no row changes nothing:
each such pair is an event that comes too late to matter, a `ready` from a process that is already
being stopped, say.

    DOWN      was not started yet
    STARTING  was spawned, has not said `ready`
    READY     does its work
    DRAINING  gets nothing new, finishes what it has
    STOPPING  was told to go
    KILLING   hangs: was asked for its stacks, or was sent SIGKILL
    WAITING   died, and starts again when the timer ends
    GONE      is no more; nothing brings it back
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final

from attrs import evolve, field, frozen

from ccproxyd.supervision.backoff import Backoff


class Wanted(Enum):
    UP = "up"
    DRAIN = "drain"
    DOWN = "down"


class State(Enum):
    DOWN = "down"
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPING = "stopping"
    KILLING = "killing"
    WAITING = "waiting"
    GONE = "gone"


class Event(Enum):
    WANTED = "wanted"
    """What is wanted has changed."""
    READY = "ready"
    EXITED = "exited"
    TIMER = "timer"
    """The limit of the current state is over."""
    HUNG = "hung"
    """No heartbeat for too long."""
    IDLE = "idle"
    """A draining process has nothing left to do."""


class Do(Enum):
    """What the shell is to do."""

    SPAWN = "spawn"
    ANNOUNCE = "announce"
    """It is ready: let others know."""
    WITHDRAW = "withdraw"
    """It is no longer ready: let others know."""
    STOP = "stop"
    TERMINATE = "terminate"
    """Have it go at once: it may be too busy with its start to read a message."""
    DUMP = "dump"
    """Have it write its stacks, for whoever wants to know why it hung."""
    KILL = "kill"
    GONE = "gone"
    """The life is over."""


@frozen
class Limits:
    """Seconds; how long each state may take."""

    start: float = 120.0
    drain: float = 600.0
    stop: float = 30.0
    farewell: float = 0.0
    """What a process may take after the grace that `stop` gives its requests."""
    dump: float = 2.0
    kill: float = 5.0


@frozen
class Life:
    """Where one process is.

    `since` is when it became ready, None before that, and `timer` when its state's limit ends
    (monotonic seconds). A life that is not `again` is not started a second time if it dies before
    it was ever ready: that is a reload's new worker, whose failure is the reload's answer.
    """

    state: State = State.DOWN
    wanted: Wanted = Wanted.UP
    again: bool = True
    was_ready: bool = False
    since: float | None = None
    timer: float | None = None
    backoff: Backoff = field(factory=Backoff)


@frozen
class Moment:
    """What a row may look at: the clock, the limits and a random share for the jitter."""

    now: float
    limits: Limits
    jitter: float = 0.0


Step = tuple[Life, tuple[Do, ...]]
Row = Callable[[Life, Moment], Step]


def step(life: Life, event: Event, moment: Moment) -> Step:
    """The life after an event, and what to do about it.

    >>> life, todo = step(Life(), Event.WANTED, Moment(now=0.0, limits=Limits()))
    >>> life.state.value, [one.value for one in todo]
    ('starting', ['spawn'])
    """
    row = TABLE.get((life.state, event))
    return row(life, moment) if row else (life, ())


def want(life: Life, wanted: Wanted) -> Life:
    """The same life with another intent; `Event.WANTED` then acts on it. DOWN is final."""
    return life if life.wanted is Wanted.DOWN else evolve(life, wanted=wanted)


def _start(life: Life, moment: Moment) -> Step:
    timer = moment.now + moment.limits.start
    return evolve(life, state=State.STARTING, since=None, timer=timer), (Do.SPAWN,)


def _over(life: Life) -> Step:
    return evolve(life, state=State.GONE, timer=None), (Do.GONE,)


def _stop(life: Life, moment: Moment, *before: Do) -> Step:
    timer = moment.now + moment.limits.stop + moment.limits.farewell
    return evolve(life, state=State.STOPPING, timer=timer), (*before, Do.STOP)


def _kill(life: Life, moment: Moment) -> Step:
    timer = moment.now + moment.limits.kill
    return evolve(life, state=State.KILLING, timer=timer), (Do.KILL,)


def _dump(life: Life, moment: Moment, *before: Do) -> Step:
    """A moment for the stacks to be written; the state's timer then kills."""
    timer = moment.now + moment.limits.dump
    return evolve(life, state=State.KILLING, timer=timer), (*before, Do.DUMP)


def _drain(life: Life, moment: Moment) -> Step:
    timer = moment.now + moment.limits.drain
    return evolve(life, state=State.DRAINING, timer=timer), (Do.WITHDRAW,)


def _wait(life: Life, moment: Moment, *before: Do) -> Step:
    healthy = 0.0 if life.since is None else moment.now - life.since
    backoff = life.backoff.died(moment.now, healthy_for=healthy)
    timer = moment.now + backoff.delay(moment.jitter)
    return evolve(life, state=State.WAITING, timer=timer, backoff=backoff), before


def _start_if_wanted(life: Life, moment: Moment) -> Step:
    return _start(life, moment) if life.wanted is Wanted.UP else _over(life)


def _starting_wanted(life: Life, moment: Moment) -> Step:
    if life.wanted is Wanted.UP:
        return life, ()
    stopping, _ = _stop(life, moment)
    return stopping, (Do.TERMINATE,)


def _starting_ready(life: Life, moment: Moment) -> Step:
    ready = evolve(life, state=State.READY, timer=None, since=moment.now, was_ready=True)
    return ready, (Do.ANNOUNCE,)


def _starting_exited(life: Life, moment: Moment) -> Step:
    retry = life.wanted is Wanted.UP and (life.again or life.was_ready)
    return _wait(life, moment) if retry else _over(life)


def _starting_timer(life: Life, moment: Moment) -> Step:
    return _dump(life, moment)


def _ready_wanted(life: Life, moment: Moment) -> Step:
    if life.wanted is Wanted.UP:
        return life, ()
    if life.wanted is Wanted.DRAIN:
        return _drain(life, moment)
    return _stop(life, moment, Do.WITHDRAW)


def _ready_exited(life: Life, moment: Moment) -> Step:
    return _wait(life, moment, Do.WITHDRAW)


def _ready_hung(life: Life, moment: Moment) -> Step:
    return _dump(life, moment, Do.WITHDRAW)


def _draining_wanted(life: Life, moment: Moment) -> Step:
    return _stop(life, moment) if life.wanted is Wanted.DOWN else (life, ())


def _draining_done(life: Life, moment: Moment) -> Step:
    return _stop(life, moment)


def _draining_hung(life: Life, moment: Moment) -> Step:
    return _dump(life, moment)


def _gone(life: Life, _: Moment) -> Step:
    return _over(life)


def _stopping_timer(life: Life, moment: Moment) -> Step:
    return _kill(life, moment)


def _killing_exited(life: Life, moment: Moment) -> Step:
    retry = life.wanted is Wanted.UP and (life.again or life.was_ready)
    return _wait(life, moment) if retry else _over(life)


def _killing_timer(life: Life, moment: Moment) -> Step:
    """The stacks are out, or never come. SIGKILL may act late too; there is nothing stronger."""
    return _kill(life, moment)


def _waiting_wanted(life: Life, _: Moment) -> Step:
    return (life, ()) if life.wanted is Wanted.UP else _over(life)


TABLE: Final[Mapping[tuple[State, Event], Row]] = {
    (State.DOWN, Event.WANTED): _start_if_wanted,
    (State.STARTING, Event.WANTED): _starting_wanted,
    (State.STARTING, Event.READY): _starting_ready,
    (State.STARTING, Event.EXITED): _starting_exited,
    (State.STARTING, Event.TIMER): _starting_timer,
    (State.READY, Event.WANTED): _ready_wanted,
    (State.READY, Event.EXITED): _ready_exited,
    (State.READY, Event.HUNG): _ready_hung,
    (State.DRAINING, Event.WANTED): _draining_wanted,
    (State.DRAINING, Event.IDLE): _draining_done,
    (State.DRAINING, Event.TIMER): _draining_done,
    (State.DRAINING, Event.EXITED): _gone,
    (State.DRAINING, Event.HUNG): _draining_hung,
    (State.STOPPING, Event.EXITED): _gone,
    (State.STOPPING, Event.TIMER): _stopping_timer,
    (State.KILLING, Event.EXITED): _killing_exited,
    (State.KILLING, Event.TIMER): _killing_timer,
    (State.WAITING, Event.WANTED): _waiting_wanted,
    (State.WAITING, Event.TIMER): _start_if_wanted,
}

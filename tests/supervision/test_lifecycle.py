"""The table of lives: visited as a whole, and told as stories.

`Shell` is what `supervisor` is to the table, without processes: it does what it is told and fails
when that cannot be done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import pytest
from attrs import evolve, frozen

from ccproxyd.supervision.lifecycle import (
    TABLE,
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

LIMITS = Limits(start=120.0, drain=600.0, stop=30.0, farewell=0.0, dump=2.0, kill=5.0)
WITH_A_LIMIT = {State.STARTING, State.DRAINING, State.STOPPING, State.KILLING, State.WAITING}
BEGINNINGS = [Life(again=True), Life(again=False)]


@frozen
class Shell:
    """A life, and what it owns: a child, an announcement, its end."""

    life: Life
    child: bool = False
    announced: bool = False
    gone: bool = False
    did: tuple[Do, ...] = ()

    @property
    def place(self) -> tuple[object, ...]:
        """Where it is; the clock and the record of deaths change no row's choice."""
        life = self.life
        facts = (life.state, life.wanted, life.again, life.was_ready)
        return (*facts, self.child, self.announced, self.gone)

    def wanted(self, wanted: Wanted) -> Shell:
        return evolve(self, life=want(self.life, wanted))

    def after(self, event: Event) -> Shell:
        life, todo = step(self.life, event, Moment(0.0, LIMITS))
        shell = evolve(self, life=life, did=(), child=self.child and event is not Event.EXITED)
        for one in todo:
            shell = shell.doing(one)
        return shell

    def doing(self, what: Do) -> Shell:
        did = (*self.did, what)
        match what:
            case Do.SPAWN:
                assert not self.child, "a second child"
                assert self.life.wanted is Wanted.UP, "a child that nobody wants"
                return evolve(self, did=did, child=True)
            case Do.ANNOUNCE:
                assert self.child
                assert not self.announced, "announced twice"
                return evolve(self, did=did, announced=True)
            case Do.WITHDRAW:
                assert self.announced, "withdrawn, and was never announced"
                return evolve(self, did=did, announced=False)
            case Do.STOP | Do.TERMINATE | Do.DUMP | Do.KILL:
                assert self.child, "nobody to tell"
                return evolve(self, did=did)
            case Do.GONE:
                assert not self.child, "a child is left behind"
                assert not self.announced, "gone, and still announced"
                assert not self.gone, "gone twice"
                return evolve(self, did=did, gone=True)

    def neighbours(self) -> Iterator[Shell]:
        """Whatever may come next, late events included; only a child can exit."""
        yield from (self.wanted(wanted) for wanted in Wanted)
        possible = (event for event in Event if event is not Event.EXITED or self.child)
        yield from (self.after(event) for event in possible)


def every_place() -> list[Shell]:
    """All that can be reached from a fresh life, found breadth first."""
    found: dict[tuple[object, ...], Shell] = {}
    waiting = deque(Shell(life) for life in BEGINNINGS)
    while waiting:
        shell = waiting.popleft()
        if shell.place not in found:
            found[shell.place] = shell
            waiting.extend(shell.neighbours())
    return list(found.values())


EVERYWHERE = every_place()


def test_no_event_in_any_order_breaks_what_must_hold() -> None:
    # `Shell.doing` asserts while the places are found; this says that it saw them all.
    assert {shell.life.state for shell in EVERYWHERE} == set(State)
    assert {shell.gone for shell in EVERYWHERE} == {False, True}


def test_every_row_of_the_table_is_reached() -> None:
    reached = {(shell.life.state, event) for shell in EVERYWHERE for event in Event}
    assert reached >= set(TABLE)
    with_exit = {shell.life.state for shell in EVERYWHERE if shell.child}
    assert with_exit == {state for state, event in TABLE if event is Event.EXITED}


def test_a_pair_without_a_row_changes_nothing() -> None:
    unlisted = [
        (shell, event)
        for shell in EVERYWHERE
        for event in Event
        if (shell.life.state, event) not in TABLE
    ]
    assert unlisted
    for shell, event in unlisted:
        assert step(shell.life, event, Moment(9.0, LIMITS)) == (shell.life, ())


def test_a_child_is_there_in_just_the_states_that_have_one() -> None:
    childless = {State.DOWN, State.WAITING, State.GONE}
    assert all(shell.child is (shell.life.state not in childless) for shell in EVERYWHERE)


def test_only_a_ready_life_is_announced() -> None:
    assert all(shell.announced is (shell.life.state is State.READY) for shell in EVERYWHERE)


def test_a_life_is_gone_once_and_for_all() -> None:
    over = [shell for shell in EVERYWHERE if shell.gone]
    assert {shell.life.state for shell in over} == {State.GONE}
    assert all(shell.after(event).did == () for shell in over for event in Event)


def test_a_state_has_a_timer_if_it_may_not_last() -> None:
    for shell in EVERYWHERE:
        assert (shell.life.timer is not None) is (shell.life.state in WITH_A_LIMIT), shell.place


def test_every_life_that_is_not_wanted_ends_with_its_child() -> None:
    for shell in EVERYWHERE:
        told = shell.wanted(Wanted.DOWN).after(Event.WANTED)
        assert told.gone or told.after(Event.EXITED).gone, shell.place


def test_a_child_that_does_not_go_is_killed_in_the_end() -> None:
    for shell in EVERYWHERE:
        told, did = shell.wanted(Wanted.DOWN).after(Event.WANTED), []
        for _ in range(3):
            told = told.after(Event.TIMER)
            did += told.did
        assert told.gone or Do.KILL in did, shell.place


def test_a_life_that_is_down_for_good_is_never_wanted_up_again() -> None:
    for shell in EVERYWHERE:
        assert shell.wanted(Wanted.DOWN).wanted(Wanted.UP).life.wanted is Wanted.DOWN


class Story:
    """A life with a clock of its own; each line is a time, what happened, and what it led to."""

    def __init__(self, life: Life | None = None, jitter: float = 0.0) -> None:
        self.life = life or Life()
        self.now = 0.0
        self.jitter = jitter

    def at(self, now: float, event: Event, wanted: Wanted | None = None) -> tuple[Do, ...]:
        self.now = now
        if wanted is not None:
            self.life = want(self.life, wanted)
        self.life, todo = step(self.life, event, Moment(now, LIMITS, self.jitter))
        return todo

    def then(self, event: Event) -> tuple[Do, ...]:
        """The event, as soon as the state's limit is over."""
        assert self.life.timer is not None
        return self.at(self.life.timer, event)

    def dies(self, *, healthy_for: float | None) -> float:
        """Start if need be, live that long (None: never ready), die; how long until the next."""
        self.at(self.now, Event.WANTED) if self.life.state is State.DOWN else self.then(Event.TIMER)
        assert self.life.state is State.STARTING
        if healthy_for is not None:
            self.at(self.now, Event.READY)
        self.at(self.now + (healthy_for or 0.0), Event.EXITED)
        assert self.life.timer is not None
        return self.life.timer - self.now


def test_a_life_from_start_to_stop() -> None:
    story = Story()
    assert story.at(0.0, Event.WANTED) == (Do.SPAWN,)
    assert story.life.timer == 120.0
    assert story.at(7.0, Event.READY) == (Do.ANNOUNCE,)
    assert story.at(500.0, Event.WANTED, Wanted.DOWN) == (Do.WITHDRAW, Do.STOP)
    assert story.life.timer == 530.0
    assert story.at(501.0, Event.EXITED) == (Do.GONE,)


def test_a_crash_is_followed_by_a_start() -> None:
    story = Story()
    story.at(0.0, Event.WANTED)
    story.at(5.0, Event.READY)
    assert story.at(9.0, Event.EXITED) == (Do.WITHDRAW,)
    assert story.life.timer == 9.5
    assert story.then(Event.TIMER) == (Do.SPAWN,)


def test_a_crash_loop_is_slowed_down() -> None:
    story = Story()
    delays = [story.dies(healthy_for=None) for _ in range(8)]
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert story.life.backoff.is_degraded(story.now)


def test_a_crash_loop_does_not_march_in_step() -> None:
    assert Story(jitter=1.0).dies(healthy_for=None) == 0.625


def test_a_minute_of_health_makes_the_next_start_quick() -> None:
    story = Story()
    assert [story.dies(healthy_for=1.0) for _ in range(4)] == [0.5, 1.0, 2.0, 4.0]
    assert story.dies(healthy_for=60.0) == 0.5


def test_a_start_that_fails_is_not_taken_for_the_health_of_the_one_before() -> None:
    story = Story()
    story.dies(healthy_for=3600.0)
    assert [story.dies(healthy_for=None) for _ in range(3)] == [1.0, 2.0, 4.0]


def test_a_process_that_hangs_after_an_hour_was_healthy_for_an_hour() -> None:
    story = Story()
    assert [story.dies(healthy_for=1.0) for _ in range(3)] == [0.5, 1.0, 2.0]
    story.then(Event.TIMER)
    story.at(100.0, Event.READY)
    assert story.at(3700.0, Event.HUNG) == (Do.WITHDRAW, Do.DUMP)
    assert story.then(Event.TIMER) == (Do.KILL,)
    story.at(3703.0, Event.EXITED)
    assert story.life.timer == 3703.5


def test_five_deaths_in_five_minutes_are_said_aloud_and_forgiven_later() -> None:
    story = Story()
    for _ in range(4):
        story.dies(healthy_for=1.0)
        assert not story.life.backoff.is_degraded(story.now)
    story.dies(healthy_for=1.0)
    assert story.life.backoff.is_degraded(story.now)
    assert not story.life.backoff.is_degraded(story.now + 300.0)


def test_a_start_that_takes_too_long_is_ended_with_its_stacks() -> None:
    story = Story()
    story.at(0.0, Event.WANTED)
    assert story.then(Event.TIMER) == (Do.DUMP,)
    assert story.then(Event.TIMER) == (Do.KILL,)
    assert story.now == 122.0
    assert story.then(Event.TIMER) == (Do.KILL,)
    assert story.at(128.0, Event.EXITED) == ()
    assert story.life.state is State.WAITING


def test_a_new_worker_that_dies_before_it_was_ready_is_not_tried_again() -> None:
    story = Story(Life(again=False))
    story.at(0.0, Event.WANTED)
    assert story.at(3.0, Event.EXITED) == (Do.GONE,)


def test_a_new_worker_that_takes_too_long_is_not_tried_again() -> None:
    story = Story(Life(again=False))
    story.at(0.0, Event.WANTED)
    story.then(Event.TIMER)
    story.then(Event.TIMER)
    assert story.at(123.0, Event.EXITED) == (Do.GONE,)


def test_a_new_worker_that_was_ready_once_is_one_like_any_other() -> None:
    story = Story(Life(again=False))
    assert story.dies(healthy_for=2.0) == 0.5
    assert story.dies(healthy_for=None) == 1.0


@pytest.mark.parametrize("event", [Event.IDLE, Event.TIMER])
def test_a_worker_drains_until_it_is_idle_or_its_time_is_over(event: Event) -> None:
    story = Story()
    story.at(0.0, Event.WANTED)
    story.at(5.0, Event.READY)
    assert story.at(10.0, Event.WANTED, Wanted.DRAIN) == (Do.WITHDRAW,)
    assert story.life.timer == 610.0
    assert story.then(event) == (Do.STOP,)
    assert story.at(615.0, Event.EXITED) == (Do.GONE,)


def test_a_worker_that_hangs_while_it_drains_is_ended() -> None:
    story = Story()
    story.at(0.0, Event.WANTED)
    story.at(5.0, Event.READY)
    story.at(10.0, Event.WANTED, Wanted.DRAIN)
    assert story.at(50.0, Event.HUNG) == (Do.DUMP,)
    assert story.then(Event.TIMER) == (Do.KILL,)
    assert story.at(53.0, Event.EXITED) == (Do.GONE,)


def test_a_worker_that_dies_while_it_drains_is_gone() -> None:
    story = Story()
    story.at(0.0, Event.WANTED)
    story.at(5.0, Event.READY)
    story.at(10.0, Event.WANTED, Wanted.DRAIN)
    assert story.at(11.0, Event.EXITED) == (Do.GONE,)


def test_who_waits_to_start_again_and_is_not_wanted_is_gone_at_once() -> None:
    story = Story()
    story.dies(healthy_for=None)
    assert story.at(0.1, Event.WANTED, Wanted.DOWN) == (Do.GONE,)


def test_who_is_not_wanted_any_more_is_not_started_by_a_timer_that_comes_first() -> None:
    story = Story()
    story.dies(healthy_for=None)
    story.life = want(story.life, Wanted.DOWN)
    assert story.then(Event.TIMER) == (Do.GONE,)


def test_who_was_never_started_and_is_not_wanted_is_gone() -> None:
    assert Story().at(0.0, Event.WANTED, Wanted.DOWN) == (Do.GONE,)


def test_a_process_may_take_leave_after_the_grace_of_its_requests() -> None:
    stopping = Shell(Life()).after(Event.WANTED).wanted(Wanted.DOWN)
    patient = Limits(stop=30.0, farewell=15.0)
    life, _ = step(stopping.life, Event.WANTED, Moment(1.0, patient))
    assert life.timer == 46.0


def test_ready_comes_too_late_for_a_process_that_is_being_stopped() -> None:
    story = Story()
    story.at(0.0, Event.WANTED)
    assert story.at(1.0, Event.WANTED, Wanted.DOWN) == (Do.TERMINATE,)
    assert story.at(1.1, Event.READY) == ()
    assert story.at(2.0, Event.EXITED) == (Do.GONE,)

import pytest

from ccproxyd.supervision.backoff import (
    DEATHS,
    DEATHS_WITHIN_SECONDS,
    FIRST_SECONDS,
    HEALTHY_SECONDS,
    LONGEST_SECONDS,
    Backoff,
)


def after(*deaths: tuple[float, float]) -> Backoff:
    """The record after deaths, each with its time and how long the process had been healthy."""
    record = Backoff()
    for now, healthy in deaths:
        record = record.died(now, healthy_for=healthy)
    return record


def test_the_delay_doubles_up_to_a_bound() -> None:
    record, delays = Backoff(), []
    for now in range(9):
        record = record.died(float(now), healthy_for=0.0)
        delays.append(record.delay(jitter=0.0))
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_a_hundred_deaths_do_not_overflow_the_delay() -> None:
    record = after(*[(float(now), 0.0) for now in range(100)])
    assert record.delay(jitter=0.0) == LONGEST_SECONDS


@pytest.mark.parametrize(("jitter", "delay"), [(0.0, 1.0), (0.5, 1.125), (1.0, 1.25)])
def test_jitter_adds_at_most_a_quarter(jitter: float, delay: float) -> None:
    assert after((0.0, 0.0), (1.0, 0.0)).delay(jitter) == delay


def test_a_minute_of_health_starts_over() -> None:
    troubled = after((0.0, 0.0), (1.0, 0.0), (2.0, 0.0))
    assert troubled.died(90.0, healthy_for=HEALTHY_SECONDS).delay(0.0) == FIRST_SECONDS


def test_less_than_a_minute_does_not() -> None:
    troubled = after((0.0, 0.0), (1.0, 0.0), (2.0, 0.0))
    assert troubled.died(90.0, healthy_for=HEALTHY_SECONDS - 1).delay(0.0) == 4.0


def test_five_deaths_in_five_minutes_are_too_many() -> None:
    often = [(60.0 * number, 0.0) for number in range(DEATHS)]
    assert not after(*often[:-1]).is_degraded(240.0)
    assert after(*often).is_degraded(240.0)


def test_health_between_the_deaths_does_not_hide_their_number() -> None:
    assert after(*[(61.0 * number, 61.0) for number in range(DEATHS)]).is_degraded(244.0)


def test_old_deaths_are_forgiven() -> None:
    record = after(*[(float(number), 0.0) for number in range(DEATHS)])
    assert record.is_degraded(DEATHS_WITHIN_SECONDS - 1)
    assert not record.is_degraded(DEATHS_WITHIN_SECONDS)


def test_deaths_that_are_far_apart_are_never_too_many() -> None:
    assert not after(*[(100.0 * number, 0.0) for number in range(20)]).is_degraded(1900.0)


def test_the_record_stays_small() -> None:
    assert len(after(*[(number / 100, 0.0) for number in range(1000)]).deaths) == DEATHS


def test_a_life_without_a_death_is_well() -> None:
    assert not Backoff().is_degraded(0.0)

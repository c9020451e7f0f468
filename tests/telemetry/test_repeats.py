from __future__ import annotations

from ccproxyd.telemetry.repeats import Repeats


def told(repeats: Repeats, record: str, times: int) -> list[int]:
    return [count for _ in range(times) if (count := repeats.worth_telling(record))]


def test_the_first_is_told_and_then_every_tenfold() -> None:
    assert told(Repeats(), "same", 2000) == [1, 10, 100, 1000]


def test_each_record_has_a_count_of_its_own() -> None:
    repeats = Repeats()
    assert told(repeats, "one", 5) == [1]
    assert told(repeats, "other", 10) == [1, 10]


def test_what_has_not_come_for_long_is_forgotten() -> None:
    repeats = Repeats()
    told(repeats, "old", 5)
    for number in range(1000):
        repeats.worth_telling(str(number))
    assert told(repeats, "old", 1) == [1]

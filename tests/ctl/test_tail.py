from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from ccproxyd.control.client import FailedError
from ccproxyd.ctl.tail import tail

Deed = Callable[[], object]


def log(tmp_path: Path, text: str = "one\ntwo\nthree\n") -> Path:
    file = tmp_path / "log"
    file.write_text(text)
    return file


class Writer:
    """Naps in which the daemon does something; the last one ends the test."""

    def __init__(self, *deeds: Deed) -> None:
        self._deeds = list(deeds)

    def sleep(self, _: float) -> None:
        if not self._deeds:
            raise KeyboardInterrupt
        self._deeds.pop(0)()


def followed(file: Path, count: int, *deeds: Deed) -> list[str]:
    lines = tail(file, count, follow=True, sleep=Writer(*deeds).sleep)
    seen = []
    with suppress(KeyboardInterrupt):
        while True:
            seen.append(next(lines))
    return seen


def append(file: Path, text: str) -> Deed:
    def deed() -> None:
        with file.open("a") as stream:
            stream.write(text)

    return deed


@pytest.mark.parametrize(
    ("count", "lines"),
    [(0, []), (1, ["three"]), (2, ["two", "three"]), (9, ["one", "two", "three"])],
)
def test_the_last_lines_come_in_their_order(tmp_path: Path, count: int, lines: list[str]) -> None:
    assert list(tail(log(tmp_path), count)) == lines


def test_the_end_may_begin_in_the_older_file(tmp_path: Path) -> None:
    file = log(tmp_path, "three\n")
    file.with_name("log.1").write_text("one\ntwo\n")
    assert list(tail(file, 2)) == ["two", "three"]
    assert list(tail(file, 1)) == ["three"]
    assert list(tail(file, 0)) == []


def test_a_last_line_without_an_end_is_one_too(tmp_path: Path) -> None:
    assert list(tail(log(tmp_path, "one\ntw"), 2)) == ["one", "tw"]


def test_what_is_no_utf_8_is_shown_as_far_as_it_goes(tmp_path: Path) -> None:
    file = log(tmp_path)
    file.write_bytes(b"\xffx\n")
    assert list(tail(file, 1)) == ["\ufffdx"]


def test_a_log_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FailedError, match=r"^cannot read .*/none: No such file or directory$"):
        list(tail(tmp_path / "none", 1))


def test_new_lines_come_when_they_are_whole(tmp_path: Path) -> None:
    file = log(tmp_path)
    deeds = (append(file, "fo"), append(file, "ur\nfive\n"))
    assert followed(file, 1, *deeds) == ["three", "four", "five"]


def test_a_log_that_is_exchanged_is_read_to_its_end_and_then_the_new_one(tmp_path: Path) -> None:
    file = log(tmp_path)

    def exchange() -> None:
        append(file, "last\n")()
        file.rename(tmp_path / "log.1")
        file.write_text("first\n")

    assert followed(file, 0, exchange, append(file, "second\n")) == ["last", "first", "second"]


def test_a_log_without_a_file_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    file = log(tmp_path)

    def begin() -> None:
        file.write_text("new\n")

    assert followed(file, 0, file.unlink, begin) == ["new"]

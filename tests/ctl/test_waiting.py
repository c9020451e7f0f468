import io
from threading import Event

import pytest

from ccproxyd.ctl.waiting import Waiting


class Terminal(io.StringIO):
    """A terminal that tells when a text has been written to it."""

    def __init__(self, awaited: str = "") -> None:
        super().__init__()
        self.written = Event()
        self._awaited = awaited

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        count = super().write(text)
        if self._awaited and self._awaited in text:
            self.written.set()
        return count


@pytest.fixture(autouse=True)
def capable_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")


def test_it_shows_what_is_waited_for_and_clears_it() -> None:
    terminal = Terminal("reloading: 0 s")
    with Waiting("reloading", terminal, period_seconds=0.001):
        assert terminal.written.wait(10)
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_what_is_waited_for_may_change() -> None:
    terminal = Terminal("draining")
    with Waiting("stopping", terminal, period_seconds=0.001) as waiting:
        waiting.what = "draining"
        assert terminal.written.wait(10)


def test_what_is_done_at_once_is_not_shown() -> None:
    terminal = Terminal()
    with Waiting("reloading", terminal, period_seconds=60):
        pass
    assert terminal.getvalue() == "\r\x1b[K"


def test_nothing_is_shown_where_no_person_looks() -> None:
    stream = io.StringIO()
    with Waiting("reloading", stream, period_seconds=0.001):
        pass
    assert stream.getvalue() == ""


def test_nothing_is_shown_for_a_wait_without_a_name() -> None:
    terminal = Terminal()
    with Waiting("", terminal, period_seconds=0.001):
        pass
    assert terminal.getvalue() == ""


def test_the_line_is_cleared_after_a_failure() -> None:
    terminal = Terminal()
    with pytest.raises(KeyError), Waiting("reloading", terminal, period_seconds=60):
        raise KeyError
    assert terminal.getvalue() == "\r\x1b[K"


def test_it_says_in_detail_what_is_waited_for() -> None:
    terminal = Terminal("reloading, 0 of 1 worker ready: 0 s")
    with Waiting("reloading", terminal, 0.001, lambda: "0 of 1 worker ready"):
        assert terminal.written.wait(10)

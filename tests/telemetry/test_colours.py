from __future__ import annotations

import datetime
import io
import json
import os
import pty
import re
import subprocess
import sys
from typing import Any

import pytest

from ccproxyd.telemetry.logs import Logger, in_detail, logger_for

WHEN = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
FACTS: dict[str, Any] = {"label": "think", "duration_ms": 12.5, "fallback": None}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _colours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")


def told(level: str, event: str, /, **facts: Any) -> str:
    terminal = Terminal()
    in_detail(Logger(terminal, machine=False, clock=lambda: WHEN))(level, event, **facts)
    return terminal.getvalue()


def bare(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_a_terminal_is_told_in_colours() -> None:
    text = told("warning", "ccproxy_failure", **FACTS)
    assert "\x1b[" in text
    assert bare(text) == (
        "03:04:05 warning ccproxy_failure\n         label=think  duration_ms=12.5\n"
    )


def test_why_stands_beside_what() -> None:
    assert bare(told("error", "cannot bind", because="in use")) == (
        "03:04:05 error   cannot bind: in use\n"
    )


def test_many_facts_are_as_wide_as_the_terminal() -> None:
    text = bare(told("info", "x", **{f"name_{number}": "value" for number in range(20)}))
    assert max(map(len, text.splitlines())) <= 60
    assert all(line.startswith(" " * 9) for line in text.splitlines()[1:])


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_who_wants_no_colours_gets_none(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    text = told("warning", "ccproxy_failure", **FACTS)
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", text)
    assert "ccproxy_failure" in text


def test_a_terminal_is_not_commanded() -> None:
    text = told("info", "a\x1b[2Jb", **{"line\n": "\x1b]0;title\x07[red]x[/red] :smile:"})
    assert "\x1b[2J" not in text
    assert "\x1b]" not in text
    assert "[red]x[/red] :smile:" in bare(text)


def test_machines_are_told_the_same_as_json() -> None:
    stream = io.StringIO()
    in_detail(Logger(stream, machine=True, clock=lambda: WHEN))("debug", "x", **FACTS)
    assert json.loads(stream.getvalue())["label"] == "think"


def test_without_debug_a_terminal_has_its_one_line() -> None:
    terminal = Terminal()
    logger_for(terminal)("info", "x", **FACTS)
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d info    x  label=think  duration_ms=12.5\n", terminal.getvalue()
    )


SCRIPT = """
import sys
from ccproxyd.daemon.main import logger_for
logger_for(sys.stderr, debug=sys.argv[1] == "debug")("info", "x", label="think")
sys.exit("rich" in sys.modules)
"""


@pytest.mark.parametrize(
    ("word", "terminal", "is_imported"),
    [("debug", True, True), ("info", True, False), ("debug", False, False)],
)
def test_rich_is_imported_for_a_terminal_and_debug_alone(
    word: str, terminal: bool, is_imported: bool
) -> None:
    ours, theirs = pty.openpty() if terminal else os.pipe()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, word],
        stderr=theirs,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    os.close(theirs)
    said = os.read(ours, 4096).decode()
    os.close(ours)
    assert ("\x1b[" in said) == is_imported
    assert bool(done.returncode) == is_imported
    assert said.startswith("{") == (not terminal)

"""An environment with nobody's files in it, and a place for sockets."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.control.fakes import short_directory

KEPT = ("PATH", "LANG", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTEST_CURRENT_TEST")


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with short_directory() as directory:
        for name in set(os.environ) - set(KEPT):
            if not name.startswith("COV"):
                monkeypatch.delenv(name)
        monkeypatch.setenv("HOME", str(directory))
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))
        monkeypatch.setenv("CCPROXYD_SOCKET", str(directory / "control.sock"))
        yield directory


@pytest.fixture
def path(home: Path) -> Path:
    return home / "control.sock"


@pytest.fixture
def terminal(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """stdout and stderr look like a terminal; what is written to them is still captured.

    The class is changed, since pytest makes new streams for the test itself.
    """
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True, raising=False)

"""An environment with nobody's files in it, and a place for sockets."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ccproxyd.ctl.machine import Machine
from ccproxyd.ctl.service import find
from tests.control.fakes import short_directory
from tests.ctl.service.fakes import USER_UNIT, FakePrograms, fake_systemd, machine_at, write

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


@pytest.fixture
def machine(home: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Nothing of the real one is reached: no unit, no program, no directory."""
    found = machine_at(home, user_id=501)
    monkeypatch.delenv("CCPROXYD_SOCKET")
    for name, value in found.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(find, "this_machine", lambda: found)
    return found


@pytest.fixture
def systemd(machine: Machine) -> FakePrograms:
    """A user's service that is installed, and down."""
    write(machine.home / USER_UNIT)
    return fake_systemd(machine.root)


@pytest.fixture
def service_socket(machine: Machine) -> Path:
    """Where the daemon of the user's service listens."""
    directory = machine.root / "run" / "ccproxyd"
    directory.mkdir(parents=True)
    return directory / "control.sock"

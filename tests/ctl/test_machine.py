import os
import pwd
from pathlib import Path

import pytest
from attrs import evolve

from ccproxyd.ctl import machine as module
from ccproxyd.ctl.machine import Machine, this_machine
from ccproxyd.ctl.parser import parse


def test_this_machine_is_looked_up_once(home: Path) -> None:
    found = this_machine()
    assert (found.home, found.user_id, found.root) == (home, os.getuid(), Path("/"))
    assert found.user == pwd.getpwuid(os.getuid()).pw_name


def test_a_user_whom_nobody_knows_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr(module.pwd, "getpwuid", unknown)
    assert this_machine().user == str(os.getuid())


def test_a_path_of_the_system_is_below_the_root(machine: Machine) -> None:
    assert machine.at("/etc/ccproxyd") == machine.root / "etc" / "ccproxyd"


def test_the_runtime_directory_is_known_to_who_was_not_told(machine: Machine) -> None:
    assert machine.user_runtime == machine.root / "run"
    assert evolve(machine, environ={}).user_runtime == machine.root / "run/user/501"


def test_directories_are_those_of_who_asks(machine: Machine) -> None:
    found = machine.directories(parse(["status"]))
    assert found.config == machine.home / ".ccproxy"
    assert machine.directories(parse(["status", "--config-dir", "/x"])).config == Path("/x")
    apple = evolve(machine, macos=True).directories(parse(["status"]))
    assert apple.logs == machine.home / "Library/Logs/ccproxyd"

"""The machine of these tests: what it is, and that nothing of it stays."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from tests.os import machine
from tests.os.machine import USER, CannotBootError, booted_machine


def test_a_machine_is_up_when_it_is_given_and_gone_afterwards(tmp_path: Path) -> None:
    network = Path("/proc/thread-self/ns/net").readlink()
    (tmp_path / "file").write_text("the host's")
    try:
        with booted_machine({Path("/opt/files"): tmp_path}) as booted:
            assert booted.root.output("systemctl", "is-system-running") == "running"
            assert booted.user.output("systemctl", "--user", "is-system-running") == "running"
            assert booted.user.output("id", "-un") == USER
            assert Path("/proc/thread-self/ns/net").readlink() != network
            assert booted.path("/opt/files/file").read_text() == "the host's"
            assert booted.root.run("touch", "/usr/x", "/opt/files/x", check=False).returncode == 1
            inside = psutil.Process(booted.init)
            family = [inside, *inside.children(recursive=True)]
    except CannotBootError as error:
        pytest.skip(f"cannot boot a machine with a systemd of its own: {error}")
    assert not [one for one in family if one.is_running()]
    assert Path("/proc/thread-self/ns/net").readlink() == network
    assert not list(Path("/sys/fs/cgroup").glob(f"**/ccproxyd-tests-{os.getpid()}"))


def test_who_is_not_root_is_told_that_it_takes_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(CannotBootError, match="only root"), booted_machine({}):
        pass


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(machine, "_PATH", str(tmp_path))
    with pytest.raises(CannotBootError, match=r"not installed: .*systemctl"), booted_machine({}):
        pass

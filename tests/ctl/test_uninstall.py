import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from ccproxyd.control.client import FailedError, NotPermittedError
from ccproxyd.ctl import install as installing
from ccproxyd.ctl.install import install
from ccproxyd.ctl.machine import Machine
from ccproxyd.ctl.parser import parse
from ccproxyd.ctl.setup.executables import Executables
from ccproxyd.ctl.uninstall import uninstall
from tests.control.fakes import FakeOperations, running_in_thread
from tests.ctl.service.fakes import (
    AGENT,
    DOWN,
    SOCKET_DOWN,
    SOCKET_UP,
    UP,
    USER_UNIT,
    FakePrograms,
    fake_launchd,
    fake_systemd,
    write,
)

Uninstall = Callable[..., int]
SCRIPTS = Executables(("/opt/bin/ccproxyd",), ("/opt/bin/ccproxyctl",))


@pytest.fixture
def owned(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(installing, "find_executables", lambda: SCRIPTS)
    monkeypatch.setattr(installing, "hidden_from_system", lambda _: None)
    return evolve(machine, user_id=os.getuid())


@pytest.fixture
def programs(owned: Machine, capsys: pytest.CaptureFixture[str]) -> FakePrograms:
    """A user's service is installed, enabled, and runs."""
    programs = fake_systemd(owned.root, DOWN + SOCKET_DOWN)
    install(parse(["install"]), owned)
    capsys.readouterr()
    programs.says(UP + SOCKET_UP)
    programs.becomes(DOWN + SOCKET_DOWN, "disable")
    return programs


@pytest.fixture
def run(owned: Machine) -> Uninstall:
    def run(*words: str, **changes: object) -> int:
        return uninstall(parse(["uninstall", *words]), evolve(owned, **changes))

    return run


def files(machine: Machine) -> list[str]:
    return sorted(
        path.relative_to(machine.home).as_posix()
        for path in machine.home.rglob("*")
        if path.is_file()
    )


def test_what_was_installed_is_taken_away(
    run: Uninstall, owned: Machine, programs: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    before = len(programs.calls())
    assert run() == 0
    assert files(owned) == []
    assert not (owned.home / ".ccproxy").exists()
    assert [line.split(" --no-pager ")[1] for line in programs.calls()[before:]] == [
        "disable ccproxyd.socket ccproxyd.service --now --quiet",
        "daemon-reload",
        "reset-failed ccproxyd.service ccproxyd.socket",
    ]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "  disabled  ccproxyd.service, and stopped it"
    assert all(line.startswith("  removed   ") for line in lines[1:])


def test_a_second_time_there_is_nothing_to_remove(
    run: Uninstall, programs: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    before = programs.calls()
    capsys.readouterr()
    assert run() == 0
    assert programs.calls() == before
    assert capsys.readouterr().out == "there is nothing to remove\n"


def test_what_somebody_has_written_stays_and_is_named(
    run: Uninstall, owned: Machine, programs: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    config, state = owned.home / ".ccproxy", owned.home / ".local/state/ccproxyd"
    write(config / "config.yaml", "model_list: []\n")
    write(config / "env", "KEY=secret\n")
    write(config / "my_rules.py")
    write(state / "key", "sk-1\n")
    assert run() == 0
    assert files(owned) == [
        ".ccproxy/config.yaml",
        ".ccproxy/env",
        ".ccproxy/my_rules.py",
        ".local/state/ccproxyd/key",
    ]
    said = capsys.readouterr().out
    assert f"  left      {config}/config.yaml (edited)\n" in said
    assert f"  left      {config}/env (keys)\n" in said
    assert f"  left      {state} (the clients' key, statistics and logs; --purge removes" in said


def test_a_purge_leaves_only_what_is_not_ours(
    run: Uninstall, owned: Machine, programs: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    config = owned.home / ".ccproxy"
    write(config / "config.yaml", "model_list: []\n")
    write(config / "env", "KEY=secret\n")
    write(config / "my_rules.py")
    write(owned.home / ".local/state/ccproxyd/log/ccproxyd.log")
    assert run("--purge") == 0
    assert files(owned) == [".ccproxy/my_rules.py"]
    assert f"  left      {config} (what else is in it is not ccproxyd's)\n" in (
        capsys.readouterr().out
    )


def test_a_state_that_is_only_linked_to_is_not_followed(
    run: Uninstall, owned: Machine, programs: FakePrograms
) -> None:
    precious = write(owned.root / "elsewhere" / "file")
    state = owned.home / ".local" / "state"
    state.mkdir(parents=True)
    (state / "ccproxyd").symlink_to(precious.parent)
    assert run("--purge") == 0
    assert precious.exists()


def test_an_edited_unit_is_taken_out_of_use_and_kept(
    run: Uninstall, owned: Machine, programs: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    unit = owned.home / USER_UNIT
    unit.write_text(unit.read_text() + "# mine\n")
    write(unit.with_name("ccproxyd.service.d") / "more.conf")
    assert run() == 0
    assert not unit.exists()
    [backup] = unit.parent.glob("ccproxyd.service.bak-*")
    assert backup.read_text().endswith("# mine\n")
    said = capsys.readouterr().out
    assert f"  removed   {unit} (the edited one is {backup})\n" in said
    assert f"  left      {unit}.d (additions of your own)\n" in said


def test_a_unit_that_somebody_else_has_written_is_left_running(
    run: Uninstall, owned: Machine, programs: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    unit = write(owned.home / USER_UNIT, "[Service]\nExecStart=/x\n")
    before = len(programs.calls())
    assert run() == 0
    assert unit.exists()
    assert not any(" disable " in line for line in programs.calls()[before:])
    assert f"note: {unit} was not written by ccproxyctl install" in capsys.readouterr().out


def test_a_packages_unit_is_disabled_and_left_to_its_package(
    run: Uninstall, owned: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    programs = fake_systemd(owned.root, UP + SOCKET_UP)
    programs.becomes(DOWN + SOCKET_DOWN, "disable")
    unit = write(owned.root / "usr/lib/systemd/user/ccproxyd.service")
    assert run() == 0
    assert unit.exists()
    assert " disable " in programs.calls()[0]
    assert f"note: {unit} belongs to a package" in capsys.readouterr().out


def test_nothing_is_taken_from_a_daemon_that_runs(
    run: Uninstall, owned: Machine, programs: FakePrograms, service_socket: Path
) -> None:
    with (
        running_in_thread(service_socket, FakeOperations()),
        pytest.raises(FailedError, match=r"still runs \(pid 4711\); first: ccproxyctl stop"),
    ):
        run("--purge")
    assert (owned.home / USER_UNIT).exists()


def test_a_service_that_cannot_be_stopped_keeps_its_files(
    run: Uninstall, owned: Machine, programs: FakePrograms
) -> None:
    programs.fails("disable", "Failed to connect to bus: No medium found\n")
    with pytest.raises(FailedError, match="cannot disable"):
        run()
    assert (owned.home / USER_UNIT).exists()


def test_without_systemd_the_config_is_taken_away_all_the_same(
    run: Uninstall, owned: Machine
) -> None:
    install(parse(["install"]), owned)
    assert run() == 0
    assert files(owned) == []


def test_json_tells_all_of_it(
    run: Uninstall, programs: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    run("--json")
    told = json.loads(capsys.readouterr().out)
    assert told["changed"] is True
    assert {file["fate"] for file in told["files"]} == {"removed"}


# For the system


def test_the_systems_service_goes_with_what_it_needed_and_its_user_stays(
    run: Uninstall, owned: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    programs = fake_systemd(owned.root, DOWN + SOCKET_DOWN)
    install(parse(["install", "--system"]), evolve(owned, user_id=0))
    write(owned.root / "var/lib/ccproxyd/key")
    programs.says(UP + SOCKET_UP)
    programs.becomes(DOWN + SOCKET_DOWN, "disable")
    assert run("--system", "--purge", user_id=0) == 0
    left = [path for place in ("etc", "var") for path in (owned.root / place).rglob("*")]
    assert [path for path in left if path.is_file()] == []
    assert not (owned.root / "etc/ccproxyd").exists()
    assert not (owned.root / "var/lib/ccproxyd").exists()
    assert "note: the user ccproxyd stays" in capsys.readouterr().out


def test_only_root_uninstalls_for_the_system(run: Uninstall) -> None:
    with pytest.raises(NotPermittedError, match="sudo ccproxyctl uninstall --system"):
        run("--system", user_id=501)


# On macOS


def test_an_agent_is_unloaded_and_removed(
    run: Uninstall, owned: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_launchd(owned.root)
    install(parse(["install"]), evolve(owned, macos=True))
    write(owned.home / "Library/Application Support/ccproxyd/key")
    assert run(macos=True) == 0
    assert not (owned.home / AGENT).exists()
    said = capsys.readouterr().out
    assert "Library/Application Support/ccproxyd (the clients' key" in said
    assert run("--purge", macos=True) == 0
    assert files(owned) == []


def test_an_agent_that_somebody_else_has_written_is_left(run: Uninstall, owned: Machine) -> None:
    programs = fake_launchd(owned.root)
    agent = write(owned.home / AGENT, "<plist/>")
    assert run(macos=True) == 0
    assert agent.exists()
    assert programs.calls() == []

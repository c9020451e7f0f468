import json
import os
import plistlib
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from ccproxyd.control.client import FailedError, NotPermittedError
from ccproxyd.ctl import install as module
from ccproxyd.ctl.install import install
from ccproxyd.ctl.machine import Machine
from ccproxyd.ctl.parser import parse
from ccproxyd.ctl.setup.executables import Executables
from ccproxyd.ctl.setup.site import UsageError
from tests.control.fakes import STATUS, FakeOperations, running_in_thread
from tests.ctl.service.fakes import (
    AGENT,
    AGENT_UP,
    DOWN,
    JOB_FAILED,
    SOCKET_DOWN,
    SOCKET_UP,
    UP,
    USER_UNIT,
    FakePrograms,
    fake_launchd,
    fake_systemd,
    write,
)

Install = Callable[..., int]
SCRIPTS = Executables(("/opt/bin/ccproxyd",), ("/opt/bin/ccproxyctl",))
READY = STATUS
FILES = ["ccproxy.yaml", "config.yaml", "custom_rules.py", "env"]


@pytest.fixture
def run(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Install:
    """install with some words, for a user to whom the home belongs, or as root."""
    monkeypatch.setattr(module, "find_executables", lambda: SCRIPTS)
    monkeypatch.setattr(module, "hidden_from_system", lambda _: None)

    def run(*words: str, **changes: object) -> int:
        owned = evolve(machine, user_id=os.getuid())
        return install(parse(["install", *words]), evolve(owned, **changes))

    return run


@pytest.fixture
def programs(machine: Machine) -> FakePrograms:
    """systemd, and no service yet."""
    return fake_systemd(machine.root, "")


def unit(machine: Machine, name: str = "ccproxyd.service") -> Path:
    return (machine.home / USER_UNIT).with_name(name)


# For a user


def test_a_first_install_writes_the_config_and_the_service(
    run: Install, machine: Machine, programs: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    programs.says(DOWN + SOCKET_DOWN)
    assert run() == 0
    config = machine.home / ".ccproxy"
    assert sorted(file.name for file in config.iterdir()) == FILES
    assert "\nExecStart=/opt/bin/ccproxyd\n" in unit(machine).read_text()
    assert "\nListenStream=127.0.0.1:4000\n" in unit(machine, "ccproxyd.socket").read_text()
    assert programs.calls() == ["systemctl --user --no-pager daemon-reload"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"  wrote     {config}/ccproxy.yaml"
    assert lines[6] == "Next:"
    assert [line.split("  ")[1] for line in lines[7:]] == [
        f"edit {config}/env",
        "systemctl --user enable --now ccproxyd",
        "loginctl enable-linger",
        'eval "$(ccproxyctl env)"',
    ]


def test_a_second_install_changes_nothing_and_says_so(
    run: Install, programs: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    before = programs.calls()
    capsys.readouterr()
    assert run() == 0
    assert programs.calls() == before
    assert capsys.readouterr().out.startswith("nothing has changed\nNext:\n")


def test_what_was_edited_is_kept_or_by_force_replaced(
    run: Install, machine: Machine, programs: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    with unit(machine).open("a") as file:
        file.write("# mine\n")
    capsys.readouterr()
    assert run() == 0
    assert f"  kept      {unit(machine)} (edited; --force " in capsys.readouterr().out
    assert run("--force") == 0
    assert f"  replaced  {unit(machine)} (the edited one is " in capsys.readouterr().out
    assert "# mine" not in unit(machine).read_text()


def test_the_port_follows_the_config(
    run: Install, machine: Machine, programs: FakePrograms
) -> None:
    write(machine.home / ".ccproxy" / "ccproxy.yaml", "ccproxy: {port: 4001}\n")
    run()
    assert "\nListenStream=127.0.0.1:4001\n" in unit(machine, "ccproxyd.socket").read_text()


def test_a_service_is_told_of_another_config(
    run: Install, machine: Machine, programs: FakePrograms
) -> None:
    config = machine.home / "my config"
    assert run("--config-dir", str(config)) == 0
    assert f'Environment="CCPROXY_CONFIG_DIR={config}"\n' in unit(machine).read_text()
    assert run() == 0  # and keeps it
    assert f'Environment="CCPROXY_CONFIG_DIR={config}"\n' in unit(machine).read_text()
    assert not (machine.home / ".ccproxy").exists()


def test_a_packages_service_is_used_as_it_is(
    run: Install, machine: Machine, programs: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    packaged = machine.root / "usr/lib/systemd/user/ccproxyd.service"
    write(packaged, "[Service]\nExecStart=/opt/bin/ccproxyd\n")
    assert run() == 0
    assert not unit(machine).exists()
    assert f"note: {packaged} of a package runs the same command" in capsys.readouterr().out


def test_a_config_that_is_wrong_makes_no_service(
    run: Install, machine: Machine, programs: FakePrograms
) -> None:
    write(machine.home / ".ccproxy" / "ccproxy.yaml", "ccproxy: {port: x}\n")
    with pytest.raises(Exception, match=r"ccproxy\.port: must be a whole number"):
        run()
    assert not unit(machine).exists()


def test_a_user_who_is_not_logged_in_gets_the_files(
    run: Install, machine: Machine, programs: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in ("daemon-reload", "show"):
        programs.fails(verb, "Failed to connect to bus: No medium found\n")
    assert run() == 0
    assert unit(machine).exists()
    assert "note: cannot reload the units: systemctl --user says: " in capsys.readouterr().out
    with pytest.raises(FailedError, match="Failed to connect to bus"):
        run("--enable")


def test_json_tells_all_of_it(
    run: Install, programs: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    run("--json")
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["changed"]) == (True, True)
    assert {Path(file["path"]).name: file["fate"] for file in told["files"]} == dict.fromkeys(
        [*FILES, "ccproxyd.service", "ccproxyd.socket"], "wrote"
    )
    assert 'eval "$(ccproxyctl env)"' in told["next"]
    run("--json")
    assert json.loads(capsys.readouterr().out)["changed"] is False


# Running it


def test_enable_starts_it_and_waits_until_it_serves(
    run: Install,
    programs: FakePrograms,
    service_socket: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    programs.says(DOWN.replace("inactive", "activating") + SOCKET_UP)
    with running_in_thread(service_socket, FakeOperations()):
        assert run("--enable") == 0
    assert [line.split(" --no-pager ")[1] for line in programs.calls()] == [
        "daemon-reload",
        "enable ccproxyd.socket ccproxyd.service --quiet",
        "reset-failed ccproxyd.service ccproxyd.socket",
        "start ccproxyd.service",
    ]
    said = capsys.readouterr().out
    assert "  enabled   ccproxyd.service\n" in said
    assert "  started   ccproxyd.service, ready on 127.0.0.1:4000\n" in said
    assert "enable --now" not in said


def test_what_is_enabled_and_runs_is_left_alone(
    run: Install, programs: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    programs.says(UP + SOCKET_UP)
    before = programs.calls()
    capsys.readouterr()
    assert run("--enable") == 0
    assert programs.calls() == before
    assert capsys.readouterr().out.startswith("nothing has changed\n")


def test_a_start_that_fails_is_a_failure(run: Install, programs: FakePrograms) -> None:
    programs.says(DOWN + SOCKET_DOWN)
    programs.fails("start", JOB_FAILED)
    programs.says(
        json.dumps({"SYSLOG_IDENTIFIER": "ccproxyd", "MESSAGE": "ccproxyd: no"}), "journalctl"
    )
    with pytest.raises(FailedError, match=r"cannot start ccproxyd\.service: no; see"):
        run("--enable")


def test_a_daemon_that_was_started_by_hand_is_in_the_way(
    run: Install, programs: FakePrograms, service_socket: Path
) -> None:
    programs.says(DOWN + SOCKET_DOWN)
    with (
        running_in_thread(service_socket, FakeOperations()),
        pytest.raises(FailedError, match=r"runs already \(pid 4711\).*first: ccproxyctl stop"),
    ):
        run("--enable")


def test_lingering_is_enabled_once(
    run: Install, machine: Machine, programs: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    programs.says(DOWN + SOCKET_DOWN)
    assert run("--linger") == 0
    assert programs.calls()[-1] == "loginctl enable-linger alice"
    said = capsys.readouterr().out
    assert "  lingering is enabled for alice\n" in said
    assert "loginctl enable-linger  " not in said
    write(machine.root / "var/lib/systemd/linger/alice")
    before = programs.calls()
    assert run("--linger") == 0
    assert programs.calls() == before


@pytest.mark.parametrize(
    ("change", "step"),
    [
        ("ccproxyd.service", "ccproxyctl restart"),
        ("ccproxyd.socket", "ccproxyctl stop && ccproxyctl start"),
        ("custom_rules.py", "ccproxyctl reload"),
    ],
)
def test_a_service_that_runs_is_not_restarted_but_its_user_is_told(
    run: Install,
    machine: Machine,
    programs: FakePrograms,
    change: str,
    step: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run()
    programs.says(UP + SOCKET_UP)
    in_config = machine.home / ".ccproxy" / change
    (in_config if in_config.exists() else unit(machine, change)).unlink()
    before = programs.calls()
    capsys.readouterr()
    assert run() == 0
    assert all("daemon-reload" in line for line in programs.calls()[len(before) :])
    assert f"\n  {step}  " in capsys.readouterr().out


def test_an_enabled_service_that_is_down_is_only_to_be_started(
    run: Install, programs: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    programs.says(DOWN.replace("disabled", "enabled") + SOCKET_DOWN)
    assert run() == 0
    assert "\n  ccproxyctl start  " in capsys.readouterr().out


# Without systemd


def test_without_systemd_there_is_the_config_and_a_way_to_run_it(
    run: Install, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    assert not unit(machine).exists()
    said = capsys.readouterr().out
    assert "note: systemd does not run here, so there is no service\n" in said
    assert "\n  ccproxyctl start --detach  " in said


@pytest.mark.parametrize("option", ["--enable", "--linger", "--system"])
def test_without_systemd_nothing_can_be_enabled(
    run: Install, machine: Machine, option: str
) -> None:
    way = "ccproxyctl install, then ccproxyctl start --detach"
    with pytest.raises(FailedError, match=f"systemd does not run here; without it: {way}"):
        run(option, user_id=0 if option == "--system" else os.getuid())
    assert not (machine.home / ".ccproxy").exists()
    assert not (machine.root / "etc").exists()


# For the system


def test_the_system_gets_a_user_a_config_and_a_service(
    run: Install, machine: Machine, programs: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    programs.says(DOWN + SOCKET_DOWN)
    assert run("--system", user_id=0) == 0
    etc = machine.root / "etc"
    assert (etc / "systemd/system/ccproxyd.service").exists()
    assert sorted(file.name for file in (etc / "ccproxyd").iterdir()) == FILES
    assert programs.calls() == [
        f"systemd-sysusers {etc}/sysusers.d/ccproxyd.conf",
        f"systemd-tmpfiles --create {etc}/tmpfiles.d/ccproxyd.conf",
        "systemctl --no-ask-password --no-pager daemon-reload",
    ]
    said = capsys.readouterr().out
    assert "  systemctl enable --now ccproxyd  " in said
    assert "linger" not in said
    assert 'eval "$(sudo ccproxyctl env)"' in said


def test_a_system_that_cannot_be_prepared_gets_no_service(
    run: Install, machine: Machine, programs: FakePrograms
) -> None:
    write(machine.root / "bin" / "systemd-sysusers", "#!/bin/sh\necho no room >&2\nexit 1\n")
    with pytest.raises(FailedError, match="cannot prepare the system's service: no room"):
        run("--system", user_id=0)
    assert not (machine.root / "etc/systemd").exists()


def test_an_installation_that_the_system_would_not_see_is_refused(
    run: Install, machine: Machine, programs: FakePrograms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "hidden_from_system", lambda _: Path("/home/a/ccproxyd"))
    with pytest.raises(FailedError, match="/home/a/ccproxyd is not seen by the system's service"):
        run("--system", user_id=0)
    assert not (machine.root / "etc").exists()


def test_only_root_installs_for_the_system(run: Install) -> None:
    with pytest.raises(NotPermittedError, match="only root may; try: sudo ccproxyctl install"):
        run("--system", user_id=501)


def test_the_systems_service_needs_no_login(run: Install) -> None:
    with pytest.raises(UsageError, match="--linger is for a user's service"):
        run("--system", "--linger", user_id=0)


# On macOS


def test_macos_gets_an_agent_that_starts_with_the_next_login(
    run: Install, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    programs = fake_launchd(machine.root)
    assert run(macos=True) == 0
    agent = plistlib.loads((machine.home / AGENT).read_bytes())
    assert agent["ProgramArguments"][0] == "/opt/bin/ccproxyd"
    assert (machine.home / "Library/Logs/ccproxyd").is_dir()
    assert programs.calls() == [f"launchctl print-disabled gui/{os.getuid()}"]
    said = capsys.readouterr().out
    assert "  ccproxyctl start  " in said
    assert "systemctl" not in said + str(programs.calls())


def test_macos_starts_it_when_it_is_enabled(
    run: Install,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    programs = fake_launchd(machine.root)
    programs.becomes(AGENT_UP, "kickstart")
    monkeypatch.setattr(module, "start_service", lambda manager: manager.start() or READY)
    assert run("--enable", macos=True) == 0
    target = f"gui/{os.getuid()}/org.ccproxyd.ccproxyd"
    assert programs.calls()[-2:] == [
        f"launchctl bootstrap gui/{os.getuid()} {machine.home / AGENT}",
        f"launchctl kickstart {target}",
    ]
    assert "  started   org.ccproxyd.ccproxyd, ready on 127.0.0.1:4000\n" in (
        capsys.readouterr().out
    )


def test_a_daemon_that_waits_for_a_better_config_is_a_failure(
    run: Install,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake_launchd(machine.root)
    waiting = evolve(READY, state="degraded", warnings=("nothing is served",))
    monkeypatch.setattr(module, "start_service", lambda _: waiting)
    assert run("--enable", macos=True) == 1
    assert "note: nothing is served\n" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--system", "--linger"])
def test_what_macos_does_not_have_is_refused(run: Install, machine: Machine, option: str) -> None:
    with pytest.raises(UsageError, match=f"^{option} is not supported here: .*; leave it out$"):
        run(option, macos=True)
    assert list(machine.home.iterdir()) == []

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ccproxyd.control.client import Client
from ccproxyd.control.status import Listen, Status
from ccproxyd.ctl import detach, main, serving, start
from ccproxyd.ctl.parser import parse
from tests.control.fakes import STATUS, FakeOperations, running_in_thread, short_directory
from tests.ctl.service.fakes import (
    DOWN,
    JOB_FAILED,
    SOCKET_DOWN,
    UP,
    FakePrograms,
)

STARTING = DOWN.replace("inactive", "activating") + SOCKET_DOWN


@pytest.fixture
def path() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory / "control.sock"


def test_a_daemon_that_runs_is_left_alone(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running_in_thread(path, FakeOperations()):
        assert main(["--socket", str(path), "start"]) == 0
    assert "running already" in capsys.readouterr().err


@pytest.mark.parametrize("code", [0, 75, 78])
def test_the_exit_code_is_the_daemons(
    path: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        start, "_command", lambda: [sys.executable, "-c", f"raise SystemExit({code})"]
    )
    monkeypatch.setattr(start, "_options", lambda _: [])
    assert main(["--socket", str(path), "start"]) == code


def test_the_config_directory_is_handed_on(
    path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import sys; print(sys.argv[1:])"
    monkeypatch.setattr(start, "_command", lambda: [sys.executable, "-c", code])
    assert main(["--socket", str(path), "--config-dir", "/etc/x", "start"]) == 0
    assert capfd.readouterr().out == "['--config-dir', '/etc/x']\n"


def test_it_says_when_the_daemon_serves(
    path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in for the daemon ends when it has been seen to be ready."""
    gate = path.with_name("gate")
    os.mkfifo(gate)
    waits = [sys.executable, "-c", f"open({str(gate)!r}).read()"]
    monkeypatch.setattr(start, "_command", lambda: waits)
    monkeypatch.setattr(start, "_options", lambda _: [])
    answers: list[Status | None] = [None, Status(state="starting")]

    def status(_: Client) -> Status | None:
        if answers:
            return answers.pop(0)
        threading.Thread(target=gate.write_text, args=("",)).start()
        return Status(state="ready", pid=7, listen=Listen("127.0.0.1", 4000))

    monkeypatch.setattr(serving, "status_of", status)
    assert main(["--socket", str(path), "start"]) == 0
    assert capfd.readouterr().out == "ccproxyd is ready on 127.0.0.1:4000 (pid 7); ^C stops it\n"


# With a service


def test_a_service_is_started_by_its_manager(
    systemd: FakePrograms, service_socket: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is starting already, by its socket for example; that is joined."""
    systemd.says(STARTING)
    with running_in_thread(service_socket, FakeOperations()):
        assert main(["start"]) == 0
    assert systemd.calls()[-1].endswith(" start ccproxyd.service")
    assert capsys.readouterr().out == "ccproxyd is ready on 127.0.0.1:4000 (pid 4711)\n"


def test_with_a_service_nothing_needs_to_be_detached(
    systemd: FakePrograms, service_socket: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    systemd.says(STARTING)
    with running_in_thread(service_socket, FakeOperations()):
        assert main(["start", "--detach", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "ok": True,
        "state": "ready",
        "pid": 4711,
        "listen": "127.0.0.1:4000",
        "unit": "ccproxyd.service",
    }


def test_a_service_that_runs_is_left_alone(
    systemd: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    systemd.says(UP + SOCKET_DOWN)
    assert main(["start"]) == 0
    assert systemd.calls() == []
    assert capsys.readouterr().err == "ccproxyctl: ccproxyd is running already (pid 4711)\n"


def test_a_daemon_beside_its_service_is_left_alone_too(
    systemd: FakePrograms, service_socket: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_in_thread(service_socket, FakeOperations()):
        assert main(["start"]) == 0
    assert systemd.calls() == []
    assert "running already (pid 4711)" in capsys.readouterr().err


def test_a_service_that_does_not_start_says_why_in_the_daemons_words(
    systemd: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    systemd.fails("start", JOB_FAILED)
    said = {"SYSLOG_IDENTIFIER": "ccproxyd", "MESSAGE": "ccproxyd: ccproxy.yaml: port: is wrong"}
    systemd.says(json.dumps(said), "journalctl")
    assert main(["start"]) == 1
    assert capsys.readouterr().err == (
        "ccproxyctl: cannot start ccproxyd.service: ccproxy.yaml: port: is wrong; "
        "see: ccproxyctl logs\n"
    )


def test_a_service_that_tells_us_nothing_has_started_all_the_same(
    systemd: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    """The system's daemon answers root alone."""
    assert main(["start"]) == 0
    assert capsys.readouterr().out == "ccproxyd is started\n"


def test_what_runs_and_serves_nothing_is_a_failure(
    systemd: FakePrograms, service_socket: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As under launchd, where a daemon with a wrong config waits for a better one."""
    systemd.says(STARTING)
    waiting = {"state": "degraded", "pid": 7, "warnings": ["nothing is served: x is wrong"]}
    with running_in_thread(service_socket, FakeOperations(status=waiting)):
        assert main(["start"]) == 1
        assert main(["start", "--json"]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("ccproxyd is degraded (pid 7)\n")
    assert json.loads(captured.out.partition("\n")[2])["ok"] is False
    assert "ccproxyctl: nothing is served: x is wrong\n" in captured.err


# Detached


def test_a_detached_daemon_tells_where_its_log_is_to_be_seen(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = []

    def detached(_: object, command: list[str], __: object) -> Status:
        commands.append(command)
        return STATUS

    monkeypatch.setattr(detach, "start_detached", detached)
    words = ["--socket", str(path), "--config-dir", "/etc/x", "start", "--detach"]
    assert main(words) == 0
    assert commands == [
        [sys.executable, "-P", "-m", "ccproxyd", "--config-dir", "/etc/x"],
    ]
    said = capsys.readouterr().out
    assert said == "ccproxyd is ready on 127.0.0.1:4000 (pid 4711); see: ccproxyctl logs\n"


# In the background, for a command that needs it


def test_in_the_background_a_service_goes_before_a_daemon_of_ones_own(
    systemd: FakePrograms, service_socket: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    systemd.says(STARTING)
    with running_in_thread(service_socket, FakeOperations()):
        assert start.start_in_background(parse(["run", "x"])).pid == 4711
    assert systemd.calls()[-1].endswith(" start ccproxyd.service")
    assert capsys.readouterr().out == ""


def test_in_the_background_without_a_service_it_is_detached(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detach, "start_detached", lambda *_: STATUS)
    assert start.start_in_background(parse(["--socket", str(path), "run", "x"])) == STATUS

import json
import os
from pathlib import Path
from typing import Any

import attrs
import pytest

from ccproxyd.control.client import Client, FailedError, NotRunningError
from ccproxyd.control.messages import Fault, Gateway, ReloadResult, RestartResult, Status
from ccproxyd.ctl import lifecycle, main
from ccproxyd.ctl.lifecycle import STOP_LIMIT_SECONDS, wait_until_gone
from ccproxyd.ctl.machine import Machine
from ccproxyd.errors import ConfigError
from tests.control.fakes import STATUS, FakeOperations, running_in_thread
from tests.ctl.service.fakes import (
    DOWN,
    FAILED,
    JOB_FAILED,
    SOCKET_DOWN,
    SOCKET_UP,
    UP,
    FakePrograms,
    fake_systemd,
    write,
)

FAULT = Fault("ccproxy.yaml: ccproxy.rules[2].params", "threshold must be a number")
SAID = f"ccproxyctl: cannot reload: {FAULT}; the old config goes on\n"


# reload


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (ReloadResult(True, 1, "rules", 0.0123), "reloaded rules in 0.01 s (generation 1)\n"),
        (ReloadResult(True, 2, "workers", 0.42), "reloaded workers in 0.42 s (generation 2)\n"),
        (ReloadResult(True, 2, "nothing"), "nothing has changed (generation 2)\n"),
    ],
)
def test_a_reload_says_what_changed(
    path: Path, result: ReloadResult, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_in_thread(path, FakeOperations(reload=result.to_json())):
        assert main(["reload"]) == 0
    assert capsys.readouterr().out == said


@pytest.mark.parametrize(
    "answer",
    [
        ReloadResult(False, 1, error=FAULT).to_json(),
        ReloadResult(True, 1, error=FAULT).to_json(),
        ConfigError(FAULT.path, FAULT.reason),
    ],
    ids=["an answer", "a contradictory answer", "an error"],
)
def test_a_failed_reload_names_the_field_and_that_the_old_config_goes_on(
    path: Path, answer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_in_thread(path, FakeOperations(reload=answer)):
        assert main(["reload"]) == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", SAID)


def test_a_failed_reload_without_a_reason_points_to_the_log(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_in_thread(path, FakeOperations(reload={})):
        assert main(["reload"]) == 1
    assert "cannot reload: its log says why (ccproxyctl logs)" in capsys.readouterr().err


def test_a_reload_in_json_has_the_exit_code_of_its_result(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = ReloadResult(False, 1, error=FAULT).to_json()
    with running_in_thread(path, FakeOperations(reload=failed)):
        assert main(["reload", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == failed
    with running_in_thread(path, FakeOperations()):
        assert main(["reload", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["changed"] == "rules"


# restart


@pytest.mark.parametrize(
    ("words", "what", "name"),
    [
        ([], "all", "gateway and workers"),
        (["--workers"], "workers", "the workers"),
        (["gateway"], "gateway", "the gateway"),
    ],
)
def test_a_restart_says_what_was_replaced(
    path: Path, words: list[str], what: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    operations = FakeOperations()
    with running_in_thread(path, operations):
        assert main(["restart", *words]) == 0
    assert operations.calls == [("restart", what)]
    assert capsys.readouterr().out == f"restarted {name} in 0.40 s (generation 3)\n"


@pytest.mark.parametrize(
    ("error", "said"), [(FAULT, str(FAULT)), (None, "its log says why (ccproxyctl logs)")]
)
def test_a_failed_restart_exits_1_with_its_reason(
    path: Path, error: Fault | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = RestartResult(False, "all", error=error).to_json()
    with running_in_thread(path, FakeOperations(restart=failed)):
        assert main(["restart"]) == 1
    expected = f"ccproxyctl: cannot restart gateway and workers: {said}\n"
    assert capsys.readouterr().err == expected


def test_a_restart_in_json(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running_in_thread(path, FakeOperations()):
        assert main(["restart", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["what"] == "all"


# stop


@pytest.fixture
def gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "wait_until_gone", lambda _client, pid: f"{pid} is gone")


@pytest.mark.usefixtures("gone")
def test_stop_waits_until_the_daemon_is_gone(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_in_thread(path, FakeOperations()):
        assert main(["stop"]) == 0
    assert capsys.readouterr().out == "4711 is gone\n"


@pytest.mark.usefixtures("gone")
def test_stop_in_json(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running_in_thread(path, FakeOperations()):
        assert main(["stop", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "pid": 4711}


def test_stop_does_not_wait_when_told_so(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running_in_thread(path, FakeOperations()):
        assert main(["stop", "--no-wait"]) == 0
    assert capsys.readouterr().out == "ccproxyd is stopping\n"


def test_a_stop_that_is_refused_exits_1(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running_in_thread(path, FakeOperations(stop={"ok": False})):
        assert main(["stop"]) == 1
    assert "cannot stop ccproxyd" in capsys.readouterr().err


class Ending(Client):
    """A daemon whose `status` goes through some answers."""

    def __init__(self, *answers: Status | Exception) -> None:
        super().__init__(Path("unused"))
        self._answers = list(answers)

    def call(self, *_: Any, **__: Any) -> dict[str, Any]:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer.to_json()


class Time:
    """A clock that a nap moves by a minute."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += 60


def ended(*answers: Status | Exception) -> str:
    time = Time()
    return wait_until_gone(Ending(*answers), 4711, clock=time.clock, sleep=time.sleep)


def test_a_daemon_is_gone_when_nobody_listens() -> None:
    draining = Status(state="stopping", pid=4711, gateway=Gateway(in_flight=2))
    cut_off = FailedError("ended without an answer")
    assert ended(draining, cut_off, NotRunningError("gone")) == "ccproxyd has stopped"


def test_a_daemon_that_its_manager_started_again_has_stopped() -> None:
    said = ended(Status(pid=4711), Status(pid=5000))
    assert said == "ccproxyd has stopped, and was started again (pid 5000)"


def test_a_daemon_that_does_not_end_is_a_failure() -> None:
    with pytest.raises(FailedError, match="still stopping after 15 min"):
        ended(Status(pid=4711))
    assert STOP_LIMIT_SECONDS > 600


@pytest.mark.parametrize(
    ("in_flight", "said"),
    [(0, "stopping"), (1, "stopping, 1 request in flight"), (2, "stopping, 2 requests in flight")],
)
def test_it_is_said_what_stopping_waits_for(in_flight: int, said: str) -> None:
    assert lifecycle._stopping(Status(gateway=Gateway(in_flight=in_flight))) == said


# With a service


def test_a_service_is_stopped_with_its_port(
    systemd: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    systemd.says(UP + SOCKET_UP)
    assert main(["stop"]) == 0
    assert systemd.calls() == ["systemctl --user --no-pager stop ccproxyd.socket ccproxyd.service"]
    assert capsys.readouterr().out == "ccproxyd has stopped\n"


def test_a_stop_of_a_service_in_json_and_without_waiting(
    systemd: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    systemd.says(UP + SOCKET_UP)
    assert main(["stop", "--no-wait"]) == 0
    assert systemd.calls()[-1].endswith(" --no-block")
    assert capsys.readouterr().out == "ccproxyd is stopping\n"
    assert main(["stop", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"ok": True, "pid": 4711, "unit": "ccproxyd.service"}


def test_a_port_without_a_daemon_can_be_closed(
    systemd: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    systemd.says(FAILED + SOCKET_UP)
    assert main(["stop"]) == 0
    assert capsys.readouterr().out == "the port of ccproxyd is closed\n"


def test_a_service_that_is_down_cannot_be_stopped(
    systemd: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stop"]) == 7
    assert systemd.calls() == []
    assert "ccproxyd.service is not running" in capsys.readouterr().err


def test_a_daemon_beside_its_service_is_stopped_by_itself(
    systemd: FakePrograms, service_socket: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    systemd.says(DOWN + SOCKET_DOWN)
    operations = FakeOperations()
    with running_in_thread(service_socket, operations):
        assert main(["stop", "--no-wait"]) == 0
    assert ("stop", None) in operations.calls
    assert systemd.calls() == []


def test_what_is_not_permitted_exits_4(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    write(machine.root / "etc/systemd/system/ccproxyd.service")
    fake = fake_systemd(machine.root, UP + SOCKET_UP)
    fake.fails("stop", "Failed to stop ccproxyd.socket: Interactive authentication required.\n")
    assert main(["stop"]) == 4
    assert "as root: systemctl stop" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["restart"], ["restart", "all"], ["restart", "--all"]])
def test_a_service_is_restarted_by_its_manager(
    systemd: FakePrograms, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    systemd.says(UP + SOCKET_UP)
    assert main(words) == 0
    assert systemd.calls()[-1] == "systemctl --user --no-pager restart ccproxyd.service"
    assert capsys.readouterr().out.startswith("restarted ccproxyd.service in ")


def test_a_restart_of_a_service_in_json(
    systemd: FakePrograms, service_socket: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    systemd.says(UP + SOCKET_UP)
    with running_in_thread(service_socket, FakeOperations(status={"state": "ready", "pid": 7})):
        assert main(["restart", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"ok": True, "what": "all", "pid": 7, "unit": "ccproxyd.service"}


@pytest.mark.parametrize("what", ["workers", "gateway"])
def test_parts_of_it_are_replaced_by_the_daemon(
    systemd: FakePrograms, service_socket: Path, what: str
) -> None:
    systemd.says(UP + SOCKET_UP)
    operations = FakeOperations()
    with running_in_thread(service_socket, operations):
        assert main(["restart", what]) == 0
    assert ("restart", what) in operations.calls
    assert systemd.calls() == []


def test_a_reload_is_never_the_managers(systemd: FakePrograms, service_socket: Path) -> None:
    operations = FakeOperations()
    with running_in_thread(service_socket, operations):
        assert main(["reload"]) == 0
    assert not (systemd.state / "calls").exists()


def test_a_daemon_whose_config_has_become_wrong_is_not_restarted(
    systemd: FakePrograms,
    service_socket: Path,
    machine: Machine,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It would end, and not come back."""
    systemd.says(UP + SOCKET_UP)
    write(machine.home / "c" / "ccproxy.yaml", "ccproxy: {port: x}\n")
    write(machine.home / "c" / "config.yaml", "model_list: []\n")
    running = attrs.evolve(STATUS, pid=os.getpid(), config_dir=str(machine.home / "c"))
    with running_in_thread(service_socket, FakeOperations(status=running.to_json())):
        assert main(["restart"]) == 1
    assert systemd.calls() == []
    assert capsys.readouterr().err == (
        "ccproxyctl: cannot restart: ccproxy.yaml: ccproxy.port: must be a whole number, not 'x'; "
        "the old config goes on\n"
    )


def test_what_runs_after_a_restart_and_serves_nothing_is_a_failure(
    systemd: FakePrograms, service_socket: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    systemd.says(UP + SOCKET_UP)
    waiting = {"state": "degraded", "pid": 7, "warnings": ["nothing is served"]}
    with running_in_thread(service_socket, FakeOperations(status=waiting)):
        assert main(["restart"]) == 1
    assert capsys.readouterr().err == "ccproxyctl: nothing is served\n"


def test_a_restart_that_fails_says_why(
    systemd: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    systemd.says(UP + SOCKET_UP)
    systemd.fails("restart", JOB_FAILED)
    said = {"SYSLOG_IDENTIFIER": "ccproxyd", "MESSAGE": "ccproxyd: no"}
    systemd.says(json.dumps(said), "journalctl")
    assert main(["restart"]) == 1
    assert "cannot restart ccproxyd.service: no; see" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        (None, ""),
        (Status(state="stopping", gateway=Gateway(in_flight=1)), "1 request in flight"),
        (Status(state="starting"), ""),
    ],
)
def test_it_is_said_what_a_restart_waits_for(status: Status | None, shown: str) -> None:
    assert lifecycle._restarting(status) == shown

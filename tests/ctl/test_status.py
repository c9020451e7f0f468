import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from ccproxyd.control.client import Client
from ccproxyd.control.messages import Fault, LastReload, Listen, Process
from ccproxyd.control.status import Lane
from ccproxyd.ctl import main
from ccproxyd.ctl.machine import Machine
from tests.control.fakes import STATUS, FakeOperations, running_in_thread
from tests.ctl.service.fakes import (
    FAILED,
    SOCKET_DOWN,
    SOCKET_UP,
    UP,
    FakePrograms,
    fake_systemd,
    write,
)


def shown(path: Path, capsys: pytest.CaptureFixture[str], *words: str, **changes: Any) -> str:
    answer = attrs.evolve(STATUS, **changes).to_json()
    with running_in_thread(path, FakeOperations(status=answer)):
        assert main(["status", *words]) == 0
    return capsys.readouterr().out


def test_it_shows_the_daemon_and_its_processes(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(path, capsys) == (
        "ccproxyd is ready\n"
        "  pid         4711, up 3 h 12 min\n"
        "  version     0.1.0\n"
        "  generation  2\n"
        "  listens on  127.0.0.1:4000\n"
        "  config      /home/a/.ccproxy\n"
        "  socket      /run/user/7/ccproxyd/control.sock\n"
        "  labels      default, think\n"
        "  gateway     pid 4712, up 3 h 11 min, 58 MB, 3 in flight\n"
        "  worker      pid 4713, ready, generation 2, up 0.00 s, 154 MB, 1 in flight\n"
        "  template    pid 4714, 380 MB\n"
        "  restarts    0\n"
    )


def test_a_worker_between_two_lives_has_no_process_to_show(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting = attrs.evolve(STATUS.workers[0], pid=0, state="starting")
    said = shown(path, capsys, workers=(waiting,))
    assert "  worker      starting, generation 2" in said.splitlines()


def test_it_shows_what_went_wrong(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(
        path,
        capsys,
        state="degraded",
        gateway=None,
        workers=(),
        listen=Listen(),
        template=None,
        labels=(),
        restarts_total=5,
        last_exit="worker 4713 was killed by signal 9",
        last_reload=LastReload(False, 2, Fault("ccproxy.yaml: ccproxy.port", "is wrong")),
        rule_errors={"think": 2},
        hook_errors={"ccproxy.hooks[0]": 1},
        warnings=("config.yaml: model_list is empty",),
    )
    for line in (
        "ccproxyd is degraded",
        "  listens on   no port",
        "  labels       none",
        "  gateway      not running",
        "  worker       none is running",
        "  restarts     5",
        "  last exit    worker 4713 was killed by signal 9",
        "  last reload  failed: ccproxy.yaml: ccproxy.port: is wrong",
        "  rule errors  think: 2 errors",
        "  hook errors  ccproxy.hooks[0]: 1 error",
        "warning: config.yaml: model_list is empty",
    ):
        assert line in said.splitlines()


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (LastReload(True, 3, None, 0.314), "generation 3 in 0.31 s"),
        (LastReload(False), "failed: the log says why"),
    ],
)
def test_it_shows_the_last_reload(
    path: Path, last: LastReload, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"  last reload  {said}" in shown(path, capsys, last_reload=last)


@pytest.mark.parametrize("state", ["starting", "ready", "reloading", "degraded", "stopping"])
def test_a_daemon_that_answers_is_running(
    path: Path, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"ccproxyd is {state}" in shown(path, capsys, state=state)


class Starting(FakeOperations):
    """It is in one state after the other, and remains in the last."""

    def __init__(self, *states: str) -> None:
        super().__init__()
        self.states = list(states)

    async def status(self) -> Any:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return attrs.evolve(STATUS, state=state).to_json()


@pytest.mark.parametrize("state", ["ready", "degraded"])
def test_one_that_is_starting_is_waited_for(
    path: Path, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_in_thread(path, Starting("starting", "starting", state)):
        assert main(["status", "--wait", "60"]) == 0
    assert f"ccproxyd is {state}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["--wait", "0.01"]])
def test_but_no_longer_than_asked(
    path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with running_in_thread(path, Starting("starting")):
        assert main(["status", *words]) == 0
    assert "ccproxyd is starting" in capsys.readouterr().out


def test_json_is_the_daemons_answer_as_it_is(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = {**STATUS.to_json(), "new": {"field": 1}}
    with running_in_thread(path, FakeOperations(status=answer)):
        assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(answer))


def test_an_answer_without_a_state_is_not_understood(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_in_thread(path, FakeOperations(status={"pid": 1})):
        assert main(["status"]) == 4
    assert "cannot tell the daemon's state" in capsys.readouterr().err


def test_an_answer_of_a_newer_daemon_is_shown_as_far_as_it_is_known(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = {"state": "ready", "template": Process(1, 2_000_000).to_json(), "workers": "many"}
    with running_in_thread(path, FakeOperations(status=answer)):
        assert main(["status"]) == 0
    assert "template    pid 1, 2 MB" in capsys.readouterr().out


# With a service


def test_the_service_is_told_with_its_daemon(
    systemd: FakePrograms,
    service_socket: Path,
    machine: Machine,
    capsys: pytest.CaptureFixture[str],
) -> None:
    systemd.says(UP + SOCKET_UP)
    write(machine.root / "var/lib/systemd/linger/alice")
    with running_in_thread(service_socket, FakeOperations()):
        assert main(["status"]) == 0
    assert capsys.readouterr().out.splitlines()[:4] == [
        "ccproxyd is ready",
        "  service     ccproxyd.service (user), active, enabled, lingers",
        "  port        127.0.0.1:4000, held by ccproxyd.socket",
        "  pid         4711, up 3 h 12 min",
    ]


def test_json_has_the_service_beside_the_daemons_answer(
    systemd: FakePrograms, service_socket: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    systemd.says(UP + SOCKET_UP)
    with running_in_thread(service_socket, FakeOperations()):
        assert main(["status", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    service = told.pop("service")
    assert told == json.loads(json.dumps(STATUS.to_json()))
    assert service == {
        "manager": "systemd",
        "unit": "ccproxyd.service",
        "scope": "user",
        "active": "active",
        "sub": "running",
        "enabled": True,
        "linger": False,
        "pid": 4711,
        "failure": None,
        "socket": {
            "unit": "ccproxyd.socket",
            "active": True,
            "enabled": True,
            "listens": ["127.0.0.1:4000"],
        },
    }


def test_a_service_that_is_down_is_told_with_the_next_command(
    systemd: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status"]) == 3
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.splitlines()[0] == "ccproxyd is not running"
    assert captured.out.splitlines()[-1] == "  next     ccproxyctl start"


def test_a_port_that_waits_for_the_first_request_is_told(
    systemd: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    systemd.says(UP.replace("=active", "=inactive") + SOCKET_UP)
    assert main(["status"]) == 3
    assert "127.0.0.1:4000, held by ccproxyd.socket: the first request starts it" in (
        capsys.readouterr().out
    )


def test_a_service_that_failed_is_told_with_the_daemons_last_words(
    systemd: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    systemd.says(FAILED + SOCKET_DOWN)
    said = {"SYSLOG_IDENTIFIER": "ccproxyd", "MESSAGE": "ccproxyd: ccproxy.yaml: is wrong"}
    systemd.says(json.dumps(said), "journalctl")
    assert main(["status"]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "ccproxyd has failed"
    assert lines[3:] == [
        "  reason   ccproxy.yaml: is wrong",
        "  next     ccproxyctl check, then ccproxyctl start",
    ]
    assert main(["status", "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert told["error"]["message"] == "ccproxyd has failed: ccproxy.yaml: is wrong"
    assert told["service"]["active"] == "failed"


def test_a_manager_that_does_not_answer_is_only_noted(
    systemd: FakePrograms, service_socket: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    systemd.fails("show", "Failed to connect to bus: No medium found\n")
    with running_in_thread(service_socket, FakeOperations()):
        assert main(["status"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("ccproxyd is ready\n  pid ")
    assert captured.err.startswith("ccproxyctl: note: cannot show ccproxyd.service: ")
    assert main(["status"]) == 3


def test_the_systems_service_is_told_as_far_as_everybody_may_see_it(
    machine: Machine, service_socket: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(machine.root / "etc/systemd/system/ccproxyd.service")
    fake_systemd(machine.root, UP + SOCKET_UP)
    with running_in_thread(service_socket, FakeOperations(), owners=frozenset({54321})):
        assert main(["status"]) == 4
        captured = capsys.readouterr()
        assert main(["status", "--json"]) == 4
    assert captured.out.splitlines()[0] == "  service  ccproxyd.service (system), active, enabled"
    assert "neither the owner nor root" in captured.err
    assert "error" in json.loads(capsys.readouterr().out)


def test_somebody_elses_daemon_is_not_the_service(
    systemd: FakePrograms,
    service_socket: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The system's, which was found since the user's own is down."""
    theirs = service_socket.with_name("theirs.sock")
    monkeypatch.setattr("ccproxyd.ctl.status.client_of", lambda _: Client(theirs))
    with running_in_thread(theirs, FakeOperations(), owners=frozenset({54321})):
        assert main(["status"]) == 3
    assert capsys.readouterr().out.startswith("ccproxyd is not running\n")


def test_lanes_are_told_with_what_litellm_is_needed_for(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lanes = {
        "default": Lane("direct", "it speaks the protocol"),
        "think": Lane("litellm", "2 deployments share it"),
        "docs": Lane("litellm", "LiteLLM translates for gemini"),
        "long": Lane("litellm", "2 deployments share it"),
    }
    said = shown(path, capsys, lanes=lanes)
    assert "direct      default\n" in said
    assert "LiteLLM     think, long: 2 deployments share it\n" in said
    assert "LiteLLM     docs: LiteLLM translates for gemini\n" in said


def test_a_litellm_that_is_not_needed_yet_is_not_missed(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asleep: dict[str, Any] = {
        "lanes": {"default": Lane("direct", "")},
        "workers": (),
        "state": "ready",
    }
    assert "none yet; LiteLLM starts when a request needs it" in shown(path, capsys, **asleep)
    assert "none is running" in shown(path, capsys, **{**asleep, "lanes": {}})

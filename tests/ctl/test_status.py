import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from ccproxyd.control.messages import Fault, LastReload, Process
from ccproxyd.ctl import main
from tests.control.fakes import STATUS, FakeOperations, running_in_thread


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


def test_it_shows_what_went_wrong(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(
        path,
        capsys,
        state="degraded",
        gateway=None,
        workers=(),
        template=None,
        labels=(),
        restarts_total=5,
        last_exit="worker 4713 was killed by signal 9",
        last_reload=LastReload(False, 2, Fault("ccproxy.yaml: ccproxy.port", "is wrong")),
        rule_errors={"think": 2},
        warnings=("config.yaml: model_list is empty",),
    )
    for line in (
        "ccproxyd is degraded",
        "  labels       none",
        "  gateway      not running",
        "  worker       none is running",
        "  restarts     5",
        "  last exit    worker 4713 was killed by signal 9",
        "  last reload  failed: ccproxy.yaml: ccproxy.port: is wrong",
        "  rule errors  think: 2 errors",
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

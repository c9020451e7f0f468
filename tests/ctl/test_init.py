import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ccproxyd import __version__
from ccproxyd.control.client import FailedError
from ccproxyd.control.errors import ControlError
from ccproxyd.ctl import main, status
from ccproxyd.errors import ConfigError
from tests.control.fakes import FakeOperations, running_in_thread
from tests.ctl.service.fakes import FakePrograms

HEAVY = {
    "anyio",
    "asyncio",
    "rich",
    "litellm",
    "tiktoken",
    "uvicorn",
    "starlette",
    "yaml",
    "orjson",
}


def loaded_by(*words: str) -> set[str]:
    """The top-level modules that a whole command loads."""
    command = [sys.executable, "-X", "importtime", "-m", "ccproxyd.ctl", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rsplit("|", 1)[1].strip().partition(".")[0] for line in lines}


def test_the_version_is_printed_without_loading_anything_heavy(home: Path) -> None:
    found = loaded_by("--version")
    assert "argparse" in found
    assert found & HEAVY == set()


def test_status_loads_nothing_heavy(path: Path) -> None:
    with running_in_thread(path, FakeOperations()):
        found = loaded_by("status")
    assert "ccproxyd" in found
    assert found & HEAVY == set()


def test_status_with_a_service_loads_nothing_heavy_either(
    systemd: FakePrograms, service_socket: Path
) -> None:
    with running_in_thread(service_socket, FakeOperations()):
        found = loaded_by("status")
    assert "ccproxyd" in found
    assert found & HEAVY == set()


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"ccproxyctl {__version__}\n"


# Exit codes

VERBS = [["stats"], ["routes"], ["reload"], ["restart"], ["stop"], ["explain", "--model", "m"]]


@pytest.mark.parametrize("words", VERBS, ids=lambda words: words[0])
def test_a_verb_without_a_daemon_exits_7_and_says_what_to_do(
    path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 7
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        f"ccproxyctl: cannot reach ccproxyd at {path}: no such file; is it running? "
        "start it with: ccproxyctl start\n"
    )


def test_status_without_a_daemon_exits_3(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 3
    assert "no such file; is it running?" in capsys.readouterr().err


@pytest.mark.parametrize(("verb", "code"), [("status", 4), ("stats", 4), ("stop", 4)])
def test_a_daemon_of_somebody_else_exits_4(
    path: Path, verb: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_in_thread(path, FakeOperations(), owners=frozenset({54321})):
        assert main([verb]) == code
    assert "neither the owner nor root" in capsys.readouterr().err


@pytest.mark.parametrize(("verb", "code"), [("status", 4), ("stats", 1), ("reload", 1)])
def test_a_daemon_that_fails_exits_1_and_for_status_4(
    path: Path, verb: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    operations = FakeOperations(**{verb: ControlError("Busy", "not now", 409)})
    with running_in_thread(path, operations):
        assert main([verb]) == code
    assert capsys.readouterr().err == f"ccproxyctl: cannot {verb}: not now\n"


def test_a_bad_config_of_our_own_reading_exits_1(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(status, "status", raising(ConfigError("a.yaml: x", "is wrong")))
    monkeypatch.setattr("ccproxyd.ctl.stats.stats", raising(ConfigError("a.yaml: x", "is wrong")))
    assert main(["stats"]) == 1
    assert main(["status"]) == 4
    assert capsys.readouterr().err == "ccproxyctl: a.yaml: x: is wrong\n" * 2


@pytest.mark.parametrize(
    "words", [[], ["stauts"], ["status", "--jsn"], ["stats", "--by", "x"], ["status", "more"]]
)
def test_words_that_make_no_sense_exit_2(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("ccproxyctl: ")


def test_a_usage_error_found_late_exits_2(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain"]) == 2
    assert "no request to explain" in capsys.readouterr().err


def test_an_interrupted_command_exits_130(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "status", raising(KeyboardInterrupt()))
    assert main(["status"]) == 130


def test_a_reader_that_left_is_no_traceback(path: Path) -> None:
    """`ccproxyctl stats | head -0`: the pipe is broken before anything is written."""
    reading, writing = os.pipe()
    os.close(reading)
    with running_in_thread(path, FakeOperations()):
        command = [sys.executable, "-m", "ccproxyd.ctl", "stats"]
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_bug_is_not_hidden(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "status", raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main(["status"])


# JSON


@pytest.mark.parametrize("words", [["--json", "stats"], ["stats", "--json"]])
def test_an_error_is_json_too_and_still_a_line_on_stderr(
    path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 7
    captured = capsys.readouterr()
    error = json.loads(captured.out)["error"]
    assert (error["type"], error["code"]) == ("NotRunningError", 503)
    assert captured.err == f"ccproxyctl: {error['message']}\n"


def test_the_daemons_own_error_is_printed_as_it_is(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = ControlError("Busy", "not now", 409)
    with running_in_thread(path, FakeOperations(reload=error)):
        assert main(["reload", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == error.to_json()


def test_a_failure_without_an_error_of_the_daemons_is_json_too(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(status, "status", raising(FailedError("cannot status: cut short")))
    assert main(["status", "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["error"]["code"] == 500


def test_the_named_socket_is_used(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(home / "other.sock"))
    assert main(["--socket", str(home / "other.sock"), "stats"]) == 7
    assert "other.sock: nobody listens" in capsys.readouterr().err


def raising(error: BaseException) -> Any:
    def run(*_: Any) -> int:
        raise error

    return run

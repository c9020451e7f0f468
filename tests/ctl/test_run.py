"""What is run takes the process's place, so the command line is a process of its own here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import pytest

from ccproxyd.control.client import FailedError
from ccproxyd.control.status import Listen, Status
from ccproxyd.ctl import main, run, serving
from tests.control.fakes import FakeOperations, running_in_thread
from tests.ctl.service.fakes import write

KEY = "sk-the-clients-key"
READY = Status(state="ready", pid=7, listen=Listen("127.0.0.1", 4999))
TELLS = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))"


class Became(BaseException):
    def __init__(self, program: str, command: Sequence[str], environ: Mapping[str, str]) -> None:
        super().__init__(program)
        self.program = program
        self.command = list(command)
        self.environ = dict(environ)


def become(program: str, command: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    raise Became(program, command, environ)


@pytest.fixture(autouse=True)
def _key(home: Path) -> None:
    write(home / ".local" / "state" / "ccproxyd" / "key", f"{KEY}\n")


@pytest.fixture
def stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of the tests cannot become another one."""
    monkeypatch.setattr(run, "_execute", become)
    monkeypatch.setattr(run, "_IGNORED_BY_PYTHON", ())


def became(*words: str) -> Became:
    with pytest.raises(Became) as caught:
        main(words)
    return caught.value


def started(*words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ccproxyd.ctl", "run", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, **more)


# The command


def test_a_command_has_its_own_words_and_what_a_client_needs(path: Path) -> None:
    with running_in_thread(path, FakeOperations()):
        done = started("--", sys.executable, "-c", TELLS, "--json", "-h", "--", "a b")
    words, environ = json.loads(done.stdout)
    assert words == ["--json", "-h", "--", "a b"]
    assert environ["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:4000"
    assert environ["ANTHROPIC_AUTH_TOKEN"] == KEY
    assert environ["HOME"] == os.environ["HOME"]
    assert done.stderr == ""


def test_the_two_dashes_may_be_left_out(path: Path) -> None:
    with running_in_thread(path, FakeOperations()):
        done = started(sys.executable, "-c", TELLS, "--oauth")
    words, environ = json.loads(done.stdout)
    assert words == ["--oauth"]
    assert "ANTHROPIC_CUSTOM_HEADERS" not in environ


@pytest.mark.parametrize("code", [0, 3, 7])
def test_the_exit_code_is_the_commands(path: Path, code: int) -> None:
    with running_in_thread(path, FakeOperations()):
        assert started("sh", "-c", f"exit {code}").returncode == code


def test_a_signal_ends_the_command_itself(path: Path) -> None:
    with running_in_thread(path, FakeOperations()):
        done = started("sh", "-c", "kill -TERM $$; echo still here")
    assert done.returncode == -signal.SIGTERM
    assert done.stdout == ""


def test_a_pipe_that_closes_ends_it_as_everywhere(path: Path) -> None:
    """Python ignores SIGPIPE, and what it becomes would inherit that."""
    with running_in_thread(path, FakeOperations()):
        done = started("sh", "-c", "kill -PIPE $$; echo still here")
    assert (done.returncode, done.stdout) == (-signal.SIGPIPE, "")


def test_it_reads_what_we_are_given_to_read(path: Path) -> None:
    with running_in_thread(path, FakeOperations()):
        assert started("cat", input="a prompt\n").stdout == "a prompt\n"


@pytest.mark.parametrize("words", [[], ["--"], ["--oauth"]])
def test_a_command_is_needed(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *words]) == 2
    assert "for example: ccproxyctl run -- claude" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["no-such-program", "./no-such-program"])
def test_a_program_that_is_not_there_starts_no_daemon(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "start_in_background", lambda _: pytest.fail("started"))
    assert main(["run", "--", name]) == 127
    assert capsys.readouterr().err == (
        f"ccproxyctl: cannot run {name}: there is no such program on the PATH\n"
    )


def test_a_file_that_is_no_program_is_told_from_one_that_is_not_there(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = home / "plain"
    plain.write_text("no program\n")
    assert main(["run", "--", str(plain)]) == 126
    assert capsys.readouterr().err == (
        f"ccproxyctl: cannot run {plain}: it is there, but is no program that may be run\n"
    )


def test_so_is_one_that_cannot_be_looked_for(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a directory that one may not enter, which keeps everybody out but root."""
    name = home / ("x" * 300)
    assert main(["run", "--", str(name)]) == 126
    assert capsys.readouterr().err == f"ccproxyctl: cannot run {name}: File name too long\n"


def test_a_program_that_cannot_be_run_is_told(path: Path, home: Path) -> None:
    broken = home / "broken"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    with running_in_thread(path, FakeOperations()):
        done = started(str(broken))
    assert done.returncode == 126
    assert done.stderr.startswith(f"ccproxyctl: cannot run {broken}: ")


@pytest.mark.usefixtures("stays")
def test_a_subscription_takes_the_keys_out_of_the_commands_environment(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "sk-before")
    with running_in_thread(path, FakeOperations()):
        found = became("run", "--oauth", "--", "sh").environ
    assert found["ANTHROPIC_CUSTOM_HEADERS"] == f"x-litellm-api-key: {KEY}"
    assert "ANTHROPIC_AUTH_TOKEN" not in found
    assert os.environ["ANTHROPIC_AUTH_TOKEN"] == "sk-before"


def test_settings_of_claude_code_that_go_before_are_told(path: Path, home: Path) -> None:
    client = home / "bin" / "claude"
    write(client, "#!/bin/sh\necho ran\n")
    client.chmod(0o755)
    env = {"ANTHROPIC_BASE_URL": "https://elsewhere.example"}
    write(home / ".claude" / "settings.json", json.dumps({"env": env}))
    with running_in_thread(path, FakeOperations()):
        done = started(str(client))
        other = started("sh", "-c", "echo ran")
    assert (done.stdout, other.stdout) == ("ran\n", "ran\n")
    assert done.stderr.startswith(f"ccproxyctl: note: {home}/.claude/settings.json sets ANTHROPIC")
    assert other.stderr == ""


# The daemon


@pytest.mark.usefixtures("stays")
def test_a_daemon_that_is_down_is_started_without_a_word(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with ExitStack() as from_now_on:

        def start(_: object) -> Status:
            from_now_on.enter_context(running_in_thread(path, FakeOperations()))
            return READY

        monkeypatch.setattr(run, "start_in_background", start)
        found = became("run", "--", "sh", "-c", "true")
    assert found.command == ["sh", "-c", "true"]
    assert found.environ["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:4000"
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("stays")
def test_a_daemon_that_starts_is_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states = iter([Status(state="starting", pid=7), Status(state="starting", pid=7)])
    monkeypatch.setattr(run, "status_of", lambda _: next(states))
    monkeypatch.setattr(serving, "status_of", lambda _: READY)
    with running_in_thread(path, FakeOperations()):
        assert became("run", "--", "sh").program.endswith("/sh")


@pytest.mark.usefixtures("stays")
def test_of_two_that_start_one_the_second_uses_the_firsts(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = iter([None])

    def lost(_: object) -> Status:
        raise FailedError("the lock is held")

    monkeypatch.setattr(run, "start_in_background", lost)
    monkeypatch.setattr(run, "status_of", lambda _: next(seen, READY))
    monkeypatch.setattr(serving, "status_of", lambda _: READY)
    with running_in_thread(path, FakeOperations()):
        assert became("run", "--", "sh").command == ["sh"]


def test_one_that_cannot_be_started_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_: object) -> Status:
        raise FailedError("cannot start ccproxyd: the port is busy; see: ccproxyctl check")

    monkeypatch.setattr(run, "start_in_background", fails)
    assert main(["run", "--", "sh"]) == 1
    assert "the port is busy" in capsys.readouterr().err


def test_one_that_ends_before_it_serves_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    states = iter([Status(state="starting", pid=7)])
    monkeypatch.setattr(run, "status_of", lambda _: next(states, None))
    assert main(["run", "--", "sh"]) == 1
    assert "has ended before it served" in capsys.readouterr().err


def test_one_that_ends_while_it_is_asked_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "status_of", lambda _: READY)
    assert main(["run", "--", sys.executable]) == 1
    assert "has ended before it served" in capsys.readouterr().err


def test_what_runs_and_serves_nothing_runs_no_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting = Status(state="degraded", pid=7, warnings=("nothing is served: x is wrong",))
    monkeypatch.setattr(run, "status_of", lambda _: waiting)
    assert main(["run", "--", "sh"]) == 1
    assert "nothing is served: x is wrong" in capsys.readouterr().err

"""A daemon in the background, with a shell in its place."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from ccproxyd.control.client import Client, FailedError
from ccproxyd.control.status import Status
from ccproxyd.ctl import detach
from ccproxyd.ctl.detach import LOG_NAME, STDERR_NAME, start_detached
from ccproxyd.ctl.parser import parse
from tests.ctl.service.fakes import write

ARGS = parse(["start", "--detach"])
READY = Status(state="ready", pid=7)
TELLS_OF_ITSELF = """
import os, sys
leads = "leads its session" if os.getsid(0) == os.getpid() else "is led"
reads = "reads nothing" if os.path.sameopenfile(0, os.open(os.devnull, 0)) else "reads"
open({gate!r}, "w").write("\\n".join([leads, *sys.argv[1:], reads]))
"""


@pytest.fixture
def logs(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    return home / "state" / "ccproxyd" / "log"


def started(script: str) -> Status:
    """The options for the log come after the script's own name."""
    return start_detached(ARGS, ["sh", "-c", script, "sh"], Client(Path("/nonexistent")))


def test_it_has_a_session_of_its_own_and_a_log(
    logs: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    """The stand-in says where it is, and serves once it has said so."""
    gate = home / "gate"
    os.mkfifo(gate)

    def served(*_: object) -> Status:
        with gate.open() as stream:
            told.extend(stream.read().splitlines())
        return READY

    told: list[str] = []
    monkeypatch.setattr(detach, "wait_until_serving", served)
    command = [sys.executable, "-c", TELLS_OF_ITSELF.format(gate=str(gate))]
    assert start_detached(ARGS, command, Client(Path("/nonexistent"))) == READY
    assert told == ["leads its session", "--log-file", str(logs / LOG_NAME), "reads nothing"]
    assert logs.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 'ccproxyd: config.yaml: is wrong' >&2; exit 78", "config.yaml: is wrong"),
        ('echo \'{"level":"error","event":"cannot bind"}\' >> "$2"; exit 1', "cannot bind"),
    ],
)
def test_one_that_ends_at_once_says_why(logs: Path, script: str, why: str) -> None:
    with pytest.raises(FailedError) as caught:
        started(script)
    assert str(caught.value) == f"cannot start ccproxyd: {why}; see: ccproxyctl check"


def test_one_that_ends_without_a_word_is_to_be_started_where_it_has_words(logs: Path) -> None:
    with pytest.raises(FailedError) as caught:
        started("exit 75")
    why = f"exit status 75, and no word of why in {logs}"
    assert str(caught.value) == f"cannot start ccproxyd: {why}; see: ccproxyctl start"


def test_what_an_earlier_one_said_is_not_its_reason(logs: Path) -> None:
    write(logs / LOG_NAME, '{"level":"error","event":"old"}\n')
    write(logs / STDERR_NAME, "ccproxyd: older\n")
    with pytest.raises(FailedError, match="exit status 3"):
        started("exit 3")
    assert (logs / STDERR_NAME).read_text() == ""


def test_a_log_that_was_exchanged_meanwhile_is_all_its_own(logs: Path) -> None:
    write(logs / LOG_NAME, "x" * 1000)
    with pytest.raises(FailedError, match="cannot bind"):
        started('echo \'{"level":"error","event":"cannot bind"}\' > "$2"; exit 1')


def test_a_start_that_is_interrupted_leaves_nothing_behind(
    logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawned = []
    spawn = detach._spawn

    def noted(command: Sequence[str], stderr: Path) -> object:
        spawned.append(spawn(command, stderr))
        return spawned[0]

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(detach, "_spawn", noted)
    monkeypatch.setattr(detach, "wait_until_serving", interrupted)
    with pytest.raises(KeyboardInterrupt):
        started("exec sleep 600")
    assert spawned[0].wait(10) == -15

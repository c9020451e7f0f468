from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ccproxyd.control.client import Client
from ccproxyd.ctl import main, start
from tests.control.fakes import FakeOperations, running_in_thread, short_directory

STARTING = {
    "state": "starting",
    "pid": 7,
    "template": {"pid": 8, "rss_bytes": 1},
    "workers": [{"pid": 0, "state": "starting", "generation": 1}],
}


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
    answers: list[start.Status | None] = [None, start.Status(state="starting")]

    def status(_: Client) -> start.Status | None:
        if answers:
            return answers.pop(0)
        threading.Thread(target=gate.write_text, args=("",)).start()
        return start.Status(state="ready", pid=7)

    monkeypatch.setattr(start, "_status", status)
    assert main(["--socket", str(path), "start"]) == 0
    assert "ccproxyd is ready on" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        (None, "starting"),
        (STARTING, "starting, LiteLLM is being imported"),
        (
            {
                **STARTING,
                "workers": [{"pid": 9, "state": "ready"}, {"pid": 10, "state": "starting"}],
            },
            "starting, 1 of 2 workers ready",
        ),
    ],
)
def test_it_shows_what_it_waits_for(status: dict[str, object] | None, shown: str) -> None:
    found = None if status is None else start.Status.from_json(status)
    assert start._progress(found) == shown


def test_it_waits_no_longer_than_the_daemon_lives(path: Path) -> None:
    over = iter([False, False, True])
    naps: list[float] = []
    found = start.wait_until_serving(Client(path), lambda: next(over), sleep=naps.append)
    assert found is None
    assert len(naps) == 2

import json
from pathlib import Path

import pytest

from ccproxyd import __version__
from ccproxyd.control.client import Client, FailedError, NotRunningError
from ccproxyd.ctl import reach
from ccproxyd.ctl.parser import parse
from ccproxyd.ctl.reach import ask, client_of, directories, home, own_client, progress
from tests.control.fakes import FakeOperations, canned, http, running_in_thread


def test_the_daemons_answer_is_handed_on(path: Path) -> None:
    with running_in_thread(path, FakeOperations()):
        assert ask(parse(["status"]), "status")["state"] == "ready"


def test_a_difference_of_versions_is_named(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with canned(path, http(b'{"state": "ready"}', server="ccproxyd/99.0")):
        ask(parse(["status"]), "status")
    said = capsys.readouterr().err
    assert f"this is ccproxyctl {__version__}, the daemon is 99.0" in said


def test_a_difference_of_versions_is_named_after_a_failure_too(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        canned(path, http(b"{}", code=500, server="ccproxyd/99.0")),
        pytest.raises(FailedError),
    ):
        ask(parse(["status"]), "status")
    assert "the daemon is 99.0" in capsys.readouterr().err


def test_the_same_version_is_not_worth_a_word(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_in_thread(path, FakeOperations()):
        ask(parse(["status"]), "status")
    assert capsys.readouterr().err == ""


def test_a_named_socket_goes_before_the_environments(path: Path) -> None:
    assert client_of(parse(["--socket", "/x.sock", "status"])).path == Path("/x.sock")
    assert client_of(parse(["status"])).path == path


def test_a_daemon_of_the_user_goes_before_the_systems(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CCPROXYD_SOCKET")
    assert client_of(parse(["status"])).path == home / "ccproxyd" / "control.sock"


def test_a_daemon_of_ones_own_is_never_the_systems(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CCPROXYD_SOCKET")
    client = own_client(parse(["status"]))
    with pytest.raises(NotRunningError):
        client.call("status")
    assert client.path == home / "ccproxyd" / "control.sock"
    assert own_client(parse(["--socket", "/x.sock", "status"])).path == Path("/x.sock")


def test_a_shell_that_was_not_told_of_the_runtime_directory_finds_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As su and cron leave it, while a user's service is where it always is."""
    for name in ("CCPROXYD_SOCKET", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(reach.os, "getuid", lambda: 501)
    monkeypatch.setattr(reach.Path, "exists", lambda _: True)
    found = reach._sockets(parse(["status"]))
    assert found[1:] == [
        Path("/run/user/501/ccproxyd/control.sock"),
        Path("/run/ccproxyd/control.sock"),
    ]
    monkeypatch.setattr(reach.os, "getuid", lambda: 0)
    assert len(reach._sockets(parse(["status"]))) < 3


def test_the_config_is_the_named_one_the_daemons_or_the_users(home: Path) -> None:
    named = parse(["check", "--config-dir", "/etc/x"])
    assert directories(named, Path("/etc/daemon")).config == Path("/etc/x")
    assert directories(parse(["check"]), Path("/etc/daemon")).config == Path("/etc/daemon")
    assert directories(parse(["check"])).config == home / ".ccproxy"


def test_home_is_known_without_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    assert home().is_absolute()


@pytest.mark.parametrize(
    ("workers", "shown"),
    [
        ([(1, "ready")], ""),
        ([(1, "ready"), (2, "starting")], "generation 2: 0 of 1 worker ready"),
        ([(1, "ready"), (2, "starting"), (2, "ready")], "generation 2: 1 of 2 workers ready"),
    ],
)
def test_a_wait_says_how_far_the_new_generation_is(
    path: Path, workers: list[tuple[int, str]], shown: str
) -> None:
    found = [{"generation": generation, "state": state} for generation, state in workers]
    status = json.dumps({"generation": 1, "workers": found}).encode()
    with canned(path, http(status)):
        assert progress(Client(path)) == shown


def test_a_wait_says_nothing_when_the_daemon_does_not(path: Path) -> None:
    assert progress(Client(path)) == ""

from __future__ import annotations

import importlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ccproxyd import __version__
from ccproxyd.daemon.house import Owned
from ccproxyd.daemon.instance import bind_listener, take_lock
from ccproxyd.errors import CcproxydError
from tests.daemon import dolls
from tests.daemon.dolls import Street

# The package has a function of the same name.
module = importlib.import_module("ccproxyd.daemon.main")

SET = ("CCPROXY_CONFIG_DIR", "XDG_RUNTIME_DIR", "XDG_STATE_HOME")
UNSET = ("RUNTIME_DIRECTORY", "STATE_DIRECTORY", "LOGS_DIRECTORY", "LISTEN_FDS", "LISTEN_PID")


class Lived:
    """A house that ends at once, and what it was given."""

    given: Lived

    def __init__(self, owned: Owned, loaded: Any, log: Any, notifier: Any) -> None:
        self.owned, self.loaded, self.log = owned, loaded, log
        self.address = owned.address
        Lived.given = self

    async def run(self) -> None:
        self.owned.listener.close()
        if self.owned.demo is not None:
            self.owned.demo.close()


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Street]:
    """An environment whose directories are all in one place, and a house that does nothing."""
    monkeypatch.setattr(module, "House", Lived)
    with dolls.street() as street:
        top = street.directories.config.parent
        places = (top / "c", top / "r", top / "s")
        for name, place in zip(SET, places, strict=True):
            monkeypatch.setenv(name, str(place))
        for name in UNSET:
            monkeypatch.delenv(name, raising=False)
        yield street


def run(*argv: str) -> int:
    code: int = module.main(argv)
    return code


def test_a_daemon_that_was_stopped_exits_with_0(home: Street) -> None:
    assert run() == 0
    directories = Lived.given.owned.directories
    assert directories.config == home.directories.config
    assert directories.lock.exists()
    assert Lived.given.owned.keys == (directories.client_key.read_text().strip(),)


def test_host_and_port_may_be_arguments(home: Street) -> None:
    assert run("--host", "localhost", "--port", "0") == 0
    assert Lived.given.owned.fixed_address
    assert Lived.given.owned.host == "localhost"
    assert run() == 0
    assert not Lived.given.owned.fixed_address


def test_a_host_out_of_the_environment_that_is_none_is_told_by_its_reference(
    home: Street, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("A_HOST", "192.0.2.1")
    home.config.write(ours={"host": "${A_HOST}"})
    assert run() == 1
    told = capfd.readouterr().err
    assert "cannot listen on ${A_HOST}" in told
    assert "192.0.2.1" not in told


def test_a_host_is_told_where_its_port_is_taken(
    home: Street, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with bind_listener("127.0.0.1", 0) as taken:
        monkeypatch.setenv("A_PORT", str(taken.getsockname()[1]))
        home.config.write(ours={"port": "${A_PORT}"})
        assert run() == 75
        assert f"cannot listen on 127.0.0.1:{os.environ['A_PORT']}" in capfd.readouterr().err


def test_started_in_a_clients_shell_it_does_not_take_itself_for_a_provider(
    home: Street, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "sk-ccproxy-of-clients")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    with socket.create_server(("127.0.0.1", 0)) as given:
        port = given.getsockname()[1]
        descriptor = os.dup(given.fileno())
        monkeypatch.setattr(module, "passed_descriptors", lambda *_: {"http": descriptor})
        monkeypatch.setenv("ANTHROPIC_BASE_URL", f"http://127.0.0.1:{port}")
        assert run("--port", str(port)) == 0
    assert not {"ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN"} & os.environ.keys()
    assert os.environ["OPENAI_BASE_URL"] == "http://127.0.0.1:1/v1"
    told = capfd.readouterr().err
    assert "ANTHROPIC_BASE_URL" in told
    assert "sk-ccproxy-of-clients" not in told


def test_a_config_directory_may_be_an_argument(
    home: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCPROXY_CONFIG_DIR", "/nowhere")
    monkeypatch.chdir(home.directories.config.parent)
    assert run("--config-dir", "c") == 0
    assert Lived.given.owned.directories.config == home.directories.config


@pytest.mark.parametrize(
    ("argv", "ours", "level"),
    [([], False, "info"), (["--debug"], False, "debug"), ([], True, "debug")],
)
def test_debug_is_an_argument_or_a_setting(
    home: Street, argv: list[str], ours: bool, level: str
) -> None:
    home.config.write(ours={"debug": ours})
    assert run(*argv) == 0
    assert Lived.given.log.level == level


def test_the_demo_has_a_config_and_a_provider_of_its_own(
    home: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCPROXYD_DEMO_URL", "")
    assert run("--demo", "--port", "0") == 0
    assert Lived.given.owned.demo is not None
    assert Lived.given.owned.directories.config.name == "demo"
    assert os.environ["CCPROXYD_DEMO_URL"].startswith("http://127.0.0.1:")


def test_a_listener_that_was_handed_over_is_used(
    home: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        descriptor = os.dup(given.fileno())
        monkeypatch.setattr(module, "passed_descriptors", lambda *_: {"http": descriptor})
        assert run() == 0
        assert Lived.given.owned.passed
        assert Lived.given.address == given.getsockname()


def test_what_was_handed_over_outlives_a_house(
    home: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        descriptor = os.dup(given.fileno())
        monkeypatch.setattr(module, "passed_descriptors", lambda *_: {"http": descriptor})
        premises = module.Premises(
            module._parser().parse_args([]), home.directories, home.log, home.notifier, demo=None
        )
        with premises._owned(home.read()).listener as first:
            assert first.getsockname() == given.getsockname()
        with premises._owned(home.read()).listener as second:
            assert second.getsockname() == given.getsockname()
            assert not second.get_inheritable()
        premises.passed.close()


def test_what_a_killed_daemon_left_is_cleared_away(home: Street) -> None:
    runtime = home.directories.config.parent / "r" / "ccproxyd"
    runtime.mkdir(parents=True)
    (runtime / "worker-1.yaml").touch()
    assert run() == 0
    assert not (runtime / "worker-1.yaml").exists()


def test_a_wrong_config_exits_with_78(home: Street, capfd: pytest.CaptureFixture[str]) -> None:
    home.config.write(ours={"prot": 4000})
    assert run() == 78
    told = "ccproxyd: ccproxy.yaml: ccproxy.prot: unknown key; did you mean 'port'?\n"
    assert capfd.readouterr().err == told


def test_no_config_exits_with_78(home: Street, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("--config-dir", "/nowhere") == 78
    assert "/nowhere/ccproxy.yaml: does not exist" in capfd.readouterr().err


def test_a_busy_port_exits_with_75(home: Street, capfd: pytest.CaptureFixture[str]) -> None:
    with bind_listener("127.0.0.1", 0) as taken:
        assert run("--port", str(taken.getsockname()[1])) == 75
    assert f"(pid {os.getpid()}) has the port" in capfd.readouterr().err


def test_a_second_daemon_exits_with_75_and_leaves_the_first_alone(
    home: Street, capfd: pytest.CaptureFixture[str]
) -> None:
    runtime = home.directories.config.parent / "r" / "ccproxyd"
    runtime.mkdir(parents=True)
    (runtime / "worker-1.yaml").touch()
    lock = take_lock(runtime / "lock")
    assert run() == 75
    os.close(lock)
    assert "is already running" in capfd.readouterr().err
    assert (runtime / "worker-1.yaml").exists()


def test_a_directory_that_is_not_ours_exits_with_1(
    home: Street, capfd: pytest.CaptureFixture[str]
) -> None:
    (home.directories.config.parent / "r").write_text("in the way")
    assert run() == 1
    assert "cannot use" in capfd.readouterr().err


def test_what_ends_the_house_is_the_exit_code(
    home: Street, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async def fail(house: Lived) -> None:
        await Lived.run(house)
        raise CcproxydError("the gateway is broken")

    monkeypatch.setattr(module, "House", type("Failing", (Lived,), {"run": fail}))
    assert run() == 1
    assert capfd.readouterr().err == "ccproxyd: the gateway is broken\n"


def test_the_lock_is_free_afterwards(home: Street) -> None:
    assert run() == 0
    assert run() == 0


def records(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_log_file_has_the_last_word_as_well(
    home: Street, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    home.config.write(ours={"prot": 4000})
    monkeypatch.chdir(tmp_path)
    assert run("--log-file", "logs/ccproxyd.log") == 78
    [record] = records(tmp_path / "logs" / "ccproxyd.log")
    why = "ccproxy.yaml: ccproxy.prot: unknown key; did you mean 'port'?"
    assert (record["level"], record["event"]) == ("error", "cannot start")
    assert record["because"] == why
    assert capfd.readouterr().err == f"ccproxyd: {why}\n"


def test_a_busy_port_is_in_the_log_file_too(home: Street, tmp_path: Path) -> None:
    with bind_listener("127.0.0.1", 0) as taken:
        words = ("--log-file", str(tmp_path / "log"), "--port", str(taken.getsockname()[1]))
        assert run(*words) == 75
    assert "has the port" in records(tmp_path / "log")[-1]["because"]


def test_a_log_file_takes_the_place_of_standard_error(
    home: Street, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("--log-file", str(tmp_path / "log")) == 0
    Lived.given.log("info", "ready", port=4000)
    assert records(tmp_path / "log")[0]["port"] == 4000
    assert capfd.readouterr().err == ""


@pytest.fixture
def _failing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(house: Lived) -> None:
        await Lived.run(house)
        raise KeyError("api_key=hunter2 sk-ant-api03-0123456789")

    monkeypatch.setattr(module, "House", type("Failing", (Lived,), {"run": fail}))


@pytest.mark.usefixtures("home", "_failing")
def test_a_bug_is_in_the_log_file_with_its_place(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "log"
    assert run("--log-file", str(file)) == 1
    record = records(file)[-1]
    assert (record["level"], record["because"]) == ("critical", "internal error")
    assert "test_main.py" in record["trace"]
    assert capfd.readouterr().err == f"ccproxyd: internal error; it is in {file}\n"


@pytest.mark.usefixtures("home", "_failing")
@pytest.mark.parametrize("to_file", [True, False])
def test_a_bug_does_not_give_away_a_key(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], to_file: bool
) -> None:
    assert run(*(["--log-file", str(tmp_path / "log")] if to_file else [])) == 1
    told = (tmp_path / "log").read_text() if to_file else capfd.readouterr().err
    assert "KeyError" in told
    assert not {"hunter2", "sk-ant"} & {word for word in ("hunter2", "sk-ant") if word in told}


def test_a_log_file_that_cannot_be_written_exits_with_1(
    home: Street, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("--log-file", str(tmp_path)) == 1
    assert f"cannot log to {tmp_path}: Is a directory" in capfd.readouterr().err


def test_a_wrong_config_may_be_waited_for(home: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    class Waiting:
        def __init__(self, *what: Any) -> None:
            given.append(what[-1])

        async def run(self, first: Any) -> int:
            given.append(first)
            return 0

    monkeypatch.setattr(module, "Daemon", Waiting)
    home.config.write(ours={"prot": 4000})
    assert run("--wait-for-config") == 0
    waits, first = given
    assert waits is True
    assert str(first) == "ccproxy.yaml: ccproxy.prot: unknown key; did you mean 'port'?"


@pytest.mark.parametrize("port", ["x", "-1", "65536", "", "4.5"])
def test_a_port_that_is_none_exits_with_2(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(f"--port={port}")
    assert caught.value.code == 2
    assert f"must be a port number from 0 to 65535, not {port!r}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "told"), [("--version", f"ccproxyd {__version__}"), ("--help", "--config-dir DIR")]
)
def test_a_question_exits_with_0(
    option: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(option)
    assert caught.value.code == 0
    assert told in capsys.readouterr().out

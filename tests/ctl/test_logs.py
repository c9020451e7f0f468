import datetime
import json
import os
import time
from pathlib import Path

import attrs
import pytest
from attrs import evolve

from ccproxyd.ctl import logs, main
from ccproxyd.ctl.logs import Readable, print_lines
from ccproxyd.ctl.machine import Machine
from ccproxyd.ctl.service import find
from tests.control.fakes import STATUS, FakeOperations, running_in_thread
from tests.ctl.service.fakes import (
    AGENT,
    DOWN,
    SOCKET_DOWN,
    UP,
    FakePrograms,
    fake_launchd,
    fake_systemd,
    write,
)


def record(level: str = "info", event: str = "ready", **facts: object) -> str:
    now = datetime.datetime.now(datetime.UTC)
    return json.dumps({"time": now.isoformat(), "level": level, "event": event, **facts})


@pytest.fixture
def log(machine: Machine) -> Path:
    """What a detached daemon has logged."""
    return write(machine.home / ".local/state/ccproxyd/log/ccproxyd.log", "one\ntwo\nthree\n")


# Of a service


def test_a_services_log_is_in_the_journal(
    systemd: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    systemd.says("Starting\n" + record() + "\n", "journalctl")
    assert main(["logs", "-n", "7"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "Starting"
    assert systemd.calls() == [
        "journalctl --quiet --no-pager --user-unit=ccproxyd.service --output=cat --lines=7"
    ]


def test_a_service_that_has_logged_nothing_is_told_so(
    systemd: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["logs"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "nothing is logged of ccproxyd.service" in captured.err


def test_a_journal_that_is_not_for_this_user_is_told_so(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logs, "this_machine", lambda: machine)
    write(machine.root / "etc/systemd/system/ccproxyd.service")
    fake_systemd(machine.root)
    assert main(["logs"]) == 4
    assert "sudo ccproxyctl logs" in capsys.readouterr().err


def test_a_journal_that_cannot_be_read_is_an_error(
    systemd: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    systemd.fails("", "no such option")
    assert main(["logs"]) == 1
    assert "journalctl failed" in capsys.readouterr().err


def test_an_agents_log_is_a_file(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_launchd(machine.root)
    write(machine.home / AGENT)
    write(machine.home / "Library/Logs/ccproxyd/ccproxyd.log", "one\ntwo\n")
    monkeypatch.setattr(find, "this_machine", lambda: evolve(machine, macos=True))
    assert main(["logs", "-n", "1"]) == 0
    assert capsys.readouterr().out == "two\n"


# Without one


def test_a_detached_daemons_log_is_a_file(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", "-n", "2"]) == 0
    assert capsys.readouterr().out == "two\nthree\n"


def test_a_detached_daemon_that_runs_has_written_to_its_log(
    log: Path, service_socket: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_in_thread(service_socket, FakeOperations()):
        assert main(["logs", "-n", "1"]) == 0
    assert capsys.readouterr().out == "three\n"


def test_a_daemon_in_the_foreground_has_its_log_on_its_terminal(
    log: Path, service_socket: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is that of an earlier one."""
    long_ago = time.time() - STATUS.uptime_seconds - 60
    os.utime(log, (long_ago, long_ago))
    with running_in_thread(service_socket, FakeOperations()):
        assert main(["logs"]) == 1
    assert capsys.readouterr().err == (
        "ccproxyctl: the daemon (pid 4711) logs to the terminal that it was started on, or where "
        "its --log-file says; with a log to be found: ccproxyctl stop, then "
        "ccproxyctl start --detach\n"
    )


def test_a_daemon_beside_its_service_is_not_looked_for_in_the_journal(
    systemd: FakePrograms, log: Path, service_socket: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    systemd.says(DOWN + SOCKET_DOWN)
    with running_in_thread(service_socket, FakeOperations()):
        assert main(["logs", "-n", "1"]) == 0
    assert capsys.readouterr().out == "three\n"


def test_without_a_daemon_and_a_log_there_is_nothing_to_show(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["logs"]) == 7
    assert "there is no log: no " in capsys.readouterr().err


def test_a_log_that_cannot_be_read_is_named(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log.unlink()
    log.mkdir()
    assert main(["logs"]) == 1
    assert f"cannot read {log}: Is a directory" in capsys.readouterr().err


# For people and for programs


def test_a_record_is_a_line_for_a_person_in_local_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC-2")
    time.tzset()
    line = '{"time":"%s","level":"info","event":"cannot x","because":"y","port":1}'
    now = datetime.datetime.now(datetime.UTC)
    today = line % now.isoformat()
    expected = now.astimezone().strftime("%H:%M:%S")
    assert Readable()(today) == f"{expected} info    cannot x: y  port=1"
    monkeypatch.delenv("TZ")
    time.tzset()


def test_another_day_is_told_when_it_begins() -> None:
    readable = Readable()
    first = readable('{"time":"2020-05-06T12:00:00Z","level":"info","event":"x"}')
    again = readable('{"time":"2020-05-06T12:00:01Z","level":"info","event":"y"}')
    assert first.splitlines()[0] == "2020-05-06"
    assert len(again.splitlines()) == 1


@pytest.mark.parametrize(
    "line",
    ["Started ccproxyd.service", "[1, 2]", '{"time": 7, "level": "x", "event": "y"}', '{"a": 1}'],
)
def test_what_is_no_record_is_shown_as_it_is(line: str) -> None:
    assert Readable()(line) == line


def test_what_a_terminal_would_obey_is_not_shown() -> None:
    assert "\x1b" not in Readable()("\x1b[2J") + Readable()(record(event="\x1b[2J"))


@pytest.mark.usefixtures("terminal")
def test_on_a_terminal_records_are_readable_and_complaints_stand_out(
    systemd: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    systemd.says(record() + "\n" + record("error", "cannot bind") + "\n", "journalctl")
    assert main(["logs"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith(" info    ready")
    assert second.startswith("\x1b[31m")
    assert "cannot bind" in second


def test_with_json_what_is_no_record_is_left_out(
    systemd: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    line = record()
    systemd.says(f"Started ccproxyd.service.\n{line}\n[1, 2]\n", "journalctl")
    assert main(["logs", "--json"]) == 0
    assert capsys.readouterr().out == line + "\n"


@pytest.mark.usefixtures("terminal")
def test_json_is_the_record_as_it_is(
    systemd: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    line = record()
    systemd.says(line + "\n", "journalctl")
    assert main(["logs", "--json"]) == 0
    assert capsys.readouterr().out == line + "\n"


def test_each_line_is_printed_as_it_comes(capsys: pytest.CaptureFixture[str]) -> None:
    def lines():
        yield "one\n"
        assert capsys.readouterr().out == "one\n"
        yield "two\n"

    assert print_lines(lines(), readable=False) == 2


def test_the_units_state_goes_before_the_daemons(
    systemd: FakePrograms, service_socket: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    systemd.says(UP)
    systemd.says("from the journal\n", "journalctl")
    running = attrs.evolve(STATUS, pid=1).to_json()
    with running_in_thread(service_socket, FakeOperations(status=running)):
        assert main(["logs"]) == 0
    assert capsys.readouterr().out == "from the journal\n"

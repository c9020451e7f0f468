from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ccproxyd.notify import (
    SERVICE_VARIABLES,
    Notifier,
    adopt,
    passed_descriptors,
    watchdog_seconds,
)


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A service manager's end of `$NOTIFY_SOCKET`."""
    directory = Path(tempfile.mkdtemp(prefix="ccd-"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(directory / "notify"))
        end.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(directory / "notify"))
        yield end
    shutil.rmtree(directory)


def datagram(manager: socket.socket) -> list[str]:
    return manager.recv(4096).decode().split("\n")


def test_ready_comes_with_a_status(manager: socket.socket) -> None:
    Notifier().ready("serving on 127.0.0.1:4000")
    assert datagram(manager) == ["READY=1", "STATUS=serving on 127.0.0.1:4000"]


def test_a_slow_start_asks_for_more_time(manager: socket.socket) -> None:
    Notifier().starting("starting LiteLLM", seconds=1.5)
    assert datagram(manager) == ["EXTEND_TIMEOUT_USEC=1500000", "STATUS=starting LiteLLM"]


def test_reloading_and_the_time_are_one_datagram(manager: socket.socket) -> None:
    Notifier().reloading()
    first, second, third = datagram(manager)
    assert (first, third) == ("RELOADING=1", "STATUS=reloading")
    name, _, microseconds = second.partition("=")
    assert name == "MONOTONIC_USEC"
    assert microseconds.isdecimal()


def test_a_slow_stop_asks_for_more_time(manager: socket.socket) -> None:
    Notifier().stopping(seconds=1.5)
    assert datagram(manager) == ["STOPPING=1", "EXTEND_TIMEOUT_USEC=1500000", "STATUS=stopping"]


def test_stopping_status_and_watchdog(manager: socket.socket) -> None:
    notifier = Notifier()
    notifier.status("degraded")
    notifier.alive()
    notifier.stopping()
    assert [datagram(manager) for _ in range(3)] == [
        ["STATUS=degraded"],
        ["WATCHDOG=1"],
        ["STOPPING=1", "STATUS=stopping"],
    ]


def test_a_status_cannot_smuggle_a_second_assignment(manager: socket.socket) -> None:
    Notifier().status("x\nMAINPID=1")
    assert datagram(manager) == ["STATUS=x MAINPID=1"]


def test_a_status_may_be_in_any_language(manager: socket.socket) -> None:
    Notifier().ready("bereit für 思考")
    assert datagram(manager) == ["READY=1", "STATUS=bereit für 思考"]


@pytest.mark.parametrize("address", [None, "", "/nowhere/notify"])
def test_without_a_service_manager_nothing_happens(
    monkeypatch: pytest.MonkeyPatch, address: str | None
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    notifier = Notifier()
    notifier.ready("serving")
    notifier.stopping()


def test_a_service_manager_that_went_away_is_no_error(manager: socket.socket) -> None:
    notifier = Notifier()
    manager.close()
    notifier.alive()


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "500000"}, 0.5),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_for_one_process(environ: dict[str, str], seconds: float | None) -> None:
    assert watchdog_seconds(environ, 7) == seconds


@pytest.mark.parametrize(
    ("environ", "passed"),
    [
        ({"LISTEN_PID": "7", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "http"}, {"http": 3}),
        (
            {"LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "control:http"},
            {"control": 3, "http": 4},
        ),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "1"}, {"unknown": 3}),
        (
            {"LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": ":http"},
            {"unknown": 3, "http": 4},
        ),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "0", "LISTEN_FDNAMES": ""}, {}),
        ({"LISTEN_PID": "8", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "http"}, {}),
        ({"LISTEN_FDS": "1", "LISTEN_FDNAMES": "http"}, {}),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "many"}, {}),
        ({"LISTEN_PID": "7"}, {}),
        ({}, {}),
    ],
)
def test_descriptors_are_handed_over_by_name_to_one_process(
    environ: dict[str, str], passed: dict[str, int]
) -> None:
    assert passed_descriptors(environ, 7) == passed


def test_what_was_handed_over_is_not_handed_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        descriptor = os.dup(given.fileno())
        os.set_inheritable(descriptor, True)
        with adopt(descriptor) as adopted:
            assert adopted.getsockname() == given.getsockname()
            assert adopted.fileno() == descriptor
            assert not adopted.get_inheritable()


def test_the_variables_that_children_must_not_see_are_all_that_are_read_here() -> None:
    assert set(SERVICE_VARIABLES) >= {"NOTIFY_SOCKET", "LISTEN_FDS", "WATCHDOG_USEC"}

from pathlib import Path

import pytest

from ccproxyd.control.client import Client, FailedError
from ccproxyd.control.errors import ControlError
from ccproxyd.control.status import Status
from ccproxyd.ctl import serving
from ccproxyd.ctl.parser import parse
from ccproxyd.ctl.service.manager import Service
from ccproxyd.ctl.serving import (
    manager_in_charge,
    progress,
    status_of,
    wait_for_service,
    wait_until_serving,
)
from tests.control.fakes import FakeOperations, running_in_thread
from tests.ctl.service.fakes import DOWN, FakePrograms

TEMPLATE = {"pid": 8, "rss_bytes": 1}
ARGS = parse(["status"])


class Manager:
    """One that starts, as launchd does, without saying when it is done."""

    unit = "the-unit"
    tells_ready = False

    def __init__(self, socket: Path, *states: str) -> None:
        self.control_socket = socket
        self._states = list(states)

    def show(self) -> Service:
        state = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        failure = "exit status 1" if state == "failed" else None
        return Service("launchd", self.unit, "user", state, failure=failure)

    def reason(self, since: float | None = None) -> str | None:
        return None


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        (None, ""),
        ({"state": "starting"}, ""),
        (
            {"template": TEMPLATE, "workers": [{"pid": 0, "state": "starting"}]},
            "LiteLLM is being imported",
        ),
        (
            {
                "template": TEMPLATE,
                "workers": [{"pid": 9, "state": "ready"}, {"pid": 10, "state": "starting"}],
            },
            "1 of 2 workers ready",
        ),
    ],
)
def test_it_is_shown_how_far_a_start_is(status: dict[str, object] | None, shown: str) -> None:
    assert progress(None if status is None else Status.from_json(status)) == shown


def test_it_waits_no_longer_than_the_daemon_lives(path: Path) -> None:
    over = iter([False, False, True])
    naps: list[float] = []
    found = wait_until_serving(Client(path), lambda: next(over), sleep=naps.append)
    assert found is None
    assert len(naps) == 2


@pytest.mark.parametrize("state", ["ready", "reloading", "degraded"])
def test_it_serves_when_it_says_so(path: Path, state: str) -> None:
    with running_in_thread(path, FakeOperations(status={"state": state, "pid": 7})):
        found = wait_until_serving(Client(path), lambda: False)
    assert found is not None
    assert found.pid == 7


def test_a_daemon_that_does_not_say_more_is_there_all_the_same(path: Path) -> None:
    assert status_of(Client(path)) is None
    with running_in_thread(path, FakeOperations(status=ControlError("Busy", "not now", 409))):
        assert status_of(Client(path)) == Status()


def test_a_manager_that_cannot_tell_is_not_relied_on(path: Path) -> None:
    with running_in_thread(path, FakeOperations()):
        assert wait_for_service(Manager(path, "active"), 0.0).state == "ready"


def test_a_service_that_ends_before_it_serves_is_a_failure(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving.time, "sleep", lambda _: None)
    manager = Manager(path, "active", "failed")
    with pytest.raises(FailedError, match="cannot start the-unit: exit status 1; see: ccproxyctl"):
        wait_for_service(manager, 0.0)


# Who is in charge


def test_without_a_service_nobody_is(path: Path) -> None:
    assert manager_in_charge(ARGS) is None


def test_a_service_is_in_charge_of_what_it_runs(systemd: FakePrograms) -> None:
    assert manager_in_charge(ARGS) is not None


def test_a_daemon_that_was_started_by_hand_is_its_own_master(
    systemd: FakePrograms, service_socket: Path
) -> None:
    systemd.says(DOWN)
    with running_in_thread(service_socket, FakeOperations()):
        assert manager_in_charge(ARGS) is None

import json

import pytest
from attrs import evolve

from ccproxyd.ctl.service.manager import Service, Socket

DOWN = Service("systemd", "ccproxyd.service", "user", "inactive")
PORT = Socket("ccproxyd.socket", active=False)


@pytest.mark.parametrize(
    ("active", "is_up", "pid"),
    [("active", True, 7), ("reloading", True, 7), ("activating", True, 0), ("failed", False, 0)],
)
def test_a_service_that_starts_is_up_but_does_not_run_yet(
    active: str, is_up: bool, pid: int
) -> None:
    found = evolve(DOWN, active=active, pid=7)
    assert (found.is_up, found.running_pid) == (is_up, pid)


@pytest.mark.parametrize(
    ("found", "quiet"),
    [
        (DOWN, True),
        (evolve(DOWN, socket=PORT), True),
        (evolve(DOWN, enabled=True), False),
        (evolve(DOWN, active="active"), False),
        (evolve(DOWN, socket=evolve(PORT, active=True)), False),
        (evolve(DOWN, socket=evolve(PORT, enabled=True)), False),
    ],
)
def test_it_is_quiet_when_nothing_runs_and_nothing_will(found: Service, quiet: bool) -> None:
    assert found.is_quiet is quiet


def test_it_listens_when_its_socket_does() -> None:
    assert not DOWN.listens
    assert evolve(DOWN, socket=evolve(PORT, active=True)).listens


def test_json_has_the_socket_in_it() -> None:
    told = json.loads(json.dumps(evolve(DOWN, socket=evolve(PORT, listens=("a",))).to_json()))
    assert told["socket"]["listens"] == ["a"]
    assert {"manager", "unit", "scope", "active", "enabled", "linger"} <= told.keys()

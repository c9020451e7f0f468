import pytest

from ccproxyd.ctl.service.manager import Socket
from ccproxyd.ctl.service.properties import failure, parse_units, service_of
from tests.ctl.service.fakes import DOWN, FAILED, SOCKET_DOWN, SOCKET_UP, UP


def test_each_unit_has_its_properties_whatever_their_order() -> None:
    units = parse_units("MainPID=7\nId=a.service\n\nListen=1 (Stream)\nId=a.socket\n")
    assert units == {
        "a.service": {"MainPID": "7", "Id": "a.service"},
        "a.socket": {"Listen": "1 (Stream)", "Id": "a.socket"},
    }


def test_a_value_may_contain_what_separates_it_from_its_name() -> None:
    assert parse_units("Id=a\nStatusText=a=b")["a"]["StatusText"] == "a=b"


def test_a_service_that_runs() -> None:
    units = parse_units(UP + SOCKET_UP)
    found = service_of(units["ccproxyd.service"], units["ccproxyd.socket"], "user", linger=True)
    assert (found.active, found.sub, found.enabled, found.pid) == ("active", "running", True, 4711)
    assert found.socket == Socket("ccproxyd.socket", True, True, ("127.0.0.1:4000",))
    assert (found.scope, found.linger, found.failure) == ("user", True, None)


def test_a_service_without_a_socket() -> None:
    unit = parse_units(DOWN)["ccproxyd.service"]
    found = service_of(unit, {"LoadState": "not-found"}, "system", linger=None)
    assert (found.active, found.enabled, found.socket) == ("inactive", False, None)


def test_a_socket_that_is_closed() -> None:
    units = parse_units(DOWN + SOCKET_DOWN)
    found = service_of(units["ccproxyd.service"], units["ccproxyd.socket"], "user", linger=False)
    assert found.socket is not None
    assert (found.socket.active, found.socket.enabled) == (False, False)


def test_a_manager_that_says_nothing_is_no_crash() -> None:
    assert service_of({}, {}, "user", linger=False).active == "unknown"


@pytest.mark.parametrize(
    ("result", "status", "said"),
    [
        ("exit-code", "78", "exit status 78, the config is wrong"),
        ("exit-code", "75", "exit status 75, the port or the lock is somebody else's"),
        ("exit-code", "203", "exit status 203, its executable cannot be run"),
        ("exit-code", "1", "exit status 1"),
        ("signal", "9", "killed by SIGKILL"),
        ("core-dump", "11", "killed by SIGSEGV"),
        ("signal", "99", "killed by signal 99"),
        ("timeout", "0", "it took too long to start or to stop"),
        ("watchdog", "6", "it hung, and the watchdog ended it"),
        ("something-new", "0", "something-new"),
        ("success", "0", None),
    ],
)
def test_how_it_ended_is_said_in_words(result: str, status: str, said: str | None) -> None:
    assert failure({"Result": result, "ExecMainStatus": status}) == said


def test_what_failed_is_told_with_its_state() -> None:
    unit = parse_units(FAILED)["ccproxyd.service"]
    assert (
        service_of(unit, {}, "user", linger=True).failure == "exit status 78, the config is wrong"
    )

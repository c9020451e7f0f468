from ccproxyd.control.status import Fault, LastReload, Status
from tests.control.fakes import STATUS


def test_its_names_are_those_of_the_api() -> None:
    assert list(STATUS.to_json()) == [
        "version",
        "state",
        "pid",
        "uptime_seconds",
        "config_dir",
        "generation",
        "listen",
        "control_socket",
        "labels",
        "lanes",
        "gateway",
        "workers",
        "restarts_total",
        "last_exit",
        "last_reload",
        "template",
        "rule_errors",
        "hook_errors",
        "budgets",
        "warnings",
    ]


def test_the_names_of_its_parts_are_those_of_the_api() -> None:
    value = STATUS.to_json()
    assert set(value["listen"]) == {"host", "port"}
    assert set(value["gateway"]) == {"pid", "uptime_seconds", "rss_bytes", "in_flight"}
    assert set(value["workers"][0]) == {
        "pid",
        "generation",
        "state",
        "uptime_seconds",
        "rss_bytes",
        "in_flight",
    }
    assert set(value["template"]) == {"pid", "rss_bytes"}
    assert set(LastReload().to_json()) == {"ok", "generation", "error", "seconds"}


def test_it_survives_the_socket() -> None:
    assert Status.from_json(STATUS.to_json()) == STATUS


def test_a_fault_may_be_a_bare_text() -> None:
    read = LastReload.from_json({"ok": False, "error": "no space left"})
    assert read == LastReload(ok=False, error=Fault(reason="no space left"))
    assert str(read.error) == "no space left"


def test_a_fault_may_have_a_path() -> None:
    read = LastReload.from_json({"error": {"path": "a.yaml: x", "reason": "is wrong"}})
    assert str(read.error) == "a.yaml: x: is wrong"

from collections.abc import Callable
from pathlib import Path

import pytest

from ccproxyd.control.client import FailedError
from ccproxyd.ctl.commands import Finished
from ccproxyd.ctl.service.launchd import Launchd, failure, parse_service
from tests.ctl.service.fakes import AGENT, AGENT_DOWN, AGENT_UP, Answers, machine_at, write

PRINTED = """\
gui/501/org.ccproxyd.ccproxyd = {
	active count = 1
	path = /Users/a/Library/LaunchAgents/org.ccproxyd.ccproxyd.plist
	state = running

	environment = {
		PATH => /usr/bin
		state = nested
	}

	pid = 4711
	last exit code = (never exited)
}
"""
NOT_LOADED = Finished(113, err='Could not find service "org.ccproxyd.ccproxyd" in domain\n')
BUSY = Finished(5, err="Bootstrap failed: 5: Input/output error\n")
TARGET = "gui/501/org.ccproxyd.ccproxyd"


class Naps:
    """A clock that a nap moves on."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def launchd(tmp_path: Path) -> Callable[..., tuple[Launchd, Answers]]:
    def made(**answers: Finished | Callable[[], Finished]) -> tuple[Launchd, Answers]:
        told, naps = Answers(dict(answers)), Naps()
        machine = machine_at(tmp_path, macos=True)
        write(machine.home / AGENT)
        return Launchd(machine, told, naps.clock, naps.sleep), told

    return made


def turns(*answers: Finished) -> Callable[[], Finished]:
    """Each once, the last for ever."""
    left = list(answers)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def changes(told: Answers) -> list[str]:
    return [line for line in told.ran if "launchctl print" not in line]


def test_only_the_services_own_lines_count() -> None:
    found = parse_service(PRINTED)
    assert (found["state"], found["pid"]) == ("running", "4711")
    assert "PATH" not in found


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({}, None),
        ({"last exit code": "0"}, None),
        ({"last exit code": "(never exited)"}, None),
        ({"last exit code": "78: EX_CONFIG"}, "exit status 78: EX_CONFIG"),
        ({"last terminating signal": "Killed: 9"}, "killed by a signal, Killed: 9"),
    ],
)
def test_how_it_ended_is_said_in_words(known: dict[str, str], said: str | None) -> None:
    assert failure(known) == said


@pytest.mark.parametrize(
    ("printed", "active", "sub"),
    [
        (Finished(0, PRINTED), "active", "running"),
        (Finished(0, AGENT_DOWN), "inactive", "not running"),
        (Finished(0, AGENT_DOWN.replace("code = 0", "code = 1")), "failed", "not running"),
        (NOT_LOADED, "inactive", "not loaded"),
    ],
)
def test_launchds_words_become_ours(launchd, printed: Finished, active: str, sub: str) -> None:
    manager, _ = launchd(**{f"print {TARGET}": printed})
    found = manager.show()
    assert (found.manager, found.scope, found.active, found.sub) == ("launchd", "user", active, sub)
    assert (found.linger, found.socket) == (None, None)


@pytest.mark.parametrize("word", ["disabled", "true"])
def test_an_agent_is_enabled_unless_somebody_has_disabled_it(launchd, word: str) -> None:
    manager, told = launchd()
    assert manager.show().enabled
    told.by_words["print-disabled"] = Finished(0, f'\t"org.ccproxyd.ccproxyd" => {word}\n')
    assert not manager.show().enabled


def test_an_agent_that_is_not_loaded_is_loaded_before_it_is_started(launchd) -> None:
    manager, told = launchd(**{f"print {TARGET}": NOT_LOADED})
    manager.start()
    agent = manager.machine.home / AGENT
    assert changes(told) == [
        f"launchctl bootstrap gui/501 {agent}",
        f"launchctl kickstart {TARGET}",
    ]


def test_an_agent_that_was_started_by_being_loaded_is_no_failure(launchd) -> None:
    manager, _ = launchd(kickstart=Finished(37, err="Operation already in progress\n"))
    manager.start()


def test_loading_is_tried_again_while_launchd_is_busy(launchd) -> None:
    manager, told = launchd(
        **{f"print {TARGET}": NOT_LOADED, "bootstrap": turns(BUSY, BUSY, Finished(0))}
    )
    manager.start()
    assert sum("bootstrap" in line for line in told.ran) == 3


def test_loading_is_given_up_with_launchds_own_words(launchd) -> None:
    manager, _ = launchd(**{f"print {TARGET}": NOT_LOADED, "bootstrap": BUSY})
    with pytest.raises(FailedError) as caught:
        manager.start()
    assert str(caught.value) == (
        "cannot start org.ccproxyd.ccproxyd: launchctl says: Bootstrap failed: 5: Input/output "
        "error; see: ccproxyctl logs"
    )


def test_it_is_stopped_by_a_signal_and_waited_for(launchd) -> None:
    up, down = Finished(0, AGENT_UP), Finished(0, AGENT_DOWN)
    manager, told = launchd(**{f"print {TARGET}": turns(up, up, up, down)})
    manager.stop()
    assert changes(told) == [f"launchctl kill SIGTERM {TARGET}"]
    assert manager.clock() > 0


def test_it_is_not_waited_for_when_told_so(launchd) -> None:
    manager, told = launchd(**{f"print {TARGET}": Finished(0, AGENT_UP)})
    manager.stop(wait=False)
    assert changes(told) == [f"launchctl kill SIGTERM {TARGET}"]


def test_one_that_does_not_end_is_a_failure(launchd) -> None:
    manager, _ = launchd(**{f"print {TARGET}": Finished(0, AGENT_UP)})
    with pytest.raises(FailedError, match="still stopping"):
        manager.stop()


def test_a_restart_loads_it_anew_since_its_file_may_have_changed(launchd) -> None:
    down = Finished(0, AGENT_DOWN)
    manager, told = launchd(**{f"print {TARGET}": turns(down, down, down, NOT_LOADED)})
    manager.restart()
    assert [line.split()[1] for line in changes(told)] == ["bootout", "bootstrap", "kickstart"]


def test_a_changed_file_is_read_at_the_next_start(launchd) -> None:
    manager, told = launchd(**{f"print {TARGET}": Finished(0, AGENT_UP)})
    manager.refresh()
    assert changes(told) == []
    down = Finished(0, AGENT_DOWN)
    told.by_words[f"print {TARGET}"] = turns(down, down, down, down, down, NOT_LOADED)
    manager.refresh()
    assert [line.split()[1] for line in changes(told)] == ["bootout"]


def test_enabling_is_launchds_and_lingering_is_not(launchd) -> None:
    manager, told = launchd()
    manager.enable()
    manager.forget()
    assert told.ran == [f"launchctl enable {TARGET}"]
    with pytest.raises(FailedError, match="login session"):
        manager.linger()


def test_its_log_is_a_file_of_its_own(launchd) -> None:
    manager, _ = launchd()
    home = manager.machine.home
    assert manager.log == home / "Library/Logs/ccproxyd/ccproxyd.log"
    assert manager.reason() is None
    write(manager.log, "one\nccproxyd: no\n")
    assert list(manager.logs(1, follow=False)) == ["ccproxyd: no"]
    assert manager.reason() == "no"
    assert manager.reason(manager.log.stat().st_mtime + 1) is None


def test_it_is_spoken_to_where_a_daemon_without_an_environment_listens(launchd) -> None:
    manager, _ = launchd()
    assert manager.control_socket.name == "control.sock"
    assert str(manager.machine.root / "run") not in str(manager.control_socket)
    assert manager.tells_ready is False

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from ccproxyd.control.client import FailedError, NotPermittedError
from ccproxyd.ctl.commands import Finished
from ccproxyd.ctl.service.manager import Scope
from ccproxyd.ctl.service.systemd import Systemd, systemd_of
from tests.ctl.service.fakes import (
    DOWN,
    FAILED,
    JOB_FAILED,
    SOCKET_DOWN,
    SOCKET_UP,
    UP,
    Answers,
    fake_systemd,
    machine_at,
    write,
)

NO_BUS = Finished(1, err="Failed to connect to bus: No medium found\n")
DENIED = Finished(
    1,
    err="Failed to stop ccproxyd.socket: Interactive authentication required.\n"
    "See system logs and 'systemctl status ccproxyd.socket' for details.\n",
)


class Time:
    """A clock that a nap moves on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def systemd(tmp_path: Path) -> Callable[..., tuple[Systemd, Answers]]:
    """A manager, and the answers that it gets; shown is a service that is down, if not told."""

    def made(
        scope: Scope = "user", **answers: Finished | Callable[[], Finished]
    ) -> tuple[Systemd, Answers]:
        told = Answers({**answers, " show ": Finished(0, DOWN + SOCKET_DOWN)})
        time = Time()
        return (
            Systemd(machine_at(tmp_path), scope, told, time.clock, time.sleep),
            told,
        )

    return made


def journal(*messages: str) -> Finished:
    lines = [json.dumps({"SYSLOG_IDENTIFIER": "ccproxyd", "MESSAGE": one}) for one in messages]
    return Finished(0, "\n".join(lines))


# What it knows


def test_both_units_are_asked_about_at_once(systemd) -> None:
    manager, told = systemd()
    told.by_words[" show "] = Finished(0, UP + SOCKET_UP)
    found = manager.show()
    assert (found.active, found.listens, found.linger) == ("active", True, False)
    [asked] = told.ran
    assert asked.startswith(
        "systemctl --user --no-pager show ccproxyd.service ccproxyd.socket --prop"
    )


def test_a_user_lingers_when_logind_has_noted_it(systemd) -> None:
    manager, _ = systemd()
    write(manager.machine.root / "var/lib/systemd/linger/alice")
    assert manager.show().linger is True


def test_the_systems_service_does_not_linger(systemd) -> None:
    manager, told = systemd("system")
    assert manager.show().linger is None
    assert "--user" not in told.ran[0]
    assert manager.control_socket == manager.machine.root / "run/ccproxyd/control.sock"


def test_without_a_users_systemd_it_is_said_how_to_get_one(systemd) -> None:
    manager, told = systemd()
    told.by_words[" show "] = NO_BUS
    with pytest.raises(FailedError) as caught:
        manager.show()
    assert str(caught.value) == (
        "cannot show ccproxyd.service: systemctl --user says: Failed to connect to bus: No medium "
        "found; log in as alice, or: export XDG_RUNTIME_DIR=/run/user/501"
    )


# Starting and stopping


def test_a_start_forgets_an_earlier_failure(systemd) -> None:
    manager, told = systemd()
    manager.start()
    assert told.ran == [
        "systemctl --user --no-pager reset-failed ccproxyd.service ccproxyd.socket",
        "systemctl --user --no-pager start ccproxyd.service",
    ]


def test_a_start_that_fails_says_what_the_daemon_said(systemd) -> None:
    said = journal("starting", "ccproxyd: config.yaml: model_list: must be a list")
    manager, told = systemd(**{" start ": Finished(1, err=JOB_FAILED), "journalctl": said})
    with pytest.raises(FailedError) as caught:
        manager.start()
    assert str(caught.value) == (
        "cannot start ccproxyd.service: config.yaml: model_list: must be a list; "
        "see: ccproxyctl logs"
    )
    assert told.ran[-1].startswith("journalctl --quiet --no-pager --user-unit=ccproxyd.service")
    assert told.ran[-1].endswith("--since=@1000.000000")


def test_the_journal_is_given_a_moment(systemd) -> None:
    says = iter([journal(), journal(), journal("ccproxyd: no")])
    manager, _ = systemd(journalctl=lambda: next(says))
    assert manager.reason(1000.0) == "no"


def test_a_daemon_that_said_nothing_is_told_by_its_end(systemd) -> None:
    manager, told = systemd(**{" start ": Finished(1, err=JOB_FAILED), "journalctl": journal()})
    told.by_words[" show "] = Finished(0, FAILED + SOCKET_UP)
    with pytest.raises(FailedError, match="exit status 78, the config is wrong"):
        manager.start()


def test_a_start_that_takes_too_long_is_told_as_that(systemd) -> None:
    late = "Job for ccproxyd.service failed because a timeout was exceeded.\n"
    manager, told = systemd(
        **{" start ": Finished(1, err=late), "journalctl": journal("ccproxyd: old")}
    )
    told.by_words[" show "] = Finished(0, FAILED.replace("exit-code", "timeout"))
    with pytest.raises(FailedError, match="it took too long to start"):
        manager.start()


def test_a_start_that_was_called_off_is_told_in_systemctls_words(systemd) -> None:
    manager, _ = systemd(
        **{" start ": Finished(1, err="Job for ccproxyd.service canceled.\n")},
        journalctl=journal("ccproxyd: old"),
    )
    with pytest.raises(FailedError, match=r"ccproxyd\.service: Job for .* canceled; see"):
        manager.start()


def test_a_stop_takes_the_socket_with_it(systemd) -> None:
    manager, told = systemd()
    manager.stop()
    manager.stop(wait=False)
    assert [line for line in told.ran if " show " not in line] == [
        "systemctl --user --no-pager stop ccproxyd.socket ccproxyd.service",
        "systemctl --user --no-pager stop ccproxyd.socket ccproxyd.service --no-block",
    ]


def test_a_socket_that_somebody_left_out_is_not_missed(systemd) -> None:
    manager, told = systemd()
    told.by_words[" show "] = Finished(0, UP)
    manager.disable()
    assert told.ran[-1].endswith(" disable ccproxyd.service --now --quiet")


def test_what_is_not_permitted_is_systemctls_to_say(systemd) -> None:
    manager, _ = systemd("system", **{" stop ": DENIED})
    with pytest.raises(NotPermittedError) as caught:
        manager.stop()
    assert str(caught.value) == (
        "cannot stop ccproxyd.service: systemctl says: Failed to stop ccproxyd.socket: Interactive "
        "authentication required; as root: systemctl stop ccproxyd.socket ccproxyd.service"
    )


def test_nobody_is_asked_for_a_password(systemd) -> None:
    manager, told = systemd("system")
    manager.restart()
    assert all("--no-ask-password" in line for line in told.ran)
    assert told.ran[-1].endswith(" restart ccproxyd.service")


def test_a_machine_without_systemctl_is_told_so(tmp_path: Path) -> None:
    machine = evolve(machine_at(tmp_path), environ={"PATH": str(tmp_path)})
    with pytest.raises(FailedError, match="cannot run systemctl: No such file"):
        systemd_of("user", machine).start()


# Its files


def test_a_changed_port_is_opened_anew_unless_the_daemon_has_it(systemd) -> None:
    manager, told = systemd()
    manager.refresh()
    assert told.ran[0].endswith("daemon-reload")
    assert not any(" restart " in line for line in told.ran)
    told.by_words[" show "] = Finished(0, DOWN + SOCKET_UP)
    manager.refresh()
    assert told.ran[-1].endswith(" restart ccproxyd.socket")
    told.ran.clear()
    told.by_words[" show "] = Finished(0, UP + SOCKET_UP)
    manager.refresh()
    assert not any(" restart " in line for line in told.ran)


def test_enabling_and_forgetting_are_about_both_units(systemd) -> None:
    manager, told = systemd()
    manager.enable()
    manager.forget()
    assert told.ran[-2].endswith(" enable ccproxyd.socket ccproxyd.service --quiet")
    assert told.ran[-1].endswith(" reset-failed ccproxyd.service ccproxyd.socket")


def test_lingering_is_loginds(systemd) -> None:
    manager, told = systemd()
    manager.linger()
    assert told.ran == ["loginctl enable-linger alice"]
    told.by_words["loginctl"] = Finished(1, err="Could not enable linger: Access denied\n")
    with pytest.raises(FailedError, match=r"Access denied; try: sudo loginctl enable-linger alice"):
        manager.linger()


# Its log


def test_the_journal_shows_the_last_lines_and_goes_on(systemd) -> None:
    manager, told = systemd("system", journalctl=Finished(0, "a\nb\n"))
    assert list(manager.logs(7, follow=True)) == ["a\n", "b\n"]
    assert told.ran == [
        "journalctl --quiet --no-pager --unit=ccproxyd.service --output=cat --lines=7 --follow"
    ]


def test_the_reason_of_an_earlier_end_is_looked_for_from_the_last_start_on(systemd) -> None:
    manager, told = systemd(
        **{"--property=ExecMainStart": Finished(0, "Sat 2026-01-03 04:05:06 UTC\n")},
        journalctl=journal("ccproxyd: no"),
    )
    assert manager.reason() == "no"
    assert told.ran[-1].endswith("'--since=Sat 2026-01-03 04:05:06 UTC'")


# With executables in place of a fake


def test_a_whole_life_with_programs_that_only_seem_to_be_systemd(tmp_path: Path) -> None:
    fake = fake_systemd(tmp_path)
    fake.becomes(UP + SOCKET_UP, "start")
    fake.becomes(DOWN + SOCKET_DOWN, "stop")
    manager = systemd_of("user", machine_at(tmp_path))
    manager.start()
    assert manager.show().is_up
    manager.stop()
    assert not manager.show().is_up
    assert fake.calls() == [
        "systemctl --user --no-pager reset-failed ccproxyd.service ccproxyd.socket",
        "systemctl --user --no-pager start ccproxyd.service",
        "systemctl --user --no-pager stop ccproxyd.socket ccproxyd.service",
    ]

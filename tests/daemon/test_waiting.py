from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from ccproxyd import __version__
from ccproxyd.control.client import FailedError
from ccproxyd.control.errors import ControlError
from ccproxyd.control.status import Status
from ccproxyd.daemon import waiting as waiting_module
from ccproxyd.daemon.house import House
from ccproxyd.daemon.phases import Daemon
from ccproxyd.daemon.waiting import Waiting
from ccproxyd.errors import AddressInUseError, ConfigError
from tests.daemon.dolls import Street

pytestmark = pytest.mark.anyio

WRONG = "ccproxy.yaml: ccproxy.prot: unknown key; did you mean 'port'?"


@pytest.fixture
def wrong(street: Street) -> Iterator[Street]:
    """A place whose config is wrong."""
    street.config.write(ours={"prot": 1})
    return street


async def test_its_status_says_what_is_wrong_and_what_to_do(wrong: Street) -> None:
    async with wrong.living(waits=True):
        answer = await wrong.ask("status")
    told = Status.from_json(answer)
    assert set(answer) == set(Status().to_json())
    assert (told.state, told.pid, told.version) == ("degraded", os.getpid(), __version__)
    assert told.config_dir == str(wrong.directories.config)
    assert told.control_socket == str(wrong.directories.control_socket)
    assert (told.gateway, told.workers, told.listen.port) == (None, (), 0)
    assert told.warnings == (
        f"nothing is served: the config is wrong: {WRONG}; next: ccproxyctl check;"
        " when that is mended: ccproxyctl reload",
    )
    assert told.last_reload is not None
    assert (told.last_reload.ok, str(told.last_reload.error)) == (False, WRONG)


async def test_what_is_wrong_is_told_without_a_secret_that_it_quotes(street: Street) -> None:
    street.config.write(ours={"port": "password=hunter2"})
    async with street.living(waits=True):
        status = await street.ask("status")
        with pytest.raises(FailedError) as refused:
            await street.ask("reload")
    told = [str(status), str(refused.value)]
    assert ["password=[redacted]" in one for one in told] == [True, True]
    assert "hunter2" not in f"{told} {street.notified}"


async def test_a_service_manager_hears_that_it_is_up_and_why_it_does_nothing(
    wrong: Street,
) -> None:
    async with wrong.living(waits=True):
        assert wrong.notified == ["READY=1"]
        assert wrong.facts("cannot start, so waiting for another config") == [{"because": WRONG}]
    assert wrong.notified == ["READY=1", "STOPPING=1"]
    assert wrong.codes == [0]


@pytest.mark.parametrize(
    ("verb", "payload"),
    [("stats", None), ("routes", None), ("restart", {"what": "all"}), ("explain", {"body": {}})],
)
async def test_what_it_cannot_do_is_answered_with_the_reason(
    wrong: Street, verb: str, payload: dict[str, Any] | None
) -> None:
    async with wrong.living(waits=True):
        with pytest.raises(FailedError) as caught:
            await wrong.ask(verb, payload)
    assert str(caught.value) == (
        f"cannot {verb}: the config is wrong: {WRONG}; next: ccproxyctl check"
    )


async def test_a_config_that_is_wrong_still_is_named_again(wrong: Street) -> None:
    async with wrong.living(waits=True) as daemon:
        with pytest.raises(FailedError) as caught:
            await wrong.ask("reload")
        assert str(caught.value) == f"cannot reload: {WRONG}"
        assert caught.value.error is not None
        assert caught.value.error.type == "WaitingForConfig"
        wrong.config.write(ours={"port": "x"})
        os.kill(os.getpid(), signal.SIGHUP)
        told = await wrong.logged("cannot reload", times=2)
        assert "ccproxy.port" in told["because"]
        assert isinstance(daemon.phase, Waiting)
        status = Status.from_json(await wrong.ask("status"))
        assert status.last_reload is not None
        assert "ccproxy.port" in str(status.last_reload.error)


async def test_a_good_config_is_served_before_the_reload_is_answered(wrong: Street) -> None:
    async with wrong.living(waits=True):
        wrong.config.write()
        answer = await wrong.ask("reload")
        assert wrong.facts("ready")
        status = Status.from_json(await wrong.ask("status"))
    assert (answer["ok"], answer["generation"], answer["changed"]) == (True, 1, "workers")
    assert status.state == "ready"
    assert status.last_reload is not None
    assert status.last_reload.ok


async def test_two_reloads_at_once_are_one_start(wrong: Street) -> None:
    answers = []

    async def reload() -> None:
        answers.append((await wrong.ask("reload"))["ok"])

    async with wrong.living(waits=True):
        wrong.config.write()
        async with anyio.create_task_group() as group:
            group.start_soon(reload)
            group.start_soon(reload)
        assert (answers, len(wrong.facts("ready"))) == ([True, True], 1)


async def test_a_port_that_is_taken_meanwhile_is_told_and_waited_for_too(wrong: Street) -> None:
    async with wrong.living(waits=True) as daemon:
        assert isinstance(daemon.phase, Waiting)
        build = daemon.phase.build
        daemon.phase.build = _taken
        wrong.config.write()
        with pytest.raises(FailedError, match=r"^cannot listen on 127.0.0.1:1: nginx has the port"):
            await wrong.ask("reload")
        [warning] = (await wrong.ask("status"))["warnings"]
        assert warning.startswith("nothing is served: cannot listen on 127.0.0.1:1")
        daemon.phase.build = build
        assert (await wrong.ask("reload"))["ok"]


def _taken(_: object) -> House:
    raise AddressInUseError("cannot listen on 127.0.0.1:1: nginx has the port")


async def test_stop_ends_it(wrong: Street) -> None:
    async with wrong.living(waits=True):
        assert (await wrong.ask("stop")) == {"ok": True, "pid": os.getpid()}
        await wrong.until(lambda: wrong.notified[-1] == "STOPPING=1")
    assert wrong.codes == [0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it(wrong: Street, number: signal.Signals) -> None:
    async with wrong.living(waits=True):
        os.kill(os.getpid(), number)
        await wrong.until(lambda: wrong.notified[-1] == "STOPPING=1")
    assert wrong.codes == [0]


async def test_a_reload_that_is_overtaken_by_a_stop_says_so(wrong: Street) -> None:
    told = []

    async def reload() -> None:
        with pytest.raises(FailedError) as caught:
            await wrong.ask("reload")
        told.append(str(caught.value))

    async with wrong.living(waits=True) as daemon, anyio.create_task_group() as group:
        wrong.config.write(doll="mute")
        group.start_soon(reload)
        await wrong.until(lambda: wrong.facts("output"))
        assert (await wrong.ask("status"))["state"] == "starting"
        daemon.phase.end()
    assert told == ["cannot reload: ccproxyd is stopping"]


async def test_a_start_that_takes_too_long_goes_on_unattended(
    wrong: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_module, "START_SECONDS", 0.0)
    async with wrong.living(waits=True) as daemon:
        wrong.config.write(doll="mute")
        with pytest.raises(FailedError, match="the config is good, but nothing serves yet"):
            await wrong.ask("reload")
        assert isinstance(daemon.phase, House)
        assert (await wrong.ask("status"))["state"] == "starting"


async def test_a_house_that_comes_too_late_is_not_moved_into(wrong: Street) -> None:
    async with wrong.living(waits=True) as daemon:
        phase = daemon.phase
        assert isinstance(phase, Waiting)
        phase.end()
        wrong.config.write()
        phase.house = house = wrong.house()
    house.owned.listener.close()
    assert daemon.phase is phase
    assert wrong.codes == [0]


def test_a_refusal_is_not_taken_for_one_after_which_an_old_config_goes_on() -> None:
    refusal = waiting_module._refusal(ConfigError("a", "b"))
    assert isinstance(refusal, ControlError)
    assert (refusal.type, refusal.code, str(refusal)) == ("WaitingForConfig", 422, "a: b")


async def test_a_daemon_that_waits_is_in_no_hurry(street: Street) -> None:
    daemon: Daemon = street.daemon(waits=True)
    waiting = daemon._wait(ConfigError("a", "b"))
    waiting.hurry()
    assert not waiting.over.is_set()

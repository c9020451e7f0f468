from __future__ import annotations

import os
import signal
import stat
from typing import Any

import anyio
import pytest

from ccproxyd.control.client import FailedError
from ccproxyd.daemon.house import House
from ccproxyd.daemon.phases import Daemon
from ccproxyd.daemon.waiting import Waiting
from ccproxyd.errors import AddressInUseError, CcproxydError, ConfigError
from ccproxyd.supervision.lifecycle import State
from tests.daemon.dolls import Idle, Street, only_worker
from tests.supervision.children import PATIENCE, reaches

pytestmark = pytest.mark.anyio


def house_of(daemon: Daemon) -> House:
    assert isinstance(daemon.phase, House)
    return daemon.phase


async def ended_with(street: Street, daemon: Daemon) -> CcproxydError:
    with anyio.fail_after(PATIENCE), pytest.raises(CcproxydError) as caught:
        await daemon.run(street.read())
    return caught.value


async def test_the_control_socket_is_there_for_as_long_as_the_daemon(street: Street) -> None:
    socket = street.directories.control_socket
    async with street.living() as daemon:
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        assert (await street.ask("status"))["state"] in ("starting", "ready")
        await street.logged("ready")
        assert (await street.ask("explain", {"body": {}}))["workers"] == ["1.0"]
        assert (await street.ask("stop"))["ok"]
        assert house_of(daemon).stop_asked
    assert street.codes == [0]
    assert not socket.exists()


async def test_sigterm_ends_the_daemon(street: Street) -> None:
    async with street.living() as daemon:
        await street.logged("ready")
        os.kill(os.getpid(), signal.SIGTERM)
        await house_of(daemon).ending.wait()
    assert street.codes == [0]
    assert street.notified[-1] == "STOPPING=1"


async def test_a_second_signal_does_not_wait_for_anybody(street: Street) -> None:
    street.config.write(doll="deaf")
    async with street.living() as daemon:
        await street.logged("ready")
        worker = only_worker(house_of(daemon))
        os.kill(os.getpid(), signal.SIGINT)
        await reaches(worker, State.STOPPING)
        os.kill(os.getpid(), signal.SIGTERM)
    assert worker.last_exit == "killed by SIGKILL"


async def test_sighup_is_a_reload(street: Street) -> None:
    async with street.living():
        await street.logged("ready")
        street.config.write(ours={"debug": True})
        os.kill(os.getpid(), signal.SIGHUP)
        assert (await street.logged("reloaded"))["what"] == "rules"


async def test_a_reload_by_sighup_that_fails_ends_nothing(street: Street) -> None:
    async with street.living() as daemon:
        await street.logged("ready")
        street.config.write(ours={"prot": 1})
        os.kill(os.getpid(), signal.SIGHUP)
        told = await street.logged("cannot reload")
        assert "did you mean 'port'" in told["because"]
        assert house_of(daemon).state == "ready"


async def test_a_reload_by_sighup_with_a_fault_of_ours_ends_nothing(street: Street) -> None:
    class Broken:
        async def reload(self) -> None:
            raise KeyError("what the user asked")

    daemon = street.daemon()
    phase: Any = type("Phase", (), {"operations": Broken()})()
    daemon.phase = phase
    await daemon.reload_aside()
    assert street.facts("cannot reload") == [{"because": "internal error: KeyError"}]


@pytest.mark.parametrize("ours", [None, {"prot": 1}])
async def test_the_watchdog_is_fed_in_every_phase(
    street: Street, monkeypatch: pytest.MonkeyPatch, ours: dict[str, int] | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    street.config.write(ours=ours)
    async with street.living(waits=True):
        await street.until(lambda: street.notified.count("WATCHDOG=1") >= 3)


async def test_a_wrong_config_ends_a_daemon_that_does_not_wait_for_another(street: Street) -> None:
    street.config.idle(Idle.REFUSED)
    error = await ended_with(street, street.daemon())
    assert isinstance(error, ConfigError)
    assert not street.directories.control_socket.exists()


@pytest.mark.parametrize("waits", [False, True])
async def test_what_another_config_would_not_mend_ends_the_daemon(
    street: Street, waits: bool
) -> None:
    street.config.idle(Idle.REFUSED_WITHOUT_A_PLACE)
    error = await ended_with(street, street.daemon(waits=waits))
    assert (str(error), error.exit_code) == ("internal error", 1)


async def test_a_port_that_is_not_to_be_had_leaves_no_socket_behind(street: Street) -> None:
    def build(_: object) -> House:
        raise AddressInUseError("cannot listen")

    daemon = street.daemon(waits=True)
    daemon.build = build
    assert (await ended_with(street, daemon)).exit_code == 75
    assert not street.directories.control_socket.exists()


async def test_a_daemon_waits_for_a_config_that_its_gateway_takes(street: Street) -> None:
    street.config.idle(Idle.REFUSED)
    async with street.living(waits=True) as daemon:
        await street.logged("cannot start, so waiting for another config")
        told = await street.ask("status")
        assert (told["state"], told["workers"], told["generation"]) == ("degraded", [], 0)
        assert told["last_reload"]["error"]["path"] == "ccproxy.yaml: ccproxy.rules[0]"
        assert "bad; did you mean 'good'?" in told["warnings"][0]
        with pytest.raises(FailedError, match="bad; did you mean 'good'"):
            await street.ask("reload")
        await street.until(lambda: isinstance(daemon.phase, Waiting))
        street.config.write()
        answer = await street.ask("reload")
        assert (answer["ok"], answer["generation"], answer["changed"]) == (True, 1, "workers")
        assert (await street.ask("status"))["state"] == "ready"
    assert street.codes == [0]
    assert street.notified.count("STOPPING=1") == 1
    assert street.notified[-1] == "STOPPING=1"


async def test_a_daemon_waits_for_a_model_that_litellm_knows(street: Street) -> None:
    street.config.write(doll="drops", model="google/gemini-3")
    async with street.living(waits=True):
        told = await street.logged("cannot start, so waiting for another config")
        assert "did you mean 'gemini/gemini-3'" in told["because"]
        street.config.write()
        os.kill(os.getpid(), signal.SIGHUP)
        await street.logged("ready")
        assert (await street.ask("status"))["warnings"] == []


async def test_who_is_told_to_stop_while_a_start_fails_does_not_wait(street: Street) -> None:
    class Failing:
        stop_asked = False

        async def run(self) -> None:
            self.stop_asked = True
            raise ConfigError("ccproxy.yaml", "is wrong")

    daemon = street.daemon(waits=True)
    build: Any = lambda _: Failing()  # noqa: E731
    daemon.build = build
    assert await daemon.run(street.read()) == 0
    assert street.facts("cannot start, so waiting for another config") == []

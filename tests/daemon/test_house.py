from __future__ import annotations

import importlib.metadata
import os
import signal
import socket
import stat
from typing import Any

import anyio
import pytest
from attrs import evolve

from ccproxyd.config.load import load
from ccproxyd.daemon import house as house_module
from ccproxyd.daemon.change import reload, restart
from ccproxyd.daemon.house import House
from ccproxyd.errors import ConfigError
from ccproxyd.supervision.lifecycle import State, Wanted
from ccproxyd.supervision.supervisor import Supervised
from ccproxyd.supervision.template import ForkedChild, can_fork
from tests.daemon.dolls import (
    REFUSING,
    Idle,
    Street,
    ask_gateway,
    gateway_lists,
    only_worker,
    raised,
)
from tests.supervision.children import command, life_of, reaches

pytestmark = pytest.mark.anyio


async def test_a_house_is_ready_when_gateway_and_workers_are(street: Street) -> None:
    async with street.ready() as house:
        assert house.state == "ready"
        assert (await ask_gateway(house))["workers"] == ["1.0"]
        assert street.facts("ready")[0]["labels"] == ["default"]
    assert street.notified[:2] == ["EXTEND_TIMEOUT_USEC=150000000", "READY=1"]


async def test_a_house_leaves_nothing_behind(street: Street) -> None:
    async with street.ready() as house:
        files = sorted(file.name for file in street.directories.runtime.iterdir())
        assert any(name.endswith(".yaml") for name in files)
        pids = [life.child.pid for life in (house.gateway, only_worker(house)) if life.child]
    assert list(street.directories.runtime.glob("worker-*")) == []
    assert house.owned.listener.fileno() == -1
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert street.notified[-1] == "STOPPING=1"
    assert [event for _, event, _ in street.records][-1] == "stopped"


LAZY = {"workers": {"lazy": True}}


async def test_litellm_may_sleep_until_a_request_needs_it(street: Street) -> None:
    street.config.write(ours=LAZY)
    async with street.ready() as house:
        assert house.serves
        assert list(house.generations.workers()) == []
        assert (await ask_gateway(house))["workers"] == []
        await ask_gateway(house, say=[{"kind": "wanted"}, {"kind": "wanted"}])
        await gateway_lists(house, "1.0")
        assert not house.generations.asleep
        assert len(street.facts("starting LiteLLM, since a request needs it")) == 1
        assert house.shown_state == "ready"


async def test_litellm_does_not_sleep_where_a_label_needs_it(street: Street) -> None:
    street.config.write(ours=LAZY, model="gemini/pro")
    async with street.ready() as house:
        assert (await ask_gateway(house))["workers"] == ["1.0"]
        reason = "ccproxy.workers.lazy has no effect: default: LiteLLM translates for gemini"
        assert house.complaints() == [reason]
        assert street.facts(reason) == [{}]


async def test_a_litellm_that_is_woken_and_drops_a_model_is_complained_about(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dropped(*_: object) -> None:
        raise ConfigError("config.yaml: model_list[0]", "LiteLLM drops it")

    street.config.write(ours=LAZY)
    monkeypatch.setattr(house_module, "check_models", dropped)
    async with street.ready() as house:
        await ask_gateway(house, say=[{"kind": "wanted"}])
        told = await street.logged("cannot start LiteLLM")
        assert told == {"because": "config.yaml: model_list[0]: LiteLLM drops it"}
        assert house.state == "ready"


async def test_nobody_is_woken_by_a_house_that_stops(street: Street) -> None:
    street.config.write(ours=LAZY)
    async with street.ready() as house:
        house.end()
        house.wake()
        assert house.generations.asleep


async def test_what_workers_are_given_is_for_the_owner_alone(street: Street) -> None:
    async with street.ready():
        for file in street.directories.runtime.glob("worker-*"):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_warnings_of_the_config_are_logged(street: Street) -> None:
    street.config.write(models=("think",))
    async with street.ready() as house:
        warnings = [event for level, event, _ in street.records if level == "warning"]
        assert warnings == list(house.loaded.warnings) != []


async def test_a_port_of_the_service_managers_that_is_another_is_complained_about(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANAGERPID", "1")
    street.config.write(ours={"port": 4001})
    async with street.ready(passed=True) as house:
        [complaint] = house.complaints()
        host, port = house.owned.address
        assert complaint.startswith(
            "ccproxy.yaml asks for 127.0.0.1:4001, but ccproxyd.socket of the service manager"
            f" holds {host}:{port}; "
        )
        assert "`systemctl --user edit ccproxyd.socket`" in complaint
        assert ("warning", complaint, {}) in street.records
        street.config.write(ours={"port": port, "host": "localhost"})
        assert (await reload(house)).what == "rules"
        assert house.complaints() == []


@pytest.mark.parametrize("how", [{"passed": True}, {"passed": False}])
async def test_a_port_that_is_as_it_was_asked_for_is_not_complained_about(
    street: Street, how: dict[str, bool]
) -> None:
    async with street.ready(**how) as house:
        assert house.complaints() == []


async def test_a_debug_that_came_by_a_reload_says_how_it_takes_effect(street: Street) -> None:
    async with street.ready() as house:
        house.log = evolve(house.log, in_detail=False)
        street.config.write(ours={"debug": True})
        await reload(house)
        [complaint] = house.complaints()
        assert complaint.startswith("ccproxy.debug is read at the start: run ccproxyctl stop")


async def test_arguments_ask_for_a_port_as_well(street: Street) -> None:
    async with street.ready(passed=True, fixed=True) as house:
        assert house.complaints() == []
        house.owned = evolve(house.owned, port=4001)
        assert house.complaints()[0].startswith("the arguments ask for 127.0.0.1:4001, but ")


@pytest.mark.usefixtures("_no_delay")
async def test_a_worker_that_is_killed_is_replaced_and_the_gateway_is_told(street: Street) -> None:
    async with street.ready() as house:
        worker = only_worker(house)
        assert worker.child is not None
        worker.child.signal(signal.SIGKILL)
        told = await street.logged("cannot keep worker 1.0 running")
        assert told["because"] == "killed by SIGKILL"
        await street.logged("process is ready", times=3)
        await gateway_lists(house, "1.0")
        assert house.restarts_total == 1
        assert house.last_exit == "1.0: killed by SIGKILL"


@pytest.mark.usefixtures("_no_delay")
async def test_a_worker_that_crashed_still_drains_as_long_as_the_gateway_has_it(
    street: Street,
) -> None:
    async with street.ready() as house:
        worker = only_worker(house)
        assert worker.child is not None
        worker.child.signal(signal.SIGKILL)
        await street.logged("process is ready", times=3)
        await gateway_lists(house, "1.0")
        await ask_gateway(house, hold=True)
        worker.want(Wanted.DRAIN)
        await reaches(worker, State.DRAINING)
        await anyio.wait_all_tasks_blocked()
        await ask_gateway(house)
        assert worker.state is State.DRAINING
        await ask_gateway(house, hold=False)
        await worker.gone.wait()


@pytest.mark.usefixtures("_no_delay")
async def test_a_gateway_that_is_killed_gets_config_and_workers_again(street: Street) -> None:
    async with street.ready() as house:
        await ask_gateway(house, say=[{"kind": "decided", "request_id": "r1", "routing_ms": 1.0}])
        assert house.stats.to_json()["in_flight"] == 1
        assert house.gateway.child is not None
        house.gateway.child.signal(signal.SIGKILL)
        await street.logged("cannot keep the gateway running")
        assert house.stats.to_json()["in_flight"] == 0
        await street.logged("process is ready", times=3)
        await gateway_lists(house, "1.0")
        assert (await ask_gateway(house))["heard"][:3] == ["prepare", "commit", "workers"]


async def test_a_rule_that_does_not_load_ends_a_daemon_that_starts(street: Street) -> None:
    street.config.idle(Idle.REFUSED)
    error = await raised(street.house())
    assert isinstance(error, ConfigError)
    assert str(error) == "ccproxy.yaml: ccproxy.rules[0]: bad; did you mean 'good'?"


async def test_a_fault_of_the_gateways_ends_a_daemon_that_starts(street: Street) -> None:
    street.config.idle(Idle.REFUSED_WITHOUT_A_PLACE)
    error = await raised(street.house())
    assert (str(error), error.exit_code) == ("internal error", 1)


async def test_a_model_that_litellm_dropped_ends_a_daemon_that_starts(street: Street) -> None:
    street.config.write(doll="drops", model="google/gemini-3")
    error = await raised(street.house())
    assert isinstance(error, ConfigError)
    assert error.path == "config.yaml: model_list[0].litellm_params.model"
    assert error.hint == "gemini/gemini-3"


@pytest.mark.usefixtures("_no_delay")
async def test_workers_that_do_not_come_up_are_tried_again_and_complained_about(
    street: Street,
) -> None:
    street.config.write(doll="failed")
    async with street.built() as house:
        await street.logged("cannot keep worker 1.0 running", times=6)
        assert house.state == "starting"
        [complaint] = house.complaints()
        assert "worker 1.0 keeps dying" in complaint
        assert "ValueError: gpt-99" in complaint or "importing" in complaint
    assert "READY=1" not in street.notified


async def test_a_house_may_be_told_to_stop_before_it_is_ready(street: Street) -> None:
    street.config.write(doll="mute")
    async with street.built() as house:
        await house.gateway.ready.wait()
    assert "READY=1" not in street.notified
    assert house.state == "stopping"


async def test_workers_that_get_ready_while_the_house_stops_come_too_late(street: Street) -> None:
    async with street.ready() as house:
        house.end()
        generation = house.generations.current
        assert generation is not None
        house.owned.listener.close()
        await house._first_ready(generation)
        assert house.state == "stopping"
    assert street.notified.count("READY=1") == 1


async def test_the_first_reason_to_end_is_kept(street: Street) -> None:
    house = street.house()
    house.end(ConfigError("a", "b"))
    house.end(ConfigError("c", "d"))
    assert str(house.error) == "a: b"
    assert not house.stop_asked
    house.end()
    assert house.stop_asked
    house.owned.listener.close()


async def test_a_house_in_a_hurry_does_not_wait_for_anybody(street: Street) -> None:
    street.config.write(doll="deaf")
    async with street.ready() as house:
        worker = only_worker(house)
        house.end()
        await reaches(worker, State.STOPPING)
        house.hurry()
    assert worker.last_exit == "killed by SIGKILL"


async def test_a_start_that_failed_is_not_told_as_a_stop(street: Street) -> None:
    street.config.idle(Idle.REFUSED)
    await raised(street.house())
    assert "STOPPING=1" not in street.notified


async def test_what_a_worker_prints_is_logged_until_it_has_served(street: Street) -> None:
    async with street.ready() as house:
        worker = only_worker(house)
        [told] = street.facts("output")
        assert told == {
            "process": "1.0",
            "line": "importing ['default'] api_key=[redacted]",
        }
        house.said(worker, "what the user asked")
        house.said(worker, '  File "what the user asked", line 7 in serve')
        house.said(worker, '  File "app.py", line 7 in serve')
        assert [facts["line"] for facts in street.facts("output")][1:] == [
            '  File "app.py", line 7 in serve'
        ]


async def test_a_private_key_that_a_process_prints_is_not_logged(street: Street) -> None:
    async with street.ready() as house:
        demo = Supervised("demo", house._launch_demo, house_module.DemoCallbacks(house))
        for line in ("-----BEGIN PRIVATE KEY-----", "MIIEvQ", "-----END PRIVATE KEY-----", "so"):
            house.said(demo, line)
        told = [facts["line"] for facts in street.facts("output") if facts["process"] == "demo"]
        assert told == ["[redacted]", "so"]


async def test_a_worker_that_has_grown_is_exchanged(street: Street) -> None:
    async with street.ready() as house:
        [(generation, old)] = house.generations.workers()
        callbacks: Any = old.callbacks
        await house.recycle(generation, callbacks.rendering, old)
        await old.gone.wait()
        assert only_worker(house).name == "1.1"
        await gateway_lists(house, "1.1")
        assert house.recycling == set()


async def test_a_worker_is_not_exchanged_for_one_that_fails(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with street.ready() as house:
        [(generation, old)] = house.generations.workers()
        callbacks: Any = old.callbacks
        monkeypatch.setattr(house_module, "worker_command", lambda environ: _no_such_command())
        await house.recycle(generation, callbacks.rendering, old)
        assert street.facts("cannot recycle a worker")
        assert only_worker(house) is old


def _no_such_command() -> Any:
    from ccproxyd.supervision.process import Command

    return Command(["/nowhere/python"], {})


@pytest.mark.parametrize(
    ("rss_bytes", "age", "exchanged"),
    [(10**12, 10**6, True), (10**12, 0, False), (10**6, 10**6, False)],
)
async def test_a_worker_is_exchanged_if_it_is_large_and_not_new(
    street: Street,
    monkeypatch: pytest.MonkeyPatch,
    rss_bytes: int,
    age: float,
    exchanged: bool,
) -> None:
    asked: list[str] = []

    async def recycle(self: House, generation: Any, rendering: Any, worker: Any) -> None:
        asked.append(worker.name)

    monkeypatch.setattr(House, "recycle", recycle)
    async with street.ready() as house:
        worker = only_worker(house)
        worker.started_at -= age
        worker.receive({"kind": "heartbeat", "rss_bytes": rss_bytes})
        await anyio.wait_all_tasks_blocked()
        assert asked == (["1.0"] if exchanged else [])


async def test_the_demo_has_a_provider_and_says_what_to_try(
    street: Street, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as demo:
        async with street.ready(demo=demo) as house:
            assert house.demo is not None
            await house.demo.ready.wait()
        assert house.demo.last_exit == "exited with status 0"
    assert "try it in another terminal" in capfd.readouterr().err


async def test_a_demo_without_a_listener_cannot_be_started(street: Street) -> None:
    async with street.ready() as house:
        with pytest.raises(house_module.CcproxydError, match="no listener"):
            await house._launch_demo(life_of(""))


forking = pytest.mark.skipif(not can_fork(), reason="forking needs Linux")


def fork(street: Street, **more: Any) -> None:
    """From here on the config asks for forked workers."""
    street.config.write(ours={"workers": {"start_method": "fork"}}, **more)


@forking
async def test_workers_are_forked_from_a_template(street: Street) -> None:
    fork(street)
    async with street.ready() as house:
        worker = only_worker(house)
        assert isinstance(worker.child, ForkedChild)
        assert house.template is not None
        assert house.template.life.state is State.READY
        await gateway_lists(house, "1.0")
    assert worker.last_exit == "exited with status 0"
    assert house.template.life.gone.is_set()


@forking
@pytest.mark.usefixtures("_no_delay")
async def test_a_forked_worker_that_is_killed_is_forked_again(street: Street) -> None:
    fork(street)
    async with street.ready() as house:
        worker = only_worker(house)
        assert worker.child is not None
        worker.child.signal(signal.SIGKILL)
        told = await street.logged("cannot keep worker 1.0 running")
        assert told["because"] == "killed by SIGKILL"
        await street.until(lambda: worker.starts == 2 and worker.state is State.READY)


@forking
@pytest.mark.usefixtures("_no_delay")
async def test_workers_outlive_a_template_that_is_killed(street: Street) -> None:
    fork(street)
    async with street.ready() as house:
        assert house.template is not None
        first = house.template.life.child
        assert first is not None
        first.signal(signal.SIGKILL)
        await street.logged("cannot keep the template running")
        await street.until(lambda: house.template and house.template.life.starts == 2)
        assert only_worker(house).state is State.READY
        fork(street, models=("default", "think"))
        assert (await reload(house)).what == "workers"
        assert isinstance(house.generations.current.workers[0].child, ForkedChild)


@forking
async def test_a_worker_is_spawned_where_the_template_refuses(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house_module, "template_command", lambda _: command(REFUSING))
    street.config.write(ours={"workers": {"start_method": "auto"}})
    async with street.ready() as house:
        [told] = street.facts("cannot fork a worker, so spawning it")
        assert told["because"] == "2 threads"
        assert not isinstance(only_worker(house).child, ForkedChild)


@forking
async def test_a_worker_that_is_to_be_forked_is_not_spawned(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house_module, "template_command", lambda _: command(REFUSING))
    fork(street)
    async with street.built() as house:
        told = await street.logged("cannot keep worker 1.0 running")
        assert told["because"] == "cannot be started: 2 threads"
        assert only_worker(house).child is None


@forking
async def test_an_environment_that_changes_needs_another_template(street: Street) -> None:
    fork(street)
    async with street.ready() as house:
        before = house.template
        assert before is not None
        fork(street, models=("default", "think"))
        await reload(house)
        assert house.template is before
        (street.directories.config / "env").write_text("A_NEW=variable\n")
        await reload(house)
        assert house.template is not before
        assert house.template is not None
        assert house.template.environ["A_NEW"] == "variable"
        await before.life.gone.wait()


@forking
async def test_a_litellm_that_was_upgraded_is_named_and_taken_up_by_a_restart(
    street: Street,
) -> None:
    fork(street)
    async with street.ready() as house:
        before = house.template
        [complaint] = house.complaints()
        assert complaint.endswith("0.0.1 is running; `ccproxyctl restart` takes it up")
        await restart(house, "workers")
        assert house.template is not before
        assert isinstance(house.generations.current.workers[0].child, ForkedChild)


def test_a_litellm_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    assert house_module.installed_litellm()
    monkeypatch.setattr(importlib.metadata, "version", version)
    assert house_module.installed_litellm() is None


@pytest.mark.usefixtures("_no_delay")
async def test_a_gateway_whose_config_is_broken_meanwhile_is_tried_again(street: Street) -> None:
    async with street.ready() as house:
        good = house.loaded
        street.config.idle(Idle.REFUSED)
        house.loaded = load(street.directories.config, {})
        assert house.gateway.child is not None
        house.gateway.child.signal(signal.SIGKILL)
        told = await street.logged("cannot start the gateway")
        assert told["because"].startswith("ccproxy.yaml: ccproxy.rules[0]: bad")
        house.loaded = good
        await street.logged("process is ready", times=3)
        await gateway_lists(house, "1.0")


async def test_what_a_library_repeats_is_told_less_and_less_often(street: Street) -> None:
    again = {"kind": "log", "level": "warning", "logger": "LiteLLM", "where": "a.py:1"}
    async with street.ready() as house:
        await ask_gateway(house, say=[again] * 25)
        told = street.facts("a library has logged something")
    assert [one.get("times") for one in told] == [None, 10]

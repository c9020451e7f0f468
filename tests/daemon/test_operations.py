from __future__ import annotations

import os
import signal
from types import SimpleNamespace
from typing import Any

import pytest

from ccproxyd import __version__
from ccproxyd.control import messages
from ccproxyd.control.errors import ControlError
from ccproxyd.daemon import change, operations
from ccproxyd.daemon.change import RefusedError
from ccproxyd.daemon.house import House
from ccproxyd.daemon.operations import Operations
from ccproxyd.errors import ConfigError
from ccproxyd.supervision.generations import GenerationFailedError
from ccproxyd.supervision.lifecycle import Life, State
from ccproxyd.supervision.supervisor import Supervised
from ccproxyd.supervision.template import can_fork
from tests.daemon.dolls import Idle, Street, gateway_lists, only_worker
from tests.supervision.children import life_of, reaches

pytestmark = pytest.mark.anyio

RULE = {"label": "default", "rule": "MatchModelRule", "params": [{"model_name": "haiku"}]}


async def explain(house: House, **body: Any) -> Any:
    return await Operations(house).explain({"body": body, "headers": {}, "path": "/v1/messages"})


async def test_the_status_of_a_house_that_is_ready(street: Street) -> None:
    async with street.ready() as house:
        told = messages.Status.from_json(dict(await Operations(house).status()))
        assert (told.state, told.pid, told.version) == ("ready", os.getpid(), __version__)
        assert told.generation == 1
        assert told.labels == ("default",)
        assert told.config_dir == str(street.directories.config)
        assert told.control_socket == str(street.directories.control_socket)
        assert (told.listen.host, told.listen.port) == house.owned.address
        assert told.gateway is not None
        assert house.gateway.child is not None
        assert told.gateway.pid == house.gateway.child.pid
        assert told.gateway.rss_bytes > 0
        [worker] = told.workers
        assert (worker.generation, worker.state) == (1, "ready")
        assert worker.pid == getattr(only_worker(house).child, "pid", None)
        assert (told.restarts_total, told.last_exit, told.last_reload) == (0, None, None)
        assert told.template is None


@pytest.mark.skipif(not can_fork(), reason="forking needs Linux")
async def test_the_status_names_the_template(street: Street) -> None:
    street.config.write(ours={"workers": {"start_method": "fork"}})
    async with street.ready() as house:
        told = messages.Status.from_json(dict(await Operations(house).status()))
        assert told.template is not None
        assert told.template.pid > 0
        assert "0.0.1 is running" in told.warnings[-1]


async def test_the_status_after_a_reload(street: Street) -> None:
    async with street.ready() as house:
        street.config.write(ours={"prot": 1})
        with pytest.raises(ConfigError):
            await Operations(house).reload()
        told = messages.Status.from_json(dict(await Operations(house).status()))
        assert told.last_reload is not None
        assert told.last_reload.ok is False
        assert told.last_reload.error is not None
        assert told.last_reload.error.path == "ccproxy.yaml: ccproxy.prot"


async def test_the_status_of_a_house_that_stops_is_told_too(street: Street) -> None:
    street.config.write(doll="deaf")
    async with street.ready() as house:
        house.end()
        house.owned.listener.close()
        told = await Operations(house).status()
        assert told["state"] == "stopping"
        host, port = house.owned.address
        assert told["listen"] == {"host": host, "port": port}
        house.hurry()


def life_in(state: State) -> Supervised:
    life = life_of("")
    life.life = Life(state=state)
    return life


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (State.DOWN, ["starting"]),
        (State.STARTING, ["starting"]),
        (State.READY, ["ready"]),
        (State.DRAINING, ["draining"]),
        (State.STOPPING, ["draining"]),
        (State.KILLING, ["starting"]),
        (State.WAITING, ["starting"]),
        (State.GONE, []),
    ],
)
async def test_a_workers_state_in_the_words_of_the_api(
    street: Street, state: State, told: list[str]
) -> None:
    async with street.ready() as house:
        [(generation, worker)] = house.generations.workers()
        generation.workers[:] = [life_in(state)]
        status = await Operations(house).status()
        generation.workers[:] = [worker]
        assert [one["state"] for one in status["workers"]] == told


async def test_a_process_that_is_not_there_has_no_size(street: Street) -> None:
    async with street.ready() as house:
        [(generation, worker)] = house.generations.workers()
        ghost = life_in(State.READY)
        ghost.child = SimpleNamespace(pid=2**22 + 1)  # type: ignore[assignment]
        generation.workers[:] = [life_in(State.WAITING), ghost]
        absent, gone = (await Operations(house).status())["workers"]
        generation.workers[:] = [worker]
        assert (absent["pid"], absent["rss_bytes"], absent["uptime_seconds"]) == (0, 0, 0.0)
        assert gone["rss_bytes"] == 0


async def test_a_process_that_keeps_dying_degrades_the_daemon(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with street.ready() as house:
        monkeypatch.setattr(Supervised, "is_degraded", property(lambda life: life.name == "1.0"))
        told = await Operations(house).status()
        assert told["state"] == "degraded"
        assert "worker 1.0 keeps dying" in told["warnings"][-1]
        house.state = "stopping"
        assert (await Operations(house).status())["state"] == "stopping"
        house.state = "ready"


async def test_rules_and_hooks_that_raise_are_counted_in_the_status(street: Street) -> None:
    async with street.ready() as house:
        errors = {"rule_errors": {"a": 2}, "hook_errors": {"b": 3}}
        beat = {"kind": "heartbeat", "workers": {}, "in_flight": 3, **errors}
        await explain(house, say=[beat])
        told = await Operations(house).status()
        assert told["rule_errors"] == {"a": 2}
        assert told["hook_errors"] == {"b": 3}
        assert told["gateway"]["in_flight"] == 3


async def test_the_stats_are_those_of_the_house(street: Street) -> None:
    async with street.ready() as house:
        await explain(house, say=[{"kind": "decided", "request_id": "1", "routing_ms": 0.5}])
        told = messages.Stats.from_json(dict(await Operations(house).stats()))
        assert told.in_flight == 1


async def test_the_routes_are_the_table_in_force(street: Street) -> None:
    street.config.write(ours={"rules": [RULE]})
    async with street.ready() as house:
        told = messages.Routes.from_json(dict(await Operations(house).routes()))
        assert told.generation == 1
        assert [(rule.label, rule.rule) for rule in told.rules] == [("default", "MatchModelRule")]
        assert told.targets == (messages.RouteTarget("default", ("anthropic/claude-sonnet-5",)),)


async def test_explain_is_asked_of_the_gateway(street: Street) -> None:
    async with street.ready() as house:
        await gateway_lists(house, "1.0")
        assert (await explain(house))["workers"] == ["1.0"]


async def test_an_explanation_cannot_be_another_command(street: Street) -> None:
    async with street.ready() as house:
        asked = {"body": {}, "kind": "stop"}
        assert "stop" not in (await Operations(house).explain(asked))["heard"]


@pytest.mark.parametrize(("refusal", "code"), [({"code": 404}, 404), ({}, 500)])
async def test_a_request_without_a_route_is_an_error(
    street: Street, refusal: dict[str, int], code: int
) -> None:
    async with street.ready() as house:
        with pytest.raises(ControlError, match="no such label") as caught:
            await explain(house, refuse={"reason": "no such label", **refusal})
        assert caught.value.code == code


async def test_a_gateway_that_starts_explains_nothing_yet(street: Street) -> None:
    async with street.ready() as house:
        assert house.gateway.child is not None
        house.gateway.child.signal(signal.SIGKILL)
        await reaches(house.gateway, State.WAITING)
        with pytest.raises(ControlError, match="the gateway is starting") as caught:
            await explain(house)
        assert caught.value.code == 503


async def test_a_gateway_that_does_not_answer_is_not_waited_for(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "_EXPLAIN_SECONDS", 0.0)
    async with street.ready() as house:
        with pytest.raises(ControlError, match="did not answer"):
            await explain(house)


async def test_a_gateway_that_dies_meanwhile_explains_nothing(street: Street) -> None:
    async with street.ready() as house:
        assert house.gateway.child is not None
        house.gateway.child.wire.close()
        with pytest.raises(ControlError, match="did not answer"):
            await explain(house)


async def test_a_reload_tells_what_it_came_to(street: Street) -> None:
    async with street.ready() as house:
        street.config.write(ours={"debug": True})
        told = messages.ReloadResult.from_json(dict(await Operations(house).reload()))
        assert (told.ok, told.changed, told.generation) == (True, "rules", 1)


async def test_a_reload_that_fails_tells_litellms_last_words(street: Street) -> None:
    async with street.ready() as house:
        street.config.write(doll="failed")
        with pytest.raises(ControlError) as caught:
            await Operations(house).reload()
        assert caught.value.to_json()["error"] == {
            "type": "WorkersFailed",
            "message": "no such model\nValueError: gpt-99",
            "code": 409,
        }


async def test_a_reload_that_is_refused_tells_why(street: Street) -> None:
    async with street.ready() as house:
        street.config.idle(Idle.DIES_AT_PREPARE)
        with pytest.raises(ControlError, match="the gateway died") as caught:
            await Operations(house).reload()
        assert (caught.value.code, caught.value.type) == (409, "RefusedError")


async def test_a_restart_tells_what_it_restarted(street: Street) -> None:
    async with street.ready() as house:
        told = messages.RestartResult.from_json(dict(await Operations(house).restart("workers")))
        assert (told.ok, told.what, told.generation) == (True, "workers", 2)


async def test_a_restart_that_is_refused_tells_why(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change, "START_PATIENCE", 0.01)
    street.config.write(doll="mute")
    async with street.built() as house:
        with pytest.raises(ControlError, match="ccproxyd is starting"):
            await Operations(house).restart("all")


async def test_stop_is_an_answer_and_then_the_end(street: Street) -> None:
    async with street.ready() as house:
        told = messages.StopResult.from_json(dict(await Operations(house).stop()))
        assert (told.ok, told.pid) == (True, os.getpid())
        assert house.ending.is_set()


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (ConfigError("a", "b"), ConfigError, None),
        (ControlError("NotReady", "x", 503), ControlError, 503),
        (RefusedError("x"), ControlError, 409),
        (GenerationFailedError("x", "y"), ControlError, 409),
    ],
)
def test_each_failure_has_its_place_in_the_api(
    error: Any, kind: type[Exception], code: int | None
) -> None:
    told = operations._as_control_error(error)
    assert type(told) is kind
    assert getattr(told, "code", None) == code

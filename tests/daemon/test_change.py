from __future__ import annotations

import signal

import anyio
import anyio.lowlevel
import pytest

from ccproxyd.daemon import change
from ccproxyd.daemon import house as house_module
from ccproxyd.daemon.change import RefusedError, explain_failure, reload, restart
from ccproxyd.daemon.house import House
from ccproxyd.errors import CcproxydError, ConfigError
from ccproxyd.supervision.generations import GenerationFailedError
from ccproxyd.supervision.lifecycle import Life, Limits, State
from tests.daemon.dolls import (
    GATEWAY,
    Idle,
    Street,
    ask_gateway,
    gateway_lists,
    only_worker,
)
from tests.supervision.children import SLOW, command, reaches

pytestmark = pytest.mark.anyio


async def heard_by_gateway(house: House) -> list[str]:
    """The kinds of messages since its own start, without our questions."""
    kinds: list[str] = (await ask_gateway(house))["heard"]
    return [kind for kind in kinds if kind != "explain"]


async def test_a_config_that_is_the_same_changes_nothing(street: Street) -> None:
    async with street.ready() as house:
        before = await heard_by_gateway(house)
        changed = await reload(house)
        assert (changed.what, changed.generation) == ("nothing", 1)
        assert await heard_by_gateway(house) == before
        assert house.last_reload is not None
        assert house.last_reload["ok"] is True
        assert house.last_reload["error"] is None
    assert street.notified[1:4] == ["READY=1", "RELOADING=1", "READY=1"]


async def test_new_rules_are_for_the_gateway_alone(street: Street) -> None:
    async with street.ready() as house:
        worker = only_worker(house)
        street.config.write(ours={"default_model_passthrough": False})
        changed = await reload(house)
        assert (changed.what, changed.generation) == ("rules", 1)
        assert only_worker(house) is worker
        assert not house.loaded.settings.default_model_passthrough
        told = await street.logged("reloaded")
        assert (told["what"], told["generation"]) == ("rules", 1)
        assert told["seconds"] == round(told["seconds"], 3)
        assert (await heard_by_gateway(house))[-2:] == ["prepare", "commit"]
        assert (await ask_gateway(house))["workers"] == ["1.0"]


async def test_new_models_are_a_new_generation(street: Street) -> None:
    async with street.ready() as house:
        old = only_worker(house)
        street.config.write(models=("default", "think"))
        changed = await reload(house)
        assert (changed.what, changed.generation) == ("workers", 2)
        assert (await ask_gateway(house))["workers"] == ["2.0"]
        await old.gone.wait()
        assert old.last_exit == "exited with status 0"
        await anyio.wait_all_tasks_blocked()
        assert len(list(street.directories.runtime.glob("worker-*.yaml"))) == 1
        assert house.restarts_total == 0


LAZY = {"workers": {"lazy": True}}


async def test_a_generation_that_sleeps_gives_way_to_one_that_sleeps(street: Street) -> None:
    street.config.write(ours=LAZY)
    async with street.ready() as house:
        street.config.write(ours=LAZY, models=("default", "think"))
        changed = await reload(house)
        assert (changed.what, changed.generation) == ("workers", 2)
        assert (await restart(house, "workers")).generation == 3
        assert house.generations.asleep
        house.wake()
        await gateway_lists(house, "3.0")


async def test_a_generation_that_was_woken_gives_way_to_one_that_serves(street: Street) -> None:
    street.config.write(ours=LAZY)
    async with street.ready() as house:
        house.wake()
        await gateway_lists(house, "1.0")
        street.config.write(ours=LAZY, models=("default", "think"))
        await reload(house)
        assert (await ask_gateway(house))["workers"] == ["2.0"]


async def test_a_generation_that_sleeps_gives_way_to_one_that_must_serve(street: Street) -> None:
    street.config.write(ours=LAZY)
    async with street.ready() as house:
        street.config.write(models=("default", "think"))
        await reload(house)
        assert (await ask_gateway(house))["workers"] == ["2.0"]


async def test_an_old_worker_stays_until_the_gateway_has_nothing_of_it(street: Street) -> None:
    async with street.ready() as house:
        await gateway_lists(house, "1.0")
        old = only_worker(house)
        await ask_gateway(house, hold=True)
        street.config.write(models=("default", "think"))
        await reload(house)
        await reaches(old, State.DRAINING)
        await anyio.wait_all_tasks_blocked()
        assert old.state is State.DRAINING
        await ask_gateway(house, hold=False)
        await old.gone.wait()


async def test_what_a_new_generation_may_take_stands_in_its_own_config(street: Street) -> None:
    async with street.ready() as house:
        street.config.write(ours={"workers": {"drain_seconds": 7.0}})
        await reload(house)
        limits = [life.limits.drain for generation, life in house.generations.workers()]
        assert limits[-1] == 7.0


async def unharmed(house: House, street: Street) -> None:
    """A reload that failed left everything as it was, and the next one works."""
    assert house.state == "ready"
    assert house.generation_number == 1
    assert house.last_reload is not None
    assert house.last_reload["ok"] is False
    await house.gateway.ready.wait()
    await gateway_lists(house, "1.0")
    await reaches(house.gateway, State.READY)
    street.config.write(ours={"debug": True})
    assert (await reload(house)).what == "rules"


@pytest.mark.parametrize(
    ("ours", "path", "reason"),
    [
        ({"prot": 4000}, "ccproxy.yaml: ccproxy.prot", "did you mean 'port'"),
        ({"port": "x"}, "ccproxy.yaml: ccproxy.port", "must be"),
        ({"port": 4001}, "ccproxy.yaml: ccproxy.port", "cannot change from 0 to 4001"),
        (
            {"host": "::1"},
            "ccproxy.yaml: ccproxy.host",
            "cannot change from '127.0.0.1' to '::1' while running; run ccproxyctl stop, and",
        ),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_changes(
    street: Street, ours: dict[str, object], path: str, reason: str
) -> None:
    async with street.ready() as house:
        street.config.write(ours=ours)
        with pytest.raises(ConfigError):
            await reload(house)
        assert house.last_reload is not None
        assert house.last_reload["error"]["path"] == path
        assert reason in house.last_reload["error"]["reason"]
        await unharmed(house, street)


async def test_an_address_out_of_the_environment_is_told_by_its_reference(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_HOST", "::1")
    async with street.ready() as house:
        street.config.write(ours={"host": "${A_HOST}"})
        with pytest.raises(ConfigError, match=r"from '127\.0\.0\.1' to \$\{A_HOST\} while"):
            await reload(house)
        assert "::1" not in str(house.last_reload)


async def test_a_port_of_the_service_managers_is_changed_there(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MANAGERPID", raising=False)
    async with street.ready(passed=True) as house:
        street.config.write(ours={"port": 4001})
        with pytest.raises(ConfigError) as caught:
            await reload(house)
        assert caught.value.path == "ccproxy.yaml: ccproxy.port"
        assert caught.value.reason.startswith("cannot change from 0 to 4001 while running; ")
        assert "`systemctl edit ccproxyd.socket`" in caught.value.reason
        street.config.write(ours={"host": "::1"})
        with pytest.raises(ConfigError, match=r"ccproxy\.host: .*ListenStream="):
            await reload(house)


async def test_a_change_to_where_it_listens_already_is_none(street: Street) -> None:
    async with street.ready() as house:
        street.config.write(ours={"host": "localhost", "port": house.owned.address[1]})
        assert (await reload(house)).what == "rules"


async def test_host_and_port_of_the_config_do_not_matter_if_arguments_gave_them(
    street: Street,
) -> None:
    async with street.ready(fixed=True) as house:
        street.config.write(ours={"port": 4001})
        assert (await reload(house)).what == "rules"


async def test_a_rule_that_does_not_load_is_named_and_nothing_changes(street: Street) -> None:
    async with street.ready() as house:
        street.config.idle(Idle.REFUSED)
        with pytest.raises(ConfigError, match="bad; did you mean 'good'"):
            await reload(house)
        assert house.last_reload is not None
        assert house.last_reload["error"] == {
            "path": "ccproxy.yaml: ccproxy.rules[0]",
            "reason": "bad; did you mean 'good'?",
        }
        await unharmed(house, street)


async def test_a_gateway_that_cannot_say_where_is_a_reason_too(street: Street) -> None:
    async with street.ready() as house:
        street.config.idle(Idle.REFUSED_WITHOUT_A_PLACE)
        with pytest.raises(CcproxydError, match=r"^internal error$"):
            await reload(house)
        assert house.last_reload is not None
        assert house.last_reload["error"] == {"path": "", "reason": "internal error"}
        await unharmed(house, street)


@pytest.mark.usefixtures("_no_delay")
@pytest.mark.parametrize("idle", [Idle.DIES_AT_PREPARE, Idle.DIES_AT_COMMIT])
async def test_a_gateway_that_dies_meanwhile_keeps_the_old_config(
    street: Street, idle: int
) -> None:
    async with street.ready() as house:
        street.config.idle(idle)
        with pytest.raises(RefusedError, match="the gateway died during the reload"):
            await reload(house)
        assert house.loaded.settings.timeouts.idle != idle
        await street.logged("process is ready", times=3)
        await unharmed(house, street)


@pytest.mark.usefixtures("_no_delay")
@pytest.mark.parametrize("idle", [Idle.COMMIT_REFUSED, Idle.DIES_AT_COMMIT])
async def test_a_generation_that_the_gateway_does_not_take_goes_again(
    street: Street, idle: int
) -> None:
    async with street.ready() as house:
        street.config.idle(idle, models=("default", "think"))
        with pytest.raises(CcproxydError, match=r"nothing is prepared|the gateway died"):
            await reload(house)
        new = [life for generation, life in house.generations.workers() if generation.number == 2]
        for life in new:
            await life.gone.wait()
        street.config.write()
        if idle == Idle.DIES_AT_COMMIT:
            await street.logged("process is ready", times=4)
        await unharmed(house, street)


async def test_workers_that_fail_say_why_and_the_old_ones_go_on(street: Street) -> None:
    async with street.ready() as house:
        street.config.write(doll="failed")
        with pytest.raises(GenerationFailedError, match=r"^no such model$") as failure:
            await reload(house)
        assert explain_failure(failure.value) == "no such model\nValueError: gpt-99"
        assert (await heard_by_gateway(house))[-1] == "abandon"
        street.config.write()
        await unharmed(house, street)


async def test_workers_that_die_without_a_word_are_not_tried_again(street: Street) -> None:
    async with street.ready() as house:
        street.config.write(doll="dies")
        with pytest.raises(GenerationFailedError, match="exited with status 3") as failure:
            await reload(house)
        assert explain_failure(failure.value) == "worker 2.0 exited with status 3"
        street.config.write()
        await unharmed(house, street)


async def test_a_model_that_litellm_drops_is_named_and_the_old_workers_go_on(
    street: Street,
) -> None:
    async with street.ready() as house:
        street.config.write(doll="drops", model="unheard-of/model")
        with pytest.raises(ConfigError, match="knows no such provider"):
            await reload(house)
        street.config.write()
        await unharmed(house, street)


async def test_generations_do_not_pile_up(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change, "LEAVING_PATIENCE", 0.01)
    limit = {"workers": {"max_generations": 2}}
    street.config.write(ours=limit)
    async with street.ready() as house:
        await gateway_lists(house, "1.0")
        await ask_gateway(house, hold=True)
        street.config.write(ours=limit, models=("default", "a"))
        assert (await reload(house)).what == "workers"
        street.config.write(ours=limit, models=("default", "b"))
        with pytest.raises(RefusedError, match="2 generations of workers live already"):
            await reload(house)
        assert [generation.number for generation in house.generations.live] == [1, 2]
        await ask_gateway(house, hold=False)


async def test_workers_that_are_about_to_go_are_waited_for(street: Street) -> None:
    limit = {"workers": {"max_generations": 2}}
    street.config.write(ours=limit)
    async with street.ready() as house:
        await gateway_lists(house, "1.0")
        await ask_gateway(house, hold=True)
        street.config.write(ours=limit, models=("default", "a"))
        await reload(house)
        street.config.write(ours=limit, models=("default", "b"))
        async with anyio.create_task_group() as group:
            group.start_soon(reload, house)
            while not house.generations.departure.statistics().tasks_waiting:
                await anyio.lowlevel.checkpoint()
            await ask_gateway(house, hold=False)
        assert [facts["what"] for facts in street.facts("reloaded")] == ["workers"] * 2
        assert house.generation_number == 3


async def test_two_reloads_at_once_take_their_turns(street: Street) -> None:
    async with street.ready() as house:
        street.config.write(models=("default", "think"))
        async with anyio.create_task_group() as group:
            group.start_soon(reload, house)
            group.start_soon(reload, house)
        assert [facts["what"] for facts in street.facts("reloaded")] == ["workers", "nothing"]


async def test_a_daemon_that_starts_is_waited_for(street: Street) -> None:
    async with street.ready() as house, anyio.create_task_group() as group:
        house.state, house.settled = "starting", anyio.Event()
        group.start_soon(reload, house)
        await anyio.wait_all_tasks_blocked()
        assert not street.facts("reloaded")
        house.be_ready()
        await street.logged("reloaded")


async def test_a_daemon_that_takes_too_long_to_start_is_not_reloaded(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change, "START_PATIENCE", 0.01)
    street.config.write(doll="mute")
    async with street.built() as house:
        with pytest.raises(RefusedError, match="ccproxyd is starting; try again"):
            await reload(house)


@pytest.mark.usefixtures("_no_delay")
async def test_a_daemon_whose_workers_never_started_is_mended_by_a_reload(street: Street) -> None:
    street.config.write(doll="failed")
    async with street.built() as house:
        await street.logged("cannot keep worker 1.0 running", times=6)
        assert house.shown_state == "degraded"
        street.config.write(doll="dies")
        with pytest.raises(GenerationFailedError):
            await reload(house)
        assert (house.state, house.shown_state) == ("starting", "degraded")
        assert "READY=1" not in street.notified
        street.config.write()
        assert (await reload(house)).what == "workers"
        assert house.state == "ready"
        assert street.notified[-1] == "READY=1"
        assert len(street.facts("ready")) == 1
        await gateway_lists(house, "3.0")


async def test_a_gateway_that_is_not_there_yet_is_not_reloaded(street: Street) -> None:
    async with street.ready() as house:
        assert house.gateway.child is not None
        house.gateway.child.signal(signal.SIGKILL)
        await street.logged("cannot keep the gateway running")
        await reaches(house.gateway, State.WAITING)
        street.config.write(ours={"debug": True})
        with pytest.raises(RefusedError, match="the gateway is being restarted"):
            await reload(house)


async def test_a_reload_that_is_overtaken_by_a_stop_says_so_and_stays_stopped(
    street: Street,
) -> None:
    errors: list[CcproxydError] = []

    async def reload_in_vain(house: House) -> None:
        with pytest.raises(CcproxydError) as caught:
            await reload(house)
        errors.append(caught.value)

    async with street.ready() as house, anyio.create_task_group() as group:
        street.config.write(doll="mute")
        group.start_soon(reload_in_vain, house)
        await street.until(lambda: len(street.facts("output")) == 2)
        house.end()
    assert house.state == "stopping"
    assert len(errors) == 1
    assert street.notified[-1] == "STOPPING=1"


async def test_restarted_workers_have_the_config_that_is_in_force(street: Street) -> None:
    async with street.ready() as house:
        old, gateway = only_worker(house), house.gateway
        street.config.write(doll="failed")
        changed = await restart(house, "workers")
        assert (changed.what, changed.generation) == ("workers", 2)
        await old.gone.wait()
        assert house.gateway is gateway
        assert house.last_reload is None
        assert street.facts("restarted")[0]["generation"] == 2


async def test_a_restarted_gateway_takes_the_place_of_the_old_one(street: Street) -> None:
    async with street.ready() as house:
        old = house.gateway
        changed = await restart(house, "gateway")
        assert (changed.what, changed.generation) == ("gateway", 1)
        assert house.gateway is not old
        await old.gone.wait()
        assert house.gateways == [house.gateway]
        await gateway_lists(house, "1.0")
        assert house.restarts_total == 0


async def test_all_is_workers_and_gateway(street: Street) -> None:
    async with street.ready() as house:
        old, gateway = only_worker(house), house.gateway
        assert (await restart(house, "all")).generation == 2
        assert house.gateway is not gateway
        await old.gone.wait()
        await gateway_lists(house, "2.0")


async def test_a_gateway_that_does_not_start_leaves_the_old_one_in_its_place(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with street.ready() as house:
        old = house.gateway
        impatient = Limits(start=0.1, dump=0.01)
        monkeypatch.setattr(House, "_limits", lambda self, loaded=None: impatient)
        monkeypatch.setattr(house_module, "gateway_command", lambda *_: command(SLOW))
        with pytest.raises(CcproxydError, match="the new gateway did not start"):
            await restart(house, "gateway")
        assert house.gateway is old
        assert old.state is State.READY
        assert house.state == "ready"
        assert street.facts("cannot restart")


async def test_a_gateway_that_was_given_up_is_not_left_behind(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with street.ready() as house:
        old = house.gateway
        monkeypatch.setattr(house_module, "gateway_command", lambda *_: command(SLOW))
        new = house.new_gateway()
        house.group.start_soon(new.run)
        await reaches(new, State.STARTING)
        change._give_up(house, new)
        assert house.gateway is old
        assert new in house.gateways
        await new.gone.wait()
        await anyio.wait_all_tasks_blocked()
        assert new not in house.gateways


@pytest.mark.usefixtures("_no_delay")
async def test_an_old_gateway_that_dies_meanwhile_comes_back_if_the_new_one_fails(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with street.ready() as house:
        old, scripts = house.gateway, iter([SLOW])
        impatient = Limits(start=0.5, dump=0.01)
        monkeypatch.setattr(House, "_limits", lambda self, loaded=None: impatient)
        monkeypatch.setattr(
            house_module, "gateway_command", lambda *_: command(next(scripts, GATEWAY))
        )

        async def restart_in_vain() -> None:
            with pytest.raises(CcproxydError, match="the new gateway did not start"):
                await restart(house, "gateway")

        async with anyio.create_task_group() as group:
            group.start_soon(restart_in_vain)
            while house.gateway is old or house.gateway.child is None:  # noqa: ASYNC110
                await anyio.sleep(0.005)
            assert old.child is not None
            old.child.signal(signal.SIGKILL)
        assert house.gateway is old
        await street.until(lambda: old.starts == 2 and old.state is State.READY)
        await gateway_lists(house, "1.0")


async def test_a_gateway_that_came_back_meanwhile_has_nothing_to_commit(street: Street) -> None:
    async with street.ready() as house:
        loaded = house.loaded
        house.gateway.life = Life(state=State.STARTING, timer=float("inf"))
        with pytest.raises(RefusedError, match="the gateway died"):
            await change._commit(house, house.gateway, loaded, None)
        house.gateway.life = Life(state=State.READY)

from __future__ import annotations

from typing import Any

import pytest

from ccproxyd.daemon.callbacks import TemplateCallbacks
from ccproxyd.supervision.lifecycle import Event, State
from ccproxyd.supervision.template import can_fork
from tests.daemon.dolls import REQUEST, Street, ask_gateway, gateway_lists, only_worker
from tests.supervision.children import life_of

pytestmark = pytest.mark.anyio


async def test_a_gateway_that_hangs_is_replaced_before_it_is_dead(street: Street) -> None:
    async with street.ready() as house:
        old = house.gateway
        old.happened(Event.HUNG)
        await street.until(lambda: house.gateway is not old)
        await house.gateway.ready.wait()
        await old.gone.wait()
        assert house.gateways == [house.gateway]


async def test_what_a_process_logs_is_logged_under_its_name(street: Street) -> None:
    message = {"kind": "log", "level": "error", "event": "cannot x", "where": "a:1", "process": 7}
    printed = {"kind": "log", "logger": "stdout", "text": "hm", "where": ""}
    async with street.ready() as house:
        await ask_gateway(house, say=[message, printed])
        assert street.facts("cannot x") == [{"where": "a:1", "process": "gateway"}]
        assert ("debug", "hm", {"logger": "stdout", "process": "gateway"}) in street.records


async def test_a_worker_tells_the_price(street: Street) -> None:
    async with street.ready() as house:
        await ask_gateway(house, say=[{**REQUEST, "kind": "finished"}])
        only_worker(house).receive({"kind": "priced", "request_id": "r1", "cost_usd": 2.0})
        assert house.stats.to_json()["by_label"]["default"]["cost_usd"] == 2.0


async def test_what_a_gateway_decides_and_finishes_is_counted(street: Street) -> None:
    async with street.ready() as house:
        say: list[Any] = [{**REQUEST, "kind": "decided", "routing_ms": 0.5}]
        await ask_gateway(house, say=say)
        assert house.stats.to_json()["in_flight"] == 1
        await ask_gateway(house, say=[{**REQUEST, "kind": "finished"}])
        assert house.stats.to_json()["in_flight"] == 0
        assert house.stats.to_json()["requests_total"] == 1


async def test_a_worker_that_is_ready_or_leaves_is_told_to_the_gateway(street: Street) -> None:
    async with street.ready() as house:
        await gateway_lists(house, "1.0")
        generation = house.generations.current
        assert generation is not None
        assert generation.models == {"default"}
        only_worker(house).happened(Event.HUNG)
        await gateway_lists(house)


@pytest.mark.skipif(not can_fork(), reason="forking needs Linux")
async def test_a_template_that_was_replaced_concerns_nobody(street: Street) -> None:
    street.config.write(ours={"workers": {"start_method": "fork"}})
    async with street.ready() as house:
        template = house.template
        assert template is not None
        callbacks = TemplateCallbacks(house)
        before = life_of("", name="template")
        await callbacks.ready(before)
        callbacks.exited(before)
        callbacks.heard(before, {"kind": "ready", "litellm": "9.9.9"})
        assert template.litellm == "0.0.1"
        assert template.life.state is State.READY

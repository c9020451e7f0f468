from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml
from attrs import define, field

from ccproxyd.config.load import Loaded, load
from ccproxyd.daemon.change import reload
from ccproxyd.daemon.purse import ALERT, Purse
from tests.daemon.dolls import Street, ask_gateway
from tests.supervision.children import PATIENCE

pytestmark = pytest.mark.anyio


@define
class Told:
    records: list[tuple[str, dict[str, Any]]] = field(factory=list)
    gates: list[Any] = field(factory=list)

    def log(self, _level: str, event: str, /, **facts: Any) -> None:
        self.records.append((event, facts))

    def alerts(self) -> list[str]:
        return [facts["because"] for event, facts in self.records if event == ALERT]


def config(directory: Path, **budgets: Any) -> Loaded:
    ours = {"ccproxy": {"budgets": budgets}} if budgets else {"ccproxy": {}}
    params = {"model": "anthropic/claude-sonnet-5", "api_key": "k"}
    theirs = {"model_list": [{"model_name": "default", "litellm_params": params}]}
    directory.mkdir(exist_ok=True)
    (directory / "ccproxy.yaml").write_text(yaml.safe_dump(ours))
    (directory / "config.yaml").write_text(yaml.safe_dump(theirs))
    return load(directory, {})


def opened(directory: Path, told: Told, **budgets: Any) -> Purse:
    log: Any = told.log
    return Purse.open(directory, config(directory / "config", **budgets), log, told.gates.append)


def request(number: int, cost: float | None = None) -> dict[str, Any]:
    named = {"request_id": f"r{number}", "label": "default", "model": "anthropic/claude-sonnet-5"}
    return {**named, "failed": False, "latency_ms": 1.0, "cost_usd": cost}


def test_each_level_is_told_once_and_the_gateways_hear_of_the_end(tmp_path: Path) -> None:
    told = Told()
    purse = opened(tmp_path, told, daily_usd=1.0, on_exceeded="reject")
    for number in range(4):
        purse.finished(request(number, 0.3))
    purse.look()
    assert told.alerts() == ["a budget is nearly used up", "a budget is used up"]
    names = [(facts["model_name"], facts["routed_model"]) for _, facts in told.records]
    assert names == [("default", "anthropic/claude-sonnet-5")] * 2
    [gate] = told.gates
    assert (gate["kind"], gate["on_exceeded"]) == ("budgets", "reject")
    assert [one["limit_usd"] for one in gate["exceeded"]] == [1.0]
    assert purse.to_json()[0]["spent_usd"] == 1.2
    assert "120%" in purse.complaints()[0]


def test_a_price_that_comes_later_counts(tmp_path: Path) -> None:
    told = Told()
    purse = opened(tmp_path, told, daily_usd=1.0)
    purse.finished(request(1))
    purse.priced({"request_id": "r1", "cost_usd": 2.0})
    assert told.alerts() == ["a budget is used up"]


async def test_spending_survives_a_restart_and_is_not_told_again(tmp_path: Path) -> None:
    before, after = Told(), Told()
    purse = opened(tmp_path, before, daily_usd=1.0)
    purse.finished(request(1, 2.0))
    await purse.close()
    again = opened(tmp_path, after, daily_usd=1.0)
    assert again.to_json()[0]["spent_usd"] == 2.0
    assert after.alerts() == []
    assert len(after.gates) == 1


def test_without_budgets_nothing_is_told(tmp_path: Path) -> None:
    told = Told()
    purse = opened(tmp_path, told)
    purse.finished(request(1, 2.0))
    assert (purse.to_json(), told.gates, told.alerts()) == ([], [], [])


def test_another_config_has_other_limits(tmp_path: Path) -> None:
    told = Told()
    purse = opened(tmp_path, told)
    purse.finished(request(1, 2.0))
    purse.take(config(tmp_path / "config", per_label={"default": {"monthly_usd": 1.0}}))
    assert told.alerts() == ["a budget is used up"]
    assert "model_name" not in told.records[-1][1], "no request has done it, but an edit"
    assert told.gates[0]["exceeded"][0]["label"] == "default"


async def test_a_day_that_ends_while_nothing_happens_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, heard = Told(), anyio.Event()
    purse = opened(tmp_path, told, daily_usd=1.0, on_exceeded="reject")
    purse.finished(request(1, 2.0))
    assert told.gates[-1]["exceeded"] != []

    def hear(gate: Any) -> None:
        told.gates.append(gate)
        heard.set()

    purse.tell_gateways = hear
    purse.ledger._clock = lambda: datetime.datetime.now() + datetime.timedelta(days=1)
    monkeypatch.setattr("ccproxyd.daemon.purse.FLUSH_SECONDS", 0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(purse.run)
        with anyio.fail_after(PATIENCE):
            await heard.wait()
        tasks.cancel_scope.cancel()
    assert told.gates[-1]["exceeded"] == []


async def test_the_house_tells_its_gateway_and_whoever_asks(street: Street) -> None:
    street.config.write(ours={"budgets": {"daily_usd": 1.0, "on_exceeded": "reject"}})
    async with street.ready() as house:
        spent = request(1, 1.5)
        await ask_gateway(house, say=[{"kind": "finished", "status": 200, **spent}])
        assert (await street.logged(ALERT))["spent_usd"] == 1.5
        assert "budgets" in (await ask_gateway(house))["heard"]
        told = await house.operations.status()
        assert told["budgets"][0]["level"] == "exceeded"
        street.config.write(ours={"budgets": {"daily_usd": 9.0}})
        await reload(house)
        assert house.purse.gate["exceeded"] == []
    assert (street.directories.state / "usage.db").is_file()

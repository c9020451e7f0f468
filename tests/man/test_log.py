"""ccproxyd-log(7) against the records that are written."""

from __future__ import annotations

import ast
import datetime
import json
from collections.abc import Iterable
from typing import Any

import attrs
import pytest

from ccproxyd.config.budgets import Budgets
from ccproxyd.config.settings import Logging
from ccproxyd.daemon.purse import whose
from ccproxyd.gateway.report import Report
from ccproxyd.telemetry.bookings import Account, Spending, Spent
from ccproxyd.telemetry.budgets import alerts, evaluate
from ccproxyd.telemetry.logs import LEVELS
from ccproxyd.telemetry.records import KINDS, Kind
from tests.man.mdoc import ROOT, Page

THE_RECORDS = "THE RECORDS"
HEAD = ("time", "level", "event")
NAMES = ("model_name", "routed_model")
SWITCHES = {f"logging.{field.name}" for field in attrs.fields(Logging)}


def budget_alert() -> set[str]:
    today = datetime.date(2026, 11, 28)
    spent = Spending(day={"think": Spent(nano_usd=10**10)})
    [alert] = alerts(evaluate(Budgets(daily_usd=1.0), spent, today), set())
    cause = whose(Account(today, "think", "anthropic/claude-opus-4-8"))
    return {"because", *alert.facts, *cause}


OTHERS = {
    "ccproxy_budget_alert": budget_alert(),
    "ccproxy_moderation": {*Report("r").whose(), "outcome", "process"},
}
"""Records that are not made of a request's messages."""
RECORDS = {
    **{kind.event: {*kind.fields, *kind.routing, *kind.costs} for kind in KINDS},
    **OTHERS,
}


def told(page: Page, macro: str, event: str) -> list[str]:
    """The words of a record's subsection."""
    return [
        word.text
        for word in page.words
        if (word.macro, word.section, word.subsection) == (macro, THE_RECORDS, event)
    ]


def examples(page: Page) -> dict[str, Any]:
    found = [json.loads(text) for text in page.examples if text.startswith("{")]
    return {one["event"]: one for one in found}


def test_every_record_is_there_and_no_other(log: Page) -> None:
    assert {word.subsection for word in log.words if word.section == THE_RECORDS} - {""} == (
        RECORDS.keys()
    )


@pytest.mark.parametrize("event", RECORDS)
def test_every_field_of_a_record_is_there_and_no_other(log: Page, event: str) -> None:
    fields = told(log, "Va", event)
    assert sorted(fields) == sorted(RECORDS[event])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.event)
def test_the_fields_that_a_switch_adds_stand_behind_it(log: Page, kind: Kind) -> None:
    words = told(log, "Va", kind.event)
    always, routing, costs = (len(kind.fields), len(kind.routing), len(kind.costs))
    assert tuple(words[:always]) == kind.fields
    assert tuple(words[always : always + routing]) == kind.routing
    assert tuple(words[always + routing : always + routing + costs]) == kind.costs
    switches = told(log, "Cm", kind.event)
    assert ("logging.enable_routing_analysis" in switches) == bool(kind.routing)
    assert ("logging.enable_cost_tracking" in switches) == bool(kind.costs)


def test_every_switch_is_named(log: Page) -> None:
    assert log.of("Cm", THE_RECORDS) == SWITCHES


def test_every_field_is_explained_once(log: Page) -> None:
    names = [name for item in log.items("THE FIELDS", "Va") for name in item.names]
    assert names == sorted({name for fields in RECORDS.values() for name in fields})


@pytest.mark.parametrize("event", RECORDS)
def test_every_record_has_an_example_that_could_be_one(log: Page, event: str) -> None:
    example = examples(log)[event]
    assert tuple(example)[:3] == HEAD
    assert example["level"] in LEVELS
    known = [*HEAD, *(name for name in fields_in_order(event) if name in example)]
    assert list(example) == known


def fields_in_order(event: str) -> Iterable[str]:
    kinds = {kind.event: (*kind.fields, *kind.routing, *kind.costs) for kind in KINDS}
    if event in kinds:
        return kinds[event]
    order = ("because", "request_id", "session", "call_type", "outcome", "process")
    return [*order, "label", "period", "limit_usd", "spent_usd", "resets", *NAMES]


def test_the_example_of_a_level_is_of_that_level(log: Page) -> None:
    found = examples(log)
    assert {kind.event: found[kind.event]["level"] for kind in KINDS} == {
        kind.event: kind.level for kind in KINDS
    }


def test_every_other_record_is_there_and_no_other(log: Page) -> None:
    named = [name for item in log.items("OTHER RECORDS", "Li") for name in item.names]
    said = {*events(), *MADE_OF_PARTS} - RECORDS.keys()
    assert sorted(named) == sorted(said)


MADE_OF_PARTS = {
    *("reloaded", "restarted", "cannot restart", "a library has logged something"),
    *("cannot keep worker 2.0 running", "cannot keep the gateway running"),
    *("cannot evaluate a rule", "cannot run a hook", "cannot get a count, it is ours"),
}
"""Events that no call of a logger has for a constant."""
ROOMS = ("daemon", "gateway", "supervision", "telemetry")


def events() -> set[str]:
    """The constant events that are logged by any of the processes but a worker."""
    files = (file for room in ROOMS for file in (ROOT / "ccproxyd" / room).rglob("*.py"))
    calls = (node for file in files for node in ast.walk(ast.parse(file.read_text())))
    return {
        call.args[1].value
        for call in calls
        if isinstance(call, ast.Call)
        and [type(one) for one in call.args[:2]] == [ast.Constant] * 2
        and call.args[0].value in LEVELS
    }


WISHES = (
    "async_log_pre_api_call",
    "async_log_post_api_call",
    "async_router_modify_response",
    "async_log_budget_alerts",
    "async_failure_fallbacks",
    "async_log_success_event",
    "async_log_failure_event",
    "async_log_stream_event",
    "async_post_call_success_hook",
    "async_post_call_failure_hook",
    "async_post_call_streaming_hook",
)


def test_every_hook_that_people_look_for_has_its_record(log: Page) -> None:
    items = log.items("LITELLM'S HOOKS", "Fn")
    assert {name for item in items for name in item.names} >= set(WISHES)
    for item in items:
        words = log.inside("LITELLM'S HOOKS", item.names[0])
        assert any(word.macro in ("Sy", "Ic") for word in words)
    assert log.of("Sy") <= RECORDS.keys()

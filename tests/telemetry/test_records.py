from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from attrs import evolve, fields

from ccproxyd.config.settings import Logging
from ccproxyd.telemetry import records as module
from ccproxyd.telemetry.records import KINDS, Record, Records, session_mark
from ccproxyd.telemetry.stats import Stats

ALL = Logging()
ROUTED: dict[str, Any] = {
    "request_id": "r",
    "session": "5e5510",
    "call_type": "anthropic_messages",
    "lane": "direct",
    "label": "think",
    "rule": "ThinkingRule",
    "model": "anthropic/claude-opus-4-8",
    "kept": False,
    "original_model": "claude-sonnet-5",
    "message_count": 3,
    "has_tools": True,
    "is_streaming": False,
    "prompt": "what nobody else may read",
}
DECIDED = {**ROUTED, "routing_ms": 0.4}
FINISHED = {
    **ROUTED,
    "status": 200,
    "failed": False,
    "error": None,
    "retries": 0,
    "fallback": None,
    "input_tokens": 10,
    "output_tokens": 5,
    "cache_read_tokens": 2,
    "cost_usd": 0.5,
    "original_cost_usd": 2.0,
    "latency_ms": 30.0,
    "first_byte_ms": 20.0,
}
STREAMED = {**FINISHED, "is_streaming": True}
FAILED = {**FINISHED, "status": 529, "failed": True, "error": "ProviderError", "cost_usd": None}
ON_LITELLM = {**FINISHED, "lane": "litellm", "cost_usd": None}


def told(message: dict[str, Any], switches: Logging = ALL) -> dict[str, Record]:
    """What the end of a request is told as, by event."""
    return {one.event: one for one in Records().finished(message, switches)}


def post(message: dict[str, Any], switches: Logging = ALL) -> Any:
    return told(message, switches)["ccproxy_post_api_call"].facts


def test_before_it_is_sent_on_a_request_is_told_by_its_names() -> None:
    [record] = Records().decided(DECIDED, ALL)
    assert (record.level, record.event) == ("info", "ccproxy_pre_api_call")
    assert record.facts == {
        **{name: value for name, value in ROUTED.items() if name != "prompt"},
        "model_name": "think",
        "routed_model": "anthropic/claude-opus-4-8",
        "routing_ms": 0.4,
    }


def test_a_success_is_one_line_unless_one_asks_for_more() -> None:
    found = told(FINISHED)
    assert {event: one.level for event, one in found.items()} == {
        "ccproxy_post_api_call": "info",
        "ccproxy_success": "debug",
    }
    facts = found["ccproxy_post_api_call"].facts
    assert (facts["duration_ms"], facts["first_byte_ms"]) == (30.0, 20.0)
    assert (facts["routing_effective"], facts["cost_efficiency"]) == (True, 0.25)


def test_a_failure_is_a_warning_that_says_what_was_tried() -> None:
    tried = {"retries": 2, "fallback": "default", "failed_fallbacks": 1}
    found = told({**FAILED, **tried})
    assert found.keys() == {"ccproxy_post_api_call", "ccproxy_failure"}
    record = found["ccproxy_failure"]
    assert record.level == "warning"
    assert (record.facts["error"], record.facts["status"]) == ("ProviderError", 529)
    assert {name: record.facts[name] for name in tried} == tried
    assert record.facts["duration_ms"] == 30.0


def test_what_nobody_wants_to_hear_is_not_made() -> None:
    records = Records(tells=lambda level: level != "debug")
    assert [one.event for one in records.finished(STREAMED, ALL)] == ["ccproxy_post_api_call"]


def test_the_end_of_a_stream_is_told_whole_or_cut() -> None:
    facts = told(STREAMED)["ccproxy_stream_end"].facts
    assert (facts["complete"], facts["stream_ms"]) == (True, 10.0)
    cut = told({**STREAMED, "failed": True, "error": "ClientPayloadError"})
    assert cut["ccproxy_stream_end"].facts["complete"] is False
    assert "ccproxy_failure" in cut


@pytest.mark.parametrize("ended", [{}, {"failed": True, "error": "CutError"}])
def test_whatever_tells_of_tokens_tells_their_price_too(ended: dict[str, Any]) -> None:
    found = told({**STREAMED, **ended})
    assert len(found) == 3
    for record in found.values():
        facts = record.facts
        assert (facts["output_tokens"], facts["cost_usd"], facts["cost_efficiency"]) == (
            5,
            0.5,
            0.25,
        )


@pytest.mark.parametrize("more", [{"status": 529, "failed": True}, {"first_byte_ms": None}])
def test_an_answer_that_is_no_stream_has_no_end_of_one(more: dict[str, Any]) -> None:
    assert "ccproxy_stream_end" not in told({**STREAMED, **more})


@pytest.mark.parametrize(
    ("more", "effective"),
    [
        ({}, True),
        ({"failed": True}, False),
        ({"retries": 1}, False),
        ({"fallback": "default"}, False),
        ({"label": None}, None),
    ],
)
def test_a_route_is_effective_if_the_first_attempt_went_well(more: Any, effective: Any) -> None:
    assert post({**FINISHED, **more})["routing_effective"] is effective


@pytest.mark.parametrize(
    ("more", "efficiency"),
    [
        ({}, 0.25),
        ({"cost_usd": 0.0}, 0.0),
        ({"cost_usd": None}, None),
        ({"original_cost_usd": None}, None),
        ({"original_cost_usd": 0.0}, None),
        ({"kept": True, "original_cost_usd": None}, 1.0),
        ({"kept": True, "fallback": "default"}, 0.25),
    ],
)
def test_the_cost_is_held_against_that_of_what_was_asked_for(more: Any, efficiency: Any) -> None:
    assert post({**FINISHED, **more})["cost_efficiency"] == efficiency


def test_a_price_that_comes_after_the_end_is_a_record_of_its_own() -> None:
    records = Records()
    [end, _] = records.finished(ON_LITELLM, ALL)
    assert end.facts["cost_usd"] is None
    [price] = records.priced({"request_id": "r", "cost_usd": 0.5}, ALL)
    assert (price.level, price.event) == ("info", "ccproxy_cost")
    assert (price.facts["cost_usd"], price.facts["cost_efficiency"]) == (0.5, 0.25)
    assert (price.facts["label"], price.facts["session"]) == ("think", "5e5510")


def test_a_price_that_comes_before_the_end_is_in_the_record_of_the_end() -> None:
    records = Records()
    assert list(records.priced({"request_id": "r", "cost_usd": 0.5}, ALL)) == []
    [end, _] = records.finished(ON_LITELLM, ALL)
    assert (end.facts["cost_usd"], end.facts["cost_efficiency"]) == (0.5, 0.25)


def test_whoever_stood_in_is_told_beside_the_price_that_came_later() -> None:
    records = Records()
    list(records.finished({**ON_LITELLM, "fallback": "default"}, ALL))
    [price] = records.priced({"request_id": "r", "cost_usd": 0.5}, ALL)
    assert (price.facts["label"], price.facts["fallback"]) == ("think", "default")


@pytest.mark.parametrize("request_id", ["r", 7])
@pytest.mark.parametrize("cost", [None, "much"])
def test_what_is_no_price_is_not_told(request_id: Any, cost: Any) -> None:
    records = Records()
    list(records.finished(ON_LITELLM, ALL))
    assert list(records.priced({"request_id": request_id, "cost_usd": cost}, ALL)) == []


@pytest.mark.parametrize("first", ["finished", "priced"])
@pytest.mark.parametrize("end", [FINISHED, ON_LITELLM])
def test_the_records_add_up_to_the_statistics(first: str, end: dict[str, Any]) -> None:
    records, stats = Records(), Stats("")
    price = {"request_id": "r", "cost_usd": 0.25}
    steps = {"finished": end, **({} if end is FINISHED else {"priced": price})}
    order = sorted(steps, key=lambda name: name != first)
    lines = [line for name in order for line in getattr(records, name)(steps[name], ALL)]
    for name in order:
        getattr(stats, name)(steps[name])
    counted = [line for line in lines if line.event in ("ccproxy_post_api_call", "ccproxy_cost")]
    total = sum(line.facts["cost_usd"] or 0 for line in counted)
    assert total == stats.to_json()["by_label"]["think"]["cost_usd"] > 0


def test_of_prices_that_nobody_waits_for_only_the_last_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 2)
    records = Records()
    for number in range(3):
        list(records.finished({**ON_LITELLM, "request_id": f"r{number}"}, ALL))
    told = [list(records.priced({"request_id": f"r{n}", "cost_usd": 1.0}, ALL)) for n in range(3)]
    assert [len(one) for one in told] == [0, 1, 1]


# The switches


def of(**switches: bool) -> Logging:
    return Logging(**{f"enable_{name}": value for name, value in switches.items()})


def test_without_records_there_are_none() -> None:
    off = of(pre_api_call=False, post_api_call=False, failure=False)
    assert list(Records().decided(DECIDED, off)) == []
    for end in (STREAMED, FAILED):
        assert {one.level for one in told(end, off).values()} <= {"debug"}


@pytest.mark.parametrize(
    ("switch", "end", "level"),
    [
        ("post_api_call", FINISHED, "info"),
        ("success", FINISHED, "info"),
        ("failure", FAILED, "warning"),
        ("stream_end", STREAMED, "info"),
    ],
)
def test_each_end_has_a_switch_of_its_own(switch: str, end: dict[str, Any], level: str) -> None:
    names = ("pre_api_call", "post_api_call", "success", "failure", "stream_end")
    switches = of(**{name: name == switch for name in names})
    seen = {event: one.level for event, one in told(end, switches).items() if one.level != "debug"}
    assert seen == {f"ccproxy_{switch}": level}


def test_without_cost_tracking_neither_tokens_nor_money_are_told() -> None:
    off, records = of(cost_tracking=False), Records()
    lines = [*records.decided(DECIDED, off), *records.finished(ON_LITELLM, off)]
    assert list(records.priced({"request_id": "r", "cost_usd": 0.5}, off)) == []
    assert {name for line in lines for name in line.facts if "token" in name or "cost" in name} == (
        set()
    )


def test_without_routing_analysis_the_route_is_not_judged() -> None:
    off = of(routing_analysis=False)
    [before] = Records().decided(DECIDED, off)
    judged = {"kept", "routing_ms", "routing_effective"}
    assert judged & {*before.facts, *post(FINISHED, off)} == set()
    assert before.facts["rule"] == "ThinkingRule"


def test_every_record_of_a_request_says_whose_it_is() -> None:
    who = {"request_id", "session", "call_type", "lane", "label", "rule", "model"}
    assert all(who <= set(kind.fields) for kind in KINDS)


SWITCHES = [field.name for field in fields(Logging)]


@pytest.mark.parametrize("message", [FINISHED, STREAMED, FAILED, ON_LITELLM])
def test_nothing_is_told_that_is_not_a_field_of_a_kind(message: dict[str, Any]) -> None:
    known = {kind.event: {*kind.fields, *kind.routing, *kind.costs} for kind in KINDS}
    for values in product((False, True), repeat=len(SWITCHES)):
        switches, records = evolve(ALL, **dict(zip(SWITCHES, values, strict=True))), Records()
        lines = [*records.decided(DECIDED, switches), *records.finished(message, switches)]
        lines += records.priced({"request_id": "r", "cost_usd": 0.5}, switches)
        for line in lines:
            assert set(line.facts) <= known[line.event]
            assert ROUTED["prompt"] not in line.facts.values()


# Names


def test_a_session_has_a_mark_that_another_key_does_not_make() -> None:
    mark = session_mark("s-1", b"k" * 32)
    assert mark == session_mark("s-1", b"k" * 32) != session_mark("s-2", b"k" * 32)
    assert mark != session_mark("s-1", b"x" * 32)
    assert len(mark) == 16
    assert session_mark("\ud800", b"k")

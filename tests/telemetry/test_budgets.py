from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccproxyd.config.budgets import Budgets, LabelBudget
from ccproxyd.telemetry.bookings import NANO, Spending, Spent
from ccproxyd.telemetry.budgets import (
    Alert,
    Allowed,
    Gate,
    Mark,
    Rejected,
    RouteTo,
    Standing,
    alerts,
    evaluate,
    gate_message,
)

TODAY = datetime.date(2026, 11, 21)
ALIASES = {"deep": ("deep", "think"), "claude-opus-4-8": ("claude-opus-4-8", "claude-*")}


def names(label: str) -> tuple[str, ...]:
    return ALIASES.get(label, (label,))


def usd(amount: float) -> Spent:
    return Spent(round(amount * NANO))


def spending(today: dict[str, float], before: dict[str, float] | None = None) -> Spending:
    """What was spent today, and on the days of this month before."""
    month = {
        label: usd(today.get(label, 0.0) + (before or {}).get(label, 0.0))
        for label in {**today, **(before or {})}
    }
    return Spending({label: usd(amount) for label, amount in today.items()}, month)


def standings(
    limits: Budgets, spent: Spending, today: datetime.date = TODAY
) -> tuple[Standing, ...]:
    return evaluate(limits, spent, today, names)


def levels(limits: Budgets, spent: Spending) -> list[str]:
    return [one.level for one in standings(limits, spent)]


DAILY = Budgets(daily_usd=10.0)
THINK = Budgets(per_label={"think": LabelBudget(daily_usd=5.0)})


# Where it stands


def test_without_limits_nothing_stands_anywhere() -> None:
    assert standings(Budgets(), spending({"think": 1e6})) == ()


@pytest.mark.parametrize(
    ("spent", "level"),
    [
        (0.0, "ok"),
        (7.99999999, "ok"),
        (8.0, "warning"),
        (9.99999999, "warning"),
        (10.0, "exceeded"),
        (400.0, "exceeded"),
    ],
)
def test_from_80_percent_on_it_is_a_warning_and_from_100_on_exceeded(
    spent: float, level: str
) -> None:
    assert levels(DAILY, spending({"a": spent / 2, "b": spent / 2})) == [level]


def test_80_percent_of_a_limit_that_is_no_binary_fraction_are_80_percent() -> None:
    assert 0.08 / 0.1 < 0.8
    assert levels(Budgets(daily_usd=0.1), spending({"a": 0.08})) == ["warning"]


def test_the_budget_of_everything_is_of_all_labels() -> None:
    limits = Budgets(daily_usd=10.0, monthly_usd=100.0)
    day, month = standings(limits, spending({"a": 1.0, "b": 2.0}, before={"a": 30.0}))
    assert (day.spent.usd, day.share) == (3.0, 0.3)
    assert (month.spent.usd, month.share) == (33.0, 0.33)


def test_the_budget_of_a_label_is_of_that_label_alone() -> None:
    limits = Budgets(per_label={"think": LabelBudget(monthly_usd=80.0)})
    [found] = standings(limits, spending({"think": 1.0, "default": 50.0}, before={"think": 3.0}))
    assert (found.budget.label, found.budget.period) == ("think", "month")
    assert found.spent.usd == 4.0


def test_an_alias_is_no_way_around_the_budget_of_its_model_name() -> None:
    [found] = standings(THINK, spending({"think": 1.0, "deep": 2.0}))
    assert found.spent.usd == 3.0


def test_a_budget_of_a_wildcard_is_of_all_that_it_serves() -> None:
    limits = Budgets(per_label={"claude-*": LabelBudget(daily_usd=5.0)})
    spent = spending({"claude-*": 1.0, "claude-opus-4-8": 2.0, "think": 9.0})
    assert standings(limits, spent)[0].spent.usd == 3.0


@pytest.mark.parametrize(
    ("today", "tomorrow", "next_month"),
    [
        ("2026-11-21", "2026-11-22", "2026-12-01"),
        ("2026-11-30", "2026-12-01", "2026-12-01"),
        ("2026-12-31", "2027-01-01", "2027-01-01"),
        ("2028-02-28", "2028-02-29", "2028-03-01"),
        ("2027-01-31", "2027-02-01", "2027-02-01"),
    ],
)
def test_a_budget_begins_anew_with_the_next_day_or_month(
    today: str, tomorrow: str, next_month: str
) -> None:
    limits = Budgets(daily_usd=1.0, monthly_usd=1.0)
    found = standings(limits, spending({}), datetime.date.fromisoformat(today))
    assert [one.resets.isoformat() for one in found] == [tomorrow, next_month]


def test_for_the_status_a_standing_is_plain_json() -> None:
    limits = Budgets(daily_usd=10.0, per_label={"think": LabelBudget(monthly_usd=80.0)})
    total, label = (one.to_json() for one in standings(limits, spending({"think": 72.123456789})))
    assert json.loads(json.dumps(total)) == {
        "scope": "total",
        "label": None,
        "period": "day",
        "limit_usd": 10.0,
        "spent_usd": 72.123457,
        "share": 7.2123,
        "level": "exceeded",
        "unpriced_requests": 0,
        "resets": "2026-11-22",
    }
    assert (label["scope"], label["label"], label["level"]) == ("label", "think", "warning")


def test_for_a_person_a_standing_is_a_sentence() -> None:
    [found] = standings(THINK, Spending({"think": Spent(4_100_000_000, 3)}))
    assert str(found) == (
        "4.10 USD of the daily budget of 'think' (5 USD) are used, 82%;"
        " requests without a known price: 3"
    )
    [found] = standings(Budgets(monthly_usd=1234567.5), spending({}))
    assert str(found) == "0.00 USD of the monthly budget (1234567.5 USD) are used, 0%"


# What is told


class Diary:
    """Raises alerts as the daemon does, and remembers them as the ledger does."""

    def __init__(self) -> None:
        self.told: frozenset[Mark] = frozenset()

    def look(self, limits: Budgets, spent: Spending, today: datetime.date = TODAY) -> list[Alert]:
        found = alerts(standings(limits, spent, today), self.told)
        self.told |= {alert.mark for alert in found}
        return found

    def events(self, *arguments: Any) -> list[str]:
        return [alert.event for alert in self.look(*arguments)]


def test_each_level_is_told_once() -> None:
    diary = Diary()
    told = [diary.events(DAILY, spending({"a": spent})) for spent in (1, 8, 9, 10, 11)]
    assert told == [[], ["a budget is nearly used up"], [], ["a budget is used up"], []]


def test_what_is_used_up_at_once_is_not_said_to_be_nearly_so() -> None:
    diary = Diary()
    assert diary.events(DAILY, spending({"a": 50.0})) == ["a budget is used up"]
    assert diary.events(DAILY, spending({"a": 8.5})) == []


def test_a_day_and_a_month_and_a_label_are_budgets_of_their_own() -> None:
    limits = Budgets(daily_usd=10.0, monthly_usd=10.0, per_label={"think": LabelBudget(10.0, 10.0)})
    found = Diary().look(limits, spending({"think": 10.0}))
    assert len(found) == len({alert.mark for alert in found}) == 4


def test_after_midnight_a_daily_budget_is_told_of_again_and_a_monthly_is_not() -> None:
    limits, diary = Budgets(daily_usd=1.0, monthly_usd=1.0), Diary()
    assert len(diary.look(limits, spending({"a": 1.0}))) == 2
    tomorrow = TODAY + datetime.timedelta(1)
    assert diary.look(limits, spending({}, before={"a": 1.0}), tomorrow) == []
    [again] = diary.look(limits, spending({"a": 1.0}, before={"a": 1.0}), tomorrow)
    assert again.facts["period"] == "day"


def test_with_a_new_month_both_are_told_of_again() -> None:
    limits, diary = Budgets(daily_usd=1.0, monthly_usd=1.0), Diary()
    assert len(diary.look(limits, spending({"a": 1.0}), datetime.date(2026, 11, 30))) == 2
    assert len(diary.look(limits, spending({"a": 1.0}), datetime.date(2026, 12, 1))) == 2


def test_a_limit_that_was_raised_is_told_of_again() -> None:
    diary = Diary()
    diary.look(DAILY, spending({"a": 10.0}))
    higher = Budgets(daily_usd=20.0)
    assert diary.events(higher, spending({"a": 10.0})) == []
    assert diary.events(higher, spending({"a": 16.0})) == ["a budget is nearly used up"]
    assert diary.events(DAILY, spending({"a": 16.0})) == []


def test_an_alert_has_the_facts_for_the_log() -> None:
    [alert] = Diary().look(THINK, spending({"think": 5.25}))
    assert alert.facts == {
        "label": "think",
        "period": "day",
        "limit_usd": 5.0,
        "spent_usd": 5.25,
        "resets": "2026-11-22",
    }


@settings(max_examples=100, deadline=None, database=None)
@given(st.lists(st.floats(0, 5), max_size=30), st.floats(0.1, 100))
def test_however_it_is_spent_each_level_is_told_at_most_once(
    costs: list[float], limit: float
) -> None:
    diary, spent, told = Diary(), 0.0, []
    limits = Budgets(daily_usd=limit)
    for cost in costs:
        spent += cost
        told += [alert.mark.level for alert in diary.look(limits, spending({"a": spent}))]
    assert told in ([], ["warning"], ["exceeded"], ["warning", "exceeded"])
    assert ("exceeded" in told) == ("exceeded" in levels(limits, spending({"a": spent})))


# What becomes of a request


def gate(limits: Budgets, spent: Spending) -> Gate:
    """As it comes out at the other end of the channel."""
    message = gate_message(limits, standings(limits, spent))
    assert message["kind"] == "budgets"
    return Gate.from_message(json.loads(json.dumps(message)))


def limited(on_exceeded: str, daily_usd: float | None = None, **labels: float) -> Budgets:
    per_label = {label: LabelBudget(daily_usd=limit) for label, limit in labels.items()}
    return Budgets(daily_usd=daily_usd, per_label=per_label, on_exceeded=on_exceeded)


def test_before_the_daemon_has_said_anything_all_is_allowed() -> None:
    assert Gate().verdict("think") == Allowed()


def test_a_warning_lets_everything_go_on() -> None:
    found = gate(limited("warn", 1.0, think=1.0), spending({"think": 5.0}))
    assert len(found.used_up) == 2
    assert found.verdict("think") == Allowed()


@pytest.mark.parametrize("on_exceeded", ["warn", "reject", "route:cheap"])
def test_below_its_budget_a_request_goes_on(on_exceeded: str) -> None:
    limits = limited(on_exceeded, 10.0, think=5.0)
    assert gate(limits, spending({"think": 4.99})).verdict("think") == Allowed()


def test_above_the_budget_of_everything_all_is_refused() -> None:
    found = gate(limited("reject", 10.0), spending({"think": 10.0}))
    for label in ("think", "default"):
        assert found.verdict(label) == Rejected(
            "the daily budget (10 USD) is used up until 2026-11-22; to go on before, raise it in"
            " ccproxy.yaml and run 'ccproxyctl reload'"
        )


def test_above_a_labels_budget_only_that_label_is_refused() -> None:
    found = gate(limited("reject", think=5.0), spending({"think": 5.0}))
    refused = found.verdict("think", names)
    assert isinstance(refused, Rejected)
    assert refused.reason.startswith("the daily budget of 'think' (5 USD) is used up until ")
    assert isinstance(found.verdict("deep", names), Rejected)
    assert found.verdict("default", names) == Allowed()


def test_above_a_labels_budget_its_requests_go_to_another_label() -> None:
    found = gate(limited("route:cheap", think=5.0), spending({"think": 5.0}))
    verdict = found.verdict("deep", names)
    assert isinstance(verdict, RouteTo)
    assert verdict.label == "cheap"
    assert verdict.reason.startswith("the daily budget of 'think' (5 USD) is used up")
    assert found.verdict("cheap", names) == Allowed()
    assert found.verdict("default", names) == Allowed()


def test_the_budget_of_everything_sends_requests_to_a_label_and_does_not_stop_them_there() -> None:
    found = gate(limited("route:cheap", 10.0), spending({"think": 10.0}))
    assert isinstance(found.verdict("think"), RouteTo)
    assert found.verdict("cheap") == Allowed()


def test_where_the_last_resort_is_used_up_as_well_there_is_nowhere_left_to_go() -> None:
    found = gate(limited("route:cheap", 10.0, cheap=1.0), spending({"think": 9.0, "cheap": 1.0}))
    for label in ("think", "cheap"):
        verdict = found.verdict(label)
        assert isinstance(verdict, Rejected)
        assert verdict.reason.startswith("the daily budget of 'cheap' (1 USD) is used up")


def test_the_used_up_last_resort_does_not_concern_labels_that_have_something_left() -> None:
    found = gate(limited("route:cheap", cheap=1.0), spending({"cheap": 1.0}))
    assert found.verdict("think") == Allowed()
    assert isinstance(found.verdict("cheap"), Rejected)


def test_a_last_resort_below_the_same_wildcard_is_used_up_with_it() -> None:
    limits = Budgets(
        per_label={"claude-*": LabelBudget(daily_usd=1.0)}, on_exceeded="route:claude-opus-4-8"
    )
    found = gate(limits, spending({"claude-*": 1.0}))
    assert isinstance(found.verdict("claude-opus-4-8", names), Rejected)


def test_an_alias_of_the_last_resort_is_there_already() -> None:
    found = gate(limited("route:think", 1.0), spending({"think": 1.0}))
    assert found.verdict("deep", names) == Allowed()


def test_what_no_other_model_could_answer_is_refused_instead() -> None:
    found = gate(limited("route:cheap", embed=1.0), spending({"embed": 1.0}))
    assert isinstance(found.verdict("embed"), RouteTo)
    assert isinstance(found.verdict("embed", movable=False), Rejected)


@pytest.mark.parametrize("on_exceeded", ["reject", "route:cheap"])
def test_a_label_above_its_budget_stands_in_for_no_other(on_exceeded: str) -> None:
    limits = limited(on_exceeded, daily_usd=1.0, think=1.0, deep=1.0, cheap=9.0)
    found = gate(limits, Spending(day={"think": Spent(NANO), "deep": Spent(NANO)}))
    assert found.barred("cheap") == ("deep", "think")
    assert found.barred("think") == ("deep",)
    aliases = {"deep": ("deep", "think")}
    assert found.barred("deep", lambda label: aliases.get(label, (label,))) == ()


def test_below_its_budget_or_with_a_warning_it_may() -> None:
    assert Gate().barred("cheap") == ()
    spent = Spending(day={"think": Spent(NANO)})
    assert gate(limited("warn", think=1.0), spent).barred("cheap") == ()
    assert gate(limited("reject", think=2.0), spent).barred("cheap") == ()


def test_the_message_is_the_same_as_long_as_the_same_budgets_are_used_up() -> None:
    limits = limited("reject", 10.0, think=5.0)
    messages = [
        gate_message(limits, standings(limits, spending({"think": spent})))
        for spent in (1.0, 4.9, 5.0, 9.9, 10.0, 20.0)
    ]
    assert [len(message["exceeded"]) for message in messages] == [0, 0, 1, 1, 2, 2]
    assert messages[0] == messages[1]
    assert messages[2] == messages[3]
    assert messages[4] == messages[5]


def test_after_midnight_the_gateway_is_told_that_nothing_is_used_up() -> None:
    limits = limited("reject", 10.0)
    after = standings(limits, spending({}), TODAY + datetime.timedelta(1))
    assert Gate.from_message(gate_message(limits, after)).verdict("think") == Allowed()


LABELS = st.sampled_from(["think", "deep", "cheap", "claude-*", "claude-opus-4-8"])
AMOUNTS = st.dictionaries(LABELS, st.floats(0, 10), max_size=5)


@settings(max_examples=100, deadline=None, database=None)
@given(st.floats(0.1, 10) | st.none(), st.dictionaries(LABELS, st.floats(0.1, 10)), AMOUNTS, LABELS)
def test_who_is_sent_to_another_label_may_stay_there(
    total: float | None, limits: dict[str, float], spent: dict[str, float], label: str
) -> None:
    for target in ("think", "deep", "cheap", "claude-opus-4-8"):
        found = gate(limited(f"route:{target}", total, **limits), spending(spent))
        verdict = found.verdict(label, names)
        if isinstance(verdict, RouteTo):
            assert found.verdict(verdict.label, names) == Allowed()

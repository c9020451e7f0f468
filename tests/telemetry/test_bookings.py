from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccproxyd.config.litellm import LiteLLMConfig
from ccproxyd.config.settings import Settings
from ccproxyd.telemetry import bookings as module
from ccproxyd.telemetry.bookings import (
    Account,
    Accounts,
    Amounts,
    Bookings,
    Entry,
    Spending,
    Spent,
    names_of,
    nano_usd,
)
from ccproxyd.telemetry.stats import OTHER

TODAY = datetime.date(2026, 11, 21)
CENT = 10_000_000


def accounts(**keys: Any) -> Accounts:
    names = ["default", "think", "claude-*"]
    litellm = {
        "model_list": [
            {"model_name": name, "litellm_params": {"model": f"anthropic/{name}"}} for name in names
        ],
        "router_settings": {"model_group_alias": {"deep": "think"}},
    }
    settings_ = Settings.parse({"ccproxy": keys})
    return Accounts.of(settings_, LiteLLMConfig.parse(litellm, environ={}))


@pytest.fixture
def bookings() -> Bookings:
    return Bookings(accounts())


def finished(bookings: Bookings, request_id: str = "1", **more: Any) -> Entry | None:
    message = {"request_id": request_id, "label": "think", "model": "anthropic/opus", **more}
    return bookings.finished(message, TODAY)


def priced(bookings: Bookings, cost: Any, request_id: Any = "1", **tokens: int) -> Entry | None:
    return bookings.priced({"request_id": request_id, "cost_usd": cost, **tokens})


def amounts(entry: Entry | None) -> Amounts:
    assert entry is not None
    return entry.amounts


# A request's entries


def test_a_request_with_its_price_is_one_entry(bookings: Bookings) -> None:
    tokens = {"input_tokens": 10, "output_tokens": 3, "cache_read_tokens": 7}
    entry = finished(bookings, cost_usd=0.25, **tokens)
    assert entry == Entry(
        Account(TODAY, "think", "anthropic/opus"), Amounts(1, 10, 3, 7, 0, 25 * CENT)
    )


def test_the_price_comes_after_the_answer(bookings: Bookings) -> None:
    first = finished(bookings, output_tokens=3)
    then = priced(bookings, 0.25)
    assert amounts(first) == Amounts(requests=1, output_tokens=3, unpriced=1)
    assert amounts(then) == Amounts(unpriced=-1, nano_usd=25 * CENT)
    assert first is not None
    assert then is not None
    assert first.account == then.account


def test_what_a_price_tells_of_its_tokens_is_added_or_taken_away(bookings: Bookings) -> None:
    first = finished(bookings, input_tokens=4, output_tokens=3)
    then = priced(bookings, 0.25, input_tokens=107, output_tokens=-1, cache_read_tokens=5)
    assert amounts(first) + amounts(then) == Amounts(1, 111, 2, 5, nano_usd=25 * CENT)


def test_the_price_comes_before_the_end_of_the_answer(bookings: Bookings) -> None:
    assert priced(bookings, 0.25) is None
    assert amounts(finished(bookings, output_tokens=3)).nano_usd == 25 * CENT
    assert amounts(finished(bookings, "2", output_tokens=3)).nano_usd == 0
    assert len(bookings._early) == 0


def test_each_of_two_attempts_has_its_price(bookings: Bookings) -> None:
    entries = [finished(bookings, output_tokens=3), priced(bookings, 0.1), priced(bookings, 0.2)]
    total = sum(map(amounts, entries), Amounts())
    assert total == Amounts(requests=1, output_tokens=3, nano_usd=30 * CENT)


def test_two_attempts_may_both_be_priced_before_the_end(bookings: Bookings) -> None:
    priced(bookings, 0.1)
    priced(bookings, 0.2)
    assert amounts(finished(bookings, output_tokens=3)) == Amounts(1, 0, 3, 0, 0, 30 * CENT)


def test_a_price_after_midnight_belongs_to_the_day_of_the_answer(bookings: Bookings) -> None:
    finished(bookings, "yesterday's", output_tokens=1)
    tomorrow = TODAY + datetime.timedelta(1)
    message = {"request_id": "2", "label": "think", "model": "m"}
    assert bookings.finished(message, tomorrow) == Entry(
        Account(tomorrow, "think", "m"), Amounts(requests=1)
    )
    entry = priced(bookings, 1, "yesterday's")
    assert entry is not None
    assert entry.account.day == TODAY


def test_what_used_nothing_is_not_said_to_lack_a_price(bookings: Bookings) -> None:
    assert amounts(finished(bookings, failed=True, input_tokens=None)) == Amounts(requests=1)


@pytest.mark.parametrize(
    ("status", "unpriced"), [(200, 1), (101, 1), (0, 0), (403, 0), (499, 0), (529, 0), (None, 0)]
)
def test_an_answer_without_tokens_lacks_a_price_until_one_comes(
    bookings: Bookings, status: int | None, unpriced: int
) -> None:
    """Such as an image, speech, or a conversation over a WebSocket."""
    first = finished(bookings, status=status)
    assert amounts(first) == Amounts(requests=1, unpriced=unpriced)
    assert amounts(first) + amounts(priced(bookings, 0.25)) == Amounts(1, nano_usd=25 * CENT)


def test_a_stream_that_was_cut_without_a_word_of_its_tokens_lacks_one(bookings: Bookings) -> None:
    assert amounts(finished(bookings, status=200, failed=True)).unpriced == 1


def test_what_is_free_has_a_price(bookings: Bookings) -> None:
    assert amounts(finished(bookings, output_tokens=3, cost_usd=0.0)).unpriced == 0


def test_a_request_that_was_never_routed_is_not_booked(bookings: Bookings) -> None:
    assert finished(bookings, label=None, cost_usd=1.0) is None


def test_a_request_without_a_model_is_booked_all_the_same(bookings: Bookings) -> None:
    entry = finished(bookings, model=None)
    assert entry is not None
    assert entry.account.model == OTHER


@pytest.mark.parametrize(
    "cost", [None, "free", True, -0.1, float("nan"), float("inf"), float("-inf"), 1e7]
)
def test_what_is_no_price_is_not_booked(bookings: Bookings, cost: Any) -> None:
    assert nano_usd(cost) is None
    assert amounts(finished(bookings, cost_usd=cost, output_tokens=1)).unpriced == 1
    assert priced(bookings, cost) is None
    assert amounts(priced(bookings, 1)) == Amounts(unpriced=-1, nano_usd=100 * CENT)


@pytest.mark.parametrize("request_id", [None, 7])
def test_a_price_of_no_request_is_not_booked(bookings: Bookings, request_id: Any) -> None:
    assert priced(bookings, 1.0, request_id) is None


@pytest.mark.parametrize("count", [None, -1, "7", 1 << 80])
def test_what_is_no_count_is_not_booked(bookings: Bookings, count: Any) -> None:
    assert amounts(finished(bookings, input_tokens=count, output_tokens=2)).input_tokens == 0


def test_the_requests_of_long_ago_are_forgotten(
    bookings: Bookings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 10)
    for number in range(50):
        finished(bookings, f"ended {number}")
        priced(bookings, 1, f"never ends {number}")
    assert len(bookings._recent) == len(bookings._early) == 10
    assert priced(bookings, 1, "ended 49") is not None
    assert priced(bookings, 1, "ended 0") is None


@settings(max_examples=100, deadline=None, database=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 100) | st.none(),
            st.lists(st.floats(0, 100), max_size=3),
            st.booleans(),
        ),
        max_size=20,
    )
)
def test_whatever_comes_first_all_prices_are_booked_once(
    requests: list[tuple[float | None, list[float], bool]],
) -> None:
    bookings, booked = Bookings(accounts()), Amounts()
    for number, (own, later, early) in enumerate(requests):
        name = str(number)
        prices = [priced(bookings, price, name) for price in later] if early else []
        prices.append(finished(bookings, name, cost_usd=own, output_tokens=1))
        prices += [priced(bookings, price, name) for price in later] if not early else []
        for entry in prices:
            booked += entry.amounts if entry else Amounts()
    costs = [cost for own, later, _ in requests for cost in (own, *later) if cost is not None]
    assert booked.nano_usd == sum(nano_usd(cost) or 0 for cost in costs)
    assert booked.requests == booked.output_tokens == len(requests)
    assert booked.unpriced == sum(own is None and not later for own, later, _ in requests)


# Whose account it is


def test_what_another_label_answered_is_its_own(bookings: Bookings) -> None:
    told = {"fallback": "claude-haiku-4-5", "fallback_model": "anthropic/haiku"}
    first, then = finished(bookings, cost_usd=0.25, **told), priced(bookings, 0.5)
    account = Account(TODAY, "claude-*", "anthropic/haiku")
    assert (first, then) == (
        Entry(account, Amounts(requests=1, nano_usd=25 * CENT)),
        Entry(account, Amounts(nano_usd=50 * CENT)),
    )


def test_a_label_that_stood_in_and_that_nobody_knows_is_booked_as_other(bookings: Bookings) -> None:
    entry = finished(bookings, fallback="gone")
    assert entry is not None
    assert entry.account == Account(TODAY, OTHER, OTHER)


def test_names_that_clients_make_up_are_booked_under_their_wildcard() -> None:
    assert accounts().booked_as("claude-opus-4-8") == "claude-*"
    assert accounts().booked_as("default") == "default"
    assert accounts().booked_as("deep") == "deep"


@pytest.mark.parametrize(
    "keys",
    [
        {"rules": [{"label": "claude-opus-4-8", "rule": "ThinkingRule"}]},
        {"budgets": {"per_label": {"claude-opus-4-8": {"daily_usd": 1}}}},
        {"budgets": {"on_exceeded": "route:claude-opus-4-8"}},
    ],
)
def test_a_name_that_the_config_has_is_booked_as_it_is(keys: Any) -> None:
    assert accounts(**keys).booked_as("claude-opus-4-8") == "claude-opus-4-8"
    assert accounts(**keys).booked_as("claude-haiku-4-5") == "claude-*"


def test_a_label_of_a_config_before_this_one_is_booked_as_other(bookings: Bookings) -> None:
    entry = finished(bookings, label="gone")
    assert entry is not None
    assert entry.account.label == OTHER


def test_a_label_counts_for_the_model_name_behind_it() -> None:
    found = accounts()
    assert found.names_of("think") == ("think",)
    assert found.names_of("deep") == ("deep", "think")
    assert found.names_of("claude-opus-4-8") == ("claude-opus-4-8", "claude-*")
    assert found.names_of("claude-*") == ("claude-*",)
    assert found.names_of(OTHER) == (OTHER,)
    assert names_of("deep", found.models) == ("deep", "think")


# What was spent


def row(day: str, label: str = "think", nano: int = CENT, **more: int) -> tuple[Account, Amounts]:
    account = Account(datetime.date.fromisoformat(day), label, "m")
    return account, Amounts(nano_usd=nano, **more)


def test_spending_is_of_today_and_of_this_month() -> None:
    rows = [
        row("2025-11-21"),
        row("2026-10-31"),
        row("2026-11-01", "default"),
        row("2026-11-20", unpriced=2),
        row("2026-11-21", unpriced=1),
        row("2026-11-22"),
        row("2026-12-01"),
    ]
    assert Spending.of(rows, TODAY) == Spending(
        day={"think": Spent(CENT, 1)},
        month={"default": Spent(CENT), "think": Spent(3 * CENT, 3)},
    )


def test_a_new_month_begins_with_nothing_spent() -> None:
    rows = [row("2026-12-31"), row("2026-12-01")]
    assert Spending.of(rows, datetime.date(2027, 1, 1)) == Spending()
    assert Spending.of(rows, datetime.date(2026, 12, 31)).month["think"].usd == 0.02


DAYS = st.dates(datetime.date(2023, 12, 1), datetime.date(2024, 4, 1))
ROWS = st.lists(
    st.tuples(
        st.builds(Account, DAYS, st.sampled_from("ab"), st.sampled_from("xy")),
        st.builds(Amounts, nano_usd=st.integers(0, 10**15), unpriced=st.integers(0, 9)),
    ),
    max_size=40,
)


@settings(max_examples=100, deadline=None, database=None)
@given(ROWS, DAYS)
def test_the_days_of_a_month_add_up_to_it(
    rows: list[tuple[Account, Amounts]], today: datetime.date
) -> None:
    month = Spending.of(rows, today).month
    first = today.replace(day=1)
    days = [first + datetime.timedelta(number) for number in range(31)]
    summed: dict[str, Spent] = {}
    for day in days:
        if day.month == first.month:
            for label, spent in Spending.of(rows, day).day.items():
                summed[label] = summed.get(label, Spent()) + spent
    assert month == summed

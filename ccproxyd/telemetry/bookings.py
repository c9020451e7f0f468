"""From what is told of a request to a line of the ledger; pure.

The gateway's `finished` has label, model and tokens, and the price where the gateway knows it. What
went through LiteLLM is priced in a message of its own, `priced`, after the answer or before its
end. So finished requests are remembered for a while, in memory alone: a line has no request's id.

A request belongs to the day on which it ended, in local time, and its price to the same day.

Labels in the ledger are names of the config, however many its clients make up: what reaches a model
through a wildcard (`claude-*`) is booked under the wildcard's name, unless a rule, a budget or an
alias has that very label. A budget holds for the lines of its label and for those of every label
that the same `model_name` serves (`names_of`), so that an alias is no way around it.

Money is counted in billionths of a dollar: sums of whole numbers do not depend on their order.
"""

from __future__ import annotations

import datetime
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from attrs import define, evolve, field, frozen

from ccproxyd.channel import Message
from ccproxyd.config.budgets import route_of
from ccproxyd.config.litellm import LiteLLMConfig
from ccproxyd.config.settings import Settings
from ccproxyd.routing.router import ModelRouter, RoutingTable
from ccproxyd.telemetry.stats import OTHER, answerer

NANO: Final = 1_000_000_000
_REMEMBERED: Final = 10_000
"""Finished requests whose price may still come."""
_LARGEST_COUNT: Final = 1 << 40
_LARGEST_PRICE: Final = 1e6
"""What is beyond these is no figure but a fault, and would not fit the ledger's sums."""

Names = Callable[[str], tuple[str, ...]]


@frozen
class Account:
    """What a line of the ledger is about."""

    day: datetime.date
    label: str
    model: str


@frozen
class Amounts:
    """What it came to. `unpriced` requests were answered, and nobody has said what they cost."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    unpriced: int = 0
    nano_usd: int = 0

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(
            self.requests + other.requests,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.unpriced + other.unpriced,
            self.nano_usd + other.nano_usd,
        )


Rows = Mapping[Account, Amounts]


@frozen
class Entry:
    """Amounts to be added to an account."""

    account: Account
    amounts: Amounts


@frozen
class Accounts:
    """Which name of the config a label is booked under."""

    models: ModelRouter
    known: frozenset[str]

    @classmethod
    def of(cls, settings: Settings, litellm: LiteLLMConfig) -> Accounts:
        targets, budgets = litellm.targets(), settings.budgets
        names = {
            *(target.name for target in targets),
            *litellm.aliases,
            *(rule.label for rule in settings.rules),
            *budgets.per_label,
            route_of(budgets.on_exceeded) or "",
        }
        table = RoutingTable(targets=targets, aliases=litellm.aliases)
        return cls(ModelRouter(table), frozenset(names))

    def booked_as(self, label: str) -> str:
        """A label that a config before this one had is nobody's any more."""
        if label in self.known:
            return label
        target = self.models.target_of(label)
        return target.name if target else OTHER

    def names_of(self, label: str) -> tuple[str, ...]:
        return names_of(label, self.models)


def names_of(label: str, models: ModelRouter) -> tuple[str, ...]:
    """Whose budgets a label counts against: its own, and that of the `model_name` behind it."""
    target = models.target_of(label)
    return (label,) if target is None or target.name == label else (label, target.name)


@define
class Bookings:
    """Turns the messages of the gateway and the workers into entries.

    `accounts` is exchanged when a new config comes into force.
    """

    accounts: Accounts
    _recent: OrderedDict[str, Entry] = field(factory=OrderedDict, init=False)
    """By request. The amounts are what its next price adds besides the price."""
    _early: OrderedDict[str, int] = field(factory=OrderedDict, init=False)

    def finished(self, message: Message, today: datetime.date) -> Entry | None:
        """A request has ended; one that no label was found for is not booked.

        Where another label stood in for its own, it is that one's.
        """
        if message.get("label") is None:
            return None
        message = answerer(message)
        label = message["label"]
        request_id, early = message["request_id"], self._early.pop(message["request_id"], None)
        model = str(message.get("model") or OTHER)
        account = Account(today, self.accounts.booked_as(str(label)), model)
        amounts = _amounts(message, early)
        _remember(self._recent, request_id, Entry(account, Amounts(unpriced=-amounts.unpriced)))
        return Entry(account, amounts)

    def priced(self, message: Message) -> Entry | None:
        """What LiteLLM says that a request cost; None where there is nothing to book yet.

        Its tokens are added to those that were told when the request ended.
        """
        request_id, price = message.get("request_id"), nano_usd(message.get("cost_usd"))
        if not isinstance(request_id, str) or price is None:
            return None
        if (recent := self._recent.get(request_id)) is None:
            _remember(self._early, request_id, self._early.get(request_id, 0) + price)
            return None
        self._recent[request_id] = Entry(recent.account, Amounts())
        return evolve(recent, amounts=recent.amounts + _added(message, price))


def nano_usd(cost: Any) -> int | None:
    """A price in billionths of a dollar, None where it is no price.

    >>> nano_usd(0.25), nano_usd(None), nano_usd(-1)
    (250000000, None, None)
    """
    if isinstance(cost, bool) or not isinstance(cost, int | float):
        return None
    if not (math.isfinite(cost) and 0 <= cost <= _LARGEST_PRICE):
        return None
    return round(cost * NANO)


def _amounts(message: Message, early: int | None) -> Amounts:
    prices = [price for price in (nano_usd(message.get("cost_usd")), early) if price is not None]
    inputs, outputs = _count(message, "input_tokens"), _count(message, "output_tokens")
    cached = _count(message, "cache_read_tokens")
    return Amounts(
        requests=1,
        input_tokens=inputs,
        output_tokens=outputs,
        cache_read_tokens=cached,
        unpriced=int(not prices and (_is_answered(message) or inputs + outputs + cached > 0)),
        nano_usd=sum(prices),
    )


def _added(message: Message, price: int) -> Amounts:
    """What a price adds; its tokens may be fewer than an estimate was."""
    tokens = (message.get(name) for name in ("input_tokens", "output_tokens", "cache_read_tokens"))
    inputs, outputs, cached = (one if isinstance(one, int) else 0 for one in tokens)
    return Amounts(0, inputs, outputs, cached, nano_usd=price)


def _is_answered(message: Message) -> bool:
    """Whether somebody may have charged for it: an error is free, unless it has used tokens."""
    status = message.get("status")
    return isinstance(status, int) and 0 < status < 400


def _count(message: Message, name: str) -> int:
    value = message.get(name)
    return value if isinstance(value, int) and 0 <= value <= _LARGEST_COUNT else 0


def _remember(holder: OrderedDict[str, Any], key: str, value: Any) -> None:
    holder[key] = value
    while len(holder) > _REMEMBERED:
        holder.popitem(last=False)


@frozen
class Spent:
    """What a label came to in a day or a month."""

    nano_usd: int = 0
    unpriced: int = 0

    @property
    def usd(self) -> float:
        return self.nano_usd / NANO

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.nano_usd + other.nano_usd, self.unpriced + other.unpriced)


@frozen
class Spending:
    """What each label came to, today and in this month."""

    day: Mapping[str, Spent] = field(factory=dict)
    month: Mapping[str, Spent] = field(factory=dict)

    @classmethod
    def of(cls, rows: Iterable[tuple[Account, Amounts]], today: datetime.date) -> Spending:
        first = today.replace(day=1)
        last = (first + datetime.timedelta(31)).replace(day=1)
        month = [item for item in rows if first <= item[0].day < last]
        day = [item for item in month if item[0].day == today]
        return cls(_by_label(day), _by_label(month))


def _by_label(rows: Iterable[tuple[Account, Amounts]]) -> dict[str, Spent]:
    sums: dict[str, list[int]] = {}
    for account, amounts in rows:
        found = sums.setdefault(account.label, [0, 0])
        found[0] += amounts.nano_usd
        found[1] += amounts.unpriced
    return {label: Spent(*found) for label, found in sums.items()}

"""Where spending stands against its limits, what is told of it, and what it means for a request.

    ledger's Spending + limits --evaluate--> standings --alerts--> what is to be told now
                                                 |
                                         gate_message (daemon to gateway)
                                                 |
                                       Gate.verdict(label) --> Allowed | RouteTo | Rejected

Everything is pure: the daemon asks after each price and every few seconds (a day ends without
anything happening), and sends the gateways a message whenever it differs from the one before.

A budget is for a day or for a month, of everything together or of one label. From 80 % on it is
nearly used up, from 100 % on used up; each is told once for a budget and its period. A limit that
has been changed makes a new budget, of which it is told again.

What becomes of a request whose budget is used up says `on_exceeded`:

    warn          it goes on; the alerts are all that happens
    reject        it is refused
    route:LABEL   it goes to that label instead. A request that is there already goes on where only
                  other budgets are used up, since that is where those send it; where LABEL's own
                  budget is used up as well, there is nowhere left to go, and it is refused.
"""

from __future__ import annotations

import datetime
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any, Final

from attrs import frozen

from ccproxyd.channel import Message
from ccproxyd.config.budgets import WARN, Budgets, LabelBudget, route_of
from ccproxyd.telemetry.bookings import NANO, Names, Spending, Spent

DAY: Final = "day"
MONTH: Final = "month"
OK: Final = "ok"
WARNING: Final = "warning"
EXCEEDED: Final = "exceeded"
WARNING_PERCENT: Final = 80

_ADJECTIVES: Final = {DAY: "daily", MONTH: "monthly"}
_ALERTS: Final = {WARNING: "a budget is nearly used up", EXCEEDED: "a budget is used up"}


def alone(label: str) -> tuple[str, ...]:
    """The `Names` of a config without aliases and wildcards."""
    return (label,)


@frozen
class Budget:
    """One limit, of a label or, where that is None, of everything."""

    label: str | None
    period: str
    limit_usd: float

    def __str__(self) -> str:
        whose = "" if self.label is None else f" of {self.label!r}"
        return f"the {_ADJECTIVES[self.period]} budget{whose} ({self.limit_usd:.10g} USD)"


@frozen
class Mark:
    """That something has been told; the ledger keeps it."""

    start: datetime.date
    """The first day of the budget's period."""
    budget: str
    level: str


@frozen
class Standing:
    """How much of a budget is used in the period that today is in."""

    budget: Budget
    start: datetime.date
    spent: Spent

    @property
    def share(self) -> float:
        return self.spent.usd / self.budget.limit_usd

    @property
    def level(self) -> str:
        percent, limit = self.spent.nano_usd * 100, round(self.budget.limit_usd * NANO)
        if percent >= 100 * limit:
            return EXCEEDED
        return WARNING if percent >= WARNING_PERCENT * limit else OK

    @property
    def resets(self) -> datetime.date:
        """The first day of the next period."""
        days = 1 if self.budget.period == DAY else 31
        after = self.start + datetime.timedelta(days)
        return after if self.budget.period == DAY else after.replace(day=1)

    def mark(self, level: str) -> Mark:
        return Mark(self.start, str(self.budget), level)

    def __str__(self) -> str:
        """For a person; `unpriced` because a budget cannot see what has no price."""
        unpriced = self.spent.unpriced
        blind = f"; requests without a known price: {unpriced}" if unpriced else ""
        return f"{self.spent.usd:.2f} USD of {self.budget} are used, {self.share:.0%}{blind}"

    def to_json(self) -> dict[str, Any]:
        return {
            "scope": "total" if self.budget.label is None else "label",
            "label": self.budget.label,
            "period": self.budget.period,
            "limit_usd": self.budget.limit_usd,
            "spent_usd": round(self.spent.usd, 6),
            "share": round(self.share, 4),
            "level": self.level,
            "unpriced_requests": self.spent.unpriced,
            "resets": self.resets.isoformat(),
        }


@frozen
class Alert:
    """Something to be told now: a log record's event and facts."""

    event: str
    standing: Standing

    @property
    def mark(self) -> Mark:
        return self.standing.mark(self.standing.level)

    @property
    def facts(self) -> dict[str, Any]:
        names = ("label", "period", "limit_usd", "spent_usd", "resets")
        told = self.standing.to_json()
        return {name: told[name] for name in names}


def evaluate(
    limits: Budgets, spending: Spending, today: datetime.date, names: Names = alone
) -> tuple[Standing, ...]:
    """Where each budget stands: first those of everything, then the labels' in the config's order.

    Args:
        names: whose budgets a label counts against, see `bookings.names_of`.
    """
    return tuple(_standing(budget, spending, today, names) for budget in _budgets(limits))


def _budgets(limits: Budgets) -> Iterator[Budget]:
    yield from _of(None, limits)
    for label, found in limits.per_label.items():
        yield from _of(label, found)


def _of(label: str | None, limits: Budgets | LabelBudget) -> Iterator[Budget]:
    for period, limit in ((DAY, limits.daily_usd), (MONTH, limits.monthly_usd)):
        if limit is not None:
            yield Budget(label, period, limit)


def _standing(budget: Budget, spending: Spending, today: datetime.date, names: Names) -> Standing:
    start = today if budget.period == DAY else today.replace(day=1)
    by_label = spending.day if budget.period == DAY else spending.month
    spent = [
        found
        for label, found in by_label.items()
        if budget.label is None or budget.label in names(label)
    ]
    return Standing(budget, start, sum(spent, Spent()))


def alerts(standings: Iterable[Standing], told: Container[Mark]) -> list[Alert]:
    """What is to be told now, given what has been told.

    One that is used up at once is not said to be nearly so any more.
    """
    return [
        Alert(_ALERTS[one.level], one)
        for one in standings
        if one.level != OK and one.mark(one.level) not in told and one.mark(EXCEEDED) not in told
    ]


# What the gateway does about it


@frozen
class Allowed:
    """The request goes on."""


@frozen
class RouteTo:
    """The request goes to another label."""

    label: str
    reason: str


@frozen
class Rejected:
    """The request is refused, with a reason for its client."""

    reason: str


Verdict = Allowed | RouteTo | Rejected


def gate_message(limits: Budgets, standings: Iterable[Standing]) -> Message:
    """What the gateway has to know; the same as long as the same budgets are used up."""
    used_up = [one for one in standings if one.level == EXCEEDED]
    return {
        "kind": "budgets",
        "on_exceeded": limits.on_exceeded,
        "exceeded": [
            {
                "label": one.budget.label,
                "period": one.budget.period,
                "limit_usd": one.budget.limit_usd,
                "resets": one.resets.isoformat(),
            }
            for one in used_up
        ],
    }


@frozen
class UsedUp:
    """A budget of which nothing is left, as the gateway knows it."""

    budget: Budget
    resets: str

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> UsedUp:
        budget = Budget(message["label"], message["period"], message["limit_usd"])
        return cls(budget, message["resets"])

    def concerns(self, names: Container[str]) -> bool:
        return self.budget.label is None or self.budget.label in names

    @property
    def reason(self) -> str:
        return (
            f"{self.budget} is used up until {self.resets}; to go on before, raise it in"
            " ccproxy.yaml and run 'ccproxyctl reload'"
        )


@frozen
class Gate:
    """The used-up budgets in the gateway; without a message from the daemon all is allowed."""

    on_exceeded: str = WARN
    used_up: tuple[UsedUp, ...] = ()

    @classmethod
    def from_message(cls, message: Message) -> Gate:
        found = tuple(map(UsedUp.from_message, message["exceeded"]))
        return cls(message["on_exceeded"], found)

    def verdict(self, label: str, names: Names = alone, *, movable: bool = True) -> Verdict:
        """What becomes of a request that was routed to a label.

        Args:
            names: as for `evaluate`, of the table in force.
            movable: whether another model could answer it; none could a request for an embedding.
        """
        if not self.used_up or self.on_exceeded == WARN:
            return Allowed()
        concerned = [one for one in self.used_up if one.concerns(names(label))]
        if not concerned:
            return Allowed()
        other = route_of(self.on_exceeded)
        if other is None:
            return Rejected(concerned[0].reason)
        if refusal := self._own_of(other, names):
            return Rejected(refusal.reason)
        if other in names(label):
            return Allowed()
        return RouteTo(other, concerned[0].reason) if movable else Rejected(concerned[0].reason)

    def barred(self, label: str, names: Names = alone) -> tuple[str, ...]:
        """The labels that may not stand in for this one: those with a used-up budget of their own.

        Where that concerns this label as well, it is none of them: what is on its way goes on.
        """
        if not self.used_up or self.on_exceeded == WARN:
            return ()
        own = (one.budget.label for one in self.used_up if not one.concerns(names(label)))
        return tuple(sorted({name for name in own if name is not None}))

    def _own_of(self, label: str, names: Names) -> UsedUp | None:
        """A used-up budget of a label's own, not the one of everything."""
        found = (one for one in self.used_up if one.budget.label is not None)
        return next((one for one in found if one.concerns(names(label))), None)

"""`ccproxy.budgets`: how much may be spent, and what happens then.

    daily_usd: 20
    monthly_usd: 300
    per_label:
      think: {daily_usd: 5, monthly_usd: 80}
    on_exceeded: warn        # or reject, or route:LABEL

A budget always says its period: a bare number below `per_label` is refused, since nobody could tell
a day's from a month's. Days and months are those of the machine's local time. A limit of 0 is
refused too: whoever wants nothing spent on a label takes it out of the rules.

Labels are held against config.yaml by whoever has read that file, see `litellm.check_names`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from attrs import field, frozen

from ccproxyd.config.fields import Fields, join, kind_of
from ccproxyd.errors import did_you_mean

PATH: Final = "ccproxy.yaml: ccproxy.budgets"
WARN: Final = "warn"
REJECT: Final = "reject"
ROUTE: Final = "route:"
_NEITHER: Final = f"must be {WARN}, {REJECT} or {ROUTE}LABEL"


def _limit(fields: Fields, key: str, default: float | None) -> float | None:
    return fields.number(key, above=0) if fields.has(key) else default


def _per_label(fields: Fields, key: str, _default: object) -> Mapping[str, LabelBudget]:
    labels = fields.section(key)
    found = fields.value(key) or {}
    return {label: _label_budget(labels, label) for label in found}


def _on_exceeded(fields: Fields, key: str, default: str) -> str:
    value = fields.value(key) if fields.has(key) else default
    if not isinstance(value, str):
        raise fields.error(key, f"{_NEITHER}, not {kind_of(value)}")
    if value not in (WARN, REJECT) and not route_of(value):
        raise fields.error(key, f"{_NEITHER}, not {value!r}", did_you_mean(value, (WARN, REJECT)))
    if "*" in (route_of(value) or ""):
        raise fields.error(key, f"{route_of(value)!r} is a wildcard; name one model of it")
    return value


def _label_budget(labels: Fields, label: Any) -> LabelBudget:
    if not isinstance(label, str):
        raise labels.error(str(label), "is not a text; put it in quotes")
    if not isinstance(labels.value(label), Mapping):
        kind = kind_of(labels.value(label))
        example = "{daily_usd: 5}"
        raise labels.error(label, f"must be a mapping such as {example}, not {kind}")
    fields = labels.section(label)
    budget = LabelBudget(_limit(fields, "daily_usd", None), _limit(fields, "monthly_usd", None))
    fields.finish()
    if budget == LabelBudget():
        raise labels.error(label, "must have daily_usd, monthly_usd or both")
    return budget


def route_of(on_exceeded: str) -> str | None:
    """The label that takes over where a budget is used up, if one does.

    >>> route_of("route:cheap"), route_of("warn")
    ('cheap', None)
    """
    return on_exceeded.removeprefix(ROUTE) if on_exceeded.startswith(ROUTE) else None


@frozen
class LabelBudget:
    """The limits of one label."""

    daily_usd: float | None = None
    monthly_usd: float | None = None


@frozen
class Budgets:
    """The limits of everything together, and those of some labels."""

    daily_usd: float | None = field(
        default=None,
        metadata={"read": _limit, "summary": "what all requests of a day may cost"},
    )
    monthly_usd: float | None = field(
        default=None,
        metadata={"read": _limit, "summary": "what all requests of a month may cost"},
    )
    per_label: Mapping[str, LabelBudget] = field(
        factory=dict,
        metadata={"read": _per_label, "summary": "the same for single labels"},
    )
    on_exceeded: str = field(
        default=WARN,
        metadata={"read": _on_exceeded, "summary": "warn, reject, or route:LABEL"},
    )

    def labels(self) -> Iterator[tuple[str, str]]:
        """Each label that is named, with the path of the field."""
        for label in self.per_label:
            yield join(join(PATH, "per_label"), label), label
        if other := route_of(self.on_exceeded):
            yield join(PATH, "on_exceeded"), other

"""Bars as SVG, written by hand: a group for each situation, a bar for each contestant.

The scale is logarithmic, since what is compared differs by tens; every bar has its number, so that
nobody has to read it off the scale. Colours and the grey of the text do on white and on black.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final
from xml.sax.saxutils import escape

from attrs import frozen

from scripts.bench.limits import Findings, p50, p99, rate
from scripts.bench.plan import Cell
from scripts.bench.results import PROVIDER, Reading, Results, middle

BODIES: Final = ("1 KB", "116 KB", "500 KB")
COLOURS: Final[Mapping[str, str]] = {
    "provider": "#8a8f98",
    "litellm": "#d1495b",
    "litellm-2": "#e58f9a",
    "lane": "#3f72c4",
    "lane-2": "#86a9de",
    "direct": "#2a9d8f",
    "lazy": "#7ccabf",
    "ccr": "#e8a33d",
    "claude-ccproxy": "#8e63b8",
}
"""The same for a contestant in every chart."""
OTHERS: Final = "#b56b45"
WIDTH: Final = 760
LABELS: Final = 230
BAR: Final = 17
HEAD: Final = 44
GAP: Final = 30
_NUMBERS: Final = 70

Groups = Mapping[str, Mapping[str, float]]
"""Figures of contestants, by situation."""


@frozen
class Scale:
    """From a figure to a length, by its logarithm."""

    low: float
    high: float
    length: float

    @classmethod
    def of(cls, values: Sequence[float], length: float) -> Scale:
        """From the power of ten below the least to the greatest."""
        low = 10.0 ** math.floor(math.log10(min(values)))
        return cls(low, max(max(values), 10 * low), length)

    def __call__(self, value: float) -> float:
        """
        >>> Scale(1.0, 100.0, 200.0)(10.0)
        100.0
        """
        share = math.log10(max(value, self.low) / self.low) / math.log10(self.high / self.low)
        return self.length * share


def charts(findings: Findings, titles: Mapping[str, str]) -> dict[str, str]:
    """Each chart's SVG by the name of its file; those that have something to show."""
    drawn = {
        "requests": ("Requests a second, 8 clients, streamed", _rates(findings)),
        "added": ("Added latency in ms (median), 1 client, streamed", _added(findings)),
        "steady": ("Latency in ms at a steady rate", _steady(findings)),
        "cpu": ("Processor time in ms for one request, 8 clients, streamed", _cpu(findings)),
        "memory": ("Memory in MB of all processes", _memory(findings)),
    }
    shown = {name: (title, drawable(groups)) for name, (title, groups) in drawn.items()}
    return {
        f"{name}.svg": bars(title, groups, titles)
        for name, (title, groups) in shown.items()
        if groups
    }


def drawable(groups: Groups) -> Groups:
    """Without the figures that have no logarithm, and the groups that then have none.

    >>> drawable({"one": {"a": -0.1, "b": 2.0}, "other": {"a": 0.0}})
    {'one': {'b': 2.0}}
    """
    kept = {
        group: {name: value for name, value in figures.items() if value > 0}
        for group, figures in groups.items()
    }
    return {group: figures for group, figures in kept.items() if figures}


def bars(title: str, groups: Groups, titles: Mapping[str, str]) -> str:
    """One chart of figures above zero, of which there is at least one."""
    values = [value for figures in groups.values() for value in figures.values()]
    scale = Scale.of(values, WIDTH - LABELS - _NUMBERS)
    height = HEAD + sum(GAP + BAR * len(figures) for figures in groups.values()) + 10
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12" fill="#777">',
        f'<text x="10" y="24" font-size="16">{escape(title)}</text>',
        f'<text x="{WIDTH - 10}" y="24" font-size="11" text-anchor="end">logarithmic scale</text>',
        *_groups(groups, titles, scale),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _groups(groups: Groups, titles: Mapping[str, str], scale: Scale) -> Iterator[str]:
    top = HEAD
    for group, figures in groups.items():
        yield f'<text x="10" y="{top + 14}" font-weight="bold">{escape(group)}</text>'
        top += GAP - 8
        for name, value in figures.items():
            colour = COLOURS.get(name, OTHERS)
            yield from _bar(titles.get(name, name), value, top, scale(value), colour)
            top += BAR
        top += 8


def _bar(label: str, value: float, top: int, length: float, colour: str) -> Iterator[str]:
    middle = top + BAR - 5
    width = max(1.0, length)
    yield f'<text x="{LABELS - 8}" y="{middle}" text-anchor="end">{escape(label)}</text>'
    yield f'<rect x="{LABELS}" y="{top}" width="{width:.1f}" height="{BAR - 4}" fill="{colour}"/>'
    yield f'<text x="{LABELS + width + 6:.1f}" y="{middle}">{_number(value)}</text>'


def _number(value: float) -> str:
    """
    >>> _number(1234.5), _number(12.34), _number(0.123)
    ('1234', '12.3', '0.12')
    """
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


# -- what is drawn


def _rates(findings: Findings) -> Groups:
    look = partial(_figure_of, findings.results, rate)
    return {body: _figures(findings.cell(body, clients=8), look) for body in BODIES}


def _added(findings: Findings) -> Groups:
    def look(cell: Cell, name: str) -> float | None:
        return middle(findings.results.added(cell, name, p50)) if name != PROVIDER else None

    return {body: _figures(findings.cell(body, clients=1), look) for body in BODIES}


def _steady(findings: Findings) -> Groups:
    steady = [cell for cell in findings.results.cells() if cell.rate]
    return {
        f"{cell.name}, {reading.__name__}": _figures(
            cell, partial(_figure_of, findings.results, reading)
        )
        for cell in steady
        for reading in (p50, p99)
    }


def _figure_of(results: Results, reading: Reading, cell: Cell, name: str) -> float | None:
    return results.figure(cell, name, reading)


def _cpu(findings: Findings) -> Groups:
    look = partial(_figure_of, findings.results, lambda summary: summary.cpu_ms)
    return {body: _figures(findings.cell(body, clients=8), look) for body in BODIES}


def _memory(findings: Findings) -> Groups:
    weighed = findings.footprint
    if weighed is None:
        return {}
    trees = {name: tree.of_tree for name, tree in weighed.early.items()}
    lazy = weighed.lazy
    without = {"lazy": lazy.megabytes} if lazy and not lazy.litellm_runs else {}
    return {
        "after some turns": {
            name: size for name, size in (trees | without).items() if name != PROVIDER
        }
    }


def _figures(cell: Cell | None, look: Callable[[Cell, str], float | None]) -> Mapping[str, float]:
    if cell is None:
        return {}
    found = ((name, look(cell, name)) for name in cell.contestants)
    return {name: value for name, value in found if value is not None}

"""The figures as Markdown: what holds, everything at a glance, then a table for each situation.

A cell without a number says why: a router that answers otherwise than the provider did, or that
cannot hold a rate, gets no latency.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from scripts.bench.footprint import Footprint
from scripts.bench.limits import Findings, Verdict, p50, p99, rate
from scripts.bench.plan import PAIRS, Cell
from scripts.bench.results import PROVIDER, Reading, Results, middle

BASE: Final = "litellm"
GLANCE: Final = (("1 KB", 1), ("116 KB", 1), ("500 KB", 1), ("1 KB", 8), ("116 KB", 8))
NONE: Final = "-"

Titles = Mapping[str, str]


def markdown(
    findings: Findings,
    verdicts: Sequence[Verdict],
    titles: Titles,
    about: Mapping[str, Any],
    absent: Mapping[str, str],
) -> str:
    """The whole report. `absent` has the peers that took no part, and why."""
    results = findings.results
    parts = (
        [f"# ccproxyd and others, {about['date'][:10]}", "", *_about(about)],
        ["## What has to hold", "", *limits_table(verdicts)],
        ["## At a glance", "", *glance(findings, titles)],
        *(_situation(results, cell, titles) for cell in results.cells()),
        memory_section(findings.footprint, titles),
        [f"{name} took no part: {reason}" for name, reason in absent.items()],
    )
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """
    >>> table(["a", "b"], [["1", "2"]])
    ['| a | b |', '|---|--:|', '| 1 | 2 |']
    """
    ruler = "|---|" + "--:|" * (len(heads) - 1)
    return [_row(heads), ruler, *map(_row, rows)]


def limits_table(verdicts: Sequence[Verdict]) -> list[str]:
    return table(
        ["what", "limit", "measured", "rounds", "holds"], (_verdict_row(one) for one in verdicts)
    )


def glance(findings: Findings, titles: Titles) -> list[str]:
    """Streamed answers: what it costs to have somebody in between, and how much he can do."""
    cells = [findings.cell(body, clients=clients) for body, clients in GLANCE]
    shown = [cell for cell in cells if cell is not None]
    heads = ["streamed", *(_glance_head(cell) for cell in shown)]
    names = _names(findings.results, shown)
    rows = [
        [titles.get(name, name), *(_glance_figure(findings.results, cell, name) for cell in shown)]
        for name in names
    ]
    return table(heads, rows)


def memory_section(footprint: Footprint | None, titles: Titles) -> list[str]:
    if footprint is None:
        return []
    heads = ["all processes of", "after some turns, MB", "after it all, MB", "first answer, s"]
    rows = [
        [
            titles.get(name, name),
            _figure(early.of_tree, 0),
            _figure(footprint.late[name].of_tree, 0),
            _figure(footprint.ready_seconds.get(name), 1),
        ]
        for name, early in footprint.early.items()
    ]
    parts = (*table(heads, rows), *_rooms(footprint), *_lazy(footprint))
    return ["## Memory and start", "", *parts]


def _rooms(footprint: Footprint) -> list[str]:
    rooms = footprint.rooms
    if rooms is None:
        return []
    named = (
        ("daemon", rooms.daemon),
        ("gateway", rooms.gateway),
        ("LiteLLM's template", rooms.template),
        ("each worker, what it does not share", rooms.worker),
    )
    said = ", ".join(f"{name} {_figure(size, 0)} MB" for name, size in named)
    return ["", f"ccproxyd after some turns: {said}."]


def _lazy(footprint: Footprint) -> list[str]:
    lazy = footprint.lazy
    if lazy is None:
        return []
    if lazy.litellm_runs:
        return ["", "`workers: {lazy: true}` had no effect: LiteLLM ran without need."]
    said = f"{lazy.megabytes:.0f} MB, and its first answer after {lazy.ready_seconds:.2f} s"
    return ["", f"With `workers: {{lazy: true}}`, and no request for LiteLLM: {said}."]


def _about(about: Mapping[str, Any]) -> Iterator[str]:
    machine = about["machine"]
    yield (
        f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gb']} GB, "
        f"{machine['system']}; load before: {machine['load_before']}. "
        f"Plan: {about['plan']}, {about['rounds']} rounds."
    )
    known = (f"{name} {said}" for name, said in about["versions"].items() if said)
    yield ", ".join(known) + "."
    yield ""
    yield (
        "Figures are medians over the rounds. x is the ratio to plain LiteLLM in the same round; "
        "*added* is what is above the provider alone in the same round."
    )


def _verdict_row(verdict: Verdict) -> list[str]:
    limit, measured = verdict.limit, verdict.measured
    bound = f"{limit.sign} {limit.bound:.3g} {limit.unit}"
    if measured is None:
        return [limit.what, bound, NONE, "", "not measured"]
    holds = "**no**" if verdict.missed else "yes"
    value = NONE if measured.value is None else f"{measured.value:.3g}"
    return [limit.what, bound, value, measured.details, holds]


def _situation(results: Results, cell: Cell, titles: Titles) -> list[str]:
    rows = (_contestant_row(results, cell, name, titles) for name in _names(results, [cell]))
    more = ["added p99"] if cell.rate else ["requests/s", "x"]
    heads = ["", *more, "median", "p95", "p99", "first byte", "added", "x", "CPU ms"]
    return [f"## {cell.name}", "", *table(heads, rows), *_troubles(results, cell, titles)]


def _troubles(results: Results, cell: Cell, titles: Titles) -> list[str]:
    """Rounds that are missing from the medians above."""
    found = [
        f"- {titles.get(name, name)}, in a round: {trouble}"
        for name in cell.contestants
        if not results.problem(cell, name)
        for trouble in results.troubles(cell, name)
    ]
    return ["", *found] if found else []


def _contestant_row(results: Results, cell: Cell, name: str, titles: Titles) -> list[str]:
    title = titles.get(name, name)
    if problem := results.problem(cell, name):
        return [title, problem, *[""] * (7 if cell.rate else 8)]

    def figure(reading: Reading, digits: int = 2) -> str:
        return _figure(results.figure(cell, name, reading), digits)

    base = _base(cell, name)
    first = (
        _rate_columns(results, cell, name)
        if cell.rate
        else _load_columns(results, cell, name, base)
    )
    return [
        title,
        *first,
        figure(p50),
        figure(lambda one: one.p95),
        figure(p99),
        figure(lambda one: one.first_p50),
        *_added_columns(results, cell, name, base),
        figure(lambda one: one.cpu_ms),
    ]


def _base(cell: Cell, name: str) -> str:
    """Plain LiteLLM with as many workers, if it is there."""
    return BASE if BASE in cell.contestants and name not in PAIRS else f"{BASE}-2"


def _rate_columns(results: Results, cell: Cell, name: str) -> list[str]:
    return ["" if name == PROVIDER else _rounds(results.added(cell, name, p99))]


def _load_columns(results: Results, cell: Cell, name: str, base: str) -> list[str]:
    share = results.ratio(cell, name, base, rate)
    return [_figure(results.figure(cell, name, rate), 0), _times(share)]


def _added_columns(results: Results, cell: Cell, name: str, base: str) -> list[str]:
    if name == PROVIDER:
        return ["", ""]
    added = results.added(cell, name, p50)
    shown = _rounds(added) if cell.rate else _figure(middle(added), 2)
    return [shown, _times(results.added_ratio(cell, name, base, p50))]


def _glance_head(cell: Cell) -> str:
    what = "added ms" if cell.clients == 1 else "requests/s"
    return f"{cell.body}, {cell.load}: {what}"


def _glance_figure(results: Results, cell: Cell, name: str) -> str:
    if results.figure(cell, name, p50) is None:
        return NONE
    if cell.clients != 1:
        share = results.ratio(cell, name, BASE, rate)
        return f"{_figure(results.figure(cell, name, rate), 0)} ({_times(share)})"
    if name == PROVIDER:
        return f"({_figure(results.figure(cell, name, p50), 2)})"
    added = middle(results.added(cell, name, p50))
    return f"{_figure(added, 2)} ({_times(results.added_ratio(cell, name, BASE, p50))})"


def _names(results: Results, cells: Sequence[Cell]) -> list[str]:
    ran = {(run.turn.cell, run.turn.contestant) for run in results.runs}
    named = dict.fromkeys(name for cell in cells for name in cell.contestants)
    return [name for name in named if any((cell, name) in ran for cell in cells)]


def _figure(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


def _times(share: float | None) -> str:
    """
    >>> _times(14.37), _times(0.0421), _times(None)
    ('14.4x', '0.042x', '-')
    """
    if share is None:
        return NONE
    return f"{share:.1f}x" if abs(share) >= 1 else f"{share:.2g}x"


def _rounds(values: Sequence[float]) -> str:
    return " / ".join(f"{value:.2f}" for value in values) or NONE


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

"""The table of a run, and what differs below it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from scripts.claude.compare import Finding

_MOST: Final = 12
_TITLES: Final = ("case", "lane", "alone", "here", "same", "")


def lines(findings: Sequence[Finding]) -> Iterator[str]:
    rows = [_TITLES, *map(_row, findings)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_TITLES))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    for finding in findings:
        if finding.differences:
            yield from _details(finding)
    yield ""
    bad = sum(not finding.is_good for finding in findings)
    yield f"{len(findings)} comparisons, {bad} with a difference that nobody has explained"


def _row(finding: Finding) -> tuple[str, ...]:
    same = "yes" if not finding.differences else "no"
    why = finding.case.differs or finding.case.swaps
    return finding.case.name, finding.world, str(finding.alone), str(finding.here), same, why


def _details(finding: Finding) -> Iterator[str]:
    yield ""
    yield f"{finding.case.name}, {finding.world}:"
    for line in finding.differences[:_MOST]:
        yield f"  {line}"
    if len(finding.differences) > _MOST:
        yield f"  and {len(finding.differences) - _MOST} more"

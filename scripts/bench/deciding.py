"""What it costs to decide a route, as `scripts/bench_decide.py` measures it in this process."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from scripts import bench_decide

TURNS: Final = 100


@frozen
class Decided:
    """A figure with its limit, which is higher on a machine that is slower."""

    what: str
    milliseconds: float
    limit: float


def decided(turns: int = TURNS) -> tuple[Decided, ...]:
    """What has a limit, for each sort of conversation."""
    bench_decide.TokenCounter().count_text("load the encoding")
    return tuple(
        Decided(one.what, one.found, one.limit)
        for _, measured in bench_decide.parts(turns)
        for one in measured
        if one.limit is not None
    )

"""The other benchmark's figures."""

from __future__ import annotations

import pytest

from scripts import bench_decide
from scripts.bench.deciding import decided
from scripts.bench.limits import LIMITS, Findings, judged
from scripts.bench.results import Results
from tests.support.shapes import long_conversation


def test_all_that_has_a_limit_is_measured_and_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    short = long_conversation(4_000, 4)
    parts = [bench_decide.conversation(short, 3, 1.0), bench_decide.first_turn(short)]
    monkeypatch.setattr(bench_decide, "parts", lambda _: iter(parts))
    findings = Findings(Results(), deciding=decided(3))
    looked_at = [one.limit.what for one in judged(findings, LIMITS) if one.measured]
    assert looked_at == [
        "deciding: the next turn of 500 KB, median",
        "deciding: the next turn of 500 KB, p99",
        "deciding: the loop's block at a first turn",
        "deciding: the loop's lag while a first turn is counted",
    ]

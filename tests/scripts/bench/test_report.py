"""The figures as a reader gets them."""

from __future__ import annotations

import doctest
from typing import Any

from scripts.bench import report
from scripts.bench.footprint import Footprint, Lazy, Rooms
from scripts.bench.limits import Findings, judged, more_requests
from scripts.bench.plan import Cell
from scripts.bench.processes import Memory
from scripts.bench.report import markdown
from scripts.bench.results import Results
from tests.scripts.bench.figures import results

ABOUT: dict[str, Any] = {
    "date": "2026-01-02T03:04:05+00:00",
    "plan": "test",
    "rounds": 2,
    "machine": {
        "cores": 2,
        "processor": "a processor",
        "memory_gb": 8.0,
        "system": "Linux 6",
        "load_before": 0.1,
    },
    "versions": {"litellm": "1.2.3", "node": None},
}
TITLES = {"provider": "the provider alone", "litellm": "LiteLLM", "direct": "ours"}
LOADED = Cell("1 KB", True, ("provider", "litellm", "direct", "ccr"), clients=8)
ALONE = Cell("1 KB", True, ("provider", "litellm", "direct"), clients=1)
STEADY = Cell("1 KB", True, ("provider", "litellm-2", "direct"), rate=100)


def rows(text: str) -> dict[str, list[str]]:
    """The last row that each contestant has."""
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {first: [one.strip() for one in rest] for first, *rest in cells}


def written(found: Results, **more: Any) -> str:
    findings = Findings(found, more.pop("footprint", None))
    limits = [more_requests("direct", "litellm", "1 KB", 10)]
    verdicts = judged(findings, limits)
    return markdown(findings, verdicts, TITLES, ABOUT, more.pop("absent", {}))


def test_the_examples_hold() -> None:
    assert doctest.testmod(report).failed == 0


def test_a_situation_has_a_row_for_each_who_ran() -> None:
    text = written(results(LOADED, provider=[1.0], litellm=[11.0], direct=[2.0]))
    found = rows(text.partition("## 1 KB, streamed, 8 clients")[2])
    assert found["LiteLLM"] == "91 1.0x 11.00 22.00 33.00 5.50 10.00 1.0x 2.75".split()
    assert found["ours"] == "500 5.5x 2.00 4.00 6.00 1.00 1.00 0.1x 0.50".split()
    assert found["the provider alone"][-3:] == ["", "", "0.25"]
    assert "ccr" not in found


def test_who_gave_no_figure_has_the_reason_in_its_row() -> None:
    found = rows(written(results(LOADED, litellm=[10.0], direct=["status 502: bad"])))
    assert found["ours"][0] == "status 502: bad"


def test_a_round_that_is_missing_is_told_below() -> None:
    text = written(results(LOADED, litellm=[10.0, 10.0], direct=[1.0, "reset"]))
    assert "- ours, in a round: reset" in text


def test_at_a_rate_every_round_is_shown_against_two_workers() -> None:
    found = results(
        STEADY,
        **{"provider": [1.0, 1.0], "litellm-2": [11.0, 11.0], "direct": [2.0, 3.0]},
    )
    text = written(found).partition("## 1 KB, streamed, 100/s")[2]
    assert rows(text)["ours"][0] == "3.00 / 6.00"
    assert rows(text)["ours"][5:7] == ["1.00 / 2.00", "0.15x"]


def test_a_glance_shows_what_is_added_and_how_much_can_be_done() -> None:
    both = [
        *results(ALONE, provider=[1.0], litellm=[11.0], direct=[2.0]).runs,
        *results(LOADED, provider=[1.0], litellm=[10.0], direct=[1.0]).runs,
    ]
    text = written(Results(both)).partition("## At a glance")[2].partition("\n## ")[0]
    assert rows(text)["ours"] == ["1.00 (0.1x)", "1000 (10.0x)"]
    assert rows(text)["the provider alone"][0] == "(1.00)"


def test_limits_stand_at_the_top_with_what_became_of_them() -> None:
    kept = written(results(LOADED, litellm=[30.0], direct=[1.0]))
    missed = written(results(LOADED, litellm=[5.0], direct=[1.0]))
    unseen = written(results(ALONE, litellm=[5.0], direct=[1.0]))
    assert "| >= 10 x | 30 |  | yes |" in kept
    assert "| >= 10 x | 5 |  | **no** |" in missed
    assert "| >= 10 x | - |  | not measured |" in unseen


WEIGHTS = {"litellm": Memory(500, 400, 300)}
ROOMS = Rooms(40, 120, None, 90)


def test_memory_is_what_a_tree_takes() -> None:
    lazy = Lazy(0.9, 131.4, litellm_runs=False)
    weighed = Footprint(WEIGHTS, {"litellm": Memory(700, None, 1)}, {"litellm": 6.0}, ROOMS, lazy)
    text = written(results(ALONE, litellm=[1.0]), footprint=weighed)
    assert rows(text)["LiteLLM"] == ["400", "700", "6.0"]
    assert "daemon 40 MB, gateway 120 MB, LiteLLM's template - MB" in text
    assert "131 MB, and its first answer after 0.90 s" in text


def test_a_lazy_start_that_was_none_is_told() -> None:
    lazy = Lazy(9.0, 500, litellm_runs=True)
    text = written(Results(), footprint=Footprint(WEIGHTS, WEIGHTS, {}, None, lazy))
    assert "had no effect: LiteLLM ran without need" in text


def test_who_took_no_part_is_named_with_the_reason() -> None:
    assert "ccr took no part: npm is not installed" in written(
        Results(), absent={"ccr": "npm is not installed"}
    )


def test_the_head_says_on_what_it_was_measured() -> None:
    text = written(Results())
    assert text.startswith("# ccproxyd and others, 2026-01-02\n\n2 cores (a processor), 8.0 GB")
    assert "litellm 1.2.3." in text
    assert "None" not in text

"""The charts: well-formed, and as long as the figures say."""

from __future__ import annotations

import doctest
from xml.etree import ElementTree as ET

import pytest

from scripts.bench import plots
from scripts.bench.footprint import Footprint, Lazy
from scripts.bench.limits import Findings
from scripts.bench.plan import Cell
from scripts.bench.plots import LABELS, WIDTH, bars, charts
from scripts.bench.processes import Memory
from scripts.bench.results import Results
from tests.scripts.bench.figures import results

CELL = Cell("1 KB", True, ("provider", "litellm", "direct"), clients=8)
SPACE = "{http://www.w3.org/2000/svg}"


def elements(drawn: str, kind: str) -> list[ET.Element]:
    return list(ET.fromstring(drawn).iter(f"{SPACE}{kind}"))  # noqa: S314 - we have drawn it


def lengths(drawn: str) -> list[float]:
    return [float(bar.get("width", 0)) for bar in elements(drawn, "rect")]


def words(drawn: str) -> list[str]:
    return [text.text or "" for text in elements(drawn, "text")]


def test_the_examples_hold() -> None:
    assert doctest.testmod(plots).failed == 0


def test_ten_times_as_much_is_one_step_of_the_scale() -> None:
    one, ten, hundred = lengths(bars("t", {"g": {"a": 2.0, "b": 20.0, "c": 200.0}}, {}))
    assert ten - one == pytest.approx(hundred - ten, abs=0.2)
    assert LABELS + hundred < WIDTH


def test_every_bar_has_its_name_and_its_number() -> None:
    assert words(bars("a & b", {"group": {"x": 1234.5}}, {"x": "<ours>"})) == [
        "a & b",
        "logarithmic scale",
        "group",
        "<ours>",
        "1234",
    ]


def test_all_the_same_is_no_division_by_nothing() -> None:
    assert lengths(bars("t", {"g": {"a": 1.0, "b": 1.0}}, {})) == [1.0, 1.0]


def test_only_what_was_measured_is_drawn() -> None:
    found = Findings(results(CELL, provider=[1.0], litellm=[10.0], direct=["reset"]))
    drawn = charts(found, {"litellm": "LiteLLM"})
    assert set(drawn) == {"requests.svg", "cpu.svg"}
    assert len(lengths(drawn["requests.svg"])) == 2
    assert charts(Findings(Results()), {}) == {}


def test_a_contestant_has_its_own_colour_in_every_chart() -> None:
    one = bars("t", {"g": {"litellm": 1.0, "direct": 2.0}}, {})
    other = bars("u", {"h": {"direct": 3.0}}, {})
    [litellm, direct] = [bar.get("fill") for bar in elements(one, "rect")]
    assert litellm != direct
    assert [bar.get("fill") for bar in elements(other, "rect")] == [direct]


def test_memory_is_drawn_with_the_start_without_litellm() -> None:
    weights = {"provider": Memory(50, 40, 30), "direct": Memory(900, 500, 100)}
    lazy = Lazy(0.9, 130, litellm_runs=False)
    found = Findings(Results(), Footprint(weights, weights, {}, None, lazy))
    drawn = charts(found, {})["memory.svg"]
    assert [text for text in words(drawn) if text in ("500", "130", "40")] == ["500", "130"]


def test_added_latency_that_is_none_draws_no_chart() -> None:
    alone = Cell("1 KB", True, ("provider", "direct"), clients=1)
    found = Findings(results(alone, provider=[2.0], direct=[1.5]))
    assert "added.svg" not in charts(found, {})

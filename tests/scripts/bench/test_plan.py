"""Who is measured when."""

from __future__ import annotations

import doctest

import pytest

from scripts.bench import plan
from scripts.bench.bodies import kinds
from scripts.bench.contestants import ancestor, code_router, own_contestants
from scripts.bench.plan import PLANS, Cell, Plan

CELL = Cell("1 KB", True, ("a", "b", "c"), clients=1)


def order(present: str, rounds: int = 3) -> list[str]:
    made = Plan("test", (CELL,), rounds=rounds, seconds=1.0, rate_seconds=1.0)
    turns = list(made.turns(present))
    return [
        "".join(turn.contestant for turn in turns if turn.round == number)
        for number in range(rounds)
    ]


def test_the_examples_hold() -> None:
    assert doctest.testmod(plan).failed == 0


def test_each_round_begins_with_another_one() -> None:
    assert order("abc") == ["abc", "bca", "cab"]


def test_who_is_not_there_is_passed_over() -> None:
    assert order("ac") == ["ac", "ca", "ac"]
    assert order("") == ["", "", ""]


def test_a_cell_is_named_as_a_reader_would_say_it() -> None:
    assert Cell("1 KB", False, (), rate=100).name == "1 KB, whole, 100/s"
    assert CELL.name == "1 KB, streamed, 1 client"


@pytest.mark.parametrize("made", PLANS.values(), ids=PLANS)
def test_a_plan_names_only_what_there_is(
    made: Plan, tmp_path_factory: pytest.TempPathFactory
) -> None:
    program = tmp_path_factory.getbasetemp()
    there = (*own_contestants(), code_router(program), ancestor(program))
    assert made.contestants() <= {"provider", *(one.name for one in there)}
    assert {cell.body for cell in made.cells} <= kinds().keys()


@pytest.mark.parametrize("made", PLANS.values(), ids=PLANS)
def test_everybody_is_measured_beside_the_provider_alone(made: Plan) -> None:
    assert all("provider" in cell.contestants for cell in made.cells)


@pytest.mark.parametrize("made", PLANS.values(), ids=PLANS)
def test_a_cell_has_one_load(made: Plan) -> None:
    assert all(bool(cell.clients) != bool(cell.rate) for cell in made.cells)


@pytest.mark.parametrize("made", PLANS.values(), ids=PLANS)
def test_no_situation_comes_twice(made: Plan) -> None:
    named = [cell.name for cell in made.cells]
    assert len(set(named)) == len(named)

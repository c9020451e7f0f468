import json
from collections.abc import Mapping
from typing import Any

import pytest
from attrs import field, frozen
from hypothesis import given
from hypothesis import strategies as st

from ccproxyd.control.schema import Message


@frozen
class Part(Message):
    name: str = ""
    count: int = 0


@frozen
class Whole(Message):
    flag: bool = False
    seconds: float = 0.0
    tokens: int | None = None
    part: Part = Part()
    perhaps: Part | None = None
    names: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    counts: Mapping[str, int] = field(factory=dict)
    by_name: Mapping[str, Part] = field(factory=dict)


FULL = Whole(
    flag=True,
    seconds=1.5,
    tokens=7,
    part=Part("a", 1),
    perhaps=Part("b", 2),
    names=("x", "y"),
    parts=(Part("c", 3),),
    counts={"k": 1},
    by_name={"d": Part("d", 4)},
)

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
JSON = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.just("name"), SCALARS)


def test_what_is_written_is_read_again() -> None:
    assert Whole.from_json(FULL.to_json()) == FULL


def test_what_is_written_is_plain_json() -> None:
    written = json.loads(json.dumps(FULL.to_json()))
    assert written["parts"] == [{"name": "c", "count": 3}]
    assert written["names"] == ["x", "y"]
    assert written["by_name"] == {"d": {"name": "d", "count": 4}}


def test_an_unknown_field_is_passed_over_and_a_missing_one_has_its_default() -> None:
    assert Whole.from_json({"names": ["x"], "new": 1}) == Whole(names=("x",))


@pytest.mark.parametrize(
    "wrong",
    [
        {"flag": 1},
        {"seconds": "1"},
        {"seconds": True},
        {"tokens": True},
        {"tokens": 1.5},
        {"part": []},
        {"perhaps": 3},
        {"names": "x"},
        {"counts": []},
    ],
)
def test_a_field_of_another_type_is_an_absent_one(wrong: dict[str, Any]) -> None:
    assert Whole.from_json(wrong) == Whole()


def test_a_whole_number_is_a_float_where_one_is_expected() -> None:
    assert Whole.from_json({"seconds": 2}) == Whole(seconds=2.0)


def test_items_of_another_type_are_left_out() -> None:
    value = {"names": ["x", 1], "parts": [{"name": "p"}, 7], "counts": {"a": 1, "b": "c"}}
    assert Whole.from_json(value) == Whole(names=("x",), parts=(Part("p"),), counts={"a": 1})


def test_null_is_nothing_only_where_nothing_is_meant() -> None:
    assert Whole.from_json({"tokens": None, "perhaps": None, "part": None}) == Whole()


@given(st.dictionaries(st.sampled_from([*FULL.to_json()]), JSON))
def test_no_json_whatever_raises(value: dict[str, Any]) -> None:
    assert isinstance(Whole.from_json(value), Whole)


@given(JSON)
def test_no_other_value_raises(value: object) -> None:
    assert isinstance(Whole.from_json(value), Whole)

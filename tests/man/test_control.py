"""ccproxyd-control(7) against the verbs, the messages, the errors and the limits."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from ccproxyd.control import messages
from ccproxyd.control.guard import Limits
from ccproxyd.control.messages import (
    Explanation,
    Message,
    Percentiles,
    Ping,
    ReloadResult,
    RestartResult,
    Routes,
    Stats,
    Status,
    StopResult,
    Totals,
)
from ccproxyd.control.verbs import VERBS, Verb
from tests.man.mdoc import ROOT, Page
from tests.support.trees import tree_of

ANSWERS: tuple[type[Message], ...] = (
    *(Ping, Status, Stats, Totals, Percentiles, Routes),
    *(ReloadResult, RestartResult, StopResult, Explanation),
)
"""Those with a subsection; what others hold is told where they are used."""


def fields(message: type[Message], prefix: str = "") -> Iterator[str]:
    for name, hint in get_type_hints(message).items():
        yield f"{prefix}{name}"
        inner, mark = inside(hint)
        if inner is not None and inner not in ANSWERS:
            yield from fields(inner, f"{prefix}{name}{mark}.")


def inside(hint: Any) -> tuple[type[Message] | None, str]:
    """The message in a field: itself, one that may be absent, or each in a list or an object."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return inside(arguments[0])
    if origin in (tuple, Mapping):
        inner, _ = inside(arguments[1 if origin is Mapping else 0])
        return inner, "{}" if origin is Mapping else "[]"
    return (hint, "") if issubclass(hint, Message) else (None, "")


def test_every_verb_is_there_and_no_other(control: Page) -> None:
    items = control.items("VERBS", "Ic")
    told = [(item.names[0], *item.more) for item in items]
    assert told == [(verb.name, verb.method, verb.path) for verb in VERBS]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_what_a_verb_takes_is_there_and_nothing_else(control: Page, verb: Verb) -> None:
    inside_of = control.inside("VERBS", verb.name)
    told = [word.text for word in inside_of if word.is_head and word.items[-1].macro == "Fa"]
    assert tuple(told) == verb.payload


def test_every_answer_has_its_subsection(control: Page) -> None:
    told = {word.subsection for word in control.words if word.section == "ANSWERS"} - {""}
    assert told == {answer.__name__ for answer in ANSWERS}


def test_no_message_is_forgotten() -> None:
    kinds = [getattr(messages, name) for name in messages.__all__]
    known = {kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Message)}
    told = {found for answer in ANSWERS for found in nested(answer)} | set(ANSWERS)
    assert known <= told | {Message}


def nested(message: type[Message]) -> Iterator[type[Message]]:
    for hint in get_type_hints(message).values():
        inner, _ = inside(hint)
        if inner is not None:
            yield inner
            yield from nested(inner)


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.__name__)
def test_every_field_of_an_answer_is_there_and_no_other(
    control: Page, answer: type[Message]
) -> None:
    items = control.items("ANSWERS", "Va", answer.__name__)
    assert sorted(name for item in items for name in item.names) == sorted(fields(answer))


# Errors and limits


def raised() -> dict[str, str | None]:
    """The types of errors that the sources name, with their HTTP status where it is fixed."""
    found: dict[str, str | None] = {}
    for room in ("control", "daemon"):
        for path in (ROOT / "ccproxyd" / room).glob("*.py"):
            found |= dict(_raised_in(path))
    return found


def _raised_in(path: Path) -> Iterator[tuple[str, str | None]]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and _name(node.func) in ("ControlError", "_refuse"):
            constants = [one.value for one in node.args if isinstance(one, ast.Constant)]
            if constants and isinstance(constants[0], str):
                code = constants[-1]
                yield constants[0], str(code) if isinstance(code, int) else None


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def test_every_type_of_error_is_there_with_its_status(control: Page) -> None:
    items = control.items("FAILURES", "Sy")
    told = {item.names[0]: item.names[1] for item in items}
    named = raised()
    assert named.keys() - told.keys() == set()
    assert {name: told[name] for name, code in named.items() if code} == {
        name: code for name, code in named.items() if code
    }


def test_no_type_of_error_is_there_that_nobody_raises(control: Page) -> None:
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "ccproxyd").rglob("*.py"))
    for item in control.items("FAILURES", "Sy"):
        assert f'"{item.names[0]}"' in sources or f"class {item.names[0]}(" in sources


def test_the_limits_are_those_of_the_code(control: Page) -> None:
    limits = Limits()
    told = [" ".join(item.names) for item in control.items("DESCRIPTION", "", "Limits")]
    assert told == [
        f"{limits.body_bytes >> 20} MiB",
        f"{limits.head_bytes >> 10} KiB",
        f"{limits.head_seconds:.0f} s",
        f"{limits.body_seconds:.0f} s",
        f"{limits.write_seconds:.0f} s",
        f"{limits.connections}",
    ]


def test_the_answers_of_the_examples_have_fields_that_exist(control: Page) -> None:
    known = {field for answer in ANSWERS for field in fields(answer)}
    lines = [line for text in control.examples for line in text.splitlines()]
    answers = [json.loads(line) for line in lines if line.startswith('{"') and line.endswith("}")]
    assert len(answers) >= 3
    assert {key for answer in answers for key in answer} <= known

"""An estimate gives way to what LiteLLM tells, in whichever order the two come."""

from __future__ import annotations

from typing import Any

import pytest

from ccproxyd.telemetry import tokens as module
from ccproxyd.telemetry.tokens import Tokens

ESTIMATE = {"input_tokens": 4, "output_tokens": 2, "cache_read_tokens": None}
TOLD = {"input_tokens": 100, "output_tokens": 5, "cache_read_tokens": 11}
NOTHING = {"input_tokens": 0, "output_tokens": 0, "cache_read_tokens": 0}


def finished(tokens: Tokens, request_id: str = "1", **more: Any) -> dict[str, Any]:
    message = {"request_id": request_id, "is_estimate": True, **ESTIMATE, **more}
    return only_tokens(tokens.finished(message))


def priced(tokens: Tokens, request_id: Any = "1", **more: Any) -> dict[str, Any]:
    return only_tokens(tokens.priced({"request_id": request_id, **TOLD, **more}))


def only_tokens(message: Any) -> dict[str, Any]:
    return {name: message[name] for name in NOTHING}


def test_what_comes_before_the_end_stands_in_its_place() -> None:
    tokens = Tokens()
    assert priced(tokens) == NOTHING
    assert finished(tokens) == TOLD


def test_what_comes_after_it_is_what_is_missing() -> None:
    tokens = Tokens()
    assert finished(tokens) == ESTIMATE
    assert priced(tokens, output_tokens=1) == {
        "input_tokens": 96,
        "output_tokens": -1,
        "cache_read_tokens": 11,
    }
    assert priced(tokens) == NOTHING


def test_two_attempts_are_added_up() -> None:
    tokens = Tokens()
    priced(tokens)
    priced(tokens)
    assert finished(tokens)["input_tokens"] == 200


def test_what_an_answer_has_told_itself_stays() -> None:
    tokens = Tokens()
    assert finished(tokens, is_estimate=False) == ESTIMATE
    assert priced(tokens) == NOTHING
    assert finished(tokens, "2", is_estimate=False) == ESTIMATE


@pytest.mark.parametrize("none", [0, None, "many", -1, 1 << 50])
def test_a_price_without_tokens_leaves_the_estimate(none: Any) -> None:
    tokens = Tokens()
    untold = dict.fromkeys(NOTHING, none)
    assert priced(tokens, **untold) == NOTHING
    assert finished(tokens) == ESTIMATE
    assert priced(tokens, **untold) == NOTHING
    assert priced(tokens)["input_tokens"] == 96


def test_a_price_of_no_request_is_nobodys() -> None:
    assert priced(Tokens(), None) == NOTHING


def test_what_never_comes_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 2)
    tokens = Tokens()
    for number in range(3):
        finished(tokens, f"ended {number}")
        priced(tokens, f"priced {number}")
    assert (priced(tokens, "ended 0"), finished(tokens, "priced 0")) == (NOTHING, ESTIMATE)
    assert priced(tokens, "ended 2") != NOTHING
    assert finished(tokens, "priced 2") == TOLD

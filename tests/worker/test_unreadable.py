"""What Python raises over an answer, by the places that it comes through."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pydantic
import pytest

from ccproxyd.worker.unreadable import is_about_an_answer


class ModerationResponse(pydantic.BaseModel):
    id: str


def transform_response(answer: Any) -> Any:
    return answer["content"]


def convert_to_model_response_object(answer: Any) -> Any:
    return list(answer)


def convert_to_moderation_response(answer: Any) -> Any:
    return ModerationResponse(**answer)


def transform_responses_api_request(body: Any) -> Any:
    return body["tools"]["name"]


def raised(function: Callable[..., Any], *arguments: Any) -> BaseException:
    with pytest.raises(Exception) as found:  # noqa: PT011 - whatever Python raises
        function(*arguments)
    return found.value


@pytest.mark.parametrize(
    ("function", "answer"),
    [
        (transform_response, [1]),
        (transform_response, {}),
        (transform_response, 7),
        (convert_to_model_response_object, 7),
        (convert_to_moderation_response, {}),
        (lambda body: httpx.Response(200, content=body).json(), b'{"id": "ha'),
        (lambda answer: answer.model_dump(), [1]),
    ],
)
def test_what_is_raised_where_an_answer_is_read_is_about_it(
    function: Callable[..., Any], answer: Any
) -> None:
    assert is_about_an_answer(raised(function, answer))


@pytest.mark.parametrize(
    ("function", "argument"),
    [
        (transform_responses_api_request, {"tools": "x"}),
        (json.loads, "the arguments of a tool"),
        (lambda tools: tools.name, []),
    ],
)
def test_what_a_client_has_sent_is_none(function: Callable[..., Any], argument: Any) -> None:
    assert not is_about_an_answer(raised(function, argument))


def test_what_is_raised_on_purpose_has_words_of_its_own() -> None:
    def transform_response() -> None:
        raise RuntimeError("the model is overloaded")

    assert not is_about_an_answer(raised(transform_response))


def test_the_compiled_part_leaves_no_trace_but_words() -> None:
    assert is_about_an_answer(RuntimeError("invalid OCR response field: pages"))
    assert not is_about_an_answer(RuntimeError("no event loop"))

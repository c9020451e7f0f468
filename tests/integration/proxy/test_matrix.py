"""Every pair of: what is asked, whether it streams, with which key, for which label, what fails."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations, product
from typing import Any, Final

import pytest
from attrs import asdict

from tests.integration.proxy.answers import Answer
from tests.integration.proxy.conftest import Played
from tests.integration.proxy.expected import SOME, Expected, Failure, expected, has_fallback
from tests.integration.proxy.rows import (
    AUTHS,
    CALLS,
    FAILURES,
    LABELS,
    LANES,
    PROTOCOLS,
    Row,
    matrix,
)
from tests.support.daemon import Daemon

each_row = pytest.mark.parametrize("row", matrix(), ids=lambda row: row.name)


AXES: Final[Mapping[str, tuple[Any, ...]]] = {
    "call": CALLS,
    "stream": (False, True),
    "auth": AUTHS,
    "label": LABELS,
    "failure": FAILURES,
}


@pytest.mark.parametrize(("one", "other"), combinations(AXES, 2))
def test_every_pair_of_values_is_met_by_a_row_that_can_show_it(one: str, other: str) -> None:
    """Counted without the generator. How a label fails, and a stream, conversations alone show."""
    met = {
        (getattr(row, one), getattr(row, other))
        for row in matrix()
        if "auth" in (one, other) or row.auth == "valid"
        if not {one, other}.isdisjoint(("call", "auth")) or row.is_conversation
    }
    assert met == set(product(AXES[one], AXES[other]))


def test_every_failure_is_met_on_both_lanes_in_every_call() -> None:
    met = {(row.failure, row.lane, row.call) for row in matrix() if row.auth == "valid"}
    assert met >= set(product(FAILURES, ["litellm"], CALLS))
    assert met >= set(product(FAILURES, LANES, PROTOCOLS))
    assert len(matrix()) < 150


def test_every_failure_is_met_on_both_lanes_in_a_stream_and_in_a_whole_answer() -> None:
    spoken = [row for row in matrix() if row.auth == "valid" and row.is_conversation]
    met = {(row.failure, row.lane, row.stream) for row in spoken}
    assert met == set(product(FAILURES, LANES, (False, True)))


@each_row
def test_an_answer_is_what_the_row_asks_for(row: Row, answers: Mapping[Row, Answer]) -> None:
    answer, wanted = answers[row], expected(row)
    assert answer.status in wanted.statuses, answer.body
    told = {name: answer.headers.get(name) for name in wanted.headers}
    assert told == wanted.headers
    _check_content(row, answer, wanted)


def _check_content(row: Row, answer: Answer, wanted: Expected) -> None:
    if wanted.failure:
        assert_failure(answer, wanted.failure, in_stream=wanted.ends_in_error)
        return
    assert answer.is_whole
    assert answer.is_stream == row.streams
    if wanted.text is not None:
        assert answer.text == wanted.text
        assert not row.streams or answer.is_ended
    elif row.call == "embeddings":
        assert answer.json["data"][0]["embedding"]
    else:
        assert answer.json["results"][0]["flagged"] is False


def assert_failure(answer: Answer, wanted: Failure, *, in_stream: bool = False) -> None:
    """In the dialect's envelope, alone or as the last event of a stream that does not end well."""
    assert answer.is_stream == in_stream
    if in_stream:
        assert not answer.is_ended
    body = answer.events[-1] if in_stream else answer.json
    assert (body.get("type") == "error") == (wanted.dialect == "anthropic"), body
    error: dict[str, Any] = body["error"]
    fields = {"type", "message"} if wanted.dialect == "anthropic" else {"type", "message", "code"}
    assert fields <= error.keys()
    for name, value in (("type", wanted.type), ("message", wanted.message)):
        told = error[name]
        assert told not in ("", "None", None) if value == SOME else told == value, error


@each_row
def test_the_provider_is_asked_once_and_for_the_right_model(row: Row, played: Played) -> None:
    asked = [one.model for one in played.requests if f"row({row.name})" in one.prompt]
    assert asked == list(expected(row).asked)


@each_row
def test_the_record_of_a_request_tells_what_was_decided(
    row: Row, answers: Mapping[Row, Answer], daemon: Daemon
) -> None:
    answer, wanted = answers[row], expected(row)
    request_id = answer.headers["x-ccproxy-request-id"]
    record = daemon.happened("ccproxy_post_api_call", request_id=request_id)
    for name in ("label", "rule", "model", "lane", "fallback"):
        assert record.get(name) == wanted.headers.get(f"x-ccproxy-{name}"), record
    assert record["status"] == answer.status
    assert record["failed"] == (wanted.failure is not None)


def test_a_row_expects_what_it_is() -> None:
    row = Row("messages", True, "valid", "think", "429", "direct")
    wanted = expected(row)
    assert wanted.failure == Failure("anthropic", "rate_limit_error", "canary-7f3a-error 429")
    assert wanted.headers["retry-after"] == "7"
    assert asdict(row)["failure"] == "429"
    assert not has_fallback(row)

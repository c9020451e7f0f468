"""Models of Google, Amazon and Cohere by the real proxy: what LiteLLM translates for three APIs.

Their streams have neither Anthropic's last event nor OpenAI's, so that each reader of LiteLLM's has
to be told apart: which of them are whole, which were cut, and what they cost.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.proxy.answers import Answer, ask
from tests.support.daemon import Daemon, Setup, running_daemon
from tests.support.provider import RunningProvider

AMAZONS = {
    "aws_access_key_id": "none",
    "aws_secret_access_key": "none",
    "aws_region_name": "us-east-1",
}
KEY = {"api_key": "sk-provider"}
PLACES = {
    "google": ("gemini/gemini-2.5-pro", "/v1beta", KEY),
    "amazon": ("bedrock/converse/amazon.nova-pro-v1:0", "", AMAZONS),
    "cohere": ("cohere_chat/command-r-plus-08-2024", "/v2/chat", KEY),
}
PRICES = {"google": (1.25e-6, 10e-6), "amazon": (0.8e-6, 3.2e-6), "cohere": (2.5e-6, 10e-6)}
"""In USD, of a token in and of one out; source: the price map that LiteLLM brings along."""
CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"

each_place = pytest.mark.parametrize("place", PLACES)
each_path = pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
each_manner = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest.fixture(scope="module")
def daemon(provider: RunningProvider) -> Iterator[Daemon]:
    def models(url: str) -> list[dict[str, Any]]:
        return [
            {"model_name": name, "litellm_params": {"model": model, "api_base": url + path, **more}}
            for name, (model, path, more) in PLACES.items()
        ]

    with running_daemon(Setup(rules=[], models=models), provider.url) as running:
        yield running


def asked(daemon: Daemon, place: str, path: str, directive: str, *, stream: bool = True) -> Answer:
    text = f"hello @@{directive}@@"
    turns = {"messages": [{"role": "user", "content": text}], "max_tokens": 99}
    said = {"input": text} if path == RESPONSES else turns
    body = {"model": place, "stream": stream, **said}
    with httpx.Client(base_url=str(daemon.client.base_url), timeout=60) as client:
        return ask(client, path, json=body, headers={"x-api-key": daemon.key})


def told_of(daemon: Daemon, answer: Answer) -> dict[str, Any]:
    request_id = answer.headers["x-ccproxy-request-id"]
    return daemon.happened("ccproxy_post_api_call", request_id=request_id)


def price_of(daemon: Daemon, told: dict[str, Any]) -> float:
    if "cost_usd" not in told:
        told = daemon.happened("ccproxy_cost", request_id=told["request_id"])
    return float(told["cost_usd"])


@each_place
@each_path
@each_manner
def test_an_answer_comes_whole_and_has_its_price(
    daemon: Daemon, place: str, path: str, stream: bool
) -> None:
    answer = asked(daemon, place, path, "input=1000;say=one two three", stream=stream)
    assert (answer.status, answer.is_whole) == (200, True)
    for word in (b"one", b"two", b"three"):
        assert word in answer.body
    told = told_of(daemon, answer)
    assert told["failed"] is False
    into, out = PRICES[place]
    assert price_of(daemon, told) == pytest.approx(1000 * into + 3 * out)


@each_place
@each_path
@pytest.mark.parametrize("end", ["short=4", "cut=4;gap=0.01"])
def test_half_a_stream_is_told_as_cut(daemon: Daemon, place: str, path: str, end: str) -> None:
    """LiteLLM would make an end for the one that is closed as if it were all."""
    answer = asked(daemon, place, path, f"events=9;{end}")
    assert (answer.status, answer.is_whole) == (200, False)
    assert b"the answer was cut: the provider went away" in answer.body
    assert b"word0" in answer.body
    assert not any(mark in answer.body for mark in (b"message_stop", b"response.completed"))
    told = told_of(daemon, answer)
    assert told["failed"] is True
    assert min(told["input_tokens"], told["output_tokens"], price_of(daemon, told)) > 0


@each_place
@each_path
def test_a_stream_that_ends_in_an_error_has_its_words(
    daemon: Daemon, place: str, path: str
) -> None:
    answer = asked(daemon, place, path, "events=9;error=4")
    assert (answer.status, b"Overloaded" in answer.body) == (200, True)
    assert told_of(daemon, answer)["failed"] is True


@each_place
@each_path
def test_a_stream_that_begins_with_an_error_has_a_status(
    daemon: Daemon, place: str, path: str
) -> None:
    answer = asked(daemon, place, path, "events=9;error=0")
    assert answer.status == (500 if place == "cohere" else 503)
    assert "Overloaded" in answer.json["error"]["message"]


@each_place
@each_path
@each_manner
def test_a_refusal_is_the_providers_own(
    daemon: Daemon, place: str, path: str, stream: bool
) -> None:
    busy = "status=429;retry-after=7;message=slow down"
    answer = asked(daemon, place, path, busy, stream=stream)
    assert (answer.status, answer.headers["retry-after"]) == (429, "7")
    assert answer.json["error"]["message"] == "slow down"

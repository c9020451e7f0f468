r"""The valid half of the matrix, asked of real providers (`make live`); it costs a few cents.

Those are asked whose key is in the environment. `ANTHROPIC_BASE_URL`, `OPENAI_BASE_URL` and
`GEMINI_API_BASE` name other addresses for them, in the form that LiteLLM takes: OpenAI's ends with
`/v1`, Gemini's with `/v1beta`, Anthropic's with neither. A server of one's own has models of its
own: `ANTHROPIC_MODELS`, `OPENAI_MODELS` and `GEMINI_MODELS` name the one that answers, where it is
another the one that thinks, and those for calls of other kinds, which are not made without:

    OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none \
        OPENAI_MODELS="qwen3 think=qwen3-thinking embeddings=nomic-embed-text" make live

The suite does not collect this file; what it does collect is `test_live.py`, which has it ask the
mock provider.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, Final

import httpx
import pytest
from attrs import asdict, evolve, frozen

from tests.integration.proxy.answers import Answer, ask
from tests.integration.proxy.house import LITELLM, OLD_KEY, OURS, RULES
from tests.integration.proxy.pairwise import cover, pairs
from tests.integration.proxy.rows import (
    LABELS,
    LANES,
    MODELS,
    PATHS,
    PROTOCOLS,
    Row,
    body_of,
    headers_of,
    padding_of,
)
from tests.support.daemon import Daemon, Setup, short_directory, started

PROMPT: Final = "Say hello in one word."
PATIENCE: Final = 300.0
LIMIT: Final = 2048
"""Tokens of an answer without thinking: a small model may never find its end by itself, and a slow
server should come to this one within our patience."""


@frozen
class Provider:
    """Where the labels go: to `model`, but `think` to one that can, and calls of other kinds."""

    name: str
    key: str
    base: str
    model: str
    thinker: str
    others: Mapping[str, str]

    @property
    def choice(self) -> str:
        """The environment variable that names other models."""
        return f"{self.name.upper()}_MODELS"

    def with_models(self, words: list[str]) -> Provider:
        """Such as `["answering", "think=thinking", "embeddings=another"]`, or none for its own."""
        if not words:
            return self
        pairs = (word.rpartition("=") for word in words)
        named = {call: f"{self.name}/{model}" for call, _, model in pairs}
        model = named.pop("")
        return evolve(self, model=model, thinker=named.pop("think", model), others=named)

    @property
    def calls(self) -> tuple[str, ...]:
        return (*PROTOCOLS, *self.others)

    def model_of(self, label: str) -> str:
        return self.thinker if label == "think" else self.model

    def goes_direct(self, call: str, label: str) -> bool:
        """A swap to a model of another family is LiteLLM's to translate."""
        return PROTOCOLS.get(call) == self.name and self.model_of(label) == self.model


PROVIDERS: Final = (
    Provider(
        name="anthropic",
        key="ANTHROPIC_API_KEY",
        base="ANTHROPIC_BASE_URL",
        model="anthropic/claude-haiku-4-5",
        thinker="anthropic/claude-haiku-4-5",
        others={},
    ),
    Provider(
        name="openai",
        key="OPENAI_API_KEY",
        base="OPENAI_BASE_URL",
        model="openai/gpt-4o-mini",
        thinker="openai/gpt-5-mini",
        others={
            "embeddings": "openai/text-embedding-3-small",
            "moderation": "openai/omni-moderation-latest",
        },
    ),
    Provider(
        name="gemini",
        key="GEMINI_API_KEY",
        base="GEMINI_API_BASE",
        model="gemini/gemini-2.5-flash",
        thinker="gemini/gemini-2.5-flash",
        others={"embeddings": "gemini/gemini-embedding-001"},
    ),
)


def available() -> list[Provider]:
    return [
        one.with_models(os.environ.get(one.choice, "").split())
        for one in PROVIDERS
        if os.environ.get(one.key)
    ]


def rows(provider: Provider) -> list[Row]:
    """Every pair of call, stream, label and lane that this provider can have."""
    every = product(provider.calls, (False, True), LABELS, LANES)
    asked = [
        Row(call, stream, "valid", label, "none", lane)
        for call, stream, label, lane in every
        if lane == "litellm" or provider.goes_direct(call, label)
    ]
    return cover(asked, lambda row: pairs(asdict(row)))


def setup(provider: Provider) -> Setup:
    """All labels behind one provider, whose key stands in the file `env`."""
    base = os.environ.get(provider.base)
    named = {
        **{label: provider.model_of(label) for label in LABELS},
        **{MODELS[call]: model for call, model in provider.others.items()},
    }

    def entry(name: str, model: str) -> dict[str, Any]:
        params = {"model": model, "api_key": f"os.environ/{provider.key}"}
        return {
            "model_name": name,
            "litellm_params": params | ({"api_base": base} if base else {}),
        }

    return Setup(
        rules=[rule for rule in RULES if not rule["rule"].startswith("my_code")],
        ours=OURS | {"hooks": []},
        models=lambda _: [entry(name, model) for name, model in named.items()],
        litellm=LITELLM,
        files={"env": f"{provider.key}={os.environ[provider.key]}\n"},
    )


@pytest.fixture(scope="module", params=available(), ids=lambda one: one.name)
def provider(request: pytest.FixtureRequest) -> Provider:
    found: Provider = request.param
    return found


@pytest.fixture(scope="module")
def daemon(provider: Provider) -> Iterator[Daemon]:
    with short_directory() as root:
        setup(provider).write(root / "config", "")
        (root / "config" / "env").chmod(0o600)
        with started(root) as running:
            running.happened("ready")
            yield running


def test_there_is_a_key() -> None:
    names = ", ".join(one.key for one in PROVIDERS)
    assert available(), f"cannot ask anybody: none of {names} is in the environment"


def test_the_valid_half_of_the_matrix_is_answered(provider: Provider, daemon: Daemon) -> None:
    url = f"http://127.0.0.1:{daemon.port}"
    with httpx.Client(base_url=url, timeout=PATIENCE) as client:
        wrong = [said for row in rows(provider) if (said := failing(client, daemon, row))]
    assert not wrong, "\n".join(wrong)


def failing(client: httpx.Client, daemon: Daemon, row: Row) -> str:
    """What is not as it should be with a row, all of which are to be tried."""
    try:
        return _failing(client, daemon, row)
    except Exception as error:
        return f"{row.name}: its answer makes no sense: {error!r}"


def _failing(client: httpx.Client, daemon: Daemon, row: Row) -> str:
    body = asked_of(row)
    headers = headers_of(row) | {"x-api-key": OLD_KEY}
    answer = ask(client, PATHS[row.call], json=body, headers=headers)
    if answer.status != 200:
        return f"{row.name}: {answer.status} {answer.body[:300]!r}"
    label = row.label if row.is_conversation else MODELS[row.call]
    wanted = {"x-ccproxy-label": label, "x-ccproxy-lane": row.lane}
    told = {name: answer.headers.get(name) for name in wanted}
    if told != wanted:
        return f"{row.name}: {told}"
    if not says_something(answer, row):
        return f"{row.name}: it says nothing: {answer.body[:300]!r}"
    request_id = answer.headers["x-ccproxy-request-id"]
    record = daemon.happened("ccproxy_post_api_call", request_id=request_id)
    return f"{row.name}: it counts as failed" if record["failed"] else ""


def asked_of(row: Row) -> dict[str, Any]:
    body = body_of(row, PROMPT + padding_of(row))
    is_short = row.is_conversation and row.label != "think"
    return body | ({"max_tokens": LIMIT} if is_short else {})


def says_something(answer: Answer, row: Row) -> bool:
    if row.call == "embeddings":
        return bool(answer.json["data"][0]["embedding"])
    if row.call == "moderation":
        return "flagged" in answer.json["results"][0]
    if row.streams and not (answer.is_stream and answer.is_ended):
        return False
    return bool(answer.text) or any(
        mark in answer.body for mark in (b'"tool_use"', b'"tool_calls"')
    )

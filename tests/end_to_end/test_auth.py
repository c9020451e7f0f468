"""Whose credential goes where, on both lanes, with real LiteLLM behind one of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.anthropic import Anthropic, running_anthropic
from tests.support.daemon import Daemon, Setup, message_body, running_daemon
from tests.support.provider import RunningProvider, running_provider

TOKEN = "sk-ant-oat01-of-the-client"
OWN_KEY = "sk-ant-api03-of-the-client"
MODEL = "anthropic/claude-opus-4-8"
VIA_LITELLM = {"rpm": 100_000}
"""A parameter that only LiteLLM honours."""


def models(url: str) -> list[dict[str, Any]]:
    labels: dict[str, dict[str, Any]] = {
        "own": {"model": MODEL},
        "own-via-litellm": {"model": MODEL, **VIA_LITELLM},
        "keyed": {"model": MODEL, "api_key": "sk-configured"},
        "keyed-via-litellm": {"model": MODEL, "api_key": "sk-configured", **VIA_LITELLM},
        "foreign": {"model": MODEL, "api_base": url, "api_key": "sk-foreign"},
        "foreign-via-litellm": {
            "model": MODEL,
            "api_base": url,
            "api_key": "sk-foreign",
            **VIA_LITELLM,
        },
        "foreign-without-key": {"model": MODEL, "api_base": url},
        "foreign-without-key-via-litellm": {"model": MODEL, "api_base": url, **VIA_LITELLM},
        "openai": {"model": "openai/gpt-5", "api_base": f"{url}/v1", "api_key": "sk-openai"},
        "falling": {"model": f"{MODEL}@@status=529@@", **VIA_LITELLM},
        "falling-abroad": {"model": f"{MODEL}@@status=529@@", **VIA_LITELLM},
    }
    return [{"model_name": name, "litellm_params": params} for name, params in labels.items()]


@pytest.fixture(scope="module")
def anthropic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anthropic]:
    with running_anthropic(tmp_path_factory.mktemp("anthropic")) as anthropic:
        yield anthropic


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[RunningProvider]:
    with running_provider() as provider:
        yield provider


@pytest.fixture(scope="module")
def daemon(anthropic: Anthropic, elsewhere: RunningProvider) -> Iterator[Daemon]:
    setup = Setup(
        rules=[],
        models=models,
        ours={
            "lanes": {"direct": "auto"},
            "hooks": ["forward_oauth", "forward_apikey"],
            "fallbacks": {"falling": ["openai"], "falling-abroad": ["foreign"]},
        },
        litellm={"environment_variables": anthropic.environ},
    )
    with running_daemon(setup, elsewhere.url) as daemon:
        yield daemon


def ask(daemon: Daemon, label: str, headers: dict[str, str], text: str = "hi") -> httpx.Response:
    return httpx.post(
        f"http://127.0.0.1:{daemon.port}/v1/messages",
        json=message_body(text, model=label),
        headers={name: value.format(key=daemon.key) for name, value in headers.items()},
        timeout=60,
    )


SUBSCRIBER = {"x-litellm-api-key": "{key}", "authorization": f"Bearer {TOKEN}"}
OF_AN_ACCOUNT = {"x-litellm-api-key": "{key}", "x-api-key": OWN_KEY}
OURS = (
    {"authorization": "Bearer {key}"},
    {"x-api-key": "{key}"},
    {"x-api-key": "{key}", "authorization": "Bearer {key}"},
    {"x-api-key": "wrong", "authorization": "Bearer {key}"},
)
VIA = {"own": "direct", "own-via-litellm": "litellm"}


@pytest.mark.parametrize("headers", OURS, ids=["bearer", "x-api-key", "both", "one of them"])
@pytest.mark.parametrize("label", ["keyed", "keyed-via-litellm"])
def test_a_key_of_ours_opens_the_port_and_goes_nowhere(
    daemon: Daemon, anthropic: Anthropic, label: str, headers: dict[str, str]
) -> None:
    answer = ask(daemon, label, headers)
    assert answer.status_code == 200, answer.text
    sent = anthropic.provider.requests[-1].headers
    assert sent["x-api-key"] == "sk-configured"
    assert "authorization" not in sent
    assert daemon.key not in repr(sent)


@pytest.mark.parametrize("label", ["own", "own-via-litellm"])
def test_a_subscription_is_the_clients_own_at_anthropic(
    daemon: Daemon, anthropic: Anthropic, label: str
) -> None:
    answer = ask(daemon, label, SUBSCRIBER)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-ccproxy-lane"] == VIA[label]
    sent = anthropic.provider.requests[-1].headers
    assert sent["authorization"] == f"Bearer {TOKEN}"
    assert "x-api-key" not in sent
    assert daemon.key not in repr(sent)


@pytest.mark.parametrize("label", ["own", "own-via-litellm"])
def test_so_is_a_key_of_its_own(daemon: Daemon, anthropic: Anthropic, label: str) -> None:
    answer = ask(daemon, label, OF_AN_ACCOUNT)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-ccproxy-lane"] == VIA[label]
    sent = anthropic.provider.requests[-1].headers
    assert sent["x-api-key"] == OWN_KEY
    assert "authorization" not in sent


@pytest.mark.parametrize("label", ["own", "own-via-litellm"])
@pytest.mark.parametrize("headers", [SUBSCRIBER, OF_AN_ACCOUNT], ids=["token", "key"])
def test_a_credential_of_the_clients_that_has_expired_is_its_own_business(
    daemon: Daemon, label: str, headers: dict[str, str]
) -> None:
    answer = ask(daemon, label, headers, "@@status=401@@")
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "authentication_error"


@pytest.mark.parametrize(
    "label",
    [
        "keyed",
        "keyed-via-litellm",
        "foreign",
        "foreign-via-litellm",
        "foreign-without-key",
        "foreign-without-key-via-litellm",
        "openai",
    ],
)
@pytest.mark.parametrize("headers", [SUBSCRIBER, OF_AN_ACCOUNT], ids=["token", "key"])
def test_a_credential_of_the_clients_goes_nowhere_else(
    daemon: Daemon,
    anthropic: Anthropic,
    elsewhere: RunningProvider,
    label: str,
    headers: dict[str, str],
) -> None:
    before = len(elsewhere.requests), len(anthropic.provider.requests)
    answer = ask(daemon, label, headers)
    assert answer.status_code == 200, answer.text
    [sent] = [*elsewhere.requests[before[0] :], *anthropic.provider.requests[before[1] :]]
    assert "of-the-client" not in repr(sent.headers)


def test_a_key_of_the_configs_that_is_refused_is_not_the_clients_fault(daemon: Daemon) -> None:
    for label in ("keyed", "keyed-via-litellm", "foreign", "openai"):
        answer = ask(daemon, label, SUBSCRIBER, "@@status=401@@")
        assert answer.status_code == 502
        assert answer.headers["x-should-retry"] == "false"
        assert label in answer.json()["error"]["message"]


@pytest.mark.parametrize("headers", [SUBSCRIBER, OF_AN_ACCOUNT], ids=["token", "key"])
@pytest.mark.parametrize("label", ["falling", "falling-abroad"])
def test_a_fallback_to_somebody_else_goes_without_it(
    daemon: Daemon,
    anthropic: Anthropic,
    elsewhere: RunningProvider,
    label: str,
    headers: dict[str, str],
) -> None:
    before = len(elsewhere.requests)
    answer = ask(daemon, label, headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-ccproxy-fallback"] in ("openai", "foreign")
    assert "of-the-client" in repr(anthropic.provider.requests[-1].headers)
    [sent] = elsewhere.requests[before:]
    assert "of-the-client" not in repr(sent.headers)


def test_no_credential_is_logged(daemon: Daemon, anthropic: Anthropic) -> None:
    log = "".join(daemon.text)
    for secret in (TOKEN, OWN_KEY, daemon.key, "sk-configured", "sk-openai"):
        assert secret not in log
    assert anthropic.refused == []

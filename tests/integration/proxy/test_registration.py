"""LiteLLM's own lists of callbacks, as the worker tells them that has just answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.integration.proxy.house import NEW_KEY
from tests.integration.proxy.rows import NEEDS_LITELLM
from tests.support.daemon import Daemon, message_body

HANDLER = "<ccproxyd.worker.handler.CCProxyHandler object at "


@pytest.fixture(scope="module")
def callbacks(daemon: Daemon, client: httpx.Client) -> dict[str, Any]:
    """By the names of LiteLLM's lists, asked for on the worker's own socket, under its own key."""
    headers = {"x-api-key": NEW_KEY, **NEEDS_LITELLM}
    assert client.post("/v1/messages", json=message_body(), headers=headers).is_success
    config = max(daemon.socket.parent.glob("worker-*.yaml"), key=_generation)
    key = yaml.safe_load(config.read_text())["general_settings"]["master_key"]
    way = httpx.HTTPTransport(uds=str(config.with_suffix(".0.sock")))
    with httpx.Client(transport=way, base_url="http://worker", timeout=60) as worker:
        answer = worker.get("/active/callbacks", headers={"authorization": f"Bearer {key}"})
    found = answer.raise_for_status().json()
    assert isinstance(found, dict)
    return found


def _generation(config: Path) -> int:
    return int(config.name.split("-")[1])


@pytest.mark.parametrize(
    "name",
    [
        "litellm.callbacks",
        "litellm.input_callback",
        "litellm.failure_callback",
        "litellm._async_success_callback",
        "litellm._async_failure_callback",
    ],
)
def test_litellm_has_the_handler_registered_once(callbacks: dict[str, Any], name: str) -> None:
    [ours] = [one for one in callbacks[name] if "CCProxyHandler" in one]
    assert ours.startswith(HANDLER)

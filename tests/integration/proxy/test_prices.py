"""What had come of a stream has its price, however it ends: a provider bills it all the same."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any, Final

import httpx
import pytest

from tests.integration.proxy.house import NEW_KEY
from tests.integration.proxy.rows import NEEDS_LITELLM
from tests.support.daemon import Daemon

CHAT, TEXT, MESSAGES = "/v1/chat/completions", "/v1/completions", "/v1/messages"
RESPONSES = "/v1/responses"
CLAUDE, GPT, RESPONDER = "claude-sonnet-4-5", "gpt-4o", "responder"
"""By OpenAI's and Anthropic's own names, which have public prices."""

WORDS: Final = "one two three four five six seven eight nine ten"
ENDS: Final = {
    "cut by its provider": "cut=8;gap=0.01",
    "with an error in its middle": "error=8",
    "without an end": "short=8",
    "left by its client": "hold=8",
}
PATHS: Final = [
    *((CHAT, model) for model in (GPT, CLAUDE, RESPONDER)),
    *((TEXT, model) for model in (GPT, CLAUDE, "instructed")),
    *((MESSAGES, model) for model in (CLAUDE, GPT, RESPONDER)),
    *((RESPONSES, model) for model in (GPT, CLAUDE)),
]


def body(path: str, model: str, end: str) -> dict[str, Any]:
    text = f"@@say={WORDS};{ENDS[end]}@@"
    said: dict[str, Any] = {"messages": [{"role": "user", "content": text}], "max_tokens": 99}
    if path in (TEXT, RESPONSES):
        said = {"prompt" if path == TEXT else "input": text}
    return {"model": model, "stream": True, **said}


def asked(client: httpx.Client, path: str, sent: dict[str, Any], last: bytes | None) -> str:
    """Ask, leave when the last word is there that is waited for, and give the request's id."""
    headers = {"x-api-key": NEW_KEY, **NEEDS_LITELLM}
    with client.stream("POST", path, json=sent, headers=headers) as answer:
        came = b""
        with suppress(httpx.RemoteProtocolError):
            for piece in answer.iter_raw():
                came += piece
                if last and last in came:
                    break
        return answer.headers["x-ccproxy-request-id"]


def price_of(daemon: Daemon, told: dict[str, Any]) -> float:
    """LiteLLM may tell it before the end of the answer, or afterwards."""
    found = told
    if "cost_usd" not in told:
        found = daemon.happened("ccproxy_cost", request_id=told["request_id"])
    return float(found["cost_usd"])


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(("path", "model"), PATHS)
def test_a_stream_has_tokens_and_a_price(
    daemon: Daemon,
    client: httpx.Client,
    path: str,
    model: str,
    end: str,
) -> None:
    last = b"four" if end == "left by its client" else None
    request_id = asked(client, path, body(path, model, end), last)
    told = daemon.happened("ccproxy_post_api_call", request_id=request_id)
    assert (told["lane"], told["status"], told["failed"]) == ("litellm", 200, True)
    assert min(told["input_tokens"], told["output_tokens"]) > 0
    assert price_of(daemon, told) > 0


def test_no_request_has_two_prices(daemon: Daemon, client: httpx.Client) -> None:
    """Neither this one nor those before it."""
    request_id = asked(client, CHAT, body(CHAT, GPT, "without an end"), None)
    price_of(daemon, daemon.happened("ccproxy_post_api_call", request_id=request_id))
    events = ("ccproxy_post_api_call", "ccproxy_cost")
    told = [one for one in daemon.records if one["event"] in events and "cost_usd" in one]
    assert set(Counter(one["request_id"] for one in told).values()) == {1}

"""Hooks and moderation through a whole daemon, on both lanes, with the real LiteLLM behind one.

Label `direct` goes past LiteLLM; `litellm` has a parameter that only LiteLLM knows.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.daemon import Daemon, Setup, anthropic_model, message_body
from tests.support.provider import RunningProvider

pytestmark = pytest.mark.xdist_group("hooks")

LANES = ("direct", "litellm")
CANARY = "canary-7f3a"

HOOKS = '''
"""In the form of claude-ccproxy."""
from ccproxy.hooks import ProxyError

def _said(data):
    return data["messages"][-1]["content"]

def edit(data, user_api_key_dict, **kwargs):
    if "edit me" in _said(data):
        data["messages"][-1]["content"] = kwargs["word"]
    return data

async def reroute(data, user_api_key_dict):
    assert data["model"] == data["metadata"]["ccproxy_model_name"]
    if "send me to" in _said(data):
        data["model"] = _said(data).rpartition(" ")[2]

def broken(data, user_api_key_dict):
    data["messages"].append({"role": "user", "content": "half done"})
    raise ValueError(_said(data))

def refuse(data, user_api_key_dict):
    if "refuse me" in _said(data):
        raise ProxyError("no work on a Sunday", code=403)

def check(data, user_api_key_dict, call_type):
    if "break the check" in _said(data):
        raise ValueError(_said(data))
    return "forbidden" not in _said(data)
'''

OURS: dict[str, Any] = {
    "lanes": {"direct": "auto"},
    "hooks": [
        {"hook": "my_hooks.edit", "params": [{"word": "edited"}]},
        "ccproxy.hooks.rule_evaluator",
        "ccproxy.hooks.model_router",
        "my_hooks.reroute",
        "my_hooks.broken",
        "my_hooks.refuse",
        "extract_session_id",
        {"hook": "capture_headers", "params": {"headers": ["x-app", "x-api-key"]}},
        "request_analyzer",
        "response_enhancer",
    ],
    "moderation": {"enabled": True, "deny": ["(?i)project zeus"], "check": "my_hooks.check"},
}


@pytest.fixture(scope="module")
def setup_of_module() -> Setup:
    return Setup(
        rules=[],
        ours=OURS,
        models=lambda url: [
            anthropic_model("direct", url),
            anthropic_model("litellm", url, max_retries=0),
        ],
        files={"my_hooks.py": HOOKS},
    )


@pytest.fixture(params=LANES)
def lane(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def ask(daemon: Daemon, lane: str, text: str = "hello", **more: Any) -> httpx.Response:
    headers = {"x-app": "cli", "x-claude-code-session-id": "s-1"}
    body = message_body(text, model=lane, **more)
    return daemon.client.post("/v1/messages", json=body, headers=headers)


def test_what_a_hook_changes_reaches_the_provider(
    daemon: Daemon, provider: RunningProvider, lane: str
) -> None:
    answer = ask(daemon, lane, "edit me")
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-ccproxy-lane"] == lane
    assert provider.requests[-1].prompt == "edited"
    assert provider.requests[-1].model == f"mock-{lane}"


def test_a_hook_gives_a_request_another_label(
    daemon: Daemon, provider: RunningProvider, lane: str
) -> None:
    [other] = set(LANES) - {lane}
    answer = ask(daemon, lane, f"send me to {other}")
    assert answer.headers["x-ccproxy-lane"] == answer.headers["x-ccproxy-label"] == other
    assert provider.requests[-1].model == f"mock-{other}"
    assert answer.headers["x-ccproxy-model-name"] == other
    assert answer.headers["x-ccproxy-original-model"] == lane
    assert answer.headers["x-ccproxy-routed-model"] == f"anthropic/mock-{other}"
    assert ask(daemon, lane, "send me to nowhere").status_code == 404


def test_a_stream_passes_the_hooks_too(daemon: Daemon, lane: str) -> None:
    answer = ask(daemon, lane, "edit me", stream=True)
    assert "event: message_stop" in answer.text


def test_what_they_have_to_say_is_in_the_record_and_nothing_else(daemon: Daemon, lane: str) -> None:
    request_id = ask(daemon, lane, CANARY).headers["x-ccproxy-request-id"]
    record = daemon.happened("ccproxy_post_api_call", request_id=request_id)
    assert record["headers"] == {"x-app": "cli"}
    assert "session_id" not in record, "a mark stands for it"
    assert len(record["session"]) == 16
    assert (record["message_count"], record["has_tools"], record["stream"]) == (1, False, False)
    assert record["lane"] == lane
    assert CANARY not in "".join(daemon.text)


def test_a_hook_that_fails_costs_no_request_and_is_counted(
    daemon: Daemon, provider: RunningProvider, lane: str
) -> None:
    assert ask(daemon, lane).status_code == 200
    assert len(provider.requests[-1].fields["messages"]) == 1
    told = daemon.happened("cannot run a hook", hook="ccproxy.hooks[4]")
    assert (told["error"], told["where"]) == ("ValueError", "my_hooks.py:20")


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        ("refuse me", 403, "no work on a Sunday"),
        ("about Project ZEUS", 400, "the request was refused by moderation"),
        ("something forbidden", 400, "the request was refused by moderation"),
        ("break the check", 500, "cannot moderate the request"),
    ],
)
def test_what_is_refused_reaches_no_provider(
    daemon: Daemon, provider: RunningProvider, lane: str, text: str, status: int, message: str
) -> None:
    before = len(provider.requests)
    answer = ask(daemon, lane, text)
    assert answer.status_code == status
    assert answer.json()["error"]["message"].startswith(message)
    assert len(provider.requests) == before
    daemon.happened(
        "ccproxy_post_api_call", request_id=answer.headers["x-ccproxy-request-id"], status=status
    )
    assert text not in "".join(daemon.text)


def test_moderation_is_told_by_its_outcome(daemon: Daemon, lane: str) -> None:
    for text, outcome in (("project zeus", "refused"), ("break the check", "failed")):
        request_id = ask(daemon, lane, text).headers["x-ccproxy-request-id"]
        told = daemon.happened("ccproxy_moderation", request_id=request_id)
        head = {"time", "level", "event", "process"}
        assert told.keys() == {*head, "request_id", "session", "call_type", "outcome"}
        assert told["outcome"] == outcome


def test_a_hook_that_does_not_load_changes_nothing_and_a_mended_one_takes_effect(
    daemon: Daemon, provider: RunningProvider
) -> None:
    daemon.edit("my_hooks.py", lambda text: text.replace("def edit(", "def edti("))
    failed = daemon.ctl("reload", check=False)
    assert failed.returncode == 1
    assert "ccproxy.hooks[0]: module my_hooks has no function 'edit'" in failed.stderr
    assert "did you mean 'edti'" in failed.stderr
    ask(daemon, "direct", "edit me")
    assert provider.requests[-1].prompt == "edited"
    daemon.edit("my_hooks.py", lambda text: text.replace("def edti(", "def edit("))
    daemon.edit("my_hooks.py", lambda text: text.replace('kwargs["word"]', '"mended"'))
    assert daemon.ask("reload")["changed"] == "rules"
    ask(daemon, "direct", "edit me")
    assert provider.requests[-1].prompt == "mended"

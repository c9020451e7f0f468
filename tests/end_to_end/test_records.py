"""The records of a request's life, on both lanes, with the real LiteLLM behind one of them.

The labels `direct` and `litellm` go by the lanes of their names, which a price for each token does
not change; whoever asks for `asked-for-LABEL` gets LABEL for a quarter of the price.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import httpx
import pytest

from tests.support.daemon import Daemon, Setup, anthropic_model, message_body

pytestmark = pytest.mark.xdist_group("records")

LANES = ("direct", "litellm")
CANARY = "canary-7f3a"
WHO = {"request_id", "session", "call_type", "lane", "label", "rule", "model", "time"}
ROUTE = {"model_name", "original_model", "routed_model"}
ASKED = {*ROUTE, "message_count", "has_tools", "is_streaming"}
TOKENS = {"input_tokens", "output_tokens", "cache_read_tokens"}


def priced(usd: float) -> dict[str, float]:
    return {"input_cost_per_token": usd, "output_cost_per_token": usd}


def only_litellms(usd: float) -> dict[str, Any]:
    return {**priced(usd), "max_retries": 0}


@pytest.fixture(scope="module")
def setup_of_module() -> Setup:
    return Setup(
        rules=[
            {"label": lane, "rule": "MatchModelRule", "params": [{"model_name": f"for-{lane}"}]}
            for lane in LANES
        ],
        ours={
            "debug": True,
            "lanes": {"direct": "auto"},
            "fallbacks": {
                "direct-fails": ["direct"],
                "litellm-fails": ["litellm"],
                **{f"{lane}-lost": ["lost", "lost-too"] for lane in LANES},
            },
            "moderation": {"enabled": True, "deny": ["project zeus"]},
            "logging": {"enable_moderation": True},
            "budgets": {"per_label": {f"spent-{lane}": {"daily_usd": 1} for lane in LANES}},
        },
        models=lambda url: [
            anthropic_model("direct", url, **priced(0.001)),
            anthropic_model("asked-for-direct", url, **priced(0.004)),
            anthropic_model("spent-direct", url, **priced(0.001)),
            anthropic_model("spent-litellm", url, **only_litellms(0.001)),
            anthropic_model("direct-fails", url, model="anthropic/@@status=529@@"),
            *(
                anthropic_model(name, url, model="anthropic/@@status=500@@", **more)
                for name, more in {
                    "lost": {},
                    "lost-too": {},
                    "direct-lost": {},
                    "litellm-lost": {"max_retries": 0},
                }.items()
            ),
            anthropic_model("litellm", url, **only_litellms(0.001)),
            anthropic_model("asked-for-litellm", url, **only_litellms(0.004)),
            anthropic_model(
                "litellm-fails", url, model="anthropic/@@status=529@@", **only_litellms(0.001)
            ),
        ],
    )


@pytest.fixture(params=LANES)
def lane(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def ask(daemon: Daemon, model: str, text: str = CANARY, **more: Any) -> httpx.Response:
    headers = {"x-claude-code-session-id": f"session-{CANARY}"}
    return daemon.client.post(
        "/v1/messages", json=message_body(text, model=model, **more), headers=headers
    )


def record(daemon: Daemon, event: str, answer: httpx.Response) -> dict[str, Any]:
    request_id = answer.headers["x-ccproxy-request-id"]
    return daemon.happened(f"ccproxy_{event}", request_id=request_id)


def test_a_request_is_told_before_and_after(daemon: Daemon, lane: str) -> None:
    answer = ask(daemon, f"asked-for-{lane}", tools=[])
    before = record(daemon, "pre_api_call", answer)
    assert before.keys() == {*WHO, *ASKED, "level", "event", "kept", "routing_ms"}
    assert (before["label"], before["model_name"], before["lane"]) == (lane, lane, lane)
    assert (before["rule"], before["call_type"]) == ("MatchModelRule", "anthropic_messages")
    assert (before["original_model"], before["kept"]) == (f"asked-for-{lane}", False)
    assert before["routed_model"] == before["model"] == f"anthropic/mock-{lane}"
    assert (before["message_count"], before["has_tools"], before["is_streaming"]) == (1, 0, 0)
    after = record(daemon, "post_api_call", answer)
    assert {*WHO, *ASKED, *TOKENS} - after.keys() <= {"cache_read_tokens"}
    assert after["duration_ms"] >= after["first_byte_ms"] > 0
    assert (after["status"], after["failed"], after["retries"]) == (200, False, 0)
    assert after["routing_effective"] is True
    assert after["session"] == before["session"]


def test_a_success_is_told_with_its_tokens(daemon: Daemon, lane: str) -> None:
    answer = ask(daemon, lane)
    told = record(daemon, "success", answer)
    assert (told["level"], told["lane"], told["status"]) == ("debug", lane, 200)
    assert told["output_tokens"] == answer.json()["usage"]["output_tokens"] > 0


def test_the_price_is_told_once_and_held_against_what_was_asked_for(
    daemon: Daemon, lane: str
) -> None:
    answer = ask(daemon, f"asked-for-{lane}")
    after = record(daemon, "post_api_call", answer)
    told = after if "cost_usd" in after else record(daemon, "cost", answer)
    tokens = after["input_tokens"] + after["output_tokens"]
    assert told["cost_usd"] == pytest.approx(tokens * 0.001)
    assert told["cost_efficiency"] == 0.25
    assert (told["label"], told["session"]) == (lane, after["session"])


def test_a_budget_is_told_of_when_it_is_nearly_used_up_and_when_it_is(
    daemon: Daemon, lane: str
) -> None:
    whose = {"label": f"spent-{lane}", "model_name": f"spent-{lane}", "period": "day"}
    for because in ("a budget is nearly used up", "a budget is used up", None):
        answer = ask(daemon, whose["label"], "@@input=848@@")
        assert answer.headers["x-ccproxy-lane"] == lane
        if because:
            told = daemon.happened("ccproxy_budget_alert", because=because, **whose)
            assert (told["level"], told["limit_usd"]) == ("warning", 1.0)
            assert told["routed_model"] == f"anthropic/mock-spent-{lane}"
        elif "cost_usd" not in record(daemon, "post_api_call", answer):
            record(daemon, "cost", answer)
    told_of = [one for one in daemon.records if one["event"] == "ccproxy_budget_alert"]
    assert len([one for one in told_of if one["label"] == whose["label"]]) == 2


def test_the_end_of_a_stream_is_told(daemon: Daemon, lane: str) -> None:
    answer = ask(daemon, lane, stream=True)
    assert "message_stop" in answer.text
    told = record(daemon, "stream_end", answer)
    assert (told["complete"], told["lane"]) == (True, lane)
    assert told["output_tokens"] > 0
    assert told["stream_ms"] >= 0
    assert record(daemon, "success", answer)["status"] == 200


def test_a_failure_is_told_by_its_type(daemon: Daemon, lane: str) -> None:
    answer = ask(daemon, lane, f"@@status=429;echo@@ {CANARY}")
    assert answer.status_code == 429
    told = record(daemon, "failure", answer)
    assert (told["level"], told["status"], told["error"]) == ("warning", 429, "ProviderError")
    assert (told["label"], told["retries"]) == (lane, 0)
    assert told["duration_ms"] > 0
    assert record(daemon, "post_api_call", answer)["routing_effective"] is False


def test_a_stream_that_is_cut_is_a_failure_and_an_end(daemon: Daemon, lane: str) -> None:
    body = message_body("@@events=8;gap=0.02;cut=6@@", model=lane, stream=True)
    stream = daemon.client.stream("POST", "/v1/messages", json=body)
    with stream as answer, pytest.raises(httpx.RemoteProtocolError):
        answer.read()
    assert record(daemon, "stream_end", answer)["complete"] is False
    told = record(daemon, "failure", answer)
    assert (told["lane"], told["status"], told["error"]) == (lane, 200, "HungUpError")


def test_a_client_that_leaves_in_mid_stream_is_told(daemon: Daemon, lane: str) -> None:
    """The stream would go on for minutes."""
    body = message_body("@@events=1000;gap=0.1@@", model=lane, stream=True)
    with daemon.client.stream("POST", "/v1/messages", json=body) as answer:
        next(answer.iter_lines())
    assert record(daemon, "stream_end", answer)["complete"] is False
    assert record(daemon, "failure", answer)["error"] == "ClientGoneError"


def test_a_fallback_is_told(daemon: Daemon, lane: str) -> None:
    """On the direct lane it is LiteLLM that falls back, once it has been handed the request."""
    answer = ask(daemon, f"{lane}-fails")
    assert (answer.status_code, answer.headers["x-ccproxy-fallback"]) == (200, lane)
    assert record(daemon, "pre_api_call", answer)["lane"] == lane
    after = record(daemon, "post_api_call", answer)
    assert (after["label"], after["fallback"], after["lane"]) == (f"{lane}-fails", lane, "litellm")
    assert after["routing_effective"] is False
    assert after["retries"] >= (1 if lane == "direct" else 0)


def test_fallbacks_that_failed_as_well_are_told(daemon: Daemon, lane: str) -> None:
    answer = ask(daemon, f"{lane}-lost")
    assert (answer.status_code, answer.headers.get("x-ccproxy-fallback")) == (500, None)
    for event in ("post_api_call", "failure"):
        told = record(daemon, event, answer)
        assert (told["failed_fallbacks"], told["retries"]) == (2, lane == "direct")
        assert "fallback" not in told


def test_what_moderation_says_is_told_and_nothing_is_sent_on(daemon: Daemon, lane: str) -> None:
    answer = ask(daemon, lane, "about project zeus")
    assert record(daemon, "moderation", answer)["outcome"] == "refused"
    assert record(daemon, "failure", answer)["error"] == "ValidationError"
    request_id = answer.headers["x-ccproxy-request-id"]
    told = [one["event"] for one in daemon.records if one.get("request_id") == request_id]
    assert "ccproxy_pre_api_call" not in told


def test_the_records_add_up_to_the_statistics(daemon: Daemon) -> None:
    """And the records of one session bear one mark; what was said stands nowhere."""
    answers = [ask(daemon, f"asked-for-{lane}") for lane in LANES]
    for answer in answers:
        after = record(daemon, "post_api_call", answer)
        if "cost_usd" not in after:
            record(daemon, "cost", answer)
    spent: Counter[str] = Counter()
    for one in daemon.records:
        if one["event"] in ("ccproxy_post_api_call", "ccproxy_cost"):
            spent[one.get("fallback") or one.get("label", "")] += one.get("cost_usd", 0)
    by_label = daemon.ask("stats")["by_label"]
    for lane in LANES:
        assert spent[lane] == pytest.approx(by_label[lane]["cost_usd"]) != 0
    marks = {one["session"] for one in daemon.records if "session" in one}
    assert len(marks) == 1
    assert CANARY not in "".join(daemon.text)

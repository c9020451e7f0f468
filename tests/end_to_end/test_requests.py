"""Requests through the whole house: their label, what the provider sees, what comes back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import orjson
import pytest

from tests.support.daemon import LABELS, Daemon, Setup, anthropic_model, message_body
from tests.support.provider import RunningProvider
from tests.support.shapes import NAMES, shape

OPENAI = {"model": "openai/mock-chat", "api_key": "sk-provider"}


@pytest.fixture(scope="module")
def setup_of_module() -> Setup:
    def models(url: str) -> list[dict[str, Any]]:
        base = f"{url}/v1"
        return [
            *(anthropic_model(label, url) for label in LABELS),
            {"model_name": "gpt", "litellm_params": {**OPENAI, "api_base": base}},
            {
                "model_name": "embedder",
                "litellm_params": {**OPENAI, "model": "openai/mock-embed", "api_base": base},
            },
        ]

    return Setup(models=models)


EXPECTED = {
    "readbig-10": "token_count",
    "model-haiku-01": "background",
    "task-explore-02": "background",
    "task-explore-03": "background",
    "effort-xhigh-01": "think",
    "websearch-02": "web_search",
}


def last_model(provider: RunningProvider) -> str:
    return provider.requests[-1].model


@pytest.mark.parametrize("name", [*EXPECTED, "simple-01", "toolloop-05", "tty-plan-01"])
def test_a_real_clients_request_reaches_its_labels_model(
    daemon: Daemon, provider: RunningProvider, name: str
) -> None:
    wanted = shape(name)
    label = EXPECTED.get(name, "default")
    body = {**wanted.body, "stream": False}
    answer = daemon.client.post(wanted.path, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-ccproxy-label"] == label
    assert answer.headers["x-ccproxy-model"] == f"anthropic/mock-{label}"
    assert last_model(provider) == f"mock-{label}"


def test_every_shape_has_a_name_that_the_table_knows() -> None:
    assert set(EXPECTED) <= set(NAMES)


def test_a_stream_arrives_as_a_stream_with_the_same_headers(daemon: Daemon) -> None:
    body = message_body(stream=True, model="claude-haiku-4-5")
    with daemon.client.stream("POST", "/v1/messages", json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-ccproxy-label"] == "background"
        assert answer.headers["x-ccproxy-rule"] == "MatchModelRule"
        frames = [line for line in answer.iter_lines() if line.startswith("event:")]
    assert frames[0] == "event: message_start"
    assert frames[-1] == "event: message_stop"


def test_frames_are_not_held_back_until_the_answer_is_whole(
    daemon: Daemon, provider: RunningProvider
) -> None:
    body = message_body("@@events=8;hold=6@@", stream=True)
    with daemon.client.stream("POST", "/v1/messages", json=body) as answer:
        lines = answer.iter_lines()
        first = next(lines)
        provider.holding(1)
        provider.release()
        rest = list(lines)
    assert first.startswith("event: message_start")
    assert any("message_stop" in line for line in rest)


def test_chat_completions_are_routed_like_messages(
    daemon: Daemon, provider: RunningProvider
) -> None:
    body = {"model": "gpt", "messages": [{"role": "user", "content": "hello"}]}
    answer = daemon.client.post("/v1/chat/completions", json=body)
    assert answer.json()["choices"][0]["message"]["content"]
    assert answer.headers["x-ccproxy-label"] == "gpt"
    assert answer.headers["x-ccproxy-rule"] == "passthrough"
    assert last_model(provider) == "mock-chat"
    body["model"] = "claude-3-haiku"
    routed = daemon.client.post("/v1/chat/completions", json=body)
    assert routed.headers["x-ccproxy-label"] == "background"
    assert last_model(provider) == "mock-background"


def test_a_chat_stream_ends_with_done(daemon: Daemon) -> None:
    body = {"model": "gpt", "messages": [{"role": "user", "content": "hello"}], "stream": True}
    with daemon.client.stream("POST", "/v1/chat/completions", json=body) as answer:
        lines = [line for line in answer.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"


def test_an_embedding_keeps_its_model(daemon: Daemon, provider: RunningProvider) -> None:
    body = {"model": "embedder", "input": "hello"}
    answer = daemon.client.post("/v1/embeddings", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-ccproxy-label"] == "embedder"
    assert last_model(provider) == "mock-embed"


def test_a_label_can_be_asked_for_by_name(daemon: Daemon, provider: RunningProvider) -> None:
    answer = daemon.message(model="web_search")
    assert answer.headers["x-ccproxy-label"] == "web_search"
    assert answer.headers["x-ccproxy-rule"] == "passthrough"
    assert last_model(provider) == "mock-web_search"


def test_tokens_are_counted_for_the_label_that_the_request_would_get(
    daemon: Daemon, provider: RunningProvider
) -> None:
    body = {k: v for k, v in message_body(model="claude-haiku-4-5").items() if k != "max_tokens"}
    answer = daemon.client.post("/v1/messages/count_tokens", json=body)
    assert answer.json()["input_tokens"] > 0
    assert answer.headers["x-ccproxy-label"] == "background"
    asked = [one for one in provider.requests if one.path.endswith("/count_tokens")]
    assert asked[-1].model == "mock-background"


@pytest.mark.parametrize("model", ["claude-opus-4-8", "gpt"])
@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 529])
def test_a_count_does_not_fail_with_the_provider(daemon: Daemon, status: int, model: str) -> None:
    body = message_body(f"@@status={status}@@", model=model)
    answer = daemon.client.post("/v1/messages/count_tokens", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["input_tokens"] > 0
    assert answer.headers["x-ccproxy-token-count"] == "estimate"


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer {key}"},
        {"x-api-key": "{key}"},
        {"x-api-key": "wrong", "authorization": "Bearer {key}"},
        {"x-litellm-api-key": "{key}", "authorization": "Bearer sk-ant-oat01-mine"},
    ],
)
def test_the_key_is_taken_in_every_header_that_a_client_uses(
    daemon: Daemon, provider: RunningProvider, headers: dict[str, str]
) -> None:
    sent = {name: value.format(key=daemon.key) for name, value in headers.items()}
    answer = httpx.post(
        f"http://127.0.0.1:{daemon.port}/v1/messages",
        json=message_body(),
        headers=sent,
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    seen = provider.requests[-1].headers
    assert seen["x-api-key"] == "sk-provider"
    assert daemon.key not in repr(seen)
    assert "sk-ant-oat01-mine" not in repr(seen)


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions", "/v1/models"])
def test_nobody_passes_without_the_key(daemon: Daemon, path: str) -> None:
    url = f"http://127.0.0.1:{daemon.port}{path}"
    for headers in ({}, {"x-api-key": "sk-wrong"}):
        answer = httpx.post(url, json=message_body(), headers=headers)
        assert answer.status_code == 401
        assert "key" in answer.json()["error"]["message"]


def test_a_probe_needs_no_key(daemon: Daemon) -> None:
    url = f"http://127.0.0.1:{daemon.port}"
    assert httpx.head(f"{url}/").status_code == 200
    assert httpx.get(f"{url}/health/readiness").json() == {"status": "ready"}


def test_the_models_are_the_labels_and_never_our_own_helpers(daemon: Daemon) -> None:
    listed = [one["id"] for one in daemon.client.get("/v1/models").json()["data"]]
    assert listed == [*LABELS, "gpt", "embedder"]


def test_management_is_closed(daemon: Daemon) -> None:
    for path in ("/key/generate", "/model/new", "/ui", "/config/update", "/openapi.json"):
        assert daemon.client.post(path, json={}).status_code == 404


def test_a_providers_error_keeps_its_status_and_says_where_it_came_from(daemon: Daemon) -> None:
    answer = daemon.message("@@status=400;message=no@@")
    assert answer.status_code == 400
    assert answer.headers["x-ccproxy-label"] == "default"
    assert answer.headers["x-ccproxy-rule"] == "default"


def test_nothing_of_ours_reaches_the_provider(daemon: Daemon, provider: RunningProvider) -> None:
    sent = {"x-ccproxy-decision": "forged eyJsYWJlbCI6InRoaW5rIn0=", "x-ccproxy-label": "think"}
    answer = daemon.client.post("/v1/messages", json=message_body(), headers=sent)
    assert answer.headers["x-ccproxy-label"] == "default"
    seen = provider.requests[-1]
    assert not [name for name in seen.headers if "ccproxy" in name]
    assert b"ccproxy" not in seen.raw


def test_thirty_two_requests_at_once_do_not_mix_up_their_routes(daemon: Daemon) -> None:
    models = ["claude-haiku-4-5", "claude-opus-4-8", "think", "web_search"] * 8
    labels = ["background", "default", "think", "web_search"] * 8

    def ask(model: str) -> tuple[str, str]:
        answer = daemon.message(model=model)
        return answer.headers["x-ccproxy-label"], answer.json()["content"][0]["text"]

    with ThreadPoolExecutor(16) as pool:
        answered = list(pool.map(ask, models))
    assert [label for label, _ in answered] == labels


def test_a_client_that_leaves_takes_its_request_back_from_the_provider(
    daemon: Daemon, provider: RunningProvider
) -> None:
    before = len(provider.requests)
    body = message_body("@@events=2000;gap=0.05@@", stream=True)
    with daemon.client.stream("POST", "/v1/messages", json=body) as answer:
        next(answer.iter_lines())
    settled = provider.settled(before + 1)
    assert settled[-1].outcome == "abandoned"


def test_status_stats_and_explain_tell_what_happened(daemon: Daemon) -> None:
    daemon.message(model="think")
    daemon.happened("ccproxy_post_api_call", label="think")
    status = daemon.ask("status")
    assert status["state"] == "ready"
    assert status["listen"]["port"] == daemon.port
    assert [worker["state"] for worker in status["workers"]] == ["ready"]
    assert status["labels"] == [*LABELS, "gpt", "embedder"]
    stats = daemon.ask("stats")
    think = stats["by_label"]["think"]
    assert think["requests"] >= 1
    assert think["output_tokens"] > 0
    assert think["latency_ms"]["p50"] > 0
    assert stats["requests_total"] >= think["requests"]


def test_explain_measures_every_rule(daemon: Daemon, tmp_path: Any) -> None:
    request = tmp_path / "request.json"
    request.write_bytes(orjson.dumps(shape("effort-xhigh-01").body))
    found = daemon.ask("explain", str(request))
    assert found["label"] == "think"
    assert found["model"] == "anthropic/mock-think"
    assert [rule["matched"] for rule in found["rules"]] == [False, False, True, False]
    assert found["token_count"] > 1000


def test_the_log_holds_nothing_of_a_request(daemon: Daemon) -> None:
    canary = "canary-7f3a"
    daemon.message(f"{canary} @@status=400;echo@@")
    daemon.message(canary, model=f"{canary}-model")
    daemon.client.post("/v1/messages", content=b'{"messages": "' + canary.encode())
    daemon.happened("ccproxy_post_api_call", status=400)
    log = "".join(daemon.text)
    assert canary not in log
    assert daemon.key not in log
    assert "sk-provider" not in log

"""Failures through the real LiteLLM: what the provider said is what the client gets."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import httpx
import orjson
import pytest

from tests.support.daemon import Daemon, Setup, anthropic_model, message_body
from tests.support.provider import RunningProvider

MESSAGES = "/v1/messages"
CHAT = "/v1/chat/completions"
TARGETS = ("anthropic", "responses", "compatible")
TYPES = {
    400: "invalid_request_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


@pytest.fixture(scope="module")
def setup_of_module() -> Setup:
    def models(url: str) -> list[dict[str, Any]]:
        def openai(name: str, model: str, **more: Any) -> dict[str, Any]:
            params = {"model": model, "api_base": f"{url}/v1", "api_key": "sk-provider", **more}
            return {"model_name": name, "litellm_params": params}

        nowhere = "http://127.0.0.1:9"
        return [
            anthropic_model("anthropic", url),
            openai("responses", "openai/mock-responses"),
            openai("compatible", "hosted_vllm/mock-compatible"),
            anthropic_model("anthropic-slow", url, timeout=0.2),
            openai("responses-slow", "openai/mock-responses", timeout=0.2),
            openai("compatible-slow", "hosted_vllm/mock-compatible", timeout=0.2),
            anthropic_model("anthropic-gone", nowhere),
            openai("responses-gone", "openai/mock-responses", api_base=nowhere),
            openai("compatible-gone", "hosted_vllm/mock-compatible", api_base=nowhere),
        ]

    # As of an address of OpenAI's own, where messages go to its responses.
    responses = {"use_chat_completions_url_for_anthropic_messages": False}
    return Setup(rules=(), models=models, litellm={"litellm_settings": responses})


def ask(daemon: Daemon, path: str, model: str, text: str, **more: Any) -> httpx.Response:
    return daemon.client.post(path, json=message_body(text, model=model, **more))


def message_of(answer: httpx.Response) -> str:
    said: str = answer.json()["error"]["message"]
    return said


@pytest.fixture
def asked(provider: RunningProvider) -> Any:
    """How often the provider has been asked since the test began."""
    before = len(provider.requests)
    return lambda: len(provider.requests) - before


# -- a provider that answers with a failure


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("status", TYPES)
@pytest.mark.parametrize("target", TARGETS)
def test_claude_code_gets_the_providers_failure(
    daemon: Daemon, asked: Any, target: str, status: int, stream: bool
) -> None:
    text = f"@@status={status};retry-after=7;should-retry=false;message=as it is@@"
    answer = ask(daemon, MESSAGES, target, text, stream=stream)
    assert answer.status_code == status
    assert answer.json() == {
        "type": "error",
        "error": {"type": TYPES[status], "message": "as it is"},
    }
    assert answer.headers["retry-after"] == "7"
    assert answer.headers["x-should-retry"] == "false"
    assert asked() == 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("status", [400, 404, 413, 429, 500, 529])
@pytest.mark.parametrize("target", TARGETS)
def test_openais_clients_get_it_in_openais_envelope(
    daemon: Daemon, asked: Any, target: str, status: int, stream: bool
) -> None:
    text = f"@@status={status};retry-after=7;message=as it is@@"
    answer = ask(daemon, CHAT, target, text, stream=stream)
    body = answer.json()
    assert (answer.status_code, set(body), message_of(answer)) == (status, {"error"}, "as it is")
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert answer.headers["retry-after"] == "7"
    assert asked() == 1


@pytest.mark.parametrize("text", ["@@status=429@@", "@@status=500@@", "@@reset@@"])
@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/moderations", "/v1/responses"])
def test_other_calls_are_sent_once_as_well(
    daemon: Daemon, asked: Any, path: str, text: str
) -> None:
    answer = daemon.client.post(path, json={"model": "responses", "input": text})
    assert answer.status_code == {"@@status=429@@": 429, "@@status=500@@": 500}.get(text, 502)
    assert asked() == 1


def test_what_anthropic_said_arrives_byte_for_byte(daemon: Daemon) -> None:
    text = "@@status=400;message=prompt is too long: 211000 tokens > 200000 maximum@@"
    answer = ask(daemon, MESSAGES, "anthropic", text)
    assert answer.content == orjson.dumps(
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "prompt is too long: 211000 tokens > 200000 maximum",
            },
        }
    )
    assert answer.headers["request-id"].startswith("req_")


def test_a_prompt_that_is_too_long_elsewhere_is_said_so_that_claude_code_compacts_it(
    daemon: Daemon,
) -> None:
    text = (
        "@@status=400;message=This model's maximum context length is 8192 tokens. However, you "
        "requested 9000 tokens (8500 in the messages, 500 in the completion).@@"
    )
    answer = ask(daemon, MESSAGES, "compatible", text)
    assert message_of(answer) == "prompt is too long: 9000 tokens > 8192 maximum"
    unchanged = ask(daemon, CHAT, "compatible", text)
    assert message_of(unchanged).startswith("This model's maximum context length is 8192 tokens")


@pytest.mark.parametrize("path", [MESSAGES, CHAT])
@pytest.mark.parametrize("target", TARGETS)
def test_a_key_of_ours_that_is_refused_is_our_fault(daemon: Daemon, target: str, path: str) -> None:
    answer = ask(daemon, path, target, "@@status=401@@")
    assert answer.status_code == 502
    assert f"the key of the label '{target}'" in message_of(answer)
    assert answer.headers["x-should-retry"] == "false"


# -- a provider that does not answer


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("path", [MESSAGES, CHAT])
@pytest.mark.parametrize("target", TARGETS)
def test_a_provider_that_is_slower_than_its_timeout_is_a_504(
    daemon: Daemon, asked: Any, target: str, path: str, stream: bool
) -> None:
    answer = ask(daemon, path, f"{target}-slow", "@@delay=60@@", stream=stream)
    assert answer.status_code == 504
    assert message_of(answer) == "the provider did not answer in time"
    kind = "timeout_error" if path == MESSAGES else "UpstreamTimeout"
    assert answer.json()["error"]["type"] == kind
    assert asked() == 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("path", [MESSAGES, CHAT])
@pytest.mark.parametrize("target", TARGETS)
def test_a_provider_that_is_not_there_or_hangs_up_is_a_502(
    daemon: Daemon, asked: Any, target: str, path: str, stream: bool
) -> None:
    for model, text in ((f"{target}-gone", "hello"), (target, "@@reset@@")):
        answer = ask(daemon, path, model, text, stream=stream)
        assert answer.status_code == 502
        said = message_of(answer)
        assert said.startswith("the provider at 127.0.0.1:")
        assert "cannot be reached, or hung up" in said
    assert asked() == 1


# -- a provider that begins an answer, and says nothing in it


@pytest.mark.parametrize("path", [MESSAGES, CHAT])
@pytest.mark.parametrize("target", TARGETS)
def test_a_stream_that_stalls_before_its_first_event_is_a_504(
    daemon: Daemon, asked: Any, target: str, path: str
) -> None:
    answer = ask(daemon, path, f"{target}-slow", "@@hold=0@@", stream=True)
    assert answer.status_code == 504
    assert message_of(answer) == "the provider did not answer in time"
    assert asked() == 1


# -- failures in a stream


def frames(answer: httpx.Response) -> list[Any]:
    return parsed(answer.text.splitlines())


def parsed(lines: list[str]) -> list[Any]:
    found = [line for line in lines if line.startswith("data: {")]
    return [orjson.loads(line.removeprefix("data: ")) for line in found]


def broken_off(daemon: Daemon, path: str, target: str, text: str) -> list[Any]:
    """The events of a stream whose transfer does not come to its end."""
    came: list[str] = []
    body = message_body(text, model=target, stream=True)
    with daemon.client.stream("POST", path, json=body) as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
            came.extend(answer.iter_lines())
    return parsed(came)


@pytest.mark.parametrize("path", [MESSAGES, CHAT])
@pytest.mark.parametrize("target", TARGETS)
def test_an_error_in_mid_stream_is_an_error_event_in_the_providers_words(
    daemon: Daemon, target: str, path: str
) -> None:
    answer = ask(daemon, path, target, "@@error=4;gap=0.01;events=6@@", stream=True)
    assert answer.status_code == 200
    last = frames(answer)[-1]
    assert "litellm" not in last["error"]["message"].lower()
    assert path == CHAT or last["type"] == "error"
    request_id = answer.headers["x-ccproxy-request-id"]
    assert daemon.happened("ccproxy_post_api_call", request_id=request_id)["failed"] is True


def test_a_response_that_fails_in_mid_stream_has_failed(daemon: Daemon) -> None:
    body = {"model": "anthropic", "input": "@@error=4;gap=0.01@@", "stream": True}
    answer = daemon.client.post("/v1/responses", json=body)
    [failed] = [one for one in frames(answer) if one["type"] == "response.failed"]
    assert failed["response"]["error"]["message"] == "Overloaded"
    request_id = answer.headers["x-ccproxy-request-id"]
    assert daemon.happened("ccproxy_post_api_call", request_id=request_id)["failed"] is True


def test_an_error_that_anthropic_sends_in_mid_stream_is_its_own(daemon: Daemon) -> None:
    answer = ask(daemon, MESSAGES, "anthropic", "@@error=4;gap=0.01@@", stream=True)
    error = {"type": "overloaded_error", "message": "Overloaded"}
    assert frames(answer)[-1] == {"type": "error", "error": error}


@pytest.mark.parametrize("path", [MESSAGES, CHAT])
def test_a_stream_that_is_an_error_from_its_first_event_on_has_a_status(
    daemon: Daemon, path: str
) -> None:
    answer = ask(daemon, path, "compatible", "@@error=0@@", stream=True)
    assert (answer.status_code, message_of(answer)) == (503, "Overloaded")


def test_also_where_litellm_has_lost_what_was_said(daemon: Daemon) -> None:
    answer = ask(daemon, MESSAGES, "responses", "@@error=0@@", stream=True)
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "api_error"


def test_unless_it_is_anthropics_own_event(daemon: Daemon) -> None:
    answer = ask(daemon, MESSAGES, "anthropic", "@@error=0@@", stream=True)
    error = {"type": "overloaded_error", "message": "Overloaded"}
    assert (answer.status_code, frames(answer)) == (200, [{"type": "error", "error": error}])


@pytest.mark.parametrize("path", [MESSAGES, CHAT])
@pytest.mark.parametrize("target", TARGETS)
def test_a_stream_that_is_cut_says_so(daemon: Daemon, target: str, path: str) -> None:
    came = broken_off(daemon, path, target, "@@cut=5;gap=0.05;events=6@@")
    assert came[-1]["error"]["message"] == "the answer was cut: the provider went away"


@pytest.mark.parametrize("path", [MESSAGES, CHAT])
@pytest.mark.parametrize("target", TARGETS)
def test_a_stream_that_is_cut_before_its_first_event_says_so(
    daemon: Daemon, asked: Any, target: str, path: str
) -> None:
    [data] = broken_off(daemon, path, target, "@@cut=0@@")
    assert data["error"]["message"] == "the answer was cut: the provider went away"
    assert asked() == 1


@pytest.mark.parametrize("target", TARGETS)
def test_a_stream_that_stalls_says_so(daemon: Daemon, target: str) -> None:
    text = "@@events=2;gap=60@@"
    error = {"type": "timeout_error", "message": "the answer stopped coming"}
    came = broken_off(daemon, MESSAGES, f"{target}-slow", text)
    assert came[-1] == {"type": "error", "error": error}


# -- what LiteLLM refuses itself


@pytest.mark.parametrize("path", [MESSAGES, CHAT])
def test_what_litellm_refuses_is_in_the_clients_shape(daemon: Daemon, path: str) -> None:
    answer = daemon.client.post(path, json={"model": "anthropic", "max_tokens": 5})
    assert answer.status_code == 400
    assert "messages" in message_of(answer)
    assert answer.json()["error"]["type"] == (
        "invalid_request_error" if path == MESSAGES else "ValidationError"
    )


# -- answers


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("path", [MESSAGES, CHAT])
@pytest.mark.parametrize("target", TARGETS)
def test_the_answer_names_the_model_that_gave_it(
    daemon: Daemon, target: str, path: str, stream: bool
) -> None:
    answer = ask(daemon, path, target, "hello", stream=stream)
    first = frames(answer)[0] if stream else answer.json()
    named = first["message"] if path == MESSAGES and stream else first
    assert named["model"] == f"mock-{target}"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_it_is_named_as_the_provider_names_it(daemon: Daemon, stream: bool) -> None:
    answer = ask(daemon, MESSAGES, "anthropic", "@@model=claude-of-today@@", stream=stream)
    first = frames(answer)[0]["message"] if stream else answer.json()
    assert first["model"] == "claude-of-today"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_what_the_provider_says_in_headers_is_there(
    daemon: Daemon, provider: RunningProvider, stream: bool
) -> None:
    answer = ask(daemon, MESSAGES, "anthropic", "hello", stream=stream)
    assert answer.headers["request-id"] == f"req_{provider.requests[-1].number:06d}"


@pytest.mark.parametrize("text", ["hello", "@@status=429@@"])
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_of_litellms_own_is_in_the_headers(daemon: Daemon, target: str, text: str) -> None:
    for path in (MESSAGES, CHAT):
        for stream in (False, True):
            answer = ask(daemon, path, target, text, stream=stream)
            own = [name for name in answer.headers if "litellm" in name or "llm_prov" in name]
            assert own == []
            assert "x-ccproxy-failure" not in answer.headers


def test_the_first_event_is_not_held_back(daemon: Daemon, provider: RunningProvider) -> None:
    asked = [("anthropic", 2), *((target, first) for target in TARGETS[1:] for first in (1, 2))]
    with ExitStack() as open_streams:
        streams = []
        for target, events in asked:
            body = message_body(f"@@hold={events};events=4@@", model=target, stream=True)
            answer = open_streams.enter_context(daemon.client.stream("POST", MESSAGES, json=body))
            streams.append(answer.iter_lines())
        assert [next(lines) for lines in streams] == ["event: message_start"] * len(asked)
        provider.holding(len(asked))
        provider.release()
        for lines in streams:
            assert any("message_stop" in line for line in lines)

"""Failures that are no row of the matrix, in the shape that the client's library reads.

Our own code's, the user's, those that LiteLLM finds before it asks anybody, and the one that no
answer is left of: a stream that breaks between its head and its first word.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

import httpx
import pytest

from tests.integration.proxy.answers import PATIENCE, Answer, ask
from tests.integration.proxy.conftest import impatient
from tests.integration.proxy.expected import SOME, Failure
from tests.integration.proxy.house import ABROAD, NEW_KEY
from tests.integration.proxy.rows import CANARY, NEEDS_LITELLM
from tests.integration.proxy.test_matrix import assert_failure
from tests.support.daemon import Daemon
from tests.support.provider import RunningProvider, running_provider

KEY: Final = {"x-api-key": NEW_KEY}
DIALECTS: Final = {
    "/v1/messages": "anthropic",
    "/v1/chat/completions": "openai",
    "/v1/responses": "openai",
    "/v1/embeddings": "openai",
}
MODERATION: Final = """
  moderation:
    enabled: true
    deny: ["(?i)project zeus"]
    check: my_code.check
"""

each_path = pytest.mark.parametrize("path", DIALECTS)
each_way = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def said(text: str, *, path: str, stream: bool = False, model: str | None = None) -> dict[str, Any]:
    own = "embedder" if path == "/v1/embeddings" else "default"
    turns = [{"role": "user", "content": text}]
    spoken = {"input": text} if path in ("/v1/responses", "/v1/embeddings") else {"messages": turns}
    return {"model": model or own, "max_tokens": 64, "stream": stream, **spoken}


def check(answer: Answer, path: str, status: int, anthropic: str, ours: str = SOME) -> None:
    assert answer.status == status, answer.body
    dialect = DIALECTS.get(path, "openai")
    assert_failure(answer, Failure(dialect, anthropic if dialect == "anthropic" else ours))


def counted(daemon: Daemon, what: str, place: str) -> int:
    """How often `status` says that it has failed; the gateway tells it with its next heartbeat."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if found := daemon.ask("status")[what].get(place):
            return int(found)
    raise AssertionError(f"{what} has no {place}")


@each_path
@pytest.mark.parametrize(
    "content", [b'{"messages": [', b"[1]", b"", b"\xff", b'{"model": 1e999}', b"nonsense"]
)
def test_a_body_that_is_no_json_object_is_refused_and_asked_of_nobody(
    client: httpx.Client, provider: RunningProvider, path: str, content: bytes
) -> None:
    before = len(provider.requests)
    headers = {**KEY, "content-type": "application/json"}
    answer = ask(client, path, content=content, headers=headers)
    check(answer, path, 400, "invalid_request_error", "ValidationError")
    assert len(provider.requests) == before


@pytest.mark.parametrize(
    "path", [*DIALECTS, "/v1/files", "/v1/models", "/v1/responses/r-1", "/key/generate", "/nowhere"]
)
@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer sk-wrong"}], ids=["none", "wrong"]
)
def test_without_a_key_of_ours_nothing_is_told_but_that(
    client: httpx.Client, path: str, headers: dict[str, str]
) -> None:
    """LiteLLM, without a database, would say 400: "No connected db."."""
    answer = ask(client, path, json={}, headers=headers)
    check(answer, path, 401, "authentication_error", "ProxyError")
    assert b"connected db" not in answer.body
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("path", ["/v1/nothing", "/key/generate", "/ui"])
def test_what_is_not_served_is_not_found(client: httpx.Client, path: str) -> None:
    check(ask(client, path, json={}, headers=KEY), path, 404, "not_found_error", "ProxyError")


@each_way
@each_path
def test_a_rule_that_fails_is_counted_and_the_next_one_decides(
    client: httpx.Client, daemon: Daemon, path: str, stream: bool
) -> None:
    """`my_code.Broken` comes first of all rules."""
    body = said("hello", path=path, stream=stream)
    assert ask(client, path, json=body, headers=KEY).status == 200
    assert counted(daemon, "rule_errors", "ccproxy.rules[0]")
    told = daemon.happened("cannot evaluate a rule")
    assert (told["rule"], told["error"]) == ("ccproxy.rules[0]", "ValueError")


def test_a_hook_that_fails_is_counted_and_costs_nothing(
    client: httpx.Client, daemon: Daemon
) -> None:
    assert (
        ask(client, "/v1/messages", json=said("hi", path="/v1/messages"), headers=KEY).status == 200
    )
    assert counted(daemon, "hook_errors", "ccproxy.hooks[2]")
    assert daemon.happened("cannot run a hook")["error"] == "ValueError"


@each_way
@pytest.mark.parametrize("lane", [{}, NEEDS_LITELLM], ids=["direct", "litellm"])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
def test_a_rule_that_raises_a_proxy_error_refuses(
    client: httpx.Client, provider: RunningProvider, path: str, lane: dict[str, str], stream: bool
) -> None:
    before = len(provider.requests)
    headers = {**KEY, **lane, "x-refuse": "rule"}
    answer = ask(client, path, json=said("hello", path=path, stream=stream), headers=headers)
    check(answer, path, 403, "permission_error", "ProxyError")
    assert "no work on a Sunday" in answer.body.decode()
    assert len(provider.requests) == before


@each_path
def test_a_hook_that_raises_a_proxy_error_refuses(
    client: httpx.Client, provider: RunningProvider, path: str
) -> None:
    before = len(provider.requests)
    answer = ask(client, path, json=said("refused by a hook", path=path), headers=KEY)
    check(answer, path, 429, "rate_limit_error", "ProxyError")
    assert len(provider.requests) == before


@pytest.fixture(scope="module")
def moderated(daemon: Daemon) -> Iterator[None]:
    usual = (daemon.config_dir / "ccproxy.yaml").read_text()
    daemon.edit("ccproxy.yaml", lambda text: text + MODERATION)
    daemon.ctl("reload")
    yield
    daemon.edit("ccproxy.yaml", lambda _: usual)
    daemon.ctl("reload")


@pytest.mark.usefixtures("moderated")
@pytest.mark.parametrize("lane", [{}, NEEDS_LITELLM], ids=["direct", "litellm"])
@each_way
@each_path
@pytest.mark.parametrize(
    ("text", "status", "anthropic"),
    [
        ("about Project ZEUS", 400, "invalid_request_error"),
        (f"break the check {CANARY}", 500, "api_error"),
    ],
)
def test_moderation_refuses_also_where_it_fails(
    client: httpx.Client,
    provider: RunningProvider,
    daemon: Daemon,
    text: str,
    status: int,
    anthropic: str,
    path: str,
    stream: bool,
    lane: dict[str, str],
) -> None:
    before = len(provider.requests)
    body = said(text, path=path, stream=stream)
    answer = ask(client, path, json=body, headers=KEY | lane)
    check(answer, path, status, anthropic)
    request_id = answer.headers["x-ccproxy-request-id"]
    daemon.happened("ccproxy_moderation", request_id=request_id)
    assert CANARY.encode() not in answer.body
    assert CANARY not in "".join(daemon.text)
    assert len(provider.requests) == before


ZEUS: Final = "project zeus"
ZEUS_IN_BASE64: Final = "data:text/plain;base64,cHJvamVjdCB6ZXVz"

each_lane = pytest.mark.parametrize("lane", [{}, NEEDS_LITELLM], ids=["direct", "litellm"])
each_conversation = pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])


def assert_refused(
    answer: Answer, path: str, provider: RunningProvider, daemon: Daemon, before: int
) -> None:
    check(answer, path, 400, "invalid_request_error", "ValidationError")
    assert b"refused by moderation" in answer.body
    assert len(provider.requests) == before
    assert ZEUS not in "".join(daemon.text)


def turns(*contents: Any) -> dict[str, Any]:
    roles = ("user", "assistant")
    said = enumerate(contents)
    return {"messages": [{"role": roles[number % 2], "content": one} for number, one in said]}


def text_blocks(*texts: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text} for text in texts]


@pytest.mark.usefixtures("moderated")
@each_way
@each_lane
@each_conversation
@pytest.mark.parametrize(
    "content",
    [
        text_blocks("project ", "zeus"),
        [{"type": "file", "file": {"filename": "a.txt", "file_data": ZEUS_IN_BASE64}}],
        '{"said": "project \\u007aeus"}',
    ],
    ids=["in two blocks", "in a file", "escaped"],
)
def test_moderation_sees_what_the_model_would_read(
    client: httpx.Client,
    provider: RunningProvider,
    daemon: Daemon,
    path: str,
    lane: dict[str, str],
    stream: bool,
    content: Any,
) -> None:
    before = len(provider.requests)
    body = said("", path=path, stream=stream) | turns(content)
    answer = ask(client, path, json=body, headers=KEY | lane)
    assert_refused(answer, path, provider, daemon, before)


@pytest.mark.usefixtures("moderated")
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"model": "small", "prompt": "a", "suffix": ZEUS}),
        ("/v1/responses", {"model": "small", "input": "a", "instructions": ZEUS}),
    ],
)
def test_moderation_sees_what_is_said_for_one_answer(
    client: httpx.Client,
    provider: RunningProvider,
    daemon: Daemon,
    path: str,
    body: dict[str, Any],
) -> None:
    before = len(provider.requests)
    answer = ask(client, path, json=body, headers=KEY)
    assert_refused(answer, path, provider, daemon, before)


FORM_PARTS: Final = {
    "unquoted": b"name=prompt\r\n\r\nproject zeus",
    "long": b'name="prompt"\r\n\r\nproject zeus' + b" x" * 40_000,
    "lines of JSON": b'name="f"; filename="b.jsonl"\r\n\r\n{"a": "project \\u007aeus"}\n{}',
    "no UTF-8": b'name="f"; filename="b.txt"\r\n\r\n\xff project zeus \xff',
}


@pytest.mark.usefixtures("moderated")
@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/v1/images/edits", "/v1/files"])
@pytest.mark.parametrize("part", FORM_PARTS.values(), ids=FORM_PARTS.keys())
def test_moderation_sees_each_part_of_a_form(
    client: httpx.Client, provider: RunningProvider, daemon: Daemon, path: str, part: bytes
) -> None:
    before = len(provider.requests)
    begin, sound = b"--X\r\ncontent-disposition: form-data; ", b'name="s"; filename="s"\r\n\r\n\xff'
    form = begin + sound + b"\r\n" + begin + part + b"\r\n--X--\r\n"
    headers = KEY | {"content-type": "multipart/form-data; boundary=X"}
    answer = ask(client, path, content=form, headers=headers)
    assert_refused(answer, path, provider, daemon, before)


@pytest.fixture
def scope_all(moderated: None, daemon: Daemon) -> Iterator[None]:
    usual = (daemon.config_dir / "ccproxy.yaml").read_text()
    daemon.edit("ccproxy.yaml", lambda text: f"{text.rstrip()}\n    scope: all\n")
    daemon.ctl("reload")
    yield
    daemon.edit("ccproxy.yaml", lambda _: usual)
    daemon.ctl("reload")


SAID_BEFORE: Final = (turns(ZEUS, "ok", "go on"), turns("a") | {"system": ZEUS})


def test_in_the_usual_scope_what_was_said_before_may_stay(
    moderated: None, client: httpx.Client, daemon: Daemon
) -> None:
    """Else what an agent was refused once would end its conversation."""
    for before in SAID_BEFORE:
        body = said("", path="/v1/messages") | before
        assert ask(client, "/v1/messages", json=body, headers=KEY).status == 200


@pytest.mark.usefixtures("scope_all")
def test_in_the_scope_all_nothing_gets_out_on_either_lane(
    client: httpx.Client, provider: RunningProvider, daemon: Daemon
) -> None:
    asked = len(provider.requests)
    for lane in ({}, NEEDS_LITELLM):
        for before in SAID_BEFORE:
            for stream in (False, True):
                body = said("", path="/v1/messages", stream=stream) | before
                answer = ask(client, "/v1/messages", json=body, headers=KEY | lane)
                assert_refused(answer, "/v1/messages", provider, daemon, asked)


each_protocol = pytest.mark.parametrize(
    ("path", "model"), [("/v1/messages", "claude-sonnet-4-5"), ("/v1/chat/completions", "gpt-4o")]
)


@each_lane
@each_protocol
def test_a_stream_that_breaks_before_its_first_word_is_a_stream_that_is_cut(
    client: httpx.Client,
    provider: RunningProvider,
    daemon: Daemon,
    path: str,
    model: str,
    lane: dict[str, str],
) -> None:
    """Claude Code asks again without a stream then, and would give up on a status."""
    before = len(provider.requests)
    body = said("hello @@cut=0@@", path=path, model=model, stream=True)
    answer = ask(client, path, json=body, headers=KEY | lane)
    assert (answer.status, answer.is_whole) == (200, False)
    assert_failure(answer, Failure(DIALECTS[path]), in_stream=True)
    assert len(provider.requests) == before + 1
    request_id = answer.headers["x-ccproxy-request-id"]
    record = daemon.happened("ccproxy_post_api_call", request_id=request_id)
    assert (record["status"], record["failed"]) == (200, True)


@each_lane
@each_protocol
def test_what_is_no_stream_and_breaks_has_a_status(
    client: httpx.Client, path: str, model: str, lane: dict[str, str]
) -> None:
    body = said("hello @@cut=0@@", path=path, model=model)
    check(ask(client, path, json=body, headers=KEY | lane), path, 502, "api_error", "ProxyError")


UNREADABLE: Final = "the provider's answer is none that LiteLLM can read"


@pytest.mark.parametrize(
    ("model", "script", "told"),
    [
        ("gpt-4o", "body=<html>login</html>", UNREADABLE),
        ("gpt-4o", 'body={"id": ', UNREADABLE),
        ("gpt-4o", "body=", UNREADABLE),
        ("gpt-4o", 'body={"object": "chat.completion", "choices": []}', UNREADABLE),
        ("gpt-4o", 'body={"id": "thing"}', UNREADABLE),
        ("responder", "body=<html>login</html>", UNREADABLE),
        ("responder", "body=", UNREADABLE),
        ("responder", 'body={"object": "chat.completion", "choices": []}', UNREADABLE),
        ("responder", 'body={"error": {"message": "an error"}}', "an error"),
        ("responder", "failed=server_error", "mock: failed with server_error"),
    ],
)
def test_a_200_that_is_no_answer_is_a_failure(
    client: httpx.Client, daemon: Daemon, model: str, script: str, told: str
) -> None:
    """LiteLLM would hand the provider's 200 on, with an error in it, or make an empty message."""
    path = "/v1/messages"
    body = said(f"hello @@{script}@@", path=path, model=model)
    answer = ask(client, path, json=body, headers=KEY)
    assert answer.status == 502, answer.body
    assert_failure(answer, Failure("anthropic", "api_error", told))
    request_id = answer.headers["x-ccproxy-request-id"]
    assert daemon.happened("ccproxy_post_api_call", request_id=request_id)["failed"] is True


@pytest.mark.parametrize("content", ['{"id": "ha', '{"id": 1 2}', "[1]", "7"])
@pytest.mark.parametrize(
    ("path", "model", "field"),
    [
        ("/v1/messages", "claude-sonnet-4-5", "messages"),
        ("/v1/messages", "gpt-4o", "messages"),
        ("/v1/messages", "responder", "messages"),
        ("/v1/chat/completions", "gpt-4o", "messages"),
        ("/v1/chat/completions", "claude-sonnet-4-5", "messages"),
        ("/v1/completions", "gpt-4o", "prompt"),
        ("/v1/completions", "instructed", "prompt"),
        ("/v1/responses", "responder", "input"),
        ("/v1/responses", "claude-sonnet-4-5", "input"),
        ("/v1/embeddings", "embedder", "input"),
        ("/v1/moderations", "moderator", "input"),
        ("/v1/images/generations", "painter", "prompt"),
        ("/v1/rerank", "ranker", "query"),
        ("/v1/ocr", "reader", "document"),
    ],
)
def test_half_an_answer_or_no_object_is_the_providers_failure_and_not_in_pythons_words(
    client: httpx.Client, path: str, model: str, field: str, content: str
) -> None:
    """LiteLLM tells of 500 what Python has raised over it, and of an embedding's 400."""
    text = f"hello @@body={content}@@"
    page = {"type": "document_url", "document_url": text}
    body = said(text, path=path, model=model)
    if field != "messages":
        body = {"model": model, field: page if field == "document" else text, "documents": ["a"]}
    answer = ask(client, path, json=body, headers=KEY | NEEDS_LITELLM)
    assert answer.status == 502, answer.body
    assert_failure(answer, Failure(DIALECTS.get(path, "openai"), message=UNREADABLE))


@each_lane
@pytest.mark.parametrize("model", ["gpt-4o", "responder", "claude-sonnet-4-5"])
@pytest.mark.parametrize(
    ("kind", "status"),
    [("overloaded_error", 529), ("invalid_request_error", 400), ("thing", 502)],
)
def test_an_error_that_comes_with_200_has_the_status_of_its_type_on_either_lane(
    client: httpx.Client, model: str, lane: dict[str, str], kind: str, status: int
) -> None:
    error = f'{{"message": "own words", "type": "{kind}"}}'
    script = f'hello @@body={{"type": "error", "error": {error}}}@@'
    body = said(script, path="/v1/messages", model=model)
    answer = ask(client, "/v1/messages", json=body, headers=KEY | lane)
    assert (answer.status, answer.json["error"]["message"]) == (status, "own words")


@each_lane
@pytest.mark.parametrize("model", ["gpt-4o", "responder", "claude-sonnet-4-5"])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions", "/v1/responses"])
@pytest.mark.parametrize(("code", "status"), [("null", 502), ("429", 429)])
def test_an_error_that_comes_with_200_has_failed_on_either_lane(
    client: httpx.Client, path: str, model: str, lane: dict[str, str], code: str, status: int
) -> None:
    error = f'{{"message": "own words", "code": {code}}}'
    body = said(f'hello @@body={{"error": {error}}}@@', path=path, model=model)
    answer = ask(client, path, json=body, headers=KEY | lane)
    assert (answer.status, answer.json["error"]["message"]) == (status, "own words")


@each_lane
@each_way
@each_protocol
def test_a_key_of_ours_that_is_refused_with_200_is_none_of_the_clients(
    client: httpx.Client, path: str, model: str, lane: dict[str, str], stream: bool
) -> None:
    error = '{"message": "bad key", "code": 401}'
    text = f'hello @@body={{"error": {error}}}@@'
    body = said(text, path=path, model=model, stream=stream)
    answer = ask(client, path, json=body, headers=KEY | lane)
    assert answer.status != 401
    if not stream:
        assert_failure(answer, Failure(DIALECTS[path], SOME))
        assert (answer.status, answer.headers["x-should-retry"]) == (502, "false")


@each_lane
@each_way
def test_an_error_in_place_of_a_message_has_failed_in_whatever_shape(
    client: httpx.Client, lane: dict[str, str], stream: bool
) -> None:
    path, error = "/v1/messages", '{"message": "own words"}'
    text = f'hello @@body={{"error": {error}}}@@'
    body = said(text, path=path, model="claude-sonnet-4-5", stream=stream)
    answer = ask(client, path, json=body, headers=KEY | lane)
    assert (answer.status, answer.json["error"]["message"]) == (502, "own words")


@each_lane
@each_way
@pytest.mark.parametrize("model", ["gpt-4o", "responder", "claude-sonnet-4-5"])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions", "/v1/responses"])
def test_a_304_is_no_answer_on_either_lane(
    client: httpx.Client, path: str, model: str, lane: dict[str, str], stream: bool
) -> None:
    body = said("hello @@status=304@@", path=path, model=model, stream=stream)
    check(ask(client, path, json=body, headers=KEY | lane), path, 502, "api_error", "ProxyError")


@each_lane
@pytest.mark.parametrize(
    ("path", "model", "field"),
    [
        ("/v1/messages", "claude-sonnet-4-5", "messages"),
        ("/v1/messages", "responder", "messages"),
        ("/v1/chat/completions", "gpt-4o", "messages"),
        ("/v1/chat/completions", "claude-sonnet-4-5", "messages"),
        ("/v1/completions", "gpt-4o", "prompt"),
        ("/v1/responses", "responder", "input"),
        ("/v1/embeddings", "embedder", "input"),
        ("/v1/moderations", "moderator", "input"),
        ("/v1/images/generations", "painter", "prompt"),
        ("/v1/audio/speech", "mouth", "input"),
    ],
)
def test_no_lane_goes_where_a_provider_sends_it(
    client: httpx.Client, path: str, model: str, field: str, lane: dict[str, str]
) -> None:
    """A key would go along, and the conversation."""
    with running_provider() as elsewhere:
        text = f"hello @@status=307;location={elsewhere.url}/v1/messages@@"
        plain = {"model": model, field: text, **({"voice": "a"} if model == "mouth" else {})}
        body = said(text, path=path, model=model) if field == "messages" else plain
        answer = ask(client, path, json=body, headers=KEY | lane)
        assert (answer.status, len(elsewhere.requests)) == (502, 0)
    assert "location" not in answer.headers
    assert b"LiteLLM:" not in answer.body


@each_lane
@each_protocol
@pytest.mark.parametrize("script", ["body=<html>login</html>", "body="])
def test_a_page_or_nothing_is_no_answer_on_either_lane(
    client: httpx.Client, path: str, model: str, lane: dict[str, str], script: str
) -> None:
    body = said(f"hello @@{script}@@", path=path, model=model)
    check(ask(client, path, json=body, headers=KEY | lane), path, 502, "api_error", "ProxyError")


@each_way
def test_a_refusal_is_one_where_the_config_drops_parameters(
    client: httpx.Client, daemon: Daemon, stream: bool
) -> None:
    """LiteLLM asks again without what a 422 names, and would make a success of the second one."""
    path, text = "/v1/chat/completions", "hello @@status=422;retry-after=7;message=no such field@@"
    body = said(text, path=path, model="gpt-4o", stream=stream)
    answer = ask(client, path, json=body, headers=KEY | NEEDS_LITELLM)
    assert (answer.status, answer.headers["retry-after"]) == (422, "7")
    assert_failure(answer, Failure("openai", message="no such field"))
    request_id = answer.headers["x-ccproxy-request-id"]
    assert daemon.happened("ccproxy_post_api_call", request_id=request_id)["failed"] is True


@each_lane
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
def test_a_label_falls_back_when_its_stream_breaks_before_its_first_word(
    client: httpx.Client, path: str, lane: dict[str, str]
) -> None:
    text = "hello @@cut=0;for=mock-fallback@@"
    body = said(text, path=path, model="fallback", stream=True)
    answer = ask(client, path, json=body, headers=KEY | lane)
    assert (answer.status, answer.text, answer.is_ended) == (200, "mock: ok", True)
    assert answer.headers["x-ccproxy-fallback"] == "default"


@each_way
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
@pytest.mark.parametrize(("model", "fallback"), [(ABROAD, None), ("abroad", quote(ABROAD))])
def test_a_name_may_have_any_letters(
    client: httpx.Client, path: str, model: str, fallback: str | None, stream: bool
) -> None:
    body = said("hello @@status=500;for=mock-abroad@@", path=path, model=model, stream=stream)
    answer = ask(client, path, json=body, headers=KEY | NEEDS_LITELLM)
    assert (answer.status, answer.text) == (200, "mock: ok")
    assert answer.headers.get("x-ccproxy-fallback") == fallback
    assert answer.headers["x-ccproxy-label"] == quote(model)


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
def test_a_providers_header_may_have_any_letters(client: httpx.Client, path: str) -> None:
    text = "hello @@status=429;retry-after=7;header=größe@@"
    body = said(text, path=path, model="claude-sonnet-4-5")
    answer = ask(client, path, json=body, headers=KEY | NEEDS_LITELLM)
    check(answer, path, 429, "rate_limit_error", "rate_limit_error")
    assert answer.headers["retry-after"] == "7"


@pytest.mark.parametrize(
    ("model", "code", "event", "begins"),
    [
        ("gpt-4o", 503, 0, False),
        ("gpt-4o", 503, 1, True),
        ("claude-sonnet-4-5", 529, 0, False),
        ("claude-sonnet-4-5", 529, 1, False),
        ("claude-sonnet-4-5", 529, 4, True),
    ],
)
def test_an_error_in_a_stream_has_the_providers_status(
    client: httpx.Client, model: str, code: int, event: int, begins: bool
) -> None:
    """Before a first word it is none of a stream: nothing has been said yet."""
    path, text = "/v1/chat/completions", f"hello @@gap=0.02;error={event}@@"
    body = said(text, path=path, model=model, stream=True)
    answer = ask(client, path, json=body, headers=KEY | NEEDS_LITELLM)
    assert answer.status == (200 if begins else code)
    told = Failure("openai", "ProxyError", "Overloaded")
    assert_failure(answer, told, in_stream=begins)
    error = (answer.events[-1] if answer.is_stream else answer.json)["error"]
    assert error["code"] == code


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages", "/v1/chat/completions"])
@pytest.mark.parametrize(("code", "status"), [("server_error", 500), ("rate_limit_exceeded", 429)])
def test_an_error_at_the_beginning_of_openais_responses_has_a_status(
    client: httpx.Client, path: str, code: str, status: int
) -> None:
    body = said(f"hello @@error=0;type={code}@@", path=path, model="responder", stream=True)
    answer = ask(client, path, json=body, headers=KEY | NEEDS_LITELLM)
    assert (answer.status, answer.json["error"]["message"]) == (status, "Overloaded")


@pytest.mark.parametrize(
    ("path", "last"), [("/v1/responses", "response.failed"), ("/v1/messages", "error")]
)
@pytest.mark.parametrize("event", [1, 4])
def test_an_error_amid_openais_responses_is_in_the_providers_words(
    client: httpx.Client, path: str, last: str, event: int
) -> None:
    text = f"hello @@gap=0.02;error={event}@@"
    body = said(text, path=path, model="responder", stream=True)
    answer = ask(client, path, json=body, headers=KEY | NEEDS_LITELLM)
    told = answer.events[-1]
    assert (answer.status, told["type"]) == (200, last)
    assert (told.get("response") or told)["error"]["message"] == "Overloaded"


@each_lane
@pytest.mark.parametrize("model", ["gpt-4o", "responder", "claude-sonnet-4-5"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
def test_a_stream_that_stops_before_its_end_does_not_end_well(
    client: httpx.Client, daemon: Daemon, path: str, model: str, lane: dict[str, str]
) -> None:
    """A proxy on the way to the provider can make a whole transfer of half an answer."""
    body = said("hello @@events=8;gap=0.02;short=6@@", path=path, model=model, stream=True)
    answer = ask(client, path, json=body, headers=KEY | lane)
    assert answer.status == 200
    last = answer.events[-1]
    assert not answer.is_ended or last["type"] == "response.failed"
    request_id = answer.headers["x-ccproxy-request-id"]
    assert daemon.happened("ccproxy_post_api_call", request_id=request_id)["failed"] is True


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"model": "embedder", "input": "x", "metadata": [1]}),
        ("/v1/images/generations", {"model": ["painter"], "prompt": "x"}),
        ("/v1/messages", {"model": {"name": "default"}, "messages": []}),
        ("/v1/messages", said("x", path="/v1/messages", model="responder") | {"tools": "x"}),
        ("/v1/messages", said("x", path="/v1/messages", model="gpt-4o") | {"tools": ["x"]}),
        ("/v1/responses", said("x", path="/v1/responses", model="default") | {"tools": "x"}),
        ("/v1/rerank", {"model": "ranker", "query": 1, "documents": ["a"]}),
        ("/v1/rerank", {"model": "ranker", "query": "x", "documents": "a"}),
        ("/v1/rerank", {"model": "ranker", "query": "x", "documents": ["a"], "top_n": "x"}),
        ("/v1/batches", {}),
    ],
)
def test_a_field_of_another_kind_is_refused(
    client: httpx.Client, path: str, body: dict[str, Any]
) -> None:
    answer = ask(client, path, json=body, headers=KEY | NEEDS_LITELLM)
    check(answer, path, 400, "invalid_request_error", "ValidationError")
    assert b"Traceback" not in answer.body


def test_a_prompt_that_is_too_long_for_another_provider_is_told_as_anthropic_does(
    client: httpx.Client,
) -> None:
    """Claude Code compacts a conversation at these words alone."""
    limit = "maximum context length is 128000 tokens, your messages have 130000 tokens"
    path, text = "/v1/messages", f"hello @@status=400;message={limit}@@"
    answer = ask(client, path, json=said(text, path=path, model="gpt-4o"), headers=KEY)
    assert answer.status == 400
    told = "prompt is too long: 130000 tokens > 128000 maximum"
    assert_failure(answer, Failure("anthropic", "invalid_request_error", told))


@each_lane
@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "gpt-4o"])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
def test_a_stream_that_breaks_off_is_told_in_our_words(
    client: httpx.Client, path: str, model: str, lane: dict[str, str]
) -> None:
    body = said("hello @@events=8;gap=0.02;cut=6@@", path=path, model=model, stream=True)
    answer = ask(client, path, json=body, headers=KEY | lane)
    told = "the answer was cut: the provider went away"
    assert_failure(answer, Failure(DIALECTS[path], message=told), in_stream=True)
    is_named = b"\nevent: error\ndata: " in answer.body
    assert is_named is (DIALECTS[path] == "anthropic")


@each_lane
@each_protocol
def test_a_stream_that_stalls_is_ended_when_its_time_is_over(
    client: httpx.Client, daemon: Daemon, path: str, model: str, lane: dict[str, str]
) -> None:
    body = said("hello @@events=8;gap=0.02;hold=6@@", path=path, model=model, stream=True)
    with impatient(daemon):
        answer = ask(client, path, json=body, headers=KEY | lane)
    kind = "timeout_error" if DIALECTS[path] == "anthropic" else "UpstreamTimeout"
    told = Failure(DIALECTS[path], kind, "the answer stopped coming")
    assert_failure(answer, told, in_stream=True)


@each_lane
@each_way
@each_protocol
def test_a_request_has_the_id_that_the_provider_gave_it(
    client: httpx.Client,
    path: str,
    model: str,
    stream: bool,
    lane: dict[str, str],
) -> None:
    """LiteLLM hides it behind a prefix of its own."""
    body = said("hello @@number=4711@@", path=path, model=model, stream=stream)
    answer = ask(client, path, json=body, headers=KEY | lane)
    name = "request-id" if DIALECTS[path] == "anthropic" else "x-request-id"
    assert answer.headers[name] == "req_004711"


@pytest.mark.parametrize("model", ["gpt-4o", "responder", "claude-sonnet-4-5"])
@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([], "'messages' must have one at least"),
        ("hello", "'messages' must be a list of objects"),
    ],
)
def test_a_message_without_turns_is_its_clients_mistake(
    client: httpx.Client, provider: RunningProvider, model: str, messages: Any, told: str
) -> None:
    """Which LiteLLM tells of 500 where it translates."""
    before = len(provider.requests)
    body = {"model": model, "max_tokens": 9, "messages": messages}
    answer = ask(client, "/v1/messages", json=body, headers=KEY | NEEDS_LITELLM)
    assert answer.status == 400
    assert_failure(answer, Failure("anthropic", "invalid_request_error", told))
    assert len(provider.requests) == before


def test_what_makes_no_images_says_so(client: httpx.Client, provider: RunningProvider) -> None:
    """LiteLLM would answer with none, and ask nobody."""
    before = len(provider.requests)
    body = {"model": "claude-sonnet-4-5", "prompt": "a lighthouse"}
    answer = ask(client, "/v1/images/generations", json=body, headers=KEY)
    assert answer.status == 400
    told = Failure("openai", "ValidationError", "LiteLLM knows no images of this model's provider")
    assert_failure(answer, told)
    assert len(provider.requests) == before


def test_a_reader_fails_in_the_providers_words(client: httpx.Client) -> None:
    """LiteLLM prints the status and the body of it as Python would."""
    failing = "@@status=429;retry-after=7;message=slow down@@"
    page = {"type": "document_url", "document_url": failing}
    answer = ask(client, "/v1/ocr", json={"model": "reader", "document": page}, headers=KEY)
    assert (answer.status, answer.headers["retry-after"]) == (429, "7")
    assert_failure(answer, Failure("openai", message="slow down"))


def test_a_reader_that_hangs_up_is_told_as_any_provider(client: httpx.Client) -> None:
    page = {"type": "document_url", "document_url": "@@reset@@"}
    answer = ask(client, "/v1/ocr", json={"model": "reader", "document": page}, headers=KEY)
    assert answer.status == 502
    told = "the provider cannot be reached, or hung up (SendRequest)"
    assert_failure(answer, Failure("openai", "ProxyError", told))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/images/generations", {"model": "painter", "prompt": "BUSY"}),
        ("/v1/audio/speech", {"model": "mouth", "input": "BUSY", "voice": "alloy"}),
        ("/v1/completions", {"model": "gpt-4o", "prompt": "BUSY"}),
    ],
)
@pytest.mark.parametrize("status", [429, 500, 529])
def test_a_provider_that_is_busy_is_asked_once(
    client: httpx.Client, provider: RunningProvider, path: str, body: dict[str, str], status: int
) -> None:
    """OpenAI's library would wait as long as it is told to, and ask again."""
    busy = f"@@status={status};retry-after=7;message=slow down@@"
    asked = {name: busy if said == "BUSY" else said for name, said in body.items()}
    before = len(provider.requests)
    answer = ask(client, path, json=asked, headers=KEY)
    assert (answer.status, answer.headers["retry-after"]) == (status, "7")
    assert_failure(answer, Failure("openai", message="slow down"))
    assert len(provider.requests) == before + 1


@each_lane
@each_protocol
def test_a_status_that_is_none_is_told_as_a_bad_gateway(
    client: httpx.Client, path: str, model: str, lane: dict[str, str]
) -> None:
    body = said("hello @@status=600;message=odd@@", path=path, model=model)
    answer = ask(client, path, json=body, headers=KEY | lane)
    check(answer, path, 502, SOME if lane else "api_error")
    assert b"worker" not in answer.body


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"model": "default"}),
        ("/v1/embeddings", {"model": "default", "input": "x"}),
        ("/v1/responses/nothing", {}),
        ("/v1/batches", {}),
        ("/openai/v1/chat/completions", {"model": "x"}),
        ("/anthropic/v1/messages", {"model": "x"}),
        ("/gemini/v1beta/models/x:generateContent", {}),
    ],
)
def test_what_litellm_refuses_itself_has_our_shape_too(
    client: httpx.Client, path: str, body: dict[str, Any]
) -> None:
    answer = ask(client, path, json=body, headers=KEY)
    assert answer.status >= 400
    dialect = "anthropic" if path.startswith("/anthropic") else "openai"
    assert_failure(answer, Failure(dialect))

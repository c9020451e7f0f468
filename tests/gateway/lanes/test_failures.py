"""Failures as clients read them, out of what providers and LiteLLM say."""

import orjson
import pytest

from ccproxyd.gateway.lanes.answers import Answer
from ccproxyd.gateway.lanes.failures import (
    begins_with_error,
    in_anthropics_words,
    in_dialect,
    is_litellms_own,
    is_no_answer,
    presented,
    unmasked,
    unstreamed,
)
from ccproxyd.gateway.paths import Dialect

ANTHROPICS = b'{"type": "error",  "error": {"type": "overloaded_error", "message": "Overloaded"}}'
OPENAIS = b'{"error": {"message": "slow down", "type": "tokens", "param": null, "code": "x"}}'


class Rest:
    """Nothing is still to come of an answer."""

    at_end = True


def answer(first, status=200, *headers, streams=False):
    return Answer(status, list(headers), first, Rest(), whole=not streams, streams=streams)


def said(found):
    return orjson.loads(found.first)


# -- shapes


@pytest.mark.parametrize(
    ("body", "dialect"), [(ANTHROPICS, Dialect.ANTHROPIC), (OPENAIS, Dialect.OPENAI)]
)
def test_a_provider_that_speaks_the_clients_api_is_not_touched(body, dialect):
    failure = answer(body, 529, (b"retry-after", b"7"))
    assert presented(failure, "provider", dialect) is failure


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
def test_anthropics_clients_get_anthropics_type_for_the_status(status, kind):
    found = presented(answer(OPENAIS, status), "provider", Dialect.ANTHROPIC)
    assert found.status == status
    assert said(found) == {"type": "error", "error": {"type": kind, "message": "slow down"}}


def test_openais_clients_get_the_type_that_anthropic_gave():
    found = presented(answer(ANTHROPICS, 529), "provider", Dialect.OPENAI)
    error = {"message": "Overloaded", "type": "overloaded_error", "param": None, "code": None}
    assert (found.status, said(found)) == (529, {"error": error})


def test_the_headers_go_along_but_for_what_belongs_to_the_old_body():
    old = [(b"content-type", b"text/plain"), (b"content-length", b"9"), (b"retry-after", b"7")]
    found = presented(answer(OPENAIS, 429, *old), "provider", Dialect.ANTHROPIC)
    assert dict(found.headers) == {
        b"retry-after": b"7",
        b"content-type": b"application/json",
        b"content-length": str(len(found.first)).encode(),
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": "model not loaded"}', "model not loaded"),
        (b'{"message": "Not authorized"}', "Not authorized"),
        (b'[{"error": {"code": 400, "message": "API key not valid", "status": "X"}}]', "API key"),
        (b'{"detail": [{"loc": ["body"], "msg": "Field required"}]}', "Field required"),
        (b"upstream connect error", "upstream connect error"),
        (b"<html><h1>502 Bad Gateway</h1></html>", "answered with 502 and gave no reason"),
        (b"", "answered with 502 and gave no reason"),
        (b"\xff\xfe", "\ufffd"),
        (b"x" * 100_000, "x" * 2000),
    ],
)
@pytest.mark.parametrize("dialect", Dialect)
def test_every_provider_is_understood(body, message, dialect):
    found = said(presented(answer(body, 502), "provider", dialect))
    assert message in found["error"]["message"]
    assert len(found["error"]["message"]) <= 2000


@pytest.mark.parametrize(
    ("status", "kind"), [(400, "ValidationError"), (504, "UpstreamTimeout"), (403, "ProxyError")]
)
def test_what_no_provider_said_has_our_own_shape(status, kind):
    body = orjson.dumps({"error": {"type": kind, "message": "no", "code": status}})
    found = said(presented(answer(body, status), "ours", Dialect.OPENAI))
    assert found == {"error": {"message": "no", "type": kind, "param": None, "code": status}}
    found = said(presented(answer(body, status), "ours", Dialect.ANTHROPIC))
    assert (found["type"], found["error"]["message"]) == ("error", "no")


@pytest.mark.parametrize(
    ("body", "status", "own"),
    [
        (b'{"detail": "Not Found"}', 404, True),
        (b'{"detail": "fine"}', 200, False),
        (b"Internal Server Error", 500, True),
        (b'{"detail": "no", "code": 5}', 400, False),
        (OPENAIS, 400, False),
        (b"bad gateway", 502, False),
    ],
)
def test_the_refusals_of_litellms_framework_are_known_by_their_form(body, status, own):
    assert is_litellms_own(answer(body, status)) is own
    assert not is_litellms_own(answer(body, status, streams=True))


# -- too long


@pytest.mark.parametrize(
    "text",
    [
        "This model's maximum context length is 8192 tokens. However, your messages resulted in "
        "9000 tokens. Please reduce the length of the messages.",
        "This model's maximum context length is 8,192 tokens. However, you requested 9,000 tokens "
        "(8500 in the messages, 500 in the completion).",
        "The input token count (9000) exceeds the maximum number of tokens allowed (8192).",
        "This model's maximum prompt length is 8192 but the request contains 9000 tokens.",
        "Prompt contains 9000 tokens and 0 draft tokens, too large for model with 8192 maximum "
        "context length",
        "the context window of gpt-4-0613 and qwen-20250101 is 8192, not 9000",
    ],
)
def test_a_prompt_that_is_too_long_is_said_in_anthropics_words(text):
    assert in_anthropics_words(text, {}) == "prompt is too long: 9000 tokens > 8192 maximum"


def test_a_limit_on_tokens_a_minute_is_none_of_the_prompts_length():
    text = "token count 12000 exceeds the limit of 10000 tokens per minute"
    body = b'{"error": {"message": "%s"}}' % text.encode()
    found = said(presented(answer(body, 429), "provider", Dialect.ANTHROPIC))
    assert found["error"] == {"type": "rate_limit_error", "message": text}


def test_numbers_may_stand_beside_the_text():
    fields = {"n_prompt_tokens": 9000, "n_ctx": 8192}
    text = "the request exceeds the available context size, try increasing it"
    assert in_anthropics_words(text, fields) == "prompt is too long: 9000 tokens > 8192 maximum"


def test_without_numbers_the_code_is_enough():
    text = "Your input exceeds the context window of this model."
    code = {"code": "context_length_exceeded"}
    assert in_anthropics_words(text, code) == f"prompt is too long: {text}"
    assert in_anthropics_words(text, {}) == text


@pytest.mark.parametrize(
    "text",
    [
        "prompt is too long: 9000 tokens > 8192 maximum",
        "max_tokens must be at most 8192, not 9000",
        "Rate limit reached for gpt-5 on tokens per min: limit 30000, used 29000",
        "the context window of 8192 tokens is 8192",
    ],
)
def test_anything_else_is_said_as_it_is(text):
    assert in_anthropics_words(text, {}) == text


def test_a_server_may_have_learnt_anthropics_shape_without_its_words():
    text = b"maximum context length is 8192 tokens, but you requested 9000 tokens"
    failure = answer(ANTHROPICS.replace(b"Overloaded", text), 400, (b"request-id", b"r"))
    found = presented(failure, "provider", Dialect.ANTHROPIC)
    assert said(found)["error"]["message"] == "prompt is too long: 9000 tokens > 8192 maximum"
    assert said(found)["error"]["type"] == "overloaded_error"
    assert (found.status, found.headers[0]) == (400, (b"request-id", b"r"))


@pytest.mark.parametrize(
    "text",
    [
        b"prompt is too long: 210000 tokens > 200000 maximum",
        b"input length and `max_tokens` exceed context limit: 190000 + 32000 > 200000",
        b"max_tokens: 70000 > 64000, which is the maximum allowed number of output tokens",
    ],
)
def test_what_anthropic_says_itself_is_left_to_the_byte(text):
    failure = answer(ANTHROPICS.replace(b"Overloaded", text), 400)
    assert presented(failure, "provider", Dialect.ANTHROPIC) is failure


def test_openais_clients_are_told_by_the_code():
    body = ANTHROPICS.replace(b"Overloaded", b"prompt is too long: 9000 tokens > 8192 maximum")
    found = said(presented(answer(body, 400), "provider", Dialect.OPENAI))
    assert found["error"]["code"] == "context_length_exceeded"


# -- past LiteLLM


LLAMAS = (
    b'{"error":{"code":400,"message":"request (9000 tokens) exceeds the available context size '
    b'(8192 tokens), try increasing it","type":"exceed_context_size_error",'
    b'"n_prompt_tokens":9000,"n_ctx":8192}}'
)
"""What llama.cpp says, also where it is asked in Anthropic's protocol."""
TOO_LONG = {
    "type": "invalid_request_error",
    "message": "prompt is too long: 9000 tokens > 8192 maximum",
}


def test_a_failure_in_foreign_words_is_told_in_the_clients():
    found = in_dialect(answer(LLAMAS, 400, (b"x-should-retry", b"false")), Dialect.ANTHROPIC)
    assert (found.status, said(found)) == (400, {"type": "error", "error": TOO_LONG})
    assert (b"x-should-retry", b"false") in found.headers


@pytest.mark.parametrize(
    ("given", "dialect"),
    [
        (answer(ANTHROPICS, 529), Dialect.ANTHROPIC),
        (answer(OPENAIS, 429), Dialect.OPENAI),
        (answer(LLAMAS, 400), Dialect.OPENAI),
        (answer(b'{"type": "message", "error": {}}', 200), Dialect.ANTHROPIC),
        (answer(b'{"error": null, "choices": []}', 200), Dialect.OPENAI),
        (answer(b"event: error\ndata: %s\n\n" % ANTHROPICS, streams=True), Dialect.ANTHROPIC),
        (answer(b"data: %s\n\n" % OPENAIS, streams=True), Dialect.OPENAI),
        (answer(b'event: error\ndata: {"message": "no"}\n\n', streams=True), Dialect.OPENAI),
        (answer(b"event: message_start\ndata: {}\n\n", streams=True), Dialect.ANTHROPIC),
        (answer(b"event: error\ndata: {}\n", streams=True), Dialect.ANTHROPIC),
        (answer(b'data: {"error":null,"choices":[]}\n\n', streams=True), Dialect.OPENAI),
        (answer(b"\x1f\x8b", 529, (b"content-encoding", b"gzip")), Dialect.ANTHROPIC),
    ],
)
def test_what_the_client_understands_is_not_touched(given, dialect):
    assert in_dialect(given, dialect) is given


def test_a_failure_that_is_too_long_to_be_taken_whole_is_passed_on():
    given = answer(LLAMAS, 500, streams=True)
    assert in_dialect(given, Dialect.ANTHROPIC) is given


@pytest.mark.parametrize(
    "event",
    [
        b"event: error\ndata: %s\n\n" % LLAMAS,
        b"event: error\r\ndata: %s\r\n\r\n" % LLAMAS,
        b"event:error\ndata:%s\n\n" % LLAMAS[len(b'{"error":') : -1],
        b"data: %s\n\n" % LLAMAS,
    ],
)
def test_a_stream_that_begins_with_foreign_words_gets_a_status(event):
    found = in_dialect(answer(event, streams=True), Dialect.ANTHROPIC)
    assert (found.status, found.streams) == (400, False)
    assert said(found) == {"type": "error", "error": TOO_LONG}


@pytest.mark.parametrize(
    ("body", "dialect", "status", "kind"),
    [
        (LLAMAS, Dialect.ANTHROPIC, 400, "invalid_request_error"),
        (b' {"error" : {"message": "m", "code": 429}}', Dialect.OPENAI, 429, None),
        (ANTHROPICS, Dialect.ANTHROPIC, 529, "overloaded_error"),
        (OPENAIS, Dialect.OPENAI, 502, "tokens"),
        (b'{"error":"no"}', Dialect.OPENAI, 502, "api_error"),
    ],
)
def test_an_error_with_a_status_of_success_has_its_own_or_502(body, dialect, status, kind):
    found = in_dialect(answer(body, 200), dialect)
    assert (found.status, said(found)["error"].get("type")) == (status, kind)


def test_an_error_in_place_of_a_stream_is_one_as_well():
    found = unmasked(answer(OPENAIS, streams=True), Dialect.ANTHROPIC)
    assert (found.status, found.streams, found.whole) == (502, False, True)
    assert said(found)["error"] == {"type": "api_error", "message": "slow down"}


@pytest.mark.parametrize(
    "given",
    [
        answer(OPENAIS[:-1], streams=True),
        answer(b'{"error": null}', streams=True),
        answer(b"data: " + OPENAIS, streams=True),
        answer(OPENAIS, 429),
    ],
)
def test_what_is_no_whole_error_in_place_of_a_stream_is_not_touched(given):
    assert unmasked(given, Dialect.ANTHROPIC) is given


@pytest.mark.parametrize(
    "given",
    [
        answer(b"{}", 200),
        answer(b' \r\n{"id"', 200),
        answer(b"\xef\xbb\xbf{}", 200),
        answer(b"data: {}\n\n", 200),
        answer(b"e", 200, streams=True),
        answer(b": a comment\n", 200, streams=True),
        answer(b"<html>", 500),
        answer(b"\x1f\x8b", 200, (b"content-encoding", b"gzip")),
    ],
)
def test_what_may_be_an_answer_is_taken_for_one(given):
    assert not is_no_answer(given)


# -- streams


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (b'data: {"error": {"message": "m", "type": "x", "code": "503"}}\n\n', 503),
        (b'data: {"error": {"message": "m", "type": null, "code": 429}}\n\n', 429),
        (b'data: {"error": {"message": "m", "type": null, "code": 42}}\n\n', 500),
        (b'data: {"error": {"message": "m", "type": null, "code": "None"}}\n\n', 500),
        (b'data: {"error": "m"}\n\n', 500),
        (b'data: {"error": cut', 500),
    ],
)
def test_a_stream_that_begins_with_its_error_gets_a_status(event, status):
    stream = answer(event, 200, (b"cache-control", b"no-cache"), (b"x-a", b"1"), streams=True)
    assert begins_with_error(stream)
    found = unstreamed(stream)
    assert (found.status, found.whole, found.streams) == (status, True, False)
    assert {name for name, _ in found.headers} == {b"x-a", b"content-type", b"content-length"}
    assert presented(found, "provider", Dialect.ANTHROPIC).status == status


@pytest.mark.parametrize(
    "given",
    [
        answer(b'event: message_start\ndata: {"error": 1}\n\n', streams=True),
        answer(b'data: {"error": {}}', streams=False),
        answer(b'data: {"error": {}}', 500, streams=True),
        answer(b"event: error\ndata: %s\n\n" % ANTHROPICS, streams=True),
    ],
)
def test_nothing_else_does(given):
    assert not begins_with_error(given)

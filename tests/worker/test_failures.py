"""What a failure is about, out of exceptions and of LiteLLM's refusals."""

import aiohttp
import httpx
import orjson
import pydantic
import pytest

from ccproxyd.errors import ProxyError
from ccproxyd.worker import failures
from ccproxyd.worker.failures import (
    CUT,
    OURS,
    PROVIDER,
    find,
    of_litellm,
    status_in_stream,
)

ADVICE = "\n\nLiteLLM: model group 'think' failed with the error above. No fallback was attempted."
SAID = b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}'


def refused(status=529, body=SAID, **headers):
    request = httpx.Request("POST", "http://provider/")
    answer = httpx.Response(status, content=body, headers=headers, request=request)
    return httpx.HTTPStatusError("refused", request=request, response=answer)


def wrapped(error, *, times=3):
    """The error, as it comes out of so many layers that have caught and raised."""
    for number in range(times):
        try:
            try:
                raise error
            except Exception:
                raise RuntimeError(f"layer {number}")  # noqa: B904 - as LiteLLM does
        except RuntimeError as outer:
            error = outer
    return error


def unfinished():
    """The body of an answer broke, as LiteLLM's client tells it."""
    error = httpx.ReadError("private")
    error.__cause__ = aiohttp.ClientPayloadError("private")
    return error


def said_by(failure):
    return orjson.loads(failure.body)["error"]


# -- exceptions


def test_a_providers_answer_is_found_below_any_number_of_layers():
    found = find(wrapped(refused(retry_after="7"), times=6))
    assert (found.status, found.body, found.source) == (529, SAID, PROVIDER)


def test_the_providers_headers_go_along_but_for_those_of_its_connection():
    error = refused(
        **{"Retry-After": "7", "x-should-retry": "true", "anthropic-ratelimit-x": "1"},
        **{"server": "s", "content-encoding": "identity", "set-cookie": "c", "connection": "close"},
    )
    assert dict(find(error).headers) == {
        b"retry-after": b"7",
        b"x-should-retry": b"true",
        b"anthropic-ratelimit-x": b"1",
    }


def test_a_status_that_no_answer_can_have_is_told_as_502():
    found = find(wrapped(refused(999)))
    assert (found.status, found.body, found.source) == (502, SAID, PROVIDER)


def test_what_httpx_cannot_unpack_says_nothing():
    """A provider may compress as it was not asked to; the status is plain all the same."""
    for headers in ({"content-encoding": "br-or-the-like"}, {}):
        found = find(refused(400, b"\x1bp\x00\xff", **headers))
        assert (found.status, found.body, found.source) == (400, b"", PROVIDER)
    assert find(refused(400, b"caf\xe9")).body == b"caf\xe9"


def test_of_two_failures_the_later_one_counts():
    earlier, later = refused(429), httpx.ConnectError("to the fallback")
    later.__context__ = earlier
    assert find(wrapped(later)).status == 502
    assert find(wrapped(earlier)).status == 429


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (httpx.ReadTimeout("private"), 504, "UpstreamTimeout"),
        (httpx.ConnectTimeout("private"), 504, "UpstreamTimeout"),
        (httpx.ConnectError("private"), 502, "ProxyError"),
        (httpx.RemoteProtocolError("private"), 502, "ProxyError"),
    ],
)
def test_a_provider_that_did_not_answer_is_told_in_our_words(error, status, kind):
    found = find(wrapped(error))
    assert (found.status, found.source, said_by(found)["type"]) == (status, OURS, kind)
    assert b"private" not in found.body


@pytest.mark.parametrize(
    "error",
    [
        httpx.DecodingError("private"),
        httpx.TooManyRedirects("private"),
        aiohttp.ClientResponseError(None, (), status=400, message="private"),
    ],
)
def test_an_answer_that_nobody_can_read_is_told_in_our_words(error):
    found = find(wrapped(error))
    assert (found.status, found.source) == (502, OURS)
    assert said_by(found)["message"] == "the provider's answer is none that LiteLLM can read"


class TakenError(Exception):
    """What a part of LiteLLM raises, which takes an answer's status for its own."""

    def __init__(self, status_code, message):
        super().__init__(message)
        self.status_code, self.message = status_code, message


UNREADABLE = "the provider's answer is none that LiteLLM can read"


@pytest.mark.parametrize(
    ("said", "status", "told"),
    [
        ('{"error": {"message": "own words", "code": null}}', 502, "own words"),
        ('{"error": {"message": "own words", "code": "rate_limited"}}', 502, "own words"),
        ('{"error": {"message": "own words", "code": 429}}', 429, "own words"),
        ('{"error": "own words"}', 502, "own words"),
        ("{'message': 'own words', 'code': '503'}", 503, "own words"),
        ("own words", 502, "own words"),
        ('{"object": "page"}', 502, UNREADABLE),
        ("<html>login</html>", 502, UNREADABLE),
        ("", 502, UNREADABLE),
        ("[1]", 502, UNREADABLE),
    ],
)
def test_an_error_that_came_with_a_status_of_success_is_told_as_the_providers(said, status, told):
    wrapping = TakenError(200, "litellm.APIError: APIError: OpenAIException - what it came to")
    wrapping.__context__ = TakenError(200, said)
    found = find(wrapping)
    assert (found.status, found.source, said_by(found)["message"]) == (status, OURS, told)


class RerankRequest(pydantic.BaseModel):
    """A model of LiteLLM's; see test_doors."""

    query: str
    documents: list[str]


class RerankResponse(RerankRequest):
    """One of what came back, with which a client has nothing to do."""


class ProxyMissingRequiredParamError(Exception):
    """LiteLLM's own; see test_doors."""

    message = "/batches: Missing required parameter: 'input_file_id'."


class OfAModelError(ProxyMissingRequiredParamError):
    """One that LiteLLM has made of it."""


def misread(model):
    try:
        model(query=1, documents="private")
    except pydantic.ValidationError as error:
        return error


def test_what_a_client_has_got_wrong_is_no_internal_error():
    for error, told in (
        (
            misread(RerankRequest),
            "query: Input should be a valid string; documents: Input should be a valid list",
        ),
        (OfAModelError(), ProxyMissingRequiredParamError.message),
    ):
        found = find(wrapped(error))
        assert (found.status, found.source, said_by(found)["message"]) == (400, OURS, told)


def test_what_may_be_a_mistake_of_litellms_own_is_none_of_the_clients():
    for error in (misread(RerankResponse), KeyError("query"), AttributeError("get")):
        assert find(wrapped(error)) is None


def test_in_a_stream_that_has_begun_its_status_says_nothing():
    assert find(TakenError(200, "own words"), streams=True) is None


@pytest.mark.parametrize("error", [TakenError(304, "Error code: 304"), TakenError(302, b"")])
def test_a_redirection_is_no_answer(error):
    for streams in (False, True):
        found = find(wrapped(error), streams=streams)
        assert (found.status, found.source, said_by(found)["message"]) == (502, OURS, UNREADABLE)


@pytest.mark.parametrize(
    "error",
    [TakenError(500, "no"), TakenError(None, "no"), TakenError("200", "no"), ValueError("no")],
)
def test_what_has_no_status_of_success_is_none(error):
    assert find(wrapped(error)) is None


def test_a_provider_that_is_not_there_is_named_by_its_address():
    request = httpx.Request("POST", "http://me:secret@lan:8080/v1/messages?key=secret")
    found = find(wrapped(httpx.ConnectError("private", request=request)))
    said = "the provider at lan:8080 cannot be reached, or hung up (ConnectError)"
    assert (said_by(found)["message"], b"secret" in found.body) == (said, False)


@pytest.mark.parametrize(
    "error",
    [
        unfinished(),
        httpx.RemoteProtocolError(
            "peer closed connection without sending complete message body (incomplete chunked read)"
        ),
    ],
    ids=["aiohttp", "httpx"],
)
def test_a_stream_that_breaks_after_its_head_is_no_provider_that_did_not_answer(error):
    found = find(wrapped(error), streams=True)
    assert (found.status, found.source, said_by(found)["type"]) == (502, CUT, "ProxyError")
    assert b"private" not in found.body
    assert find(wrapped(error)).source == OURS  # there was no stream to be cut


def test_a_provider_that_hangs_up_without_a_word_has_begun_no_stream():
    error = httpx.ReadError("private")
    error.__cause__ = aiohttp.ServerDisconnectedError()
    assert find(wrapped(error), streams=True).source == OURS
    assert find(httpx.ConnectError("private"), streams=True).source == OURS
    assert find(httpx.ReadTimeout("private"), streams=True).source == OURS


def test_an_answer_that_was_never_read_has_no_body():
    request = httpx.Request("POST", "http://provider/")
    unread = httpx.Response(500, stream=httpx.ByteStream(b"gone"), request=request)
    unread.is_closed = True
    unread.is_stream_consumed = True
    found = find(httpx.HTTPStatusError("", request=request, response=unread))
    assert (found.status, found.body) == (500, b"")


class NativeError(Exception):
    """As LiteLLM's compiled part raises it: a status, a body, and headers if there are any."""

    def __init__(self, status, body, headers=None):
        super().__init__(status, body)
        if headers is not None:
            self.headers = headers


def test_what_the_compiled_part_was_told_is_the_providers():
    headers = [("Retry-After", "7"), ("content-encoding", "gzip"), ("server", "größe")]
    found = find(wrapped(NativeError(429, "{}", headers)))
    assert (found.status, found.body, found.source) == (429, b"{}", PROVIDER)
    assert found.headers == ((b"retry-after", b"7"),)


@pytest.mark.parametrize(
    "error", [NativeError(408, "OCR request timed out"), NativeError(200, "{}", []), KeyError(1, 2)]
)
def test_what_it_has_not_been_told_is_no_answer(error):
    assert find(wrapped(error)) is None


@pytest.mark.parametrize("kind", ["Connect", "SendRequest"])
def test_a_connection_of_the_compiled_part_that_broke_is_told_as_any(kind):
    said = f"upstream network error: error sending request: client error ({kind}): refused"
    found = find(wrapped(RuntimeError(said)))
    assert (found.status, found.source) == (502, OURS)
    assert said_by(found)["message"] == f"the provider cannot be reached, or hung up ({kind})"


def test_a_body_that_broke_off_in_the_compiled_part_is_told_as_any():
    found = find(wrapped(RuntimeError("upstream network error: error decoding response body: eof")))
    assert (found.status, found.source) == (502, OURS)
    assert said_by(found)["message"] == "the provider cannot be reached, or hung up"


def test_what_a_provider_says_goes_before_what_python_says_of_reading_it():
    unread = AttributeError("'list' object has no attribute 'model_dump'", name="model_dump")
    assert (found := find(wrapped(unread))).status == 502
    assert said_by(found)["message"] == UNREADABLE
    unread.__cause__ = refused(429)
    assert find(wrapped(unread)).source == PROVIDER


def test_a_door_of_ours_says_what_it_is():
    error = ProxyError(f"the model failed{ADVICE}", code=429)
    found = find(wrapped(error))
    assert (found.status, found.source) == (429, OURS)
    assert said_by(found)["message"] == "the model failed"


def test_other_exceptions_say_nothing():
    assert find(wrapped(LookupError("x"))) is None
    assert find(refused(304)) is None


def test_a_chain_that_ends_in_itself_ends():
    first, second = LookupError(), LookupError()
    first.__context__, second.__context__ = second, first
    assert find(first) is None


# -- LiteLLM's own refusals


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (400, {"error": {"message": "litellm.BadRequestError: no such thing"}}, "no such thing"),
        (400, {"type": "error", "error": {"type": "x", "message": "no messages"}}, "no messages"),
        (404, {"detail": "Not Found"}, "Not Found"),
        (422, {"detail": [{"loc": ["body"], "msg": "Field required"}]}, "Field required"),
        (500, "Internal Server Error", "Internal Server Error"),
        (503, "", "LiteLLM failed with 503"),
    ],
)
def test_a_refusal_keeps_its_status_and_its_message(status, body, message):
    raw = body.encode() if isinstance(body, str) else orjson.dumps(body)
    found = of_litellm(status, [(b"retry-after", b"5"), (b"x-litellm-key-spend", b"1")], raw)
    assert (found.status, said_by(found)["message"]) == (status, message)
    assert found.headers == ((b"content-type", b"application/json"), (b"retry-after", b"5"))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"type": "overloaded_error"}, 529),
        ({"type": "rate_limit_error"}, 429),
        ({"code": "429"}, 429),
        ({"type": "something_else"}, 502),
    ],
)
def test_an_error_that_comes_with_a_status_of_success_has_the_one_that_it_names(error, status):
    body = {"type": "error", "error": {**error, "message": "not now"}}
    found = of_litellm(200, [], orjson.dumps(body))
    assert (found.status, said_by(found)["message"]) == (status, "not now")


def test_a_label_that_cools_down_says_for_how_long_and_nothing_of_its_deployments():
    said = "No deployments available for selected model, Try again in 30 seconds. Passed model=a. x"
    found = of_litellm(429, [], orjson.dumps({"error": {"message": said}}))
    assert dict(found.headers)[b"retry-after"] == b"30"
    assert said_by(found)["message"] == said.removesuffix(" Passed model=a. x")


@pytest.mark.parametrize(
    ("status", "said", "code"),
    [
        (408, "litellm.Timeout: whatever", 504),
        (500, "litellm.APIError: OpenAIException - Request timed out.", 504),
        (500, "litellm.InternalServerError: OpenAIException - Connection error.", 502),
        (500, "Response payload is not completed: <TransferEncodingError: 400>", 502),
        (500, "litellm.APIError: " * 20_000 + "and so on", 500),
    ],
)
def test_a_connection_that_failed_is_no_internal_error(status, said, code):
    assert of_litellm(status, [], orjson.dumps({"error": {"message": said}})).status == code


@pytest.mark.parametrize(
    "said",
    [
        "litellm.APIError: APIError: OpenAIException - <html>login</html>",
        'litellm.APIError: APIError: OpenAIException - {"id": ',
        "litellm.APIError: APIError: OpenAIException - ",
        "litellm.InternalServerError: OpenAIException - Expecting value: line 1 column 1 (char 0)",
        "litellm.APIError: APIError: OpenAIException - LiteLLM: provider returned a response with "
        "no 'choices'. Raw keys: ['secret']",
    ],
)
def test_an_answer_that_litellm_cannot_read_is_not_quoted(said):
    found = of_litellm(500, [], orjson.dumps({"error": {"message": said}}))
    assert (found.status, found.source) == (502, OURS)
    assert said_by(found)["message"] == "the provider's answer is none that LiteLLM can read"


class ToldError(Exception):
    """As the libraries make it of an error event."""

    def __init__(self, **facts):
        super().__init__("Overloaded")
        self.__dict__.update(facts)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ToldError(body={"message": "Overloaded", "code": 503}), 503),
        (ToldError(body={"message": "Overloaded", "code": "server_error"}), None),
        (ToldError(status_code=529), 529),
        (ToldError(status_code=200), None),
    ],
)
def test_what_a_stream_says_of_its_failure_is_known(error, status):
    assert find(wrapped(error), streams=True) is None
    assert status_in_stream(wrapped(error)) == status


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Exception("Required 'A_KEY' in environment"), "Required 'A_KEY' in environment"),
        (KeyError("private"), "LiteLLM failed with 500"),
        (Exception(""), "LiteLLM failed with 500"),
    ],
)
def test_what_litellm_raises_in_a_sentence_of_its_own_is_told(error, told):
    try:
        try:
            raise error
        except Exception:
            raise ModuleNotFoundError("prisma")  # noqa: B904 - as LiteLLM does
    except ModuleNotFoundError as outer:
        found = failures.unforeseen(outer)
    assert (found.status, found.source) == (500, OURS)
    assert said_by(found) == {"type": "Unknown", "message": told, "code": 500}

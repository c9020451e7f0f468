"""The layer on the way out, around answers that a test makes up."""

import httpx
import orjson
import pytest

from ccproxyd.worker.answering import Answering, shown
from ccproxyd.worker.failures import CUT, PROVIDER, Failure, find
from ccproxyd.worker.underway import Slot

pytestmark = pytest.mark.anyio

PROVIDERS = Failure(529, ((b"retry-after", b"7"),), b'{"type": "error"}', PROVIDER)


async def sent(status, *pieces, headers=(), slot=None, routed=True):
    """What the server gets of an answer."""
    messages = []

    async def send(message):
        messages.append(message)

    out = Answering(send, slot or Slot(), routed=routed)
    await out({"type": "http.response.start", "status": status, "headers": list(headers)})
    for number, piece in enumerate(pieces, start=1):
        more = number < len(pieces)
        await out({"type": "http.response.body", "body": piece, "more_body": more})
    start, *bodies = messages
    return start["status"], dict(start["headers"]), [body["body"] for body in bodies]


async def test_an_answer_goes_on_piece_by_piece():
    status, headers, pieces = await sent(200, b"a", b"b", b"", headers=[(b"x-a", b"1")])
    assert (status, headers, pieces) == (200, {b"x-a": b"1"}, [b"a", b"b", b""])


async def test_a_failure_is_the_one_that_the_hook_has_found():
    status, headers, pieces = await sent(500, b"litellm", b".Error", slot=Slot(PROVIDERS, 1))
    assert (status, pieces) == (529, [PROVIDERS.body])
    assert headers == {
        b"retry-after": b"7",
        b"x-ccproxy-failure": b"provider",
        b"content-length": b"17",
        b"x-litellm-attempted-retries": b"1",
    }


@pytest.mark.parametrize(("status", "slot"), [(200, Slot()), (500, Slot(PROVIDERS))])
async def test_the_fallbacks_that_failed_are_told_where_there_were_any(status, slot):
    _, headers, _ = await sent(status, b"{}", slot=slot)
    assert b"x-ccproxy-failed-fallbacks" not in headers
    slot.failed_fallbacks = 2
    _, headers, _ = await sent(status, b"{}", slot=slot)
    assert headers[b"x-ccproxy-failed-fallbacks"] == b"2"


async def test_a_stream_that_broke_before_litellm_began_one_is_told_as_that():
    """What the client gets of it is the gateway's to say; a status alone would not tell it."""
    cut = Failure(502, (), b'{"error": {}}', CUT)
    status, headers, pieces = await sent(500, b"litellm.Error", slot=Slot(cut))
    assert (status, headers[b"x-ccproxy-failure"], pieces) == (502, b"cut", [cut.body])


async def test_litellms_own_refusal_is_told_whole_as_ours():
    said = [b'{"error": {"mess', b'age": "litellm.BadRequestError: no"}}']
    status, headers, pieces = await sent(400, *said, headers=[(b"x-litellm-version", b"1")])
    assert (status, headers[b"x-ccproxy-failure"], len(pieces)) == (400, b"ours", 1)
    error = {"type": "ValidationError", "message": "no", "code": 400}
    assert orjson.loads(pieces[0]) == {"error": error}


JSON = (b"content-type", b"application/json")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b'{"type":"error","error":{"type":"api_error","message":"litellm.APIError: no"}}', "no"),
        (
            b'{"type":"error","error":{"message":"litellm.APIError: OpenAIException - <html>"}}',
            "the provider's answer is none that LiteLLM can read",
        ),
        (b"null", "the provider's answer is none that LiteLLM can read"),
    ],
)
async def test_an_error_that_litellm_takes_for_a_success_is_a_failure(said, message):
    status, headers, pieces = await sent(200, said, headers=[JSON, (b"x-a", b"1")])
    assert (status, headers[b"x-ccproxy-failure"], b"x-a" in headers) == (502, b"ours", False)
    assert orjson.loads(pieces[0])["error"]["message"] == message


@pytest.mark.parametrize("said", [b'{"type":"message"}', b"[]", b""])
async def test_a_success_is_one(said):
    headers = [JSON, (b"x-litellm-key-spend", b"1")]
    assert await sent(200, said, headers=headers) == (200, dict([JSON]), [said])
    assert await sent(200, b"{", b"}", headers=headers) == (200, dict([JSON]), [b"{", b"}"])


async def test_a_status_that_no_server_can_send_is_told_as_502():
    assert (await sent(999, b"{}", routed=False))[0] == 502


@pytest.mark.parametrize("said", [b"", b'{"error": {"message": "Error code: 307"}}'])
async def test_an_answer_that_sends_elsewhere_is_none(said):
    location = [(b"location", b"http://elsewhere/")]
    elsewhere = find(AnsweredError(307))
    status, headers, pieces = await sent(307, said, headers=location, slot=Slot(elsewhere))
    assert (status, headers[b"x-ccproxy-failure"], b"location" in headers) == (502, b"ours", False)
    assert pieces == [elsewhere.body]
    assert (await sent(304, b"", headers=location))[0] == 502
    assert (await sent(307, said, headers=location, routed=False))[0] == 307


class AnsweredError(Exception):
    """What OpenAI's library makes of a status."""

    def __init__(self, status_code):
        super().__init__()
        self.status_code = status_code


TEXT, EVENTS = Slot(wants_text=True), Slot(wants_events=True)
PLAIN, STREAM = b"text/plain; charset=utf-8", b"text/event-stream; charset=utf-8"


@pytest.mark.parametrize(
    ("wanted", "said", "kind", "words"),
    [
        (TEXT, [b'{"text": "1\\nh\xc3', b'\xa9"}'], PLAIN, "1\nhé".encode()),
        (TEXT, [b'{"text": "data: the new oil"}'], PLAIN, b"data: the new oil"),
        (EVENTS, [b'{"text": "data: {}\\n\\n"}'], STREAM, b"data: {}\n\n"),
        (EVENTS, [b'{"text": "hello"}'], b"application/json", b'{"text": "hello"}'),
        (TEXT, [b'{"text": 1}'], b"application/json", b'{"text": 1}'),
        (TEXT, [b'["text"]', b""], b"application/json", b'["text"]'),
        (TEXT, [b'{"text": '], b"application/json", b'{"text": '),
    ],
)
async def test_of_a_transcription_the_words_alone_may_be_wanted(wanted, said, kind, words):
    head = [JSON, (b"content-length", b"7"), (b"x-a", b"1")]
    status, headers, pieces = await sent(200, *said, headers=head, slot=wanted)
    assert (status, pieces) == (200, [words])
    assert headers == {
        b"x-a": b"1",
        b"content-type": kind,
        b"content-length": str(len(words)).encode(),
    }


async def test_and_a_failure_is_one_all_the_same():
    slot = Slot(PROVIDERS, wants_text=True)
    status, _, pieces = await sent(500, b"litellm", b".Error", headers=[JSON], slot=slot)
    assert (status, pieces) == (529, [PROVIDERS.body])


async def test_what_is_relayed_says_null_as_the_provider_did():
    assert await sent(200, b"null", headers=[JSON], routed=False) == (200, dict([JSON]), [b"null"])


async def test_what_is_relayed_stays_as_it_is():
    said = b'{"detail": "litellm.BadRequestError: of a provider"}'
    status, headers, pieces = await sent(404, said, routed=False)
    assert (status, headers, pieces) == (404, {}, [said])


async def test_what_litellm_asked_of_a_provider_itself_fails_as_a_routed_request_does():
    status, headers, pieces = await sent(500, b"litellm", slot=Slot(PROVIDERS), routed=False)
    assert (status, headers[b"retry-after"], pieces) == (529, b"7", [PROVIDERS.body])


async def test_the_first_event_of_a_stream_can_have_had_a_status():
    said = b'{"error": {"message": "litellm.APIConnectionError: Overloaded", "code": "500"}}'
    status, _, pieces = await sent(500, said, slot=Slot(status=503))
    assert (status, orjson.loads(pieces[0])["error"]["message"]) == (503, "Overloaded")
    assert (await sent(400, said, slot=Slot(status=503)))[0] == 400


FAILED = b"""event: response.failed
data: {"type":"response.failed","response":{"error":{"message":"litellm.APIError: Overloaded"}}}

"""
STREAM = (b"content-type", b"text/event-stream; charset=utf-8")


@pytest.mark.parametrize(
    ("slot", "status", "source"),
    [
        (Slot(status=429), 429, b"ours"),
        (Slot(), 502, b"ours"),
        (Slot(PROVIDERS, status=500), 529, b"provider"),
    ],
)
async def test_a_response_that_fails_at_once_is_no_stream(slot, status, source):
    told, headers, pieces = await sent(200, FAILED, b"data: [DONE]", headers=[STREAM], slot=slot)
    assert (told, headers[b"x-ccproxy-failure"], len(pieces)) == (status, source, 1)
    said = orjson.loads(pieces[0])
    assert slot.failure or said["error"]["message"] == "Overloaded"


async def test_a_response_that_fails_later_is_one():
    said = [b'data: {"type":"response.created"}\n\n', FAILED, b"data: [DONE]\n\n"]
    status, headers, pieces = await sent(200, *said, headers=[STREAM], slot=Slot(status=429))
    assert (status, headers, len(pieces)) == (200, dict([STREAM]), 3)
    assert b'"Overloaded"' in pieces[1]


@pytest.mark.parametrize("said", [b"", b"data: [1]\n\n", b"null\n\n"])
async def test_a_failed_response_that_says_nothing_is_a_failure(said):
    head = FAILED.partition(b"data")[0]
    status, _, pieces = await sent(200, head + said, headers=[STREAM])
    message = "the provider's answer is none that LiteLLM can read"
    assert (status, orjson.loads(pieces[0])["error"]["message"]) == (502, message)


async def test_a_stream_that_breaks_says_how():
    slot = Slot(find(httpx.ReadError("private")))
    frames = [b'data: {"a": 1}\n\n', b'data: {"error": {"message": "private"}}\n\n']
    _, _, pieces = await sent(200, *frames, slot=slot)
    assert pieces[0] == frames[0]
    assert b"the answer was cut" in pieces[1]


@pytest.mark.parametrize(("broke", "ends"), [(True, False), (False, True)])
async def test_a_stream_that_broke_has_no_end(broke, ends):
    """What a provider itself says of a failure is a stream's usual end."""
    more = []

    async def send(message):
        more.append(message.get("more_body"))

    slot = Slot(find(httpx.ReadError("private")) if broke else None)
    out = Answering(send, slot, routed=True)
    await out({"type": "http.response.start", "status": 200, "headers": []})
    error = b'data: {"error": {"message": "overloaded"}}\n\n'
    await out({"type": "http.response.body", "body": error, "more_body": True})
    await out({"type": "http.response.body", "body": b"", "more_body": False})
    assert more == [None, True, not ends]


def test_nothing_that_litellm_says_of_itself_is_shown():
    headers = {
        b"content-type": b"text/event-stream",
        b"x-litellm-model-api-base": b"http://10.0.0.1",
        b"x-litellm-attempted-fallbacks": b"1",
        b"x-litellm-model-group": b"think",
        b"x-litellm-key-spend": b"3",
        b"llm_provider-date": b"today",
        b"llm_provider-anthropic-ratelimit-unified-status": b"allowed",
        b"llm_provider-request-id": b"of the provider",
        b"request-id": b"req_1",
    }
    assert dict(shown(list(headers.items()))) == {
        b"content-type": b"text/event-stream",
        b"x-litellm-attempted-fallbacks": b"1",
        b"x-litellm-model-group": b"think",
        b"anthropic-ratelimit-unified-status": b"allowed",
        b"request-id": b"req_1",
    }

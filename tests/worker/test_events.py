"""Error events in streams, as LiteLLM writes them and as clients get them."""

import attrs
import orjson
import pytest

from ccproxyd.errors import UNREADABLE, ProxyError, UpstreamTimeout
from ccproxyd.worker.events import cleared
from ccproxyd.worker.failures import CUT, ours
from ccproxyd.worker.underway import Slot

GONE, STALLED = ours(ProxyError("gone", code=502)), ours(UpstreamTimeout("too late"))
CUT_OFF = attrs.evolve(GONE, source=CUT)


@pytest.mark.parametrize(
    "piece",
    [
        b'event: content_block_delta\ndata: {"delta": {"text": "an error"}}\n\n',
        b'event: error\ndata: {"type":"error","error":{"type":"a","message":"Overloaded"}}\n\n',
        b'data: {"error": "not an object"}\n\n',
        b"event: error\ndata: not JSON\n\n",
        b"",
    ],
)
def test_what_is_not_litellms_error_stays_as_it_is(piece):
    assert cleared(piece, Slot()) is piece


@pytest.mark.parametrize(
    "piece",
    [
        b'event: error\ndata: {"type": "error", "error": {"type": "a", "message": "%s"}}\n\n',
        b'data: {"error": {"message": "%s", "type": null, "param": null, "code": "500"}}\n\n',
        b'event: response.failed\ndata: {"type":"response.failed","response":{"error":'
        b'{"code":"server_error","message":"%s"}}}\n\n',
    ],
)
def test_an_error_event_says_what_the_provider_said(piece):
    piece %= b"litellm.APIError: APIError: OpenAIException - Overloaded"
    found = cleared(piece, Slot())
    assert b'"message":"Overloaded"' in found
    assert found.startswith(piece.partition(b"data: ")[0])
    assert found.endswith(b"}\n\n")


def test_a_connection_that_broke_is_told_in_our_words():
    event = b'event: error\ndata: {"type": "error", "error": {"type": "a", "message": "any"}}\n\n'
    cut = {"type": "api_error", "message": "the answer was cut: the provider went away"}
    for failure in (GONE, CUT_OFF):
        said = cleared(event, Slot(failure))[19:]
        assert orjson.loads(said) == {"type": "error", "error": cut}
    slot = Slot(STALLED)
    stalled = {"type": "timeout_error", "message": "the answer stopped coming"}
    assert orjson.loads(cleared(event, slot)[19:]) == {"type": "error", "error": stalled}


def test_what_nobody_could_read_is_told_as_that():
    event = b'event: error\ndata: {"type": "error", "error": {"type": "a", "message": "any"}}\n\n'
    slot = Slot(ours(ProxyError(UNREADABLE, code=502)))
    assert UNREADABLE.encode() in cleared(event, slot)
    assert slot.has_broken


def test_openais_clients_get_the_code_of_it():
    said = "Timeout on reading data from socket"
    frame = b'data: {"error": {"message": "%s", "type": null, "param": null}}\n\n' % said.encode()
    assert orjson.loads(cleared(frame, Slot())[6:])["error"] == {
        "message": "the answer stopped coming",
        "type": "UpstreamTimeout",
        "param": None,
        "code": 504,
    }


@pytest.mark.parametrize(
    ("slot", "kind", "code"),
    [(Slot(status=503), "ProxyError", 503), (Slot(), "Unknown", 500)],
)
def test_openais_clients_get_a_type_and_a_status_of_litellms_event(slot, kind, code):
    frame = (
        b'data: {"error":{"message":"litellm.APIConnectionError: OpenAIException - Overloaded",'
        b'"type":null,"param":null,"code":"500"}}\n\n'
    )
    error = {"message": "Overloaded", "type": kind, "param": None, "code": code}
    assert orjson.loads(cleared(frame, slot)[6:]) == {"error": error}


@pytest.mark.parametrize("code", [b'"server_error"', b"500", b"null"])
def test_an_event_of_a_providers_own_keeps_its_type(code):
    frame = b'data: {"error":{"message":"no","type":"x","param":null,"code":%s}}\n\n' % code
    assert cleared(frame, Slot()) is frame


def test_a_response_that_failed_keeps_its_code():
    said = "Timeout on reading data from socket"
    failed = {"object": "response", "error": {"code": "server_error", "message": said}}
    frame = b"event: response.failed\ndata: " + orjson.dumps({"response": failed}) + b"\n\n"
    error = {"code": "server_error", "message": "the answer stopped coming"}
    assert orjson.loads(cleared(frame, Slot())[29:])["response"]["error"] == error

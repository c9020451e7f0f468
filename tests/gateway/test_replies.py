import orjson
import pytest

from ccproxyd.errors import ProxyError, UpstreamTimeout, ValidationError
from ccproxyd.gateway.paths import Dialect
from ccproxyd.gateway.replies import error_body, error_event, error_reply, json_reply


def test_a_reply_says_what_it_is_and_how_long():
    assert json_reply({"a": 1}, 201).pairs() == [
        (b"content-type", b"application/json"),
        (b"content-length", b"7"),
    ]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValidationError("x"), "invalid_request_error"),
        (ProxyError("x", code=401), "authentication_error"),
        (ProxyError("x", code=404), "not_found_error"),
        (ProxyError("x", code=413), "request_too_large"),
        (ProxyError("x", code=503), "overloaded_error"),
        (UpstreamTimeout("x"), "timeout_error"),
        (ProxyError("x", code=502), "api_error"),
    ],
)
def test_anthropics_clients_act_on_the_type(error, kind):
    body = {"type": "error", "error": {"type": kind, "message": "x"}}
    assert error_body(error, Dialect.ANTHROPIC) == body


def test_everybody_else_gets_openais_shape():
    reply = error_reply(ValidationError("x"), Dialect.OPENAI, {"retry-after": "5"})
    error = {"message": "x", "type": "ValidationError", "param": None, "code": 400}
    assert orjson.loads(reply.body) == {"error": error}
    assert reply.status == 400
    assert (b"retry-after", b"5") in reply.pairs()


def test_anthropics_stream_ends_in_a_named_event_and_openais_in_a_plain_one():
    error = ProxyError("cut", code=502)
    assert error_event(error, Dialect.ANTHROPIC).startswith(b'event: error\ndata: {"type":"error"')
    assert error_event(error, Dialect.OPENAI).startswith(b'data: {"error"')
    assert error_event(error, Dialect.OPENAI).endswith(b"\n\n")

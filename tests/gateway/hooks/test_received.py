import pytest

from ccproxyd.gateway.hooks.pipeline import Passage
from ccproxyd.gateway.hooks.received import asked_in, asked_in_bytes, received
from ccproxyd.routing import Request
from tests.gateway.house import Call

BODY = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


def test_a_request_is_told_as_litellm_would():
    call = Call(path="/v1/messages", query="beta=true", headers={"host": "h:1", "x-app": "cli"})
    assert received(call.exchange()) == {
        "url": "http://h:1/v1/messages?beta=true",
        "method": "POST",
        "headers": {"host": "h:1", "x-app": "cli"},
    }


def test_no_credential_is_shown():
    names = ("authorization", "x-api-key", "x-litellm-api-key", "cookie", "proxy-authorization")
    headers = dict.fromkeys((*names, "sec-websocket-protocol", "x-my-token"), "sk-secret")
    call = Call(path="/v1/messages", query="key=sk-secret", headers=headers)
    assert "sk-secret" not in repr(received(call.exchange()))


def test_moderation_is_asked_about_the_newest_turn_with_all_of_it():
    passage = Passage(Request(BODY), b"", None, received=lambda: {"method": "POST"})
    asked = asked_in(passage)
    assert (asked.texts(), asked.call_type) == (["Hello"], "anthropic_messages")
    assert asked.data()["messages"] == BODY["messages"]
    assert asked.data()["proxy_server_request"]["method"] == "POST"


@pytest.mark.parametrize(
    ("raw", "fields"),
    [
        (b'{"contents": ["Hello"]}', {"contents": ["Hello"]}),
        (b'["Hello"]', {"input": '["Hello"]'}),
        (b"Hello", {"input": "Hello"}),
    ],
)
def test_of_what_is_carried_it_is_asked_about_everything(raw, fields):
    asked = asked_in_bytes(raw, Call(path="/v1beta/models/g:generateContent").exchange())
    assert asked.texts() == ["Hello"]
    data = asked.data()
    assert data.pop("proxy_server_request")["method"] == "POST"
    assert data == fields
    assert asked.call_type == "pass_through_endpoint"

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
    asked = asked_in(passage, "newest")
    assert (list(asked.texts()), asked.call_type) == (["Hello"], "anthropic_messages")
    assert asked.data()["messages"] == BODY["messages"]
    assert asked.data()["proxy_server_request"]["method"] == "POST"


def test_the_scope_decides_what_of_a_conversation_it_is_asked_about():
    passage = Passage(Request({**BODY, "system": "Be brief."}), b"", None, received=dict)
    assert list(asked_in(passage, "newest").texts()) == ["Hello"]
    assert {"Hello", "Be brief."} <= set(asked_in(passage, "all").texts())


@pytest.mark.parametrize("scope", ["newest", "all"])
def test_of_a_form_it_is_asked_about_every_part(scope):
    """Also what hooks and rules do not see of it."""
    raw = b'--X\r\ncontent-disposition: form-data; name="f"; filename="n"\r\n\r\nHello\r\n--X--\r\n'
    request = Request({}, headers={"Content-Type": "multipart/form-data; boundary=X"})
    passage = Passage(request, raw, None, received=dict, is_form=True)
    assert list(asked_in(passage, scope).texts()) == ["f", "n", "Hello"]


def test_a_query_is_asked_about_but_for_a_key_of_ours():
    query = "beta=true&key=sk-1&a%20b=c+d"
    passage = Passage(Request(BODY), b"", None, received=dict)
    said = ["beta", "true", "a b", "c d"]
    assert list(asked_in(passage, "newest", query).texts()) == [*said, "Hello"]
    asked = asked_in_bytes(b"", Call(path="/gemini/x", method="GET", query=query).exchange())
    assert [text for text in asked.texts() if text] == said
    assert list(asked.data()) == ["proxy_server_request"]


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
    texts = list(asked.texts())
    assert {"Hello", raw.decode()} == {texts[0], texts[-1]}
    data = asked.data()
    assert data.pop("proxy_server_request")["method"] == "POST"
    assert data == fields
    assert asked.call_type == "pass_through_endpoint"

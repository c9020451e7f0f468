from ccproxyd.gateway.hooks.built_in import (
    MOST_CHARACTERS,
    captured_headers,
    header_notes,
    request_facts,
    route_headers,
    session_notes,
)
from ccproxyd.routing import Decision, Request, TokenCounter

SESSION = {"x-claude-code-session-id": "s-1"}


def test_a_session_is_told_where_there_is_one():
    assert session_notes(Request({}, headers=SESSION)) == {"session_id": "s-1"}
    assert session_notes(Request({})) == {}


def test_a_session_of_any_length_is_told_at_moderate_length():
    request = Request({}, headers={"x-claude-code-session-id": "s" * 9999})
    assert len(session_notes(request)["session_id"]) == MOST_CHARACTERS


def test_the_headers_that_are_there_are_captured():
    request = Request({}, headers={"User-Agent": "claude-cli", "x-other": "1"})
    assert captured_headers(request, ("user-agent", "x-app")) == {"user-agent": "claude-cli"}


def test_what_looks_like_a_secret_is_not_captured_and_nothing_is_at_full_length():
    request = Request({}, headers={"x-a": "Bearer abc.def", "x-b": "b" * 999})
    found = captured_headers(request, ("x-a", "x-b"))
    assert found == {"x-a": "[redacted]", "x-b": "b" * MOST_CHARACTERS}


def test_captured_headers_are_noted_as_they_were():
    assert header_notes({"x-app": "cli"}, Request({}, path="/v1/messages")) == {
        "trace_metadata": {"header_x-app": "cli", "http_path": "/v1/messages"}
    }


def test_a_request_is_described_by_numbers():
    body = {"messages": [{"role": "user", "content": "Hello"}], "tools": [{"name": "x"}]}
    request = Request({**body, "stream": True})
    assert request_facts(request) == {
        "message_count": 1,
        "has_tools": True,
        "stream": True,
        "token_count": None,
    }
    assert not request_facts(Request({}))["has_tools"]


def test_its_tokens_are_told_when_somebody_has_counted_them():
    request = Request({"messages": ["Hello"]}, counter=TokenCounter())
    counted = request.token_count
    assert counted > 0
    assert request_facts(request)["token_count"] == counted


def test_a_route_is_told_in_three_headers():
    decision = Decision("think", "ThinkingRule", "anthropic/claude-opus-4-8", "", "haiku")
    assert route_headers("asked", decision) == [
        ("x-ccproxy-model-name", "think"),
        ("x-ccproxy-original-model", "asked"),
        ("x-ccproxy-routed-model", "anthropic/claude-opus-4-8"),
    ]

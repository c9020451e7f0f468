"""What goes along with a count, out of the scope of a request."""

from ccproxyd.worker import carried
from ccproxyd.worker.carried import Carried

COUNT = "/v1/messages/count_tokens"


def asked(path, *headers, query=b""):
    return {"type": "http", "path": path, "headers": list(headers), "query_string": query}


def test_a_count_brings_along_what_tells_anthropic_who_asks():
    along = carried.with_a_count(
        asked(
            COUNT,
            (b"Anthropic-Beta", b"one,two"),
            (b"anthropic-version", b"2023-06-01"),
            (b"User-Agent", b"claude-cli/2"),
            (b"x-app", b"cli"),
            (b"x-claude-code-session-id", b"s"),
            (b"x-stainless-lang", b"js"),
            query=b"key=sk-secret&beta=true",
        )
    )
    assert along == Carried(
        {
            "anthropic-beta": "one,two",
            "anthropic-version": "2023-06-01",
            "user-agent": "claude-cli/2",
            "x-app": "cli",
            "x-claude-code-session-id": "s",
            "x-stainless-lang": "js",
        },
        "beta=true",
    )


def test_a_subscription_goes_along_and_so_does_a_key_that_the_gateway_lends():
    token = (b"Authorization", b"Bearer sk-ant-oat01-mine")
    assert carried.with_a_count(asked(COUNT, token)).credential == "sk-ant-oat01-mine"
    assert carried.with_a_count(asked(COUNT), "sk-ant-mine").credential == "sk-ant-mine"
    assert "mine" not in repr(carried.with_a_count(asked(COUNT, token)))


def test_credentials_and_what_belongs_to_a_connection_stay_here():
    private = [
        (b"authorization", b"Bearer sk-secret"),
        (b"x-api-key", b"sk-secret"),
        (b"x-litellm-api-key", b"sk-secret"),
        (b"cookie", b"secret"),
        (b"host", b"worker"),
        (b"content-length", b"7"),
    ]
    assert carried.with_a_count(asked(COUNT, *private)) == Carried()


def test_what_is_no_count_brings_nothing():
    assert carried.with_a_count(asked("/v1/messages", (b"x-app", b"cli"))) is None
    assert carried.with_a_count({"type": "websocket", "headers": []}) is None


def test_a_count_is_known_in_the_other_places_that_it_is_asked_for_in():
    path = "/claude_code_gateway/v1/messages/count_tokens"
    assert carried.with_a_count(asked(path)) == Carried()


def test_of_the_query_nothing_else_goes_along():
    assert carried.query("beta=true&beta=false") == "beta=true"
    assert carried.query("beta=yes&key=sk-secret") == ""


def test_a_query_may_be_any_bytes():
    assert carried.with_a_count(asked(COUNT, query=b"\xff&beta=true")) == Carried({}, "beta=true")

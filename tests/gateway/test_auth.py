import pytest

from ccproxyd.gateway.auth import (
    Keyring,
    anthropic_key,
    credentials,
    subscription_token,
    without_key,
    without_keys,
)

TOKEN = "sk-ant-oat01-abc"


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer sk-1"},
        {"authorization": "bearer   sk-1 "},
        {"authorization": "sk-1"},
        {"x-api-key": "sk-1"},
        {"x-litellm-api-key": "Bearer sk-1"},
        {"api-key": "sk-1"},
        {"x-goog-api-key": "sk-1"},
    ],
)
def test_a_key_is_found_in_whichever_header_it_comes(headers):
    assert credentials(headers) == ["sk-1"]


def test_both_keys_of_a_client_that_sends_two_are_tried():
    offered = credentials({"authorization": f"Bearer {TOKEN}", "x-api-key": "sk-1"})
    assert Keyring.of(["sk-1"]).opens_for(offered)


def test_a_key_may_come_in_the_query():
    assert credentials({}, "beta=true&key=sk%2D1") == ["sk-1"]
    assert credentials({}, "monkey=sk-1") == []


def test_a_browser_names_its_key_among_the_protocols_of_a_websocket():
    protocols = ["realtime", "openai-insecure-api-key.sk-1"]
    assert credentials({"sec-websocket-protocol": ", ".join(protocols)}) == ["sk-1"]
    assert credentials({"sec-websocket-protocol": "realtime"}) == []
    assert without_keys(protocols) == ["realtime"]


def test_an_empty_key_is_none():
    assert credentials({"authorization": "Bearer ", "x-api-key": ""}, "key=") == []


def test_only_the_whole_key_opens():
    ring = Keyring.of(["sk-1", "sk-2"])
    assert ring.opens_for(["sk-2"])
    for wrong in ("sk-", "sk-11", "SK-1", "", "sk-1\udcff"):
        assert not ring.opens_for([wrong])
    assert not ring.opens_for([])


@pytest.mark.parametrize("keys", [[], [""]])
def test_a_ring_without_keys_opens_for_nobody(keys):
    assert not Keyring.of(keys).opens_for(["", "sk-1"])


def test_a_ring_holds_no_key_in_the_clear():
    assert "sk-secret" not in repr(Keyring.of(["sk-secret"]))


def test_a_subscription_is_known_by_its_token():
    assert subscription_token({"authorization": f"Bearer {TOKEN}"}) == TOKEN
    assert subscription_token({"authorization": "Bearer sk-1"}) is None
    assert subscription_token({"x-api-key": TOKEN}) is None


@pytest.mark.parametrize(
    ("value", "is_one"),
    [
        ("sk-ant-api03-abc", True),
        ("Bearer sk-ant-api03-abc", True),
        (TOKEN, False),
        ("sk-ant-admin01-abc", False),
        ("sk-ccproxy", False),
        ("", False),
    ],
)
def test_a_key_for_anthropic_is_known_by_its_beginning(value, is_one):
    assert anthropic_key({"x-api-key": value}) == ("sk-ant-api03-abc" if is_one else None)
    assert anthropic_key({"authorization": value}) is None


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("key=sk-1", ""),
        ("a=1&key=sk-1&b=%20", "a=1&b=%20"),
        ("monkey=1&ke%79=sk-1", "monkey=1"),
        ("monkey=1", "monkey=1"),
        ("", ""),
    ],
)
def test_a_key_leaves_no_trace_in_the_query(query, left):
    assert without_key(query) == left

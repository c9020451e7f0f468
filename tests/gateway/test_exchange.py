import asyncio

import pytest

from ccproxyd.gateway.exchange import Exchange
from ccproxyd.gateway.paths import Dialect
from ccproxyd.gateway.replies import json_reply
from tests.gateway.house import Call

pytestmark = pytest.mark.anyio


def test_headers_are_a_mapping_and_the_pairs_as_they_came():
    call = Call(headers={"x-a": "1", "anthropic-version": "2023-06-01"}, path="/v1/models")
    exchange = call.exchange()
    assert exchange.headers["x-a"] == "1"
    assert (b"x-a", b"1") in exchange.header_pairs
    assert exchange.dialect is Dialect.ANTHROPIC


def test_a_path_without_its_raw_form_is_its_own():
    call = Call(path="/v1/files")
    exchange = Exchange({**call.scope(), "raw_path": b""}, call.receive, call.send)
    assert exchange.raw_path == "/v1/files"


@pytest.mark.parametrize(
    ("path", "raw_path", "found"),
    [
        ("/messages", "/%6Dessages", "/v1/messages"),
        ("/v1/messages", "/v1/%6Dessages", "/v1/%6Dessages"),
    ],
)
def test_a_path_that_has_a_usual_one_goes_on_as_that(path, raw_path, found):
    assert Call(path=path, raw_path=raw_path).exchange().raw_path == found


def test_what_it_says_can_be_taken_back():
    exchange = Call(headers={"content-encoding": "gzip", "x-a": "1"}).exchange()
    exchange.drop_header("content-encoding")
    exchange.drop_header("x-b")
    assert (exchange.headers, exchange.header_pairs) == ({"x-a": "1"}, [(b"x-a", b"1")])


async def test_a_reply_is_whole():
    call = Call()
    await call.exchange().reply(json_reply({"a": 1}))
    assert (call.status, call.json(), call.complete) == (200, {"a": 1}, True)
    assert call.header("content-length") == "7"


async def test_a_head_gets_the_head_alone():
    call = Call(method="HEAD")
    await call.exchange().reply(json_reply({"a": 1}))
    assert (call.header("content-length"), call.answer, call.complete) == ("7", b"", True)


async def test_an_answer_carries_what_was_added_to_it():
    call = Call()
    exchange = call.exchange()
    exchange.extra = [(b"x-ccproxy-label", b"think")]
    assert not exchange.started
    await exchange.start(200, [(b"a", b"b")])
    await exchange.write(b"1")
    assert exchange.started
    assert call.answered == [("a", "b"), ("x-ccproxy-label", "think")]
    assert not call.complete
    await exchange.end()
    assert (call.answer, call.complete) == (b"1", True)


@pytest.mark.parametrize("more", [True, False])
async def test_the_last_piece_has_left_when_it_is_written(more):
    """The transport writes at the end of a turn of the loop."""
    call, left = Call(), []

    async def send(message):
        asyncio.get_running_loop().call_soon(left.append, message["body"])

    exchange = call.exchange().aside(send)
    await exchange.write(b"piece", more=more)
    assert left == ([] if more else [b"piece"])
    assert exchange.ended is not more


async def test_the_end_of_a_client_is_seen_behind_what_it_still_sends():
    call = Call()
    exchange = call.exchange()
    call.leave()
    await exchange.until_gone()
    assert call._asked

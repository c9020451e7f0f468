"""What a client hears while a message pauses, and for how long."""

import asyncio

import pytest

from ccproxyd.gateway.lanes.answers import Answer
from ccproxyd.gateway.lanes.connection import HungUpError
from ccproxyd.gateway.lanes.pings import PING, with_pings
from tests.gateway.house import Call

pytestmark = pytest.mark.anyio

EVENT = b"event: message_start\ndata: {}\n\n"
SILENCE = TimeoutError()


class Rest:
    """What is still to come, in this order; `deadlines` are those that it was waited for."""

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.deadlines = []
        self.is_left = False

    @property
    def at_end(self):
        return not self.outcomes

    async def read(self, deadline):
        self.deadlines.append(deadline)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def let_go(self):
        self.is_left = True


def accompanied(first, rest, seconds=15.0):
    """The rest of an answer that its client is to hear of, and the client."""
    call = Call()
    answer = Answer(200, [(b"x-a", b"1")], first, rest, whole=False, streams=True)
    return with_pings(answer, call.exchange(), seconds).rest, call


def in_seconds(seconds):
    return asyncio.get_running_loop().time() + seconds


async def test_a_pause_is_filled_with_pings_and_ends_with_the_next_event():
    rest, call = accompanied(EVENT, Rest(SILENCE, SILENCE, b"next"))
    assert await rest.read(in_seconds(300)) == b"next"
    assert call.pieces == [PING, PING]
    assert rest.at_end


async def test_they_are_no_reason_to_wait_longer():
    waited_for = Rest(SILENCE, SILENCE)
    rest, call = accompanied(EVENT, waited_for, seconds=0.0)
    deadline = in_seconds(-1)
    with pytest.raises(TimeoutError):
        await rest.read(deadline)
    assert (waited_for.deadlines, call.pieces) == ([deadline], [])


async def test_where_the_time_is_short_there_is_none():
    rest, call = accompanied(EVENT, Rest(SILENCE))
    with pytest.raises(TimeoutError):
        await rest.read(in_seconds(10))
    assert call.pieces == []


@pytest.mark.parametrize("half", [b'data: {"half', b"event: x\n", b""])
async def test_nor_in_the_midst_of_an_event(half):
    rest, call = accompanied(half, Rest(SILENCE))
    with pytest.raises(TimeoutError):
        await rest.read(in_seconds(300))
    assert call.pieces == []


async def test_but_after_its_end():
    rest, call = accompanied(b'data: {"half', Rest(b'"}\r\n\r\n', SILENCE, b"next"))
    await rest.read(in_seconds(300))
    assert await rest.read(in_seconds(300)) == b"next"
    assert call.pieces == [PING]


async def test_an_answer_that_is_cut_is_cut():
    rest, call = accompanied(EVENT, Rest(SILENCE, HungUpError()))
    with pytest.raises(HungUpError):
        await rest.read(in_seconds(300))
    assert call.pieces == [PING]


async def test_for_the_rest_it_is_the_answer_itself():
    own = Rest()
    rest, _ = accompanied(EVENT, own)
    rest.let_go()
    assert (own.is_left, rest.status, rest.headers) == (True, 200, [(b"x-a", b"1")])

"""What is put off is done when the loop has had its turns, or when somebody needs it; once."""

import asyncio

import pytest

from ccproxyd.gateway.later import Later

pytestmark = pytest.mark.anyio


async def test_what_is_put_off_lets_others_go_first_and_is_done():
    done = asyncio.Event()
    Later(done.set)
    await asyncio.sleep(0)
    assert not done.is_set()
    await asyncio.wait_for(done.wait(), 10)


async def test_who_needs_it_has_it_done_at_once_and_not_again():
    done, calls = asyncio.Event(), []
    later = Later(lambda: calls.append("call"))
    later.now()
    later.now()
    Later(done.set)
    await asyncio.wait_for(done.wait(), 10)
    assert calls == ["call"]

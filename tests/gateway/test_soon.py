"""What is put off is done in the loop's next turn, or when somebody needs it; once."""

import asyncio

import pytest

from ccproxyd.gateway.soon import Soon

pytestmark = pytest.mark.anyio


async def test_what_is_put_off_is_done_in_the_next_turn():
    done = []
    Soon(lambda: done.append("call"))
    assert done == []
    await asyncio.sleep(0)
    assert done == ["call"]


async def test_who_needs_it_has_it_done_at_once_and_not_again():
    done = []
    soon = Soon(lambda: done.append("call"))
    soon.now()
    soon.now()
    await asyncio.sleep(0)
    assert done == ["call"]

import asyncio
import threading

import pytest

from ccproxyd.errors import ProxyError
from ccproxyd.gateway.hooks.calls import Caller, Failed, TooManyError, TooSlow
from tests.gateway.scripted import PATIENCE, becomes

pytestmark = pytest.mark.anyio


async def cause_of(calling):
    with pytest.raises(Failed) as failed:
        await calling
    return failed.value.__cause__


def double(data, factor=2):
    return data * factor


async def test_a_plain_function_is_called_in_a_thread_of_its_own():
    found = await Caller().call(threading.get_ident)
    assert found != threading.get_ident()
    assert await Caller().call(double, 3, factor=5) == 15


async def test_an_async_function_is_called_in_the_loop():
    async def where(data):
        await asyncio.sleep(0)
        return data, threading.get_ident()

    assert await Caller().call(where, 1) == (1, threading.get_ident())


async def test_an_object_may_be_a_function_of_either_kind():
    class Plain:
        def __call__(self, data):
            return data + 1

    class Async:
        async def __call__(self, data):
            return data + 2

    assert await Caller().call(Plain(), 1) == 2
    assert await Caller().call(Async(), 1) == 3


async def test_a_plain_function_that_returns_a_coroutine_is_awaited():
    async def later():
        return 7

    assert await Caller().call(lambda: later()) == 7


async def test_the_loop_goes_on_while_a_plain_function_blocks():
    going_on = threading.Event()
    calling = asyncio.create_task(Caller().call(going_on.wait, PATIENCE))
    await asyncio.sleep(0)
    going_on.set()
    assert await calling is True


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, StopIteration])
async def test_whatever_a_plain_function_raises_is_told(error):
    def broken():
        raise error("x")

    assert type(await cause_of(Caller().call(broken))) is error


class PanicError(BaseException):
    """As compiled extensions raise it."""


@pytest.mark.parametrize(
    "error",
    [ProxyError("no"), SystemExit(1), asyncio.CancelledError(), PanicError(), KeyboardInterrupt()],
)
async def test_whatever_an_async_function_raises_is_told(error):
    async def broken():
        raise error

    assert await cause_of(Caller().call(broken)) is error


async def test_a_caller_who_is_cancelled_is_cancelled():
    began = asyncio.Event()

    async def waits():
        began.set()
        await asyncio.Event().wait()

    calling = asyncio.create_task(Caller().call(waits))
    await began.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling


async def test_a_function_that_takes_too_long_has_failed():
    async def waits():
        await asyncio.Event().wait()

    caller = Caller(seconds=0.01)
    assert isinstance(await cause_of(caller.call(waits)), TimeoutError)
    with pytest.raises(TooSlow):
        await caller.call(waits)


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_function_that_says_itself_that_time_is_up_was_not_too_slow(is_async):
    def raises():
        raise TimeoutError

    async def raises_later():
        raise TimeoutError

    with pytest.raises(Failed) as failed:
        await Caller().call(raises_later if is_async else raises)
    assert failed.type is Failed


async def test_threads_that_do_not_return_are_not_waited_for_and_not_too_many():
    going_on = threading.Event()
    caller = Caller(seconds=0.01, most_threads=2)
    for _ in range(2):
        assert isinstance(await cause_of(caller.call(going_on.wait)), TimeoutError)
    assert caller.busy == 2
    assert isinstance(await cause_of(caller.call(double, 1)), TooManyError)
    going_on.set()
    await becomes(lambda: caller.busy == 0)
    caller.seconds = PATIENCE  # a busy machine may need longer to begin a thread than those had
    assert await caller.call(double, 1) == 2


async def test_a_thread_that_cannot_be_started_does_not_count(monkeypatch):
    def refuse(_self):
        raise RuntimeError("can't start new thread")

    caller = Caller()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert isinstance(await cause_of(caller.call(double, 1)), RuntimeError)
    assert caller.busy == 0


def test_a_thread_outlives_its_loop_without_a_word():
    """pytest would tell of an exception in it."""
    going_on, gone = threading.Event(), threading.Event()

    def late():
        going_on.wait(PATIENCE)
        gone.set()

    with pytest.raises(Failed):
        asyncio.run(Caller(seconds=0.01).call(late))
    [thread] = [one for one in threading.enumerate() if one.name == "hook"]
    going_on.set()
    thread.join(PATIENCE)
    assert gone.is_set()
    assert not thread.is_alive()

"""A function of the user's own, called so that it can hold up nobody else.

An async function runs in the event loop, as its author expects. A plain one gets a thread: it is
where people ask a database or write a file, and one that blocks in the loop would stop every answer
of every client. A thread costs a tenth of a millisecond.

The threads are made for each call and nobody waits for them at the end: a function that never
returns must not keep a pool's other tasks from running, nor the process from ending. It fails when
its time is up; as long as it goes on, its thread counts, and beyond `MOST_THREADS` the next call
fails at once.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

from attrs import define

CALL_SECONDS: Final = 30.0
MOST_THREADS: Final = 64


class TooManyError(Exception):
    """So many calls have not returned that no more are begun."""


class Failed(Exception):  # noqa: N818 - it is what happened to somebody else
    """The function raised; `__cause__` is what."""


class TooSlow(Failed):
    """Its time was up. A thread that it has goes on."""


@define
class Caller:
    """Calls functions; one for each config."""

    seconds: float = CALL_SECONDS
    most_threads: int = MOST_THREADS
    busy: int = 0
    """Threads that have not returned."""

    async def call(self, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        """What the function returns.

        Raises:
            TooSlow: it took too long.
            Failed: it raised, or could not be called.
        """
        limit = asyncio.timeout(self.seconds)
        try:
            async with limit:
                return await self._called(partial(function, *args, **named), function)
        except Failed:
            raise
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            raise Failed from error
        except GeneratorExit:  # the task itself is thrown away
            raise
        except BaseException as error:  # a compiled extension's panic is no Exception
            raise (TooSlow if limit.expired() else Failed) from error

    async def _called(self, call: Callable[[], Any], function: Callable[..., Any]) -> Any:
        if _is_async(function):
            return await call()
        found = await self._in_thread(call)
        return await found if inspect.isawaitable(found) else found

    async def _in_thread(self, call: Callable[[], Any]) -> Any:
        if self.busy >= self.most_threads:
            raise TooManyError
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()

        def settle(value: Any, error: BaseException | None) -> None:
            self.busy -= 1
            if not outcome.done():
                outcome.set_result((value, error))

        def work() -> None:
            found = _outcome(call)
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(settle, *found)

        threading.Thread(target=work, name="hook", daemon=True).start()
        self.busy += 1
        value, error = await outcome
        if error is not None:
            raise Failed from error
        return value


def _is_cancelled() -> bool:
    """Whether it is we who are to stop, and not something that the function waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object with an async __call__
    )


def _outcome(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return call(), None
    except BaseException as error:
        return None, error

"""What may not be sent to any provider: a list of patterns, and a check of the user's own.

In the scope `newest` the newest turn is looked at: everything since the answer before, the results
of tools included. What came earlier has been looked at when it was new. An agent keeps what it was
refused and sends it with all that comes, so that looking again would end the conversation for good;
but a client can say in a turn before what nobody has looked at, or in its system prompt. Where
nothing may get out, and not only nothing by mistake, the scope is `all`: whatever is sent. Of a
request that is no conversation that is looked at in either; `said` has the details.

Texts are searched one by one. Where blocks of one message meet, a pattern may be found that is in
neither, and counts; one that lies within a block, and is only there because of the other, does not.

`regex` searches without the interpreter's lock and gives up when its time is over, which `re` does
not: one evil pattern, or an evil text for a good one, would stop every answer of every client. It
searches in a thread all the same. The time is for the search alone, not for making texts of bytes:
that takes what it takes, and what is large may be searched as well.

A check lets a request pass by returning None, True or a mapping, as LiteLLM's do, and refuses it by
any other value, by a `ProxyError`, or by an exception with a `status_code` of 4xx, as of FastAPI.

Of two equal names in an object of JSON only the second is seen here, and a provider may read the
first: a body that has them is refused.

This fails closed: where the patterns take too long, or the check raises anything else or takes too
long, the request is refused with 500. Nobody is told what was found.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

from attrs import define, frozen

from ccproxyd.config.hooks import CHECK, Function
from ccproxyd.config.importing import place_of, place_of_function
from ccproxyd.config.moderation import PATH, Moderation
from ccproxyd.errors import ProxyError, Unknown, ValidationError
from ccproxyd.gateway.bodies import check_names
from ccproxyd.gateway.hooks.calls import Caller, Failed
from ccproxyd.gateway.hooks.said import Said

DENY_SECONDS: Final = 1.0
"""For all patterns on all texts of a request; half a megabyte takes them a millisecond."""
_SHORT: Final = 16 * 1024
_BLINK: Final = 0.005
"""In seconds, for a short text: nothing else of the process goes on meanwhile."""

PASSED: Final = "passed"
REFUSED: Final = "refused"
FAILED: Final = "failed"

_CANNOT: Final = "cannot moderate the request, so it is refused; the daemon's log says why"

OnError = Callable[[str, BaseException, str], None]


@frozen
class Judgement:
    """What has come of it, and what the client is told if it did not pass."""

    outcome: str
    error: ProxyError | None = None


@frozen
class Asked:
    """What is to be judged: its texts, and for a check all of it; each made when it is wanted."""

    texts: Callable[[], Iterable[Said]]
    data: Callable[[], dict[str, Any]]
    call_type: str
    raw: bytes = b""
    """What may be sent as it is."""


class _CannotError(Exception):
    """Something that judges has failed: its place in the config, why, the place in the module."""

    def __init__(self, path: str, error: BaseException, place: str = "") -> None:
        super().__init__(path)
        self.path, self.error, self.place = path, error, place


@frozen
class Moderator:
    """Judges requests."""

    message: str
    patterns: Sequence[Any]
    """Compiled by `regex`."""
    check: Function | None
    caller: Caller
    config_dir: Path
    on_error: OnError

    async def judge(self, asked: Asked) -> Judgement:
        """The patterns before the check: they are quick, and tell nobody."""
        try:
            if asked.raw:
                await asyncio.to_thread(check_names, asked.raw)
            if await self._is_denied(asked) or not await self._is_passed(asked):
                return Judgement(REFUSED, ValidationError(self.message))
        except ProxyError as error:
            return Judgement(REFUSED, error)
        except _CannotError as failed:
            self.on_error(failed.path, failed.error, failed.place)
            return Judgement(FAILED, Unknown(_CANNOT))
        return Judgement(PASSED)

    async def _is_denied(self, asked: Asked) -> bool:
        return bool(self.patterns) and await asyncio.to_thread(self._search, asked)

    def _search(self, asked: Asked) -> bool:
        search = _Search(DENY_SECONDS)
        for said in asked.texts():
            for index, pattern in enumerate(self.patterns):
                try:
                    if search.finds(pattern, said):
                        return True
                except TimeoutError as error:
                    raise _CannotError(f"{PATH}.deny[{index}]", error) from None
        return False

    async def _is_passed(self, asked: Asked) -> bool:
        if self.check is None:
            return True
        try:
            found = await self.caller.call(self.check, asked.data(), {}, asked.call_type)
        except Failed as failed:
            error = failed.__cause__ or failed
            if isinstance(error, ProxyError):
                raise error from None
            if _is_refusal(error):
                return False
            raise _CannotError(CHECK, error, self._place(error)) from None
        return found is None or found is True or isinstance(found, Mapping)

    def _place(self, error: BaseException) -> str:
        check = self.check
        return place_of(error, self.config_dir) or place_of_function(check, self.config_dir)


@define
class _Search:
    """That of one request, with the seconds that are left for it.

    A short text is searched with the interpreter's lock held: a conversation has thousands of
    them, and in a busy process it takes 5 ms to get the lock back. The first that takes long ends
    that.
    """

    left: float
    _is_brisk: bool = True

    def finds(self, pattern: Any, said: Said) -> bool:
        """
        Raises:
            TimeoutError: the time is over.
        """
        if self.left <= 0:
            raise TimeoutError
        began = time.monotonic()
        try:
            return self._finds(pattern, said)
        finally:
            self.left -= time.monotonic() - began

    def _finds(self, pattern: Any, said: Said) -> bool:
        if self._is_brisk and _length(said) <= _SHORT:
            try:
                return _is_in(pattern, said, timeout=min(self.left, _BLINK))
            except TimeoutError:
                self._is_brisk = False
        return _is_in(pattern, said, timeout=self.left, concurrent=True)


def moderator_for(
    moderation: Moderation, check: Function | None, config_dir: Path, on_error: OnError
) -> Moderator | None:
    """What judges by these settings; None where nothing is to."""
    if not moderation.enabled:
        return None
    return Moderator(
        message=moderation.message,
        patterns=_compiled(moderation.deny),
        check=check,
        caller=Caller(),
        config_dir=config_dir.resolve(),
        on_error=on_error,
    )


def _compiled(patterns: Sequence[str]) -> list[Any]:
    if not patterns:
        return []
    import regex  # takes 20 ms

    return [regex.compile(pattern) for pattern in patterns]


def _length(said: Said) -> int:
    return len(said) if isinstance(said, str) else sum(map(len, said))


def _is_in(pattern: Any, said: Said, **how: Any) -> bool:
    if isinstance(said, str):
        return pattern.search(said, **how) is not None
    borders = list(accumulate(map(len, said[:-1])))
    found = pattern.finditer("".join(said), overlapped=True, **how)
    return any(_is_across(match, borders) for match in found)


def _is_across(match: Any, borders: Sequence[int]) -> bool:
    """Whether it begins before a border and ends behind it."""
    start, end = match.span()
    next_border = bisect_right(borders, start)
    return next_border < len(borders) and borders[next_border] < end


def _is_refusal(error: BaseException) -> bool:
    """What a check written for LiteLLM raises to refuse: an HTTPException with a status of 4xx."""
    status = getattr(error, "status_code", None)
    return isinstance(status, int) and 400 <= status < 500

"""What may not be sent to any provider: a list of patterns, and a check of the user's own.

The newest turn is looked at, not the whole conversation: everything since the answer before, the
results of tools included. What came earlier has been looked at when it was new, and a client sends
all of it again with each turn, half a megabyte in the end. The system prompt and the tools are the
client's program and not looked at. Of a request that is no conversation every text is, and of a
body that is no JSON all of it, where it is UTF-8; sounds, images and the like are not.

`regex` searches without the interpreter's lock and gives up when its time is over, which `re` does
not: one evil pattern, or an evil text for a good one, would stop every answer of every client. It
searches in a thread all the same.

A check lets a request pass by returning None, True or a mapping, as LiteLLM's do, and refuses it by
any other value, by a `ProxyError`, or by an exception with a `status_code` of 4xx, as of FastAPI.

This fails closed: where the patterns take too long, or the check raises anything else or takes too
long, the request is refused with 500. Nobody is told what was found.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from ccproxyd.config.hooks import CHECK, Function
from ccproxyd.config.importing import place_of, place_of_function
from ccproxyd.config.moderation import PATH, Moderation
from ccproxyd.errors import ProxyError, Unknown, ValidationError
from ccproxyd.gateway.hooks.calls import Caller, Failed

DENY_SECONDS: Final = 1.0
"""For all patterns on all texts of a request; half a megabyte takes them a millisecond."""

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

    texts: Callable[[], Iterable[str]]
    data: Callable[[], dict[str, Any]]
    call_type: str


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
        """The patterns first: they are quick, and tell nobody."""
        try:
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
        deadline = time.monotonic() + DENY_SECONDS
        texts = list(asked.texts())
        for index, pattern in enumerate(self.patterns):
            try:
                if any(_finds(pattern, text, deadline) for text in texts):
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


def _finds(pattern: Any, text: str, deadline: float) -> bool:
    """
    Raises:
        TimeoutError: it takes too long.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return pattern.search(text, timeout=left, concurrent=True) is not None


def _is_refusal(error: BaseException) -> bool:
    """What a check written for LiteLLM raises to refuse: an HTTPException with a status of 4xx."""
    status = getattr(error, "status_code", None)
    return isinstance(status, int) and 400 <= status < 500

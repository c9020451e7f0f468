"""The tokens that an answer says it cost, read in passing.

Answers name their usage in one of three dialects: Anthropic (`input_tokens`, `output_tokens`,
`cache_read_input_tokens`; in a stream, `message_start` has the input and `message_delta` the final
output), OpenAI chat (`prompt_tokens`, `completion_tokens`, cached ones inside
`prompt_tokens_details`; in a stream, the last chunk if the client asked) and OpenAI responses.
Anthropic's `input_tokens` leaves out what a cache had or was given, OpenAI's counts it in; here
`input_tokens` is always what was not read from a cache.

Frames are parsed only when they mention usage, and nothing of their content is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson
from attrs import evolve, frozen

_MENTION: Final = b'"usage"'
_MAX_FRAME_BYTES: Final = 8 * 1024 * 1024


@frozen
class Usage:
    """Tokens of one answer; None is what it did not say."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None

    def merged(self, newer: Usage) -> Usage:
        """Later figures replace earlier ones, silence does not."""
        return evolve(
            self,
            **{
                name: value
                for name in ("input_tokens", "output_tokens", "cache_read_tokens")
                if (value := getattr(newer, name)) is not None
            },
        )


NO_USAGE: Final = Usage()


def usage_of_json(raw: bytes) -> Usage:
    """The usage that a whole JSON answer names.

    >>> usage_of_json(b'{"usage": {"input_tokens": 3, "output_tokens": 5}}').output_tokens
    5
    """
    return _usage_in(raw) if _MENTION in raw else NO_USAGE


class StreamUsage:
    r"""Collects usage from the pieces of an SSE answer, however they are cut.

    >>> stream = StreamUsage()
    >>> stream.feed(b'data: {"usage": {"input_to')
    >>> stream.feed(b'kens": 7}}\n\n')
    >>> stream.usage.input_tokens
    7
    """

    def __init__(self) -> None:
        self.usage = NO_USAGE
        self._rest = b""

    def feed(self, piece: bytes) -> None:
        *lines, rest = (self._rest + piece).split(b"\n")
        self._rest = rest if len(rest) <= _MAX_FRAME_BYTES else b""
        for line in lines:
            if line.startswith(b"data:") and _MENTION in line:
                self.usage = self.usage.merged(_usage_in(line[5:]))


def _usage_in(raw: bytes) -> Usage:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return NO_USAGE
    found = _find(value)
    return _normalised(found) if found else NO_USAGE


def _find(value: Any) -> Mapping[str, Any] | None:
    """At the top, or inside the `message` or `response` of a stream's frame."""
    if not isinstance(value, dict):
        return None
    for holder in (value, value.get("message"), value.get("response")):
        if isinstance(holder, dict) and isinstance(holder.get("usage"), dict):
            return holder["usage"]  # type: ignore[no-any-return]
    return None


def _normalised(usage: Mapping[str, Any]) -> Usage:
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    cached = _count(details, "cached_tokens") if isinstance(details, dict) else None
    return Usage(
        input_tokens=_uncached(usage, cached),
        output_tokens=_first(_count(usage, "output_tokens"), _count(usage, "completion_tokens")),
        cache_read_tokens=_first(_count(usage, "cache_read_input_tokens"), cached),
    )


def _uncached(usage: Mapping[str, Any], cached: int | None) -> int | None:
    if cached is None and (fresh := _count(usage, "input_tokens")) is not None:
        return fresh + (_count(usage, "cache_creation_input_tokens") or 0)
    total = _first(_count(usage, "input_tokens"), _count(usage, "prompt_tokens"))
    return None if total is None else max(0, total - (cached or 0))


def _count(holder: Mapping[str, Any], name: str) -> int | None:
    value = holder.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)

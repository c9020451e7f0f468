"""The tokens that an answer says it cost, read in passing.

Answers name their usage in one of three dialects: Anthropic (`input_tokens`, `output_tokens`,
`cache_read_input_tokens`; in a stream, `message_start` has the input and `message_delta` the final
output), OpenAI chat (`prompt_tokens`, `completion_tokens`, cached ones inside
`prompt_tokens_details`; in a stream, the last chunk if the client asked) and OpenAI responses.
Anthropic's `input_tokens` leaves out what a cache had or was given, OpenAI's counts it in; here
`input_tokens` is always what was not read from a cache.

Where Anthropic's side compacts a conversation or asks itself several times, `iterations` has the
usage of each turn, and the figures beside it are not the sum.

Frames are parsed only when they mention usage, and nothing of their content is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

import orjson
from attrs import evolve

from ccproxyd.telemetry.usage import Usage

__all__ = ["NO_USAGE", "StreamUsage", "Usage", "usage_of_json"]

NO_USAGE: Final = Usage()

_MENTION: Final = b'"usage"'
_END: Final = re.compile(
    rb"""
    event:\ ?(?: (?P<a_failure> error | response\.failed )
              | message_stop | response\.(?:completed|incomplete) )\b
    | data:\ ?(?: \[DONE\]
              | \{"error":\ ?(?!null)(?P<an_error>)
              | \{"type":\ ?"(?: (?P<a_nameless_failure> error | response\.failed )
                               | message_stop | response\.(?:completed|incomplete) )" )
    """,
    re.VERBOSE,
)
"""How the last frame begins; a client that leaves after it has everything. A group is in what says
that the answer has failed: Anthropic's event, that of OpenAI's responses, or its chat's, which has
no name, as no event has at some servers. Others have an `"error": null` in each frame."""
_DONE: Final = (b"data: [DONE]", b"data:[DONE]")
_BLANK: Final = (b"", b"\r")
_NAMES_A_REASON: Final = b'"finish_reason"'
_REASON: Final = re.compile(rb'"finish_reason"\s*:\s*"[^"]')
"""In a chat's last choice; not every server says `[DONE]` after it."""
_MAX_FRAME_BYTES: Final = 8 * 1024 * 1024
_COUNTS: Final = frozenset(
    "input_tokens output_tokens prompt_tokens completion_tokens cache_read_input_tokens "
    "cache_creation_input_tokens".split()
)
_DETAILS: Final = frozenset(
    "prompt_tokens_details input_tokens_details completion_tokens_details output_tokens_details "
    "cache_creation server_tool_use iterations".split()
)
_NAMES: Final = ("model", "service_tier")
"""What stands beside the usage; Anthropic has the tier inside it."""
_FIGURES: Final = _COUNTS.union(_DETAILS, _NAMES, ("speed", "inference_geo"))
_UNTOLD: Final = dict.fromkeys(("input_tokens", "output_tokens", "cache_read_tokens"))
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})

Figures = Mapping[str, Any]
"""A provider's own figures, by its own names."""


def usage_of_json(raw: bytes) -> Usage:
    """The usage that a whole JSON answer names.

    >>> usage_of_json(b'{"usage": {"input_tokens": 3, "output_tokens": 5}}').output_tokens
    5
    """
    return _usage(_figures_in(raw)) if _MENTION in raw else NO_USAGE


class StreamUsage:
    r"""Collects usage from the pieces of an SSE answer, however they are cut.

    Later figures replace earlier ones, silence does not. `has_failed` is true once the answer has
    said that it failed, which is the last that it says; `has_ended` once it has said its last word,
    which it may do before the transfer ends. `on_lines` gets the lines, too.

    >>> stream = StreamUsage()
    >>> stream.feed(b'data: {"usage": {"input_to')
    >>> stream.feed(b'kens": 7}}\n\n')
    >>> stream.usage.input_tokens
    7
    """

    def __init__(self, on_lines: Callable[[list[bytes]], None] | None = None) -> None:
        self.has_failed = False
        self._has_ended = self._is_last = self._gives_reason = False
        self._on_lines = on_lines
        self._figures: dict[str, Any] = {}
        self._rest = b""

    @property
    def usage(self) -> Usage:
        """What is known so far; zeros alone are how LiteLLM begins a message that it translates."""
        found = _usage(self._figures)
        is_told = found.prompt_tokens or found.output_tokens
        return found if is_told else evolve(found, **_UNTOLD)

    @property
    def has_ended(self) -> bool:
        """Whether the last frame is there, if perhaps not the end of its last line."""
        return self._has_ended or self._rest.startswith(_DONE)

    @property
    def is_whole(self) -> bool:
        """Whether a conversation's answer that came to its end has said that it does."""
        return self._is_last or self._gives_reason or _says_the_end(self._rest)

    def feed(self, piece: bytes) -> None:
        *lines, rest = (self._rest + piece).split(b"\n")
        self._rest = rest if len(rest) <= _MAX_FRAME_BYTES else b""
        for line in lines:
            if line in _BLANK:
                self._has_ended = self._has_ended or self._is_last
            else:
                self._read(line)
        if self._on_lines is not None:
            self._on_lines(lines)

    def _read(self, line: bytes) -> None:
        is_data = line.startswith(b"data:")
        if is_data and _MENTION in line:
            self._figures.update(_figures_in(line[5:]))
        if end := _END.match(line):
            self._is_last = True
            self.has_failed = self.has_failed or end.lastgroup is not None
        elif is_data and not self._gives_reason:
            self._gives_reason = _gives_reason(line)


def _says_the_end(line: bytes) -> bool:
    return _END.match(line) is not None or _gives_reason(line)


def _gives_reason(line: bytes) -> bool:
    return _NAMES_A_REASON in line and _REASON.search(line) is not None


def _figures_in(raw: bytes) -> Figures:
    """Those of the usage, and the names beside it; what is null is not said."""
    try:
        holder = _holder(orjson.loads(raw))
    except orjson.JSONDecodeError:
        return _NOTHING
    if holder is None:
        return _NOTHING
    beside = {name: holder.get(name) for name in _NAMES}
    known = {name: value for name, value in holder["usage"].items() if name in _FIGURES}
    return {
        name: value
        for found in (known, beside)
        for name, value in found.items()
        if value is not None
    }


def _holder(value: Any) -> Mapping[str, Any] | None:
    """What the usage is in: the top, or the `message` or `response` of a stream's frame."""
    if not isinstance(value, dict):
        return None
    holders = (value, value.get("message"), value.get("response"))
    return next((one for one in holders if _mapping(one, "usage") is not _NOTHING), None)


def _usage(figures: Figures) -> Usage:
    figures = _summed(figures)
    inputs = _either(figures, "prompt_tokens_details", "input_tokens_details")
    outputs = _either(figures, "completion_tokens_details", "output_tokens_details")
    cached = _count(inputs, "cached_tokens")
    return Usage(
        input_tokens=_uncached(figures, cached),
        output_tokens=_count(figures, "output_tokens", "completion_tokens"),
        cache_read_tokens=_first(_count(figures, "cache_read_input_tokens"), cached),
        cache_write_tokens=_first(
            _count(figures, "cache_creation_input_tokens"),
            _count(inputs, "cache_write_tokens", "cache_creation_tokens"),
        ),
        cache_write_1h_tokens=_written_for_an_hour(figures),
        audio_input_tokens=_count(inputs, "audio_tokens"),
        audio_output_tokens=_count(outputs, "audio_tokens"),
        reasoning_tokens=_count(outputs, "reasoning_tokens", "thinking_tokens"),
        web_searches=_count(_mapping(figures, "server_tool_use"), "web_search_requests"),
        model=_text(figures, "model"),
        service_tier=_text(figures, "service_tier"),
        speed=_text(figures, "speed"),
        inference_geo=_text(figures, "inference_geo"),
    )


def _summed(figures: Figures) -> Figures:
    """The figures with those of all iterations in place of the last one's."""
    listed = figures.get("iterations")
    turns = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    if not turns:
        return figures
    sums: dict[str, Any] = {name: _sum(_count(turn, name) for turn in turns) for name in _COUNTS}
    hours = _sum(map(_written_for_an_hour, turns))
    if hours is not None:
        sums["cache_creation"] = {"ephemeral_1h_input_tokens": hours}
    return {**figures, **sums}


def _uncached(figures: Figures, cached: int | None) -> int | None:
    if cached is None and (fresh := _count(figures, "input_tokens")) is not None:
        return fresh + (_count(figures, "cache_creation_input_tokens") or 0)
    total = _count(figures, "input_tokens", "prompt_tokens")
    return None if total is None else max(0, total - (cached or 0))


def _written_for_an_hour(figures: Figures) -> int | None:
    return _count(_mapping(figures, "cache_creation"), "ephemeral_1h_input_tokens")


def _either(figures: Figures, *names: str) -> Figures:
    return next((found for name in names if (found := _mapping(figures, name))), _NOTHING)


def _mapping(holder: Any, name: str) -> Figures:
    value = holder.get(name) if isinstance(holder, Mapping) else None
    return value if isinstance(value, dict) else _NOTHING


def _text(figures: Figures, name: str) -> str | None:
    value = figures.get(name)
    return value if isinstance(value, str) else None


def _count(figures: Figures, *names: str) -> int | None:
    """Of these names the first that is a number."""
    counts = (figures.get(name) for name in names)
    return next((one for one in counts if isinstance(one, int) and not isinstance(one, bool)), None)


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None

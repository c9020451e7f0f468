"""The tools that agents declare, parsed once and not with every request.

An agent declares the same tools each time, in the same bytes, and these are most of a usual body:
90 of 116 KB. To parse them makes thousands of objects, which go when the request does. So the bytes
of the last few sets of tools are kept beside what they say. Where a body has one of them as the
value of `tools`, a parser gets the body with a *mark* in their place, a text that nobody outside
can know; when it finds the mark as the value of `tools`, the body says what it would have said, and
the known tools take the mark's place. Otherwise the body is parsed whole.

A set is kept when it comes the second time, by its hash, from who writes compact JSON, as clients
in JavaScript and OpenAI's and Anthropic's own libraries do. What is kept is shared by all requests
that have it: who gets it may read it, and nothing else.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any, Final

import orjson
from attrs import frozen

from ccproxyd.routing.memory import Memory

LEAST_BYTES: Final = 4 * 1024
MOST_BYTES: Final = 1024 * 1024
"""Of all sets together; parsed, usual ones take five times as much."""
MOST_SETS: Final = 8
MOST_BEHIND: Final = 8 * 1024
"""Clients write tools behind the conversation; where more than this follows, nobody looks."""
MOST_TRIES: Final = 4
"""So many places in a body that could be the one."""

_FIELD: Final = "tools"
_OPENING: Final = b'"tools":['
_MET: Final = 256
"""So many sets are remembered by their hash alone."""


class Toolset(list[Any]):
    """A list of tools that is not to be changed; `digest` stands for the bytes that say it."""

    def __init__(self, tools: list[Any], digest: int) -> None:
        super().__init__(tools)
        self.digest = digest


@frozen
class _Known:
    raw: bytes
    tools: Toolset


class Toolsets:
    """Parses bodies. Not safe among threads.

    >>> toolsets, tools = Toolsets(), [{"name": "Read", "description": "x" * LEAST_BYTES}]
    >>> raw = orjson.dumps({"model": "m", "tools": tools, "stream": True})
    >>> for _ in range(2):
    ...     toolsets.learn(raw, toolsets.loads(raw))
    >>> body = toolsets.loads(raw)
    >>> type(body["tools"]).__name__, body == orjson.loads(raw), list(body)
    ('Toolset', True, ['model', 'tools', 'stream'])
    """

    def __init__(self) -> None:
        self._known: list[_Known] = []
        self._met: Memory[bool] = Memory(_MET)
        self._mark = secrets.token_hex(16)

    def loads(self, raw: bytes) -> Any:
        """What `orjson.loads` makes of it.

        Raises:
            orjson.JSONDecodeError: it is no JSON.
        """
        for known in self._known:
            for start in _starts(raw, len(known.raw)):
                if raw.startswith(known.raw, start):
                    return self._with_known(raw, start, known)
        return orjson.loads(raw)

    def lacks(self, body: dict[str, Any]) -> bool:
        """Whether its tools are not among the known ones."""
        return type(body.get(_FIELD)) is list

    def learn(self, raw: bytes, body: dict[str, Any]) -> None:
        """Keep the tools of a body that was parsed from `raw` and lacks them, if it is worth it."""
        said = _bytes_of_tools(raw, body)
        is_known = any(known.raw == said for known in self._known)
        if is_known or not LEAST_BYTES <= len(said) <= MOST_BYTES:
            return
        digest = hash(said)
        if self._met.get(digest) is None:
            self._met.put(digest, True)
        elif (parsed := _parsed(said)) is not None:
            self._keep(_Known(said, Toolset(parsed, digest)))

    def _with_known(self, raw: bytes, start: int, known: _Known) -> Any:
        rest = memoryview(raw)
        mark = b'"%b"' % self._mark.encode()
        try:
            body = orjson.loads(b"".join((rest[:start], mark, rest[start + len(known.raw) :])))
        except orjson.JSONDecodeError:
            body = None
        if not isinstance(body, dict) or body.get(_FIELD) != self._mark:
            return orjson.loads(raw)
        body[_FIELD] = known.tools
        return body

    def _keep(self, new: _Known) -> None:
        """The newest first, and of the others as many as there is room for."""
        kept, room = [new], MOST_BYTES - len(new.raw)
        for known in self._known[: MOST_SETS - 1]:
            if len(known.raw) <= room:
                kept.append(known)
                room -= len(known.raw)
        self._known = kept


def _starts(raw: bytes, length: int) -> Iterator[int]:
    """Where a value of `tools` of that length may begin."""
    latest = len(raw) - length
    found = max(0, latest - MOST_BEHIND) - 1
    for _ in range(MOST_TRIES):
        found = raw.find(_OPENING, found + 1, max(0, latest + 1))
        if found < 0:
            return
        yield found + len(_OPENING) - 1


def _bytes_of_tools(raw: bytes, body: dict[str, Any]) -> bytes:
    """Those that seem to be the value of `tools`, by what comes before and behind; or none."""
    names = list(body)
    following = names[names.index(_FIELD) + 1 :]
    behind = b"],%b:" % orjson.dumps(following[0]) if following else b"]}"
    end = raw.rfind(behind, max(0, len(raw) - MOST_BEHIND))
    found = raw.rfind(_OPENING, max(0, end - MOST_BYTES - len(_OPENING)), max(0, end))
    return raw[found + len(_OPENING) - 1 : end + 1] if found >= 0 else b""


def _parsed(said: bytes) -> list[Any] | None:
    try:
        tools = orjson.loads(said)
    except orjson.JSONDecodeError:
        return None
    return tools if isinstance(tools, list) else None

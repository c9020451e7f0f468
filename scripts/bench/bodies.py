"""The requests: as large and as formed as a coding client's, and no two of them alike.

A `Feed` hands out requests as pieces of bytes, made in advance; what differs from request to
request is a number of fixed length in the newest user message, so that a request is put together
without copying its body. A `growing` feed is conversations instead: each request has one turn more
than the one before, every turn is new text, and after `TURNS` turns another conversation begins.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import orjson
from attrs import frozen

from tests.support.shapes import (
    EPHEMERAL,
    assistant,
    billing,
    call,
    headers,
    long_conversation,
    main_body,
    metadata,
    notes,
    result,
    said,
    shape,
    user,
)

MODEL: Final = "claude-sonnet-5"
SWAPPED: Final = "claude-opus-4-8"
"""A model that is asked for and that another one answers for."""
TURNS: Final = 40
TURN_CHARACTERS: Final = 1_000

_DIGITS: Final = 12
_NONCE: Final = "@" * _DIGITS
_BETAS: Final = ("context-1m-2025-08-07", "interleaved-thinking-2025-05-14", "effort-2025-11-24")

Json = dict[str, Any]
Pieces = Sequence[bytes]
Feed = Iterator[Pieces]
"""Whole requests, head and body, each as its pieces in order."""


@frozen
class Address:
    """Where requests go, and with which key."""

    host: str
    port: int
    key: str


@frozen
class Kind:
    """A sort of body; `make` builds one that streams or not."""

    name: str
    make: Callable[[], Json]
    growing: bool = False

    def feed(self, address: Address, *, stream: bool) -> Feed:
        body = {**self.make(), "stream": stream}
        if self.growing:
            return _conversations(address, body)
        return _nonced(address, orjson.dumps(body))

    def size(self) -> int:
        """In bytes, of a first request."""
        return len(orjson.dumps({**self.make(), "stream": True}))


def kinds() -> Mapping[str, Kind]:
    """Every sort there is, by its name.

    >>> [round(kind.size() / 1000) for kind in kinds().values()]
    [1, 116, 494, 116, 116]
    """
    found = (
        Kind("1 KB", small),
        Kind("116 KB", usual),
        Kind("500 KB", long),
        Kind("116 KB growing", usual, growing=True),
        Kind("116 KB swapped", lambda: {**usual(), "model": SWAPPED}),
    )
    return {kind.name: kind for kind in found}


def small() -> Json:
    """A side request of the client: no tools, a short prompt."""
    return {
        "model": MODEL,
        "messages": [user(said(420), _newest())],
        "system": [billing(), said(62)],
        "metadata": metadata(0),
        "max_tokens": 32000,
    }


def usual() -> Json:
    """The first turn of a main conversation, with the 24 tools that it declares."""
    declared = shape("model-sonnet-01").body["tools"]
    opening = (user(said(658), _newest()), notes(6289))
    return main_body(*opening, model=MODEL, system=24500, tools=declared)


def long() -> Json:
    """A conversation that has read a large file."""
    turns = long_conversation(400_000, 8)
    return main_body(*turns, user(_newest()), model=MODEL)


def _newest() -> Json:
    return {"type": "text", "text": f"Request {_NONCE}: what next?"}


def _head(address: Address, length: int) -> bytes:
    named = {
        **headers(0, *_BETAS),
        "Authorization": f"Bearer {address.key}",
        "Host": f"{address.host}:{address.port}",
        "Content-Length": str(length),
    }
    lines = [f"{name}: {value}" for name, value in named.items()]
    return "\r\n".join(("POST /v1/messages?beta=true HTTP/1.1", *lines, "", "")).encode()


def _number(number: int) -> bytes:
    return b"%0*d" % (_DIGITS, number)


def _nonced(address: Address, body: bytes) -> Feed:
    before, _, after = body.partition(_NONCE.encode())
    start = _head(address, len(body)) + before
    for number in itertools.count():
        yield start, _number(number), after


# -- growing conversations


def _conversations(address: Address, body: Json) -> Feed:
    """`messages` is cut out of the body, and filled with an opening and its turns."""
    hole = "@messages@"
    before, _, after = orjson.dumps({**body, "messages": hole}).partition(orjson.dumps(hole))
    first = orjson.dumps(body["messages"])[1:-1]
    turns = [_Turn.build(number) for number in range(TURNS)]
    for conversation in itertools.count():
        yield from _growing(address, (before + b"[", first, after), turns, conversation)


@frozen
class _Turn:
    """A tool's call and its result, each before and after the number of the conversation.

    The newest turn has the mark of the cache on its last block, and loses it when the next comes.
    """

    start: bytes
    plain_end: bytes
    marked_end: bytes

    @classmethod
    def build(cls, number: int) -> _Turn:
        plain = _turn(number, {})
        marked = _turn(number, {"cache_control": EPHEMERAL})
        start, _, plain_end = plain.partition(_NONCE.encode())
        return cls(start, plain_end, marked.partition(_NONCE.encode())[2])


def _turn(number: int, mark: Json) -> bytes:
    read = said(TURN_CHARACTERS - _DIGITS - 60)["text"]
    asked = assistant(said(60), call(number, "Read", file_path=f"file {number}"))
    given = result(number, [{"type": "text", "text": f"{_NONCE} {number} {read}"}])
    return b"," + orjson.dumps([asked, user({**given, **mark})])[1:-1]


def _growing(
    address: Address, around: tuple[bytes, bytes, bytes], turns: list[_Turn], conversation: int
) -> Feed:
    before, first, after = around
    number = _number(conversation)
    opening = first.replace(_NONCE.encode(), number)
    said_before: list[bytes] = []
    for turn in turns:
        newest = [turn.start, number, turn.marked_end, b"]", after]
        length = sum(map(len, (before, opening, *said_before, *newest)))
        yield _head(address, length), before, opening, *said_before, *newest
        said_before += [turn.start, number, turn.plain_end]

"""How far the bytes of a request are those of one that has been counted.

A turn of a conversation repeats all earlier ones, and in the same bytes but for the last message
or two, where the client moves its cache marks. To hash these bytes costs what hashing the texts in
them would, and spares the walk over hundreds of messages, which costs more than anything else.

So the body is hashed chunk by chunk, each hash together with the one before, until a hash is met
that is not remembered. The last one that is gives a *mark*:

    offset     here a message begins, in bytes from the start of the body
    messages   so many there are before it
    tokens     so many they have, by `tokens.full_count`
    rest       so many bytes were behind the list of messages when the mark was made

What is before the mark need not be read again. Marks are made when a count is done, one for each
chunk, by the rule that *what stands between two marks is a list of whole messages if a parser says
so*; the first stands where `{"model": ..., "messages": [` has just been opened, which a parser
says too. In each chunk the last place is tried that looks like the beginning of a message; where
that fails, or a client does not begin its messages with their role, the chunk has the mark of the
one before it, and more is walked. The tokens are those of the parsed bytes, so that a mark is true
whatever else the body says. An object that says `messages` twice, where parsers heed the second,
can deceive the count of its own sender alone.

The hash is Python's own, SipHash with a secret of the process, at the speed of memory; no text is
kept. What makes a body larger than a megabyte is images, whose base64 a walk passes over, so only
the first megabyte is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson
from attrs import evolve, frozen

from ccproxyd.routing.memory import Memory

CHUNK_BYTES: Final = 16_384
MAX_BYTES: Final = 1024 * 1024

_LIST: Final = b'"messages":'
_MESSAGE: Final = b'{"role"'


@frozen
class Counted:
    """What is known of some messages; the tools by the hashes of their names."""

    tokens: int = 0
    tools_referenced: frozenset[int] = frozenset()


@frozen
class Mark:
    """A place between two messages; before the list of messages has begun, the offset is 0."""

    offset: int = 0
    messages: int = 0
    counted: Counted = Counted()
    rest: int = 0


@frozen
class Known:
    """What is known of a body: up to which byte, by which hash, and the last mark before it."""

    end: int = 0
    digest: int = 0
    mark: Mark = Mark()


Count = Callable[[list[Any]], Counted]


class Prefixes:
    """Remembers how bodies begin, up to `capacity` chunks of them. Safe among threads.

    >>> prefixes = Prefixes()
    >>> messages = [{"role": "user", "content": "Hello"}] * 1000
    >>> raw = orjson.dumps({"messages": messages})
    >>> known = prefixes.known(raw, messages)
    >>> prefixes.learn(raw, messages, known, lambda found: Counted(len(found)))
    >>> prefixes.known(raw, messages).mark.messages
    963
    """

    def __init__(self, capacity: int = 4096) -> None:
        self._marks: Memory[Mark] = Memory(capacity)

    def known(self, raw: bytes, messages: list[Any]) -> Known:
        """What earlier bodies tell of this one, whose `messages` a parser found in `raw`."""
        end, digest, mark = 0, 0, Mark()
        for following in range(CHUNK_BYTES, min(len(raw), MAX_BYTES) + 1, CHUNK_BYTES):
            next_digest = hash((digest, raw[end:following]))
            found = self._marks.get(next_digest)
            if found is None:
                break
            end, digest, mark = following, next_digest, found
        return Known(end, digest, mark) if mark.messages < max(1, len(messages)) else Known()

    def learn(self, raw: bytes, messages: list[Any], known: Known, count: Count) -> None:
        """Make the marks that are missing; `count` is asked for the messages before each."""
        if known.end + CHUNK_BYTES > min(len(raw) - known.mark.rest, MAX_BYTES):
            return
        rest = _bytes_behind(raw, messages)
        digest, mark = known.digest, known.mark
        last = max(known.end + CHUNK_BYTES, min(len(raw) - rest, MAX_BYTES))
        for end in range(known.end + CHUNK_BYTES, last + 1, CHUNK_BYTES):
            digest = hash((digest, raw[end - CHUNK_BYTES : end]))
            mark = evolve(_next_mark(raw, mark, end, count), rest=rest)
            self._marks.put(digest, mark)

    def __len__(self) -> int:
        return len(self._marks)


def _bytes_behind(raw: bytes, messages: list[Any]) -> int:
    """About how many bytes follow the list: system prompt and tools, often."""
    try:
        last_message = len(orjson.dumps(messages[-1:]))
    except TypeError:
        last_message = 0
    return max(0, len(raw) - max(0, raw.rfind(_MESSAGE)) - last_message)


def _next_mark(raw: bytes, mark: Mark, end: int, count: Count) -> Mark:
    """The last mark that can be made before `end`."""
    mark = mark if mark.offset else _opening(raw, end)
    if not mark.offset:
        return mark
    place = raw.rfind(_MESSAGE, max(mark.offset, end - CHUNK_BYTES - len(_MESSAGE)), end)
    messages = _messages_between(raw, mark.offset, place) if place > 0 else []
    return _moved(mark, place, len(messages), count(messages)) if messages else mark


def _opening(raw: bytes, end: int) -> Mark:
    """The mark before the first message, if the list begins in the chunk up to `end`."""
    place = raw.find(_LIST, max(0, end - CHUNK_BYTES - len(_LIST)), end)
    offset = raw.find(b"[", place, end) + 1
    if place < 0 or not offset:
        return Mark()
    try:
        body = orjson.loads(raw[:offset] + b"]}")
    except orjson.JSONDecodeError:
        return Mark()
    return Mark(offset) if body.get("messages") == [] else Mark()


def _messages_between(raw: bytes, start: int, end: int) -> list[Any]:
    between = raw[start:end].rstrip().removesuffix(b",")
    try:
        return list(orjson.loads(b"[%b]" % between))
    except orjson.JSONDecodeError:
        return []


def _moved(mark: Mark, place: int, messages: int, counted: Counted) -> Mark:
    tokens = mark.counted.tokens + counted.tokens
    referenced = mark.counted.tools_referenced | counted.tools_referenced
    return Mark(place, mark.messages + messages, Counted(tokens, referenced))

"""The messages between the processes of the house.

Daemon, gateway and workers talk over socketpairs, one JSON object a line, each with a `kind`:

    up    ready | failed | heartbeat | decided | finished | priced | idle | wanted | log |
          answer
    down  prepare | commit | abandon | workers | budgets | explain | serve | drain | stop

A message that wants an answer carries an `id`; its `answer` carries the same one. Nothing blocks
the request path: when the other end does not read, telemetry beyond a bound is dropped and counted
(`may_be_dropped`), commands and answers never. This module is the pure part, bytes in and out;
`wire` ties it to a socket.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

Message = Mapping[str, Any]

MAX_LINE_BYTES: Final = 64 * 1024 * 1024
"""An `explain` carries a whole request; nothing that we write is larger."""

_PER_REQUEST: Final = frozenset({"decided", "finished", "priced"})
_TELEMETRY: Final = _PER_REQUEST | {"log", "heartbeat"}


class ChannelError(Exception):
    """The other end does not speak our language: it is of another version, or broken."""


def encode(message: Message) -> bytes:
    r"""One message as one line.

    >>> encode({"kind": "stop"})
    b'{"kind":"stop"}\n'
    """
    return orjson.dumps(message, default=str, option=orjson.OPT_APPEND_NEWLINE)


def may_be_dropped(message: Message) -> bool:
    """Whether a full channel may lose this one."""
    return message.get("kind") in _TELEMETRY


def may_wait(message: Message) -> bool:
    """Whether this one may go with others a moment later: there are thousands, for statistics."""
    return message.get("kind") in _PER_REQUEST


class Decoder:
    r"""Lines out of whatever pieces the socket hands over.

    >>> decoder = Decoder()
    >>> list(decoder.feed(b'{"kind":"sto'))
    []
    >>> list(decoder.feed(b'p"}\n'))
    [{'kind': 'stop'}]
    """

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        *lines, rest = data.split(b"\n")
        for line in lines:
            whole = b"".join([*self._pieces, line])
            self._pieces, self._size = [], 0
            yield _parse(whole)
        if rest:
            self._pieces.append(rest)
            self._size += len(rest)
        if self._size > MAX_LINE_BYTES:
            raise ChannelError(f"a message of more than {MAX_LINE_BYTES} bytes")


def _parse(line: bytes) -> dict[str, Any]:
    try:
        message = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ChannelError(f"not a JSON line: {error}") from None
    if not isinstance(message, dict) or not isinstance(message.get("kind"), str):
        raise ChannelError("a message without a kind")
    return message

"""The end of a log file, and what comes after it.

The daemon gives a log that has grown another name, `NAME.1`, and begins a new one. So the end of
the log may begin in the older file; and one that is followed is known by its inode: when another
file stands under its name, the rest of it is read first.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from ccproxyd.control.client import FailedError

_POLL_SECONDS: Final = 0.25


def tail(
    file: Path, count: int, *, follow: bool = False, sleep: Callable[[float], None] = time.sleep
) -> Iterator[str]:
    """The last `count` lines, then, if it is to be followed, each new one, for ever.

    Raises:
        FailedError: it cannot be read.
    """
    try:
        yield from _tail(file, count, follow, sleep)
    except OSError as error:
        raise FailedError(f"cannot read {file}: {error.strerror}") from None


def _tail(file: Path, count: int, follow: bool, sleep: Callable[[float], None]) -> Iterator[str]:
    with file.open("rb") as stream:
        lines = deque(stream, maxlen=count)
        yield from map(_text, [*_older(file, count - len(lines)), *lines])
        if not follow:
            return
        yield from _rest(stream, file, sleep)
    while True:
        yield from _next(file, sleep)


def _older(file: Path, count: int) -> Iterable[bytes]:
    """The end of the file that had the name before, if more than none of it is wanted."""
    older = file.with_name(f"{file.name}.1")
    if not count or not older.exists():
        return ()
    with older.open("rb") as stream:
        return deque(stream, maxlen=count)


def _next(file: Path, sleep: Callable[[float], None]) -> Iterator[str]:
    """The file that has taken the name, from its beginning."""
    with file.open("rb") as stream:
        yield from _rest(stream, file, sleep)


def _rest(stream: BinaryIO, file: Path, sleep: Callable[[float], None]) -> Iterator[str]:
    """Whole lines as they come, until another file has the name."""
    begun = b""
    while True:
        is_last = _was_replaced(stream, file)  # asked first: what it got before that is read, too
        while line := stream.readline():
            begun += line
            if begun.endswith(b"\n"):
                yield _text(begun)
                begun = b""
        if is_last:
            return
        sleep(_POLL_SECONDS)


def _was_replaced(stream: BinaryIO, file: Path) -> bool:
    try:
        named = file.stat()
    except FileNotFoundError:
        return False
    own = os.fstat(stream.fileno())
    return (named.st_dev, named.st_ino) != (own.st_dev, own.st_ino)


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\n")

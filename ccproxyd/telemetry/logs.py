"""One line a record: JSON for machines, plain for a terminal.

A record is an event in a few constant words and facts beside it: names, numbers, types. Nothing
that came with a request may be a fact; `decided` and `finished` records hold the names that
routing gave it. An error's event reads "cannot X", and its `because` says why.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Callable, Mapping
from typing import Any, Final, TextIO

import orjson
from attrs import field, frozen

LEVELS: Final = ("debug", "info", "warning", "error", "critical")

Clock = Callable[[], datetime.datetime]


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


@frozen
class Logger:
    """Writes records to a stream, from `level` upwards."""

    stream: TextIO
    machine: bool
    level: str = "info"
    clock: Clock = field(default=_now)

    def __call__(self, level: str, event: str, /, **facts: Any) -> None:
        if _rank(level) < _rank(self.level):
            return
        render = as_json if self.machine else as_text
        try:
            self.stream.write(render(self.clock(), level, event, facts) + "\n")
            self.stream.flush()
        except (OSError, ValueError):
            # A log that cannot be written (a closed terminal, a full disk) must not end the daemon.
            return


def logger_for(stream: TextIO, *, debug: bool = False) -> Logger:
    return Logger(stream, machine=not stream.isatty(), level="debug" if debug else "info")


def as_json(when: datetime.datetime, level: str, event: str, facts: Mapping[str, Any]) -> str:
    r"""A record as one line of JSON; facts without a value are left out.

    >>> when = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    >>> as_json(when, "info", "ready", {"port": 4000, "error": None})
    '{"time":"2026-01-02T03:04:05.000Z","level":"info","event":"ready","port":4000}'
    """
    told = {name: value for name, value in facts.items() if value is not None}
    head = {"time": _timestamp(when), "level": level, "event": event}
    try:
        return _dumped({**head, **told, **head})
    except TypeError:
        # An integer of more than 64 bits, a name that is not UTF-8, a value that contains itself.
        return _dumped({**head, **{_clean(name): _clean(told[name]) for name in told}, **head})


def as_text(when: datetime.datetime, level: str, event: str, facts: Mapping[str, Any]) -> str:
    """A record for a person.

    >>> when = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    >>> as_text(when, "error", "cannot bind", {"because": "in use", "port": 4000})
    '03:04:05 error   cannot bind: in use  port=4000'
    """
    rest = dict(facts)
    because = rest.pop("because", None)
    why = f": {_one_line(str(because))}" if because else ""
    named = "".join(
        f"  {name}={_shown(value)}" for name, value in rest.items() if value is not None
    )
    return f"{when:%H:%M:%S} {level:<7} {_one_line(event)}{why}{named}"


def write_standard_error(text: str) -> None:
    """A last word, when no logger exists yet or any more."""
    with contextlib.suppress(OSError):
        os.write(2, (_one_line(text) + "\n").encode("utf-8", "replace"))


def _timestamp(when: datetime.datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03d}Z"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    return _one_line(str(value))


def _one_line(text: str) -> str:
    """Nothing that ends a line, or that a terminal obeys."""
    if text.isprintable():
        return text
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def _dumped(record: Mapping[str, Any]) -> str:
    return orjson.dumps(record, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _clean(value: Any) -> str:
    return str(value).encode("utf-8", "replace").decode()


def _rank(level: str) -> int:
    return LEVELS.index(level) if level in LEVELS else LEVELS.index("info")

"""One line a record: JSON for machines, plain for a terminal, in colours where all is told.

A record is an event in a few constant words and facts beside it: names, numbers, types. Nothing
that came with a request may be a fact; `decided` and `finished` records hold the names that
routing gave it. An error's event reads "cannot X", and its `because` says why.

They go to a stream: standard error, or a file of our own that is exchanged for a new one before it
grows too large.

What is free text after all, such as why a module of the user's did not load, is told without what
looks like a secret. What Python itself would say on standard error, of an exception that nobody
caught or of a warning, is told by its type and place.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import stat
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import orjson
from attrs import evolve, field, frozen

from ccproxyd.errors import CcproxydError
from ccproxyd.paths import make_private
from ccproxyd.telemetry.plain import one_line, shown
from ccproxyd.telemetry.redact import redact

LEVELS: Final = ("debug", "info", "warning", "error", "critical")
_RANKS: Final = {level: rank for rank, level in enumerate(LEVELS)}
FILE_BYTES: Final = 10_000_000
OLD_FILES: Final = 3

_RECORDS: Final = "ccproxy_"
"""Of requests and budgets: there are many, and they have no free text."""

Clock = Callable[[], datetime.datetime]
Told = tuple[str, str, Mapping[str, Any]]
"""A record: its level, its event, its facts."""
Draw = Callable[[datetime.datetime, str, str, Mapping[str, Any]], str]


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class Stream(Protocol):
    """Where a log goes, as far as that matters here."""

    def write(self, text: str, /) -> object: ...

    def flush(self) -> object: ...

    def isatty(self) -> bool: ...


@frozen
class Logger:
    """Writes records to a stream, from `level` upwards."""

    stream: Stream
    machine: bool
    level: str = "info"
    clock: Clock = field(default=_now)
    draw: Draw | None = None
    """For a terminal; plain where there is none."""

    def tells(self, level: str) -> bool:
        """Whether a record of this level is written."""
        return _rank(level) >= _rank(self.level)

    def __call__(self, level: str, event: str, /, **facts: Any) -> None:
        self.tell([(level, event, facts)])

    def tell(self, records: Iterable[Told]) -> None:
        """Several records at once: a write costs as much as all else that is done for one."""
        lines = [self._line(*record) for record in records if self.tells(record[0])]
        if not lines:
            return
        try:
            self.stream.write("".join(lines))
            self.stream.flush()
        except (OSError, ValueError):
            # A log that cannot be written (a closed terminal, a full disk) must not end the daemon.
            return

    def _line(self, level: str, event: str, facts: Mapping[str, Any]) -> str:
        render = as_json if self.machine else self.draw or as_text
        if not event.startswith(_RECORDS):
            event = redact(event)
            facts = {name: _cleaned(value) for name, value in facts.items()}
        return render(self.clock(), level, event, facts) + "\n"


def logger_for(stream: Stream, *, debug: bool = False) -> Logger:
    log = Logger(stream, machine=not stream.isatty())
    return in_detail(log) if debug else log


def in_detail(log: Logger) -> Logger:
    """Everything is told, and to a terminal in colours."""
    if log.machine:
        return evolve(log, level="debug")
    from ccproxyd.telemetry.colours import drawing_on  # nobody else needs rich

    return evolve(log, level="debug", draw=drawing_on(log.stream))


class LogFile:
    """A file behind the door of a stream: never much larger than `limit`, with `old` before it.

    It is for the owner alone. One that somebody else has moved or removed is made anew. Whatever
    goes wrong with it is not told to anybody, for there is nobody to tell. Each record is one
    look at the file and one write: a busy daemon writes thousands a second.
    """

    def __init__(self, path: Path, limit: int = FILE_BYTES, old: int = OLD_FILES) -> None:
        self.path = path.absolute()
        self.limit = limit
        self.old = old
        self._descriptor: int | None = self._opened()

    def write(self, text: str) -> None:
        raw = text.encode("utf-8", "replace")
        with contextlib.suppress(OSError):
            os.write(self._with_room_for(len(raw)), raw)

    def flush(self) -> None:
        """Nothing is held back."""

    def isatty(self) -> bool:
        return False

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _with_room_for(self, size: int) -> int:
        """The descriptor of a file that so much may be added to."""
        try:
            found = os.stat(self.path)  # noqa: PTH116 - half the time of a Path's
            is_full = stat.S_ISREG(found.st_mode) and 0 < found.st_size > self.limit - size
        except FileNotFoundError:
            self.close()
            is_full = False
        if is_full:
            # Where nothing can be renamed, a file that grows says more than none.
            with contextlib.suppress(OSError):
                self._set_aside()
            self.close()
        if self._descriptor is None:
            self._descriptor = self._opened()
        return self._descriptor

    def _set_aside(self) -> None:
        """The file becomes the first of the old ones, and the last of them goes."""
        for number in range(self.old - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self.path}.{number}").replace(f"{self.path}.{number + 1}")
        self.path.replace(f"{self.path}.1")

    def _opened(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return os.open(self.path, flags, 0o600)


def open_log_file(path: Path) -> LogFile:
    """The file to log to; its directory is made, private, if need be, and else left as it is.

    Raises:
        CcproxydError: nothing can be written there.
    """
    path = path.absolute()
    try:
        if not path.parent.exists():
            make_private(path.parent)
        return LogFile(path)
    except OSError as error:
        raise CcproxydError(f"cannot log to {path}: {error.strerror}") from None


class _OfLibraries(logging.Handler):
    """Python's own logging. Only our text is told; another's could quote anything."""

    def __init__(self, log: Logger) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        ours = record.name.startswith("ccproxyd.")
        event = record.getMessage() if ours else "a library has logged something"
        error = record.exc_info[0] if record.exc_info else None
        self._log(
            record.levelname.lower(),
            event,
            logger=record.name,
            where=f"{Path(record.pathname).name}:{record.lineno}",
            error=error and error.__name__,
        )


@contextlib.contextmanager
def hearing_libraries(log: Logger) -> Iterator[None]:
    """What Python's own logging says goes to the log as well, not to standard error; so does what
    Python says of warnings, and of exceptions that nobody can catch."""
    handler = _OfLibraries(log)
    hooks = sys.unraisablehook, threading.excepthook
    logging.getLogger().addHandler(handler)
    logging.captureWarnings(True)
    sys.unraisablehook = lambda told: _uncaught(log, told.exc_value, told.exc_type)
    threading.excepthook = lambda told: _uncaught(log, told.exc_value, told.exc_type)
    try:
        yield
    finally:
        sys.unraisablehook, threading.excepthook = hooks
        logging.captureWarnings(False)
        logging.getLogger().removeHandler(handler)


def _uncaught(log: Logger, error: BaseException | None, kind: type[BaseException] | None) -> None:
    if isinstance(error, Warning):
        return  # a warning that -W makes an error has done its work
    frames = traceback.extract_tb(error.__traceback__) if error else []
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else None
    log("error", "an exception was not caught", error=kind and kind.__name__, where=where)


def as_json(when: datetime.datetime, level: str, event: str, facts: Mapping[str, Any]) -> str:
    r"""A record as one line of JSON; facts without a value are left out.

    >>> when = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    >>> as_json(when, "info", "ready", {"port": 4000, "error": None})
    '{"time":"2026-01-02T03:04:05.000Z","level":"info","event":"ready","port":4000}'
    """
    head: dict[str, Any] = {"time": _timestamp(when), "level": level, "event": event}
    known = {name: value for name, value in facts.items() if value is not None}
    record = {**head, **known, **head}  # in the first place, and with the last word
    try:
        return _dumped(record)
    except TypeError:
        # An integer of more than 64 bits, a name that is not UTF-8, a value that contains itself.
        return _dumped({_clean(name): _clean(value) for name, value in record.items()})


def as_text(when: datetime.datetime, level: str, event: str, facts: Mapping[str, Any]) -> str:
    """A record for a person.

    >>> when = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    >>> as_text(when, "error", "cannot bind", {"because": "in use", "port": 4000})
    '03:04:05 error   cannot bind: in use  port=4000'
    """
    rest = dict(facts)
    because = rest.pop("because", None)
    why = f": {one_line(str(because))}" if because else ""
    named = "".join(f"  {name}={shown(value)}" for name, value in rest.items() if value is not None)
    return f"{when:%H:%M:%S} {level:<7} {one_line(event)}{why}{named}"


def last_trace(error: BaseException) -> str:
    """Where a daemon that cannot go on was, without what looks like a secret."""
    return redact("".join(traceback.format_exception(error)))


def write_standard_error(text: str) -> None:
    """A last word, when no logger exists yet or any more."""
    with contextlib.suppress(OSError):
        os.write(2, (one_line(redact(text)) + "\n").encode("utf-8", "replace"))


def _timestamp(when: datetime.datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _dumped(record: Mapping[str, Any]) -> str:
    return orjson.dumps(record, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _clean(value: Any) -> str:
    return str(value).encode("utf-8", "replace").decode()


def _cleaned(value: Any) -> Any:
    return redact(value) if isinstance(value, str) else value


def _rank(level: str) -> int:
    return _RANKS.get(level, _RANKS["info"])

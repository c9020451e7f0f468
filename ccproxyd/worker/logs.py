"""What a worker says, and that from the first request on it says nothing private.

LiteLLM logs tracebacks whose text repeats a prompt whenever a provider's error does, it prints, and
so do users' callbacks; native code writes to descriptors 1 and 2 past all of them. While a worker
starts there is no request, and its words are what one needs to see why it does not: they go to the
daemon as text, redacted, and the last of them are kept. `close` ends that. From then on a log
record is its level, its logger, its place, the exception's type and the HTTP status; what is
printed is counted and dropped, and descriptors 1 and 2 lead nowhere. Only faulthandler keeps the
real standard error, for it writes file names and line numbers and nothing else.

Handlers take `sys.stderr` when they are made, so the sinks stay in place and change what they do.
"""

from __future__ import annotations

import faulthandler
import io
import logging
import os
import re
import signal
import sys
import warnings
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from ccproxyd.telemetry.redact import LinesRedactor, redact

Message = Mapping[str, Any]

LAST_WORDS: Final = 20
_LINE_CHARACTERS: Final = 2000
_BACKLOG: Final = 500
_COLOURS: Final = re.compile("\x1b\\[[0-9;]*m")


class Journal(logging.Handler):
    """The root handler: a record is a message to the daemon, with its text until `close`."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.private = False
        self.printed = 0
        self._send: Callable[[Message], None] | None = None
        self._backlog: deque[Message] = deque(maxlen=_BACKLOG)
        self._words: deque[str] = deque(maxlen=LAST_WORDS)
        self._redactors: defaultdict[str, LinesRedactor] = defaultdict(LinesRedactor)
        """By the streams that bring lines."""

    def attach(self, send: Callable[[Message], None]) -> None:
        """Send what was said so far, and from now on as it is said."""
        self._send = send
        while self._backlog:
            send(self._backlog.popleft())

    def close_text(self) -> None:
        """The first request is here: no text from now on."""
        self.private = True

    def last_words(self) -> str:
        return "\n".join(self._words)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._tell(self._message(record))
        except Exception:
            self.printed += 1

    def heard(self, stream: str, line: str) -> None:
        """What was printed to a stream."""
        if self.private:
            self.printed += 1
        elif text := self._redactors[stream](_plain(line)):
            self._tell({**_head("info", stream), "text": self._keep(text)})

    def _message(self, record: logging.LogRecord) -> Message:
        where = f"{record.filename}:{record.lineno}"
        head = _head(record.levelname.lower(), record.name, where, **_error_of(record))
        if self.private:
            return head
        return {**head, "text": self._keep(redact(_plain(_text_of(record))))}

    def _keep(self, text: str) -> str:
        shown = text[:_LINE_CHARACTERS]
        self._words.append(shown)
        return shown

    def _tell(self, message: Message) -> None:
        if self._send is None:
            self._backlog.append(message)
        else:
            self._send(message)


class Sink(io.TextIOBase):
    """A standard stream that ends in the journal, line by line."""

    encoding = "utf-8"

    def __init__(self, name: str, heard: Callable[[str, str], None]) -> None:
        self._name = name
        self._heard = heard
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._heard(self._name, line)
        self._rest = self._rest[:_LINE_CHARACTERS]
        return len(text)

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False


def take_over(journal: Journal) -> None:
    """Make the journal the only voice of this process."""
    root = logging.getLogger()
    root.handlers[:] = [journal]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)
    warnings.simplefilter("ignore", DeprecationWarning)
    sys.stdout = Sink("stdout", journal.heard)
    sys.stderr = Sink("stderr", journal.heard)


def empty(loggers: Iterable[logging.Logger]) -> None:
    """Leave these loggers the root's handler alone."""
    for logger in loggers:
        logger.handlers.clear()
        logger.propagate = True


class Descriptors:
    """Descriptors 1 and 2 of the process, which native code and child processes write to."""

    def __init__(self) -> None:
        self._crash = os.dup(2)

    def keep_for_crashes(self) -> None:
        """Let faulthandler write to the real standard error, whatever becomes of 2."""
        faulthandler.enable(self._crash)
        faulthandler.register(signal.SIGUSR1, self._crash, all_threads=True)

    def close(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        os.close(nowhere)


def _plain(text: str) -> str:
    return _COLOURS.sub("", text).strip()


def _head(level: str, logger: str, where: str = "", **more: object) -> dict[str, Any]:
    return {"kind": "log", "level": level, "logger": logger, "where": where, **more}


def _error_of(record: logging.LogRecord) -> dict[str, Any]:
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return {}
    status = getattr(error, "status_code", None)
    found = {"error": type(error).__name__}
    return {**found, "status": status} if isinstance(status, int) else found


def _text_of(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    text = record.getMessage()
    return f"{text}: {type(error).__name__}: {error}" if error else text

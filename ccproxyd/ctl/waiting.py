"""A line on the terminal that says what is waited for, and for how long already."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from threading import Event, Thread
from types import TracebackType
from typing import Final, Self, TextIO

from ccproxyd.ctl.printing import is_terminal

_PERIOD_SECONDS: Final = 0.5
_CLEAR_LINE: Final = "\r\x1b[K"


class Waiting:
    """Shows `what` and the seconds while its block runs, and clears the line after it.

    It shows nothing for what is done at once, and nothing where no person looks. `what` may be
    changed while it waits; `detail` is asked each time, in a thread of its own.
    """

    def __init__(
        self,
        what: str,
        stream: TextIO | None = None,
        period_seconds: float = _PERIOD_SECONDS,
        detail: Callable[[], str] | None = None,
    ) -> None:
        self.what = what
        self._detail = detail
        self._stream = sys.stderr if stream is None else stream
        self._period_seconds = period_seconds
        self._done = Event()
        self._thread = Thread(target=self._show, daemon=True)

    def __enter__(self) -> Self:
        if self.what and is_terminal(self._stream):
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        if self._thread.ident is not None:
            self._thread.join()
            self._write(_CLEAR_LINE)

    def _show(self) -> None:
        begun = time.monotonic()
        while not self._done.wait(self._period_seconds):
            detail = self._detail() if self._detail else ""
            more = f", {detail}" if detail else ""
            self._write(f"{_CLEAR_LINE}{self.what}{more}: {time.monotonic() - begun:.0f} s")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

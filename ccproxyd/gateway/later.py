"""What nobody waits for: it is done when a request is well on its way, and must not be forgotten.

A provider takes a few hundred milliseconds for its first word. What is done at once would run just
when a fast one answers, and in front of what other clients have sent meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

SECONDS: Final = 0.005
"""Longer than a request needs to leave, shorter than most providers take to answer."""


class Later:
    """A call that is made in a few milliseconds, or earlier by who needs it done; once."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call: Callable[[], None] | None = call
        self._handle = asyncio.get_running_loop().call_later(SECONDS, self.now)

    def now(self) -> None:
        """Make the call, if it was not made."""
        call, self._call = self._call, None
        self._handle.cancel()
        if call is not None:
            call()

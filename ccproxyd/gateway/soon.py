"""What may wait until a request is on its way, or its answer, and must not be forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Soon:
    """A call that is made in the loop's next turn, or earlier by who needs it done; once."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call: Callable[[], None] | None = call
        self._handle = asyncio.get_running_loop().call_soon(self.now)

    def now(self) -> None:
        """Make the call, if it was not made."""
        call, self._call = self._call, None
        self._handle.cancel()
        if call is not None:
            call()

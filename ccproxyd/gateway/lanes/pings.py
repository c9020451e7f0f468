"""Pings for the client of a stream of Anthropic's that has paused.

Anthropic sends some in its longer pauses, so that nobody on the way takes the connection for dead.
LiteLLM does so for every provider, in the provider's name: whoever waits for the provider would
take each for a sign of life, and wait for ever. So its own are switched off (`config.litellm`), and
what arrives from a worker is the provider's; the pings come from here, while the time that the
provider has goes on.

There is none before the provider's first event: until then a failure has a status.
"""

from __future__ import annotations

import asyncio
from typing import Final

import attrs

from ccproxyd.gateway.exchange import Exchange
from ccproxyd.gateway.lanes.answers import Answer

PING: Final = b'event: ping\ndata: {"type": "ping"}\n\n'
PING_SECONDS: Final = 15.0
"""LiteLLM's own interval."""

_ENDS_OF_EVENTS: Final = (b"\n\n", b"\r\n\r\n")


def with_pings(answer: Answer, exchange: Exchange, seconds: float) -> Answer:
    """The same answer, whose client is told every so many seconds that a pause is none of ours."""
    return attrs.evolve(answer, rest=_Pinging(answer, exchange, seconds))


class _Pinging:
    """The rest of an answer."""

    def __init__(self, answer: Answer, exchange: Exchange, seconds: float) -> None:
        self.status, self.headers = answer.status, answer.headers
        self._rest = answer.rest
        self._last = answer.first
        self._exchange = exchange
        self._seconds = seconds

    @property
    def at_end(self) -> bool:
        return self._rest.at_end

    async def read(self, deadline: float) -> bytes:
        """As any `Incoming`; nothing is said in the midst of an event."""
        loop = asyncio.get_running_loop()
        while self._last.endswith(_ENDS_OF_EVENTS):
            due = loop.time() + self._seconds
            if due >= deadline:
                break
            try:
                return await self._read(due)
            except TimeoutError:
                await self._exchange.write(PING)
        return await self._read(deadline)

    async def _read(self, deadline: float) -> bytes:
        self._last = await self._rest.read(deadline)
        return self._last

    def let_go(self) -> None:
        self._rest.let_go()

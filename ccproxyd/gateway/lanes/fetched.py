"""An answer that aiohttp has fetched, in the form that `connection` gives them."""

from __future__ import annotations

import asyncio

import aiohttp

from ccproxyd.gateway.exchange import Pairs
from ccproxyd.gateway.lanes.connection import HungUpError


class Fetched:
    """The answer, its head being there."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Pairs = [(name.lower(), value) for name, value in response.raw_headers]

    @property
    def at_end(self) -> bool:
        return self._response.content.at_eof()

    async def read(self, deadline: float) -> bytes:
        """As `Connection.read`; what aiohttp says of its errors can quote headers and bytes."""
        try:
            async with asyncio.timeout_at(deadline):
                return await self._response.content.readany()
        except aiohttp.ClientError:
            raise HungUpError from None

    def let_go(self) -> None:
        """Keep the connection for the next request, if nothing of this one is left on it."""
        self._response.release() if self.at_end else self._response.close()

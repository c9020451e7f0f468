"""Requests that aiohttp makes, and their answers in the form that `connection` gives them.

That is what `connection` does not do: proxies, credentials in an address, addresses that have to be
encoded. Few have any of it, and aiohttp is a third of what this process would import: so this
module is imported by the first request that needs it.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

import aiohttp
from yarl import URL

from ccproxyd.gateway.exchange import Pairs
from ccproxyd.gateway.lanes.connection import HungUpError, is_final
from ccproxyd.gateway.lanes.upstream import CONNECT_SECONDS, KEEPALIVE_SECONDS, UnreachableError

_DNS_SECONDS: Final = 60


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


class Fetcher:
    """Makes requests; there is a session for each way of looking at certificates."""

    def __init__(self) -> None:
        self._sessions: dict[ssl.SSLContext | bool, aiohttp.ClientSession] = {}

    async def fetch(
        self,
        method: str,
        url: str,
        headers: Pairs,
        body: bytes,
        *,
        proxy: str | None = None,
        checks: ssl.SSLContext | bool = True,
    ) -> Fetched:
        """An answer, when its head is there.

        Raises:
            UnreachableError: there is no connection; its cause says why.
            HungUpError: the connection ended without an answer, or with a status that is none.
        """
        if checks not in self._sessions:
            self._sessions[checks] = _session(checks)
        try:
            response = await self._sessions[checks].request(
                method,
                URL(url, encoded=True),
                headers=[
                    (name.decode("latin-1"), value.decode("latin-1")) for name, value in headers
                ],
                data=body or None,
                proxy=proxy,
                allow_redirects=False,
            )
        except aiohttp.ClientConnectorError as error:
            raise UnreachableError from error
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            raise HungUpError from error
        except aiohttp.ClientError as error:
            raise UnreachableError from error
        if not is_final(response.status):
            response.close()
            raise HungUpError
        return Fetched(response)

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()


def _session(checks: ssl.SSLContext | bool) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        limit=0, keepalive_timeout=KEEPALIVE_SECONDS, ttl_dns_cache=_DNS_SECONDS, ssl=checks
    )
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        auto_decompress=False,
        max_line_size=64 * 1024,
        max_field_size=256 * 1024,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        cookie_jar=aiohttp.DummyCookieJar(),
    )

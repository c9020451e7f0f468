"""Connections to providers, kept alive from request to request.

There is a session for each way of looking at certificates: against certifi's authorities, as
LiteLLM does, against a file of the user's, or not at all.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Final

import aiohttp
import certifi

KEEPALIVE_SECONDS: Final = 60.0
CONNECT_SECONDS: Final = 30.0
_DNS_SECONDS: Final = 60


class Upstream:
    """The sessions that have been needed so far."""

    def __init__(self) -> None:
        self._sessions: dict[bool | str, aiohttp.ClientSession] = {}

    async def session(self, verify: bool | str) -> aiohttp.ClientSession:
        """The session; to make one, authorities are read, which takes 20 ms and so a thread.

        Raises:
            OSError: there is no such file of authorities, or it holds none.
        """
        if verify not in self._sessions:
            checks = await asyncio.to_thread(_context, verify) if verify else False
            self._sessions.setdefault(verify, _session(checks))
        return self._sessions[verify]

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()


def _context(verify: bool | str) -> ssl.SSLContext:
    authorities = Path(verify) if isinstance(verify, str) else Path(certifi.where())
    if authorities.is_dir():
        return ssl.create_default_context(capath=str(authorities))
    return ssl.create_default_context(cafile=str(authorities))


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

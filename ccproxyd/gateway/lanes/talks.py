"""WebSockets to workers, which aiohttp speaks: imported by the first one that is asked for."""

from __future__ import annotations

from collections.abc import Iterable

import aiohttp
from yarl import URL

from ccproxyd.errors import ProxyError
from ccproxyd.gateway.lanes.connection import HungUpError
from ccproxyd.gateway.lanes.upstream import UnreachableError
from ccproxyd.gateway.pool import Address


class Talks:
    """Opens them; one session a worker."""

    def __init__(self) -> None:
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    async def open(
        self,
        worker: Address,
        target: str,
        headers: Iterable[tuple[str, str]],
        protocols: Iterable[str],
    ) -> aiohttp.ClientWebSocketResponse:
        """
        Raises:
            UnreachableError: nobody listens.
            HungUpError: the worker went away.
            ProxyError: LiteLLM does not want to talk.
        """
        try:
            return await self._session(worker).ws_connect(
                URL(f"http://worker{target}", encoded=True),
                headers=headers,
                protocols=protocols,
                max_msg_size=0,
            )
        except aiohttp.WSServerHandshakeError as error:
            code = error.status if error.status >= 400 else 502
            raise ProxyError("LiteLLM does not open this WebSocket", code) from None
        except aiohttp.ClientConnectorError:
            raise UnreachableError from None
        except aiohttp.ClientConnectionError:
            raise HungUpError from None

    def _session(self, worker: Address) -> aiohttp.ClientSession:
        if worker.name not in self._sessions:
            self._sessions[worker.name] = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(worker.socket, limit=0),
                timeout=aiohttp.ClientTimeout(total=None),
                max_line_size=64 * 1024,
                max_field_size=256 * 1024,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._sessions[worker.name]

    async def forget(self, worker: str) -> None:
        if session := self._sessions.pop(worker, None):
            await session.close()

    async def close(self) -> None:
        for worker in list(self._sessions):
            await self.forget(worker)

"""Connections to providers and workers, kept alive from request to request.

Those of one origin are interchangeable, and the one that was used last is used first. A certificate
is looked at in one of three ways: against certifi's authorities, as LiteLLM does, against a file of
the user's, or not at all.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiohappyeyeballs
import certifi
from attrs import frozen

from ccproxyd.gateway.lanes.connection import Connection

KEEPALIVE_SECONDS: Final = 60.0
CONNECT_SECONDS: Final = 30.0
_NEXT_ADDRESS_SECONDS: Final = 0.25
"""When the first address of a host does not answer, the next one is tried beside it (RFC 8305)."""


class UnreachableError(ConnectionError):
    """There is no connection; its cause says why."""


@frozen
class Origin:
    """A server; without TLS it does not matter how certificates are looked at."""

    host: str = ""
    port: int = 0
    is_tls: bool = False
    verify: bool | str = True
    path: str = ""
    """Of a Unix socket, in place of all the others."""


class Upstream:
    """The connections that have been needed so far."""

    def __init__(self) -> None:
        self._open: dict[Origin, set[Connection]] = {}
        self._kept: dict[Origin, list[Connection]] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self._contexts: dict[bool | str, ssl.SSLContext] = {}

    def kept(self, origin: Origin) -> Connection | None:
        """A connection that was used before, if one is there."""
        kept = self._kept.get(origin)
        oldest = asyncio.get_running_loop().time() - KEEPALIVE_SECONDS
        while kept:
            connection = kept.pop()
            if connection.is_usable and connection.free_since > oldest:
                return connection
            connection.close()
        return None

    async def connect(self, origin: Origin) -> Connection:
        """A new connection.

        Raises:
            UnreachableError: there is none to be had.
        """
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await self._connected(origin)
        except OSError as error:
            raise UnreachableError from error

    async def _connected(self, origin: Origin) -> Connection:
        made = partial(Connection, partial(self._keep, origin), partial(self._lost, origin))
        if origin.path:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_unix_connection(made, origin.path)
        else:
            connection = await self._connected_to_host(origin, made)
        self._open.setdefault(origin, set()).add(connection)
        return connection

    async def _connected_to_host(
        self, origin: Origin, made: Callable[[], Connection]
    ) -> Connection:
        loop = asyncio.get_running_loop()
        tls: dict[str, Any] = {}
        if origin.is_tls:
            tls = {"ssl": await self.context(origin.verify), "server_hostname": origin.host}
        addresses = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
        sock = await aiohappyeyeballs.start_connection(
            addresses, happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS, interleave=1, loop=loop
        )
        try:
            _, connection = await loop.create_connection(made, sock=sock, **tls)
        except BaseException:
            sock.close()
            raise
        return connection

    async def context(self, verify: bool | str) -> ssl.SSLContext:
        """How to look at certificates; authorities are read, which takes 20 ms and so a thread.

        Raises:
            OSError: there is no such file of authorities, or it holds none.
        """
        if verify not in self._contexts:
            self._contexts.setdefault(verify, await asyncio.to_thread(_context, verify))
        return self._contexts[verify]

    def _keep(self, origin: Origin, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        connection.free_since = loop.time()
        self._kept.setdefault(origin, []).append(connection)
        if self._sweeping is None:
            self._sweeping = loop.call_later(KEEPALIVE_SECONDS, self._sweep)

    def _lost(self, origin: Origin, connection: Connection) -> None:
        self._open.get(origin, set()).discard(connection)
        if connection in (kept := self._kept.get(origin, [])):
            kept.remove(connection)

    def _sweep(self) -> None:
        """Close what nobody has used for long."""
        loop = asyncio.get_running_loop()
        self._sweeping = None
        everything = [connection for kept in self._kept.values() for connection in kept]
        for connection in everything:
            if loop.time() - connection.free_since >= KEEPALIVE_SECONDS - 1:
                connection.close()
        left = [one for one in everything if one.is_usable]
        if left:
            self._sweeping = loop.call_later(KEEPALIVE_SECONDS / 2, self._sweep)

    def forget(self, origin: Origin) -> None:
        """Close every connection to a server that is gone for good."""
        self._kept.pop(origin, None)
        for connection in self._open.pop(origin, set()).copy():
            connection.close()

    def close(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
        for origin in list(self._open):
            self.forget(origin)


def _context(verify: bool | str) -> ssl.SSLContext:
    if not verify:
        return _unchecked()
    authorities = Path(verify) if isinstance(verify, str) else Path(certifi.where())
    if authorities.is_dir():
        return ssl.create_default_context(capath=str(authorities))
    return ssl.create_default_context(cafile=str(authorities))


def _unchecked() -> ssl.SSLContext:
    """Of the user's own wish: `ssl_verify: false`."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context

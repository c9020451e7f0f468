"""Who answers as https://api.anthropic.com: a mock provider behind a proxy that leads there.

    with running_anthropic(directory) as anthropic:
        anthropic.environ           # what a process needs to be led there, and to trust it
        anthropic.provider.requests

A credential that may only go to Anthropic's own address can be seen to arrive there, and nowhere
else. Whatever else is asked of the proxy is refused, and noted in `refused`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from anyio.from_thread import start_blocking_portal
from attrs import define, field

from tests.gateway.lanes.authority import write_authority
from tests.support.provider import RunningProvider, running_provider

HOST: Final = "api.anthropic.com"
_PIECE: Final = 64 * 1024


@define
class Anthropic:
    """The stand-in; `port` is the proxy's."""

    provider: RunningProvider
    authority: Path
    context: ssl.SSLContext
    port: int = 0
    refused: list[str] = field(factory=list)

    @property
    def environ(self) -> dict[str, str]:
        return {
            "HTTPS_PROXY": f"http://127.0.0.1:{self.port}",
            "SSL_CERT_FILE": str(self.authority),
            "NO_PROXY": "127.0.0.1",
        }

    async def serve(self) -> asyncio.Server:
        server = await asyncio.start_server(self._lead, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            wanted = head.split(b" ", 2)[1].decode()
            if wanted != f"{HOST}:443":
                self.refused.append(wanted)
                writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
                await writer.drain()
            else:
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                await writer.drain()
                await writer.start_tls(self.context)
                await self._through(reader, writer)
        writer.close()

    async def _through(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parts = urlsplit(self.provider.url)
        there, back = await asyncio.open_connection(parts.hostname, parts.port)
        ways = [
            asyncio.ensure_future(_pipe(reader, back)),
            asyncio.ensure_future(_pipe(there, writer)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        back.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()


@contextmanager
def running_anthropic(directory: Path) -> Iterator[Anthropic]:
    """A stand-in in a thread of its own, whose files lie in this directory."""
    authority, context = write_authority(directory, HOST)
    with running_provider() as provider, start_blocking_portal() as portal:
        anthropic = Anthropic(provider, authority, context)
        server = portal.call(anthropic.serve)
        try:
            yield anthropic
        finally:
            portal.call(server.close)

"""A WebSocket and its answer: the frames of a realtime conversation, there and back.

To the way of a request it is a GET: it has a path, a key and a query, and may be refused with a
status and a body, which ASGI servers send in place of the handshake. Once it is accepted, frames
are passed on as they are until one side closes; the other is then closed with the same code.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, Final

from ccproxyd.gateway.bodies import ClientGoneError, Receive
from ccproxyd.gateway.exchange import Exchange, Send

if TYPE_CHECKING:
    import aiohttp

_NO_CODE: Final = 1005
_ABNORMAL: Final = 1006
_FAILED: Final = 1011


class WebSocketExchange(Exchange):
    """A handshake that is refused like a request, or accepted."""

    def __init__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        async def refuse(message: MutableMapping[str, Any]) -> None:
            await send({**message, "type": message["type"].replace("http", "websocket.http", 1)})

        super().__init__({**scope, "method": "GET"}, receive, refuse)
        self.protocols: list[str] = scope.get("subprotocols", [])
        self._send_frame = send

    async def _say(self, message: MutableMapping[str, Any]) -> None:
        try:
            await self._send_frame(message)
        except OSError:
            raise ClientGoneError from None

    async def accept(self, protocol: str | None) -> None:
        """Open it.

        Raises:
            ClientGoneError: nobody waits for it any more.
        """
        self.started = True
        accept = {"type": "websocket.accept", "subprotocol": protocol, "headers": self.extra}
        await self._say(accept)

    async def converse(self, worker: aiohttp.ClientWebSocketResponse) -> bool:
        """Pass frames on until one side closes; False if the worker went without a word."""
        ways = [asyncio.ensure_future(way(worker)) for way in (self._to_worker, self._to_client)]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            left, _ = await asyncio.gather(*ways, return_exceptions=True)
        if isinstance(left, int):
            await worker.close(code=_code(left))
            return True
        with contextlib.suppress(ClientGoneError):
            await self._say({"type": "websocket.close", "code": _code(worker.close_code)})
        return worker.close_code not in (None, _ABNORMAL)

    async def _to_worker(self, worker: aiohttp.ClientWebSocketResponse) -> int:
        """The code with which the client closed."""
        while (message := await self.receive())["type"] != "websocket.disconnect":
            if (text := message.get("text")) is not None:
                await worker.send_str(text)
            elif data := message.get("bytes"):
                await worker.send_bytes(data)
        return message.get("code") or _ABNORMAL

    async def _to_client(self, worker: aiohttp.ClientWebSocketResponse) -> None:
        async for message in worker:
            kind = "text" if isinstance(message.data, str) else "bytes"
            await self._say({"type": "websocket.send", kind: message.data})


def _code(received: int | None) -> int:
    """The code to close the other side with; some only say why there is none."""
    if received is None or received in (1004, _ABNORMAL, 1015):
        return _FAILED
    return 1000 if received == _NO_CODE else received

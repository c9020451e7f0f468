"""A call that nobody waits for any more is ended, where LiteLLM itself would go on with it.

The gateway drops its connection when its client has gone, and when a stop's patience is over. In
most calls LiteLLM listens for that, ends its request to the provider, and gives back what it has
counted for it. In others nobody listens: moderations, token counts, images, transcriptions and
rerankings go on at the provider, are paid for, and keep the worker from its end.

A server says `http.disconnect` to whoever asks it for the next message. So this layer does the
asking: as the app wants it while the body comes, and from then on ahead of the app, since nothing
but that message is left to come. The app gets it as well. What it does about it takes milliseconds,
as does all that it does before it asks a provider and after it has been answered, such as giving
back what counts against a limit. It has a second for that. Then its task is cancelled, and with it
what it asks of a provider.

An answer that has begun is left alone: LiteLLM listens while it streams, and books what has come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, cast

from ccproxyd.worker.answering import Message, Send

PATIENCE_SECONDS: Final = 1.0

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class Call:
    """One call of an app, with the server's `receive` and `send` behind its own."""

    def __init__(self, receive: Receive, send: Send, patience: float) -> None:
        self._receive = receive
        self._send = send
        self._patience = patience
        self._has_begun = self._is_ended = False
        self._departure: asyncio.Future[Message] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """Return when the app does, or when it is ended because nobody waits for its answer."""
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._task = task
        try:
            await app(scope, self.receive, self.send)
        except asyncio.CancelledError:
            if not self._is_ended or task.uncancel():
                raise
        finally:
            self._stop_listening()

    async def receive(self) -> Message:
        """The next message for the app; the last one as often as it asks."""
        if self._departure is not None:
            return {**await asyncio.shield(self._departure)}
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            self._listen()
        return message

    async def send(self, message: Message) -> None:
        """A piece of the answer; with the first one this layer's work is done."""
        self._has_begun = True
        await self._send(message)

    def _listen(self) -> None:
        self._departure = asyncio.ensure_future(self._receive())
        self._departure.add_done_callback(self._gone)

    def _stop_listening(self) -> None:
        if self._departure is not None:
            self._departure.remove_done_callback(self._gone)
            self._departure.cancel()
        if self._timer is not None:
            self._timer.cancel()

    def _gone(self, departure: asyncio.Future[Message]) -> None:
        if not departure.cancelled() and departure.exception() is None:
            self._timer = asyncio.get_running_loop().call_later(self._patience, self._end)

    def _end(self) -> None:
        if not self._has_begun:
            self._is_ended = True
            self._task.cancel()

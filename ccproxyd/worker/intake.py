"""What every request passes before LiteLLM: the verdict is taken off it, and it is counted.

LiteLLM copies a request's headers into half a dozen places, and its pass-through routes send them
on as they came. So none of ours gets that far: this layer removes every `x-ccproxy-*` header and
keeps what the gateway decided in `verdict.current`. What a count of tokens brings along for
Anthropic, and LiteLLM would drop, it keeps in `carried.current`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final

from ccproxyd.worker import carried, failures, verdict
from ccproxyd.worker.answering import Answering, Message, Send
from ccproxyd.worker.failures import Headers, Slot
from ccproxyd.worker.verdict import Verdict

_PREFIX: Final = verdict.PREFIX.encode()
_HEADER: Final = verdict.HEADER.encode()
_REQUESTS: Final = ("http", "websocket")

_log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class Intake:
    """An ASGI app around LiteLLM's; `in_flight` counts the requests inside."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        secret: str,
        state: Mapping[str, Any],
        on_request: Callable[[], None] = lambda: None,
    ) -> None:
        self._app = app
        self._secret = secret
        self._state = state
        self.on_request = on_request
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in _REQUESTS:
            await self._app(scope, receive, send)
            return
        self.on_request()
        self.in_flight += 1
        found, slot = self._verdict(scope["headers"]), Slot()
        token, place = verdict.current.set(found), failures.current.set(slot)
        along = carried.current.set(carried.with_a_count(scope))
        if scope["type"] == "http":
            send = Answering(send, slot, routed=found is not None)
        try:
            await self._app(self._cleared(scope), receive, send)
        finally:
            carried.current.reset(along)
            failures.current.reset(place)
            verdict.current.reset(token)
            self.in_flight -= 1

    def _verdict(self, headers: Headers) -> Verdict | None:
        sealed = next((value for name, value in headers if name.lower() == _HEADER), None)
        if sealed is None:
            return None
        found = verdict.unseal(sealed.decode("latin-1"), self._secret)
        if found is None:
            _log.warning("cannot use a decision: it is not sealed with this generation's secret")
        return found

    def _cleared(self, scope: Scope) -> Scope:
        kept = [pair for pair in scope["headers"] if not pair[0].lower().startswith(_PREFIX)]
        return {**scope, "headers": kept, "state": {**scope.get("state", {}), **self._state}}

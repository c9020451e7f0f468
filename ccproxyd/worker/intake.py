"""What every request passes before LiteLLM: the verdict is taken off it, and it is counted.

LiteLLM copies a request's headers into half a dozen places, and its pass-through routes send them
on as they came. So none of ours gets that far: this layer removes every `x-ccproxy-*` header and
keeps what the gateway decided in `verdict.current`. What a count of tokens brings along for
Anthropic, and LiteLLM would drop, it keeps in `carried.current`. Who waits for the answer is
`abandoned`'s business.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from ccproxyd.worker import abandoned, carried, underway, verdict
from ccproxyd.worker.abandoned import ASGIApp, Call, Receive, Scope
from ccproxyd.worker.answering import Answering, Send
from ccproxyd.worker.failures import Headers
from ccproxyd.worker.underway import Slot
from ccproxyd.worker.verdict import Verdict

_PREFIX: Final = verdict.PREFIX.encode()
_HEADER: Final = verdict.HEADER.encode()
_REQUESTS: Final = ("http", "websocket")

_log = logging.getLogger(__name__)


class Intake:
    """An ASGI app around LiteLLM's; `in_flight` counts the requests inside.

    `patience` is how many seconds a call goes on that nobody waits for; None: to its end.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        secret: str,
        state: Mapping[str, Any],
        on_request: Callable[[], None] = lambda: None,
        patience: float | None = abandoned.PATIENCE_SECONDS,
    ) -> None:
        self._app = app
        self._secret = secret
        self._state = state
        self._patience = patience
        self.on_request = on_request
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in _REQUESTS:
            await self._app(scope, receive, send)
            return
        self.on_request()
        self.in_flight += 1
        found, slot = self._verdict(scope["headers"]), Slot()
        token, place = verdict.current.set(found), underway.current.set(slot)
        along = carried.current.set(carried.with_a_count(scope, found.api_key if found else None))
        if scope["type"] == "http":
            send = Answering(send, slot, routed=found is not None)
        try:
            await self._call(self._cleared(scope), receive, send)
        except Exception as error:
            if not isinstance(send, Answering) or not await send.fail(error):
                raise
            _log.exception("LiteLLM has not answered a request")
        finally:
            carried.current.reset(along)
            underway.current.reset(place)
            verdict.current.reset(token)
            self.in_flight -= 1

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._patience is not None:
            await Call(receive, send, self._patience).run(self._app, scope)
        else:
            await self._app(scope, receive, send)

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

"""LiteLLM's lane: over the worker's Unix socket, streaming both ways.

A request is sent again, to another worker, while nothing of its answer has reached the client: a
refused connection costs nothing and is not counted, a worker that dies on a request is (twice at
most). What is done with an answer that has begun is in `answers`.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import orjson
from attrs import field, frozen
from yarl import URL

from ccproxyd.config.settings import Timeouts
from ccproxyd.errors import ProxyError
from ccproxyd.gateway.auth import (
    CREDENTIAL_HEADERS,
    SUBSCRIPTION_TOKEN,
    subscription_token,
    without_key,
    without_keys,
)
from ccproxyd.gateway.exchange import Exchange, header_pairs
from ccproxyd.gateway.lanes.answers import NOT_SENT, check_key, in_time, opened, pass_on
from ccproxyd.gateway.lanes.connection import HungUpError
from ccproxyd.gateway.lanes.fetched import Fetched
from ccproxyd.gateway.pool import WAIT_SECONDS, Pool, Seat
from ccproxyd.gateway.report import Report
from ccproxyd.gateway.websocket import WebSocketExchange

RESENDS: Final = 2
DECISION_HEADER: Final = "x-ccproxy-decision"

_TIMEOUTS: Final = Timeouts()

Log = Callable[..., None]


@frozen
class Order:
    """What a worker is asked for."""

    body: bytes
    decision: Mapping[str, Any] | None
    token: str | None = field(default=None, repr=False)
    """The client's own subscription token, or its own key, where it may go along."""
    client_keys: bool = False
    """LiteLLM keeps the keys itself: the client's credentials go along, ours does not."""
    timeouts: Timeouts = _TIMEOUTS

    @property
    def label(self) -> str:
        return str(self.decision["label"]) if self.decision else ""


class _WorkerDiedError(Exception):
    """The worker took the request and went away without an answer."""


class _RefusedError(Exception):
    """Nobody listens on the worker's socket."""


class LiteLLMLane:
    """Sends orders to the pool's workers; one keep-alive session a worker."""

    def __init__(self, pool: Pool, log: Log) -> None:
        self._pool = pool
        self._log = log
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    async def carry(self, exchange: Exchange, order: Order, report: Report) -> None:
        """One request there and back.

        Raises:
            ProxyError: no worker could answer, or none did in time.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + WAIT_SECONDS
        tried: frozenset[str] = frozenset()
        while True:
            seat = await self._pool.take(tried, deadline)
            try:
                if isinstance(exchange, WebSocketExchange):
                    return await self._converse(seat, exchange, order, report)
                return await self._through(seat, exchange, order, report)
            except _RefusedError:
                self._pool.avoid(seat)
            except _WorkerDiedError:
                self._count_death(seat, report)
                # It may have worked on the request for long: its successor gets time to start.
                deadline = loop.time() + WAIT_SECONDS
            finally:
                self._pool.release(seat)
            tried |= {seat.address.name}

    def _count_death(self, seat: Seat, report: Report) -> None:
        if report.resent >= RESENDS:
            raise ProxyError("the worker died on this request, and so did two others", code=502)
        report.resent += 1
        self._log(
            "warning",
            "a worker died before it answered; the request is sent again",
            worker=seat.address.name,
            request_id=report.request_id,
            resent=report.resent,
        )

    async def _through(self, seat: Seat, exchange: Exchange, order: Order, report: Report) -> None:
        async with _from_worker(order):
            response = await self._send(seat, exchange, order)
        incoming = Fetched(response)
        try:
            is_ours = order.token is None and not order.client_keys
            check_key(response.status, order.label, is_ours=is_ours)
            async with _from_worker(order):
                answer = await opened(incoming, order.timeouts)
            if fallback := taken_fallback(response.headers):
                report.fallback = fallback
                exchange.extra += header_pairs([("x-ccproxy-fallback", fallback)])
            await pass_on(answer, exchange, report, "the worker")
        finally:
            incoming.let_go()

    async def _send(self, seat: Seat, exchange: Exchange, order: Order) -> aiohttp.ClientResponse:
        return await self._session(seat).request(
            exchange.method,
            _url(exchange, order),
            headers=_headers(exchange, order, seat),
            data=order.body or None,
            allow_redirects=False,
        )

    async def _converse(
        self, seat: Seat, exchange: WebSocketExchange, order: Order, report: Report
    ) -> None:
        protocols = exchange.protocols if order.client_keys else without_keys(exchange.protocols)
        try:
            async with _from_worker(order):
                worker = await self._session(seat).ws_connect(
                    _url(exchange, order),
                    headers=_headers(exchange, order, seat),
                    protocols=protocols,
                    max_msg_size=0,
                )
        except aiohttp.WSServerHandshakeError as error:
            code = error.status if error.status >= 400 else 502
            raise ProxyError("LiteLLM does not open this WebSocket", code) from None
        async with worker:
            report.answering(101)
            await exchange.accept(worker.protocol)
            report.cut = not await exchange.converse(worker)

    def _session(self, seat: Seat) -> aiohttp.ClientSession:
        name = seat.address.name
        if name not in self._sessions:
            self._sessions[name] = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(seat.address.socket, limit=0, keepalive_timeout=60),
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
                max_line_size=64 * 1024,
                max_field_size=256 * 1024,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._sessions[name]

    async def forget(self, worker: str) -> None:
        """The worker is gone for good: close what was kept open to it."""
        if session := self._sessions.pop(worker, None):
            await session.close()

    async def close(self) -> None:
        for worker in list(self._sessions):
            await self.forget(worker)


@asynccontextmanager
async def _from_worker(order: Order) -> AsyncIterator[None]:
    """What can go wrong before there is any answer, in our words."""
    try:
        async with in_time(order.timeouts):
            yield
    except aiohttp.ClientConnectorError:
        raise _RefusedError from None
    except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, HungUpError):
        raise _WorkerDiedError from None


def taken_fallback(headers: Mapping[str, str]) -> str | None:
    """The `model_name` that answered in place of the one that was asked for, if one did."""
    attempts = headers.get("x-litellm-attempted-fallbacks", "0")
    return headers.get("x-litellm-model-group") if attempts != "0" else None


def _url(exchange: Exchange, order: Order) -> URL:
    query = exchange.query if order.client_keys else without_key(exchange.query)
    url = f"http://worker{exchange.raw_path}{'?' + query if query else ''}"
    return URL(url, encoded=True)


def _headers(exchange: Exchange, order: Order, seat: Seat) -> list[tuple[str, str]]:
    """The client's headers, less what is ours to say, plus what only the worker may read."""
    dropped = NOT_SENT if order.client_keys else NOT_SENT.union(CREDENTIAL_HEADERS)
    if subscription_token(exchange.headers):
        # LiteLLM would send it wherever the deployment points, in place of a key.
        dropped |= {"authorization"}
    kept = [
        (text, value.decode("latin-1"))
        for name, value in exchange.header_pairs
        if (text := name.decode("latin-1").lower()) not in dropped
        and not text.startswith(("x-ccproxy-", "sec-websocket-"))
    ]
    if not order.client_keys:
        kept.append((_key_header(exchange), f"Bearer {seat.address.key}"))
    if order.token and _is_subscription(order.token):
        kept.append(("authorization", f"Bearer {order.token}"))
    if order.decision is not None:
        kept.append((DECISION_HEADER, sealed(_told(order), seat.address.secret)))
    return kept


def _told(order: Order) -> Mapping[str, Any]:
    """LiteLLM takes a subscription token from its header, but a key from a hook alone."""
    decision = order.decision or {}
    own_key = order.token and not _is_subscription(order.token)
    return {**decision, "api_key": order.token} if own_key else decision


def _is_subscription(token: str) -> bool:
    return token.startswith(SUBSCRIPTION_TOKEN)


def _key_header(exchange: Exchange) -> str:
    """For a WebSocket LiteLLM looks into `Authorization` alone."""
    return "authorization" if isinstance(exchange, WebSocketExchange) else "x-litellm-api-key"


def sealed(decision: Mapping[str, Any], secret: str) -> str:
    """A decision as the worker's handler reads it: the generation's secret, then the facts.

    >>> sealed({"label": "think"}, "s3")
    's3 eyJsYWJlbCI6InRoaW5rIn0='
    """
    return f"{secret} {base64.urlsafe_b64encode(orjson.dumps(decision)).decode()}"

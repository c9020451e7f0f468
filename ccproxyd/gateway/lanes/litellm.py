"""LiteLLM's lane: over the worker's Unix socket, streaming both ways.

A request is sent again, to another worker, while nothing of its answer has reached the client: a
refused connection costs nothing and is not counted, a worker that dies on a request is (twice at
most). What is done with an answer that has begun is in `answers`.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson
from attrs import field, frozen

from ccproxyd.config.settings import Timeouts
from ccproxyd.errors import UNREADABLE, ProxyError
from ccproxyd.gateway.auth import (
    CREDENTIAL_HEADERS,
    SUBSCRIPTION_TOKEN,
    subscription_token,
    without_key,
    without_keys,
)
from ccproxyd.gateway.exchange import Exchange, Pairs, header_pairs, in_ascii
from ccproxyd.gateway.lanes import failures
from ccproxyd.gateway.lanes.answers import (
    NOT_SENT,
    Answer,
    BrokenOff,
    Incoming,
    broken_off,
    check_key,
    opened,
    pass_on,
    too_late,
)
from ccproxyd.gateway.lanes.connection import Connection, HungUpError, request_head
from ccproxyd.gateway.lanes.pings import PING_SECONDS, with_pings
from ccproxyd.gateway.lanes.upstream import Origin, UnreachableError, Upstream
from ccproxyd.gateway.paths import Dialect
from ccproxyd.gateway.pool import WAIT_SECONDS, Pool, Seat
from ccproxyd.gateway.report import Report
from ccproxyd.gateway.websocket import WebSocketExchange

if TYPE_CHECKING:
    from ccproxyd.gateway.lanes.talks import Talks

RESENDS: Final = 2
DECISION_HEADER: Final = "x-ccproxy-decision"

_HOST: Final = "worker"
_BETAS: Final = "anthropic-beta"
_MESSAGES: Final = "/v1/messages"
_GEMINI: Final = "/gemini/"
_LANGFUSE: Final = "/langfuse/"
_TIMEOUTS: Final = Timeouts()
_OF_LITELLM: Final = b"x-litellm-"
_RETRIES: Final = b"x-litellm-attempted-retries"
_FAILED_FALLBACKS: Final = b"x-ccproxy-failed-fallbacks"
_HEAD_OF_A_STREAM: Final = [(b"content-type", b"text/event-stream; charset=utf-8")]
"""What is left of the head of one that was cut."""

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
    betas: tuple[str, ...] | None = None
    """What a swap made of the `anthropic-beta` of a count, on which LiteLLM runs no hook; None
    where it stays."""
    ping_seconds: float = PING_SECONDS
    """How long a message may pause before its client hears that it goes on."""

    @property
    def label(self) -> str:
        return str(self.decision["label"]) if self.decision else ""


class _WorkerDiedError(Exception):
    """The worker took the request and went away without an answer."""


class _RefusedError(Exception):
    """Nobody listens on the worker's socket."""


class LiteLLMLane:
    """Sends orders to the pool's workers."""

    def __init__(self, pool: Pool, log: Log) -> None:
        self._pool = pool
        self._log = log
        self._upstream = Upstream()
        self._origins: dict[str, Origin] = {}
        """By the workers' names."""
        self._talks: Talks | None = None

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
                self._pool.avoid(seat)  # what is left of it would hang up once more, and at once
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
        with _from_worker(order):
            incoming = await self._asked(seat, exchange, order)
        try:
            answer = await _taken(incoming, exchange, order, report)
            is_ours = order.token is None and not order.client_keys
            check_key(answer.status, order.label, is_ours=is_ours)
            source = "the provider" if isinstance(answer.rest, BrokenOff) else "the worker"
            if answer.streams and order.decision and exchange.path.endswith(_MESSAGES):
                answer = with_pings(answer, exchange, order.ping_seconds)
            await pass_on(answer, exchange, report, source)
        finally:
            incoming.let_go()

    async def _asked(self, seat: Seat, exchange: Exchange, order: Order) -> Connection:
        """A connection with the head of the answer on it."""
        deadline = asyncio.get_running_loop().time() + order.timeouts.first_byte
        origin = self._origins.setdefault(seat.address.name, Origin(path=seat.address.socket))
        headers = header_pairs(_headers(exchange, order, seat))
        target = _target(exchange, order)
        head = request_head(exchange.method, target, _HOST, headers, order.body)
        connection = self._upstream.kept(origin) or await self._upstream.connect(origin)
        await connection.asked(head, order.body, deadline, without_body=exchange.method == "HEAD")
        return connection

    async def _converse(
        self, seat: Seat, exchange: WebSocketExchange, order: Order, report: Report
    ) -> None:
        protocols = exchange.protocols if order.client_keys else without_keys(exchange.protocols)
        headers, target = _headers(exchange, order, seat), _target(exchange, order)
        if self._talks is None:
            made = await asyncio.to_thread(_new_talks)
            self._talks = self._talks or made  # another request may have been faster
        with _from_worker(order):
            async with asyncio.timeout(order.timeouts.first_byte):
                worker = await self._talks.open(seat.address, target, headers, protocols)
        async with worker:
            report.answering(101)
            await exchange.accept(worker.protocol)
            report.cut = not await exchange.converse(worker)

    async def forget(self, worker: str) -> None:
        """The worker is gone for good: close what was kept open to it."""
        if origin := self._origins.pop(worker, None):
            self._upstream.forget(origin)
        if self._talks is not None:
            await self._talks.forget(worker)

    async def close(self) -> None:
        self._upstream.close()
        if self._talks is not None:
            await self._talks.close()


def _new_talks() -> Talks:
    """In a thread: what it needs is imported first."""
    from ccproxyd.gateway.lanes.talks import Talks

    return Talks()


@contextmanager
def _from_worker(order: Order) -> Iterator[None]:
    """What can go wrong before there is any answer, in our words."""
    try:
        yield
    except UnreachableError:
        raise _RefusedError from None
    except HungUpError:
        raise _WorkerDiedError from None
    except TimeoutError:
        raise too_late(order.timeouts) from None


async def _taken(incoming: Incoming, exchange: Exchange, order: Order, report: Report) -> Answer:
    """What the client is told, and what the record is of LiteLLM's own doings."""
    with _from_worker(order):
        begin = asyncio.get_running_loop().time() + order.timeouts.first_byte
        answer = await opened(incoming, order.timeouts, begin)
    report.retried = number_in(incoming.headers, _RETRIES)
    report.failed_fallbacks = number_in(incoming.headers, _FAILED_FALLBACKS)
    if fallback := taken_fallback(incoming.headers):
        report.fallback = fallback
        exchange.extra += header_pairs([("x-ccproxy-fallback", in_ascii(fallback))])
    report.error = failures.type_of_ours(answer, _source(incoming.headers))
    answer = truthful(answer, incoming.headers, exchange.dialect)
    return with_words(failures.unmasked(answer, exchange.dialect)) if order.decision else answer


def truthful(answer: Answer, headers: Pairs, dialect: Dialect) -> Answer:
    """The answer without what is LiteLLM's own, and its failures in the client's shape."""
    shown = [pair for pair in answer.headers if not pair[0].startswith(_OF_LITELLM)]
    answer = attrs.evolve(answer, headers=shown)
    source = _source(headers)
    if source == failures.CUT:
        return broken_off(200, _HEAD_OF_A_STREAM)
    if source and answer.status >= 400:
        return failures.presented(answer, source, dialect)
    if failures.is_litellms_own(answer):
        return failures.presented(answer, failures.OURS, dialect)
    if failures.begins_with_error(answer):
        return failures.presented(failures.unstreamed(answer), failures.PROVIDERS, dialect)
    return answer


def _source(headers: Pairs) -> str:
    """Whose words a failure is in, as a worker says it."""
    return dict(headers).get(failures.HEADER.encode(), b"").decode("latin-1")


def with_words(answer: Answer) -> Answer:
    """A stream as it is, if it has anything to say.

    Of a stream that says nothing LiteLLM hands on what there is, a page of HTML or nothing.

    Raises:
        ProxyError: what it says are no events.
    """
    if not answer.streams or answer.status >= 400 or isinstance(answer.rest, BrokenOff):
        return answer
    if failures.is_empty_stream(answer):
        return broken_off(answer.status, answer.headers)
    if failures.is_no_answer(answer):
        raise ProxyError(UNREADABLE, code=502)
    return answer


def taken_fallback(headers: Pairs) -> str | None:
    """The `model_name` that answered in place of the one that was asked for, if one did."""
    said = dict(headers)
    if said.get(b"x-litellm-attempted-fallbacks", b"0") == b"0":
        return None
    group = said.get(b"x-litellm-model-group")
    return None if group is None else group.decode("utf-8", "replace")


def number_in(headers: Pairs, name: bytes) -> int:
    """How often LiteLLM has done something by itself, as far as it says so."""
    told = dict(headers).get(name, b"")
    return int(told) if told.isdigit() and len(told) < 4 else 0


def _target(exchange: Exchange, order: Order) -> str:
    query = exchange.query if order.client_keys else without_key(exchange.query)
    return f"{exchange.raw_path}{'?' + query if query else ''}"


def _headers(exchange: Exchange, order: Order, seat: Seat) -> list[tuple[str, str]]:
    """The client's headers, less what is ours to say, plus what only the worker may read."""
    dropped = NOT_SENT if order.client_keys else NOT_SENT.union(CREDENTIAL_HEADERS)
    if subscription_token(exchange.headers):
        # LiteLLM would send it wherever the deployment points, in place of a key.
        dropped |= {"authorization"}
    if order.betas is not None:
        dropped |= {_BETAS}
    kept = [
        (text, value.decode("latin-1"))
        for name, value in exchange.header_pairs
        if (text := name.decode("latin-1").lower()) not in dropped
        and not text.startswith(("x-ccproxy-", "sec-websocket-"))
    ]
    if order.betas:
        kept.append((_BETAS, ",".join(order.betas)))
    if not order.client_keys:
        kept.append(_key_header(exchange, seat.address.key))
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


def _key_header(exchange: Exchange, key: str) -> tuple[str, str]:
    """The worker's key where LiteLLM looks for it.

    For a WebSocket that is `Authorization` alone, and below two providers' own paths it is where
    that provider's clients have theirs.
    """
    if isinstance(exchange, WebSocketExchange):
        return "authorization", f"Bearer {key}"
    if exchange.path.startswith(_GEMINI):
        return "x-goog-api-key", key
    if exchange.path.startswith(_LANGFUSE):
        return "authorization", f"Basic {base64.b64encode(f'ccproxyd:{key}'.encode()).decode()}"
    return "x-litellm-api-key", f"Bearer {key}"


def sealed(decision: Mapping[str, Any], secret: str) -> str:
    """A decision as the worker's handler reads it: the generation's secret, then the facts.

    >>> sealed({"label": "think"}, "s3")
    's3 eyJsYWJlbCI6InRoaW5rIn0='
    """
    return f"{secret} {base64.urlsafe_b64encode(orjson.dumps(decision)).decode()}"

"""The direct lane: to the provider itself, past LiteLLM.

The body goes as the client sent it, with another model where the route says so, and with what a
swap of models asks for (`routing.adapt`). Of the headers those go along that a provider would get
from the client itself; credentials, cookies, and what proxies add, do not: the key is the
deployment's, or the client's own subscription token where that may be lent. The answer comes back
byte for byte, with the provider's headers, and so do the provider's errors: `retry-after`, `529`,
and texts that clients parse. Only an error that has not the shape of the API gets it, since the
client's library would not read it: there are servers that have learnt all but this of Anthropic's.
What is neither an answer nor an error, such as a page of HTML or a redirection, is a failure here.

Where LiteLLM has fallbacks for a label, a failure before the first byte is handed on to it instead.

The answer is asked for uncompressed: its usage is read in passing.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from attrs import field, frozen

from ccproxyd.config.lanes import Endpoint
from ccproxyd.config.settings import Timeouts
from ccproxyd.errors import ProxyError, UpstreamTimeout
from ccproxyd.gateway.auth import CREDENTIAL_HEADERS, SUBSCRIPTION_TOKEN, without_key
from ccproxyd.gateway.exchange import Exchange, Pairs, header_pairs
from ccproxyd.gateway.lanes.answers import (
    NOT_SENT,
    Answer,
    Incoming,
    broken_off,
    check_key,
    in_time,
    is_stream,
    opened,
    pass_on,
    too_late,
)
from ccproxyd.gateway.lanes.connection import Connection, HungUpError, request_head
from ccproxyd.gateway.lanes.failures import (
    begins_in_failure,
    in_dialect,
    is_empty_stream,
    is_no_answer,
)
from ccproxyd.gateway.lanes.upstream import Origin, Upstream
from ccproxyd.gateway.paths import Dialect
from ccproxyd.gateway.report import Report
from ccproxyd.telemetry.usage import Usage

if TYPE_CHECKING:
    from ccproxyd.gateway.lanes.fetched import Fetcher

_PRIVATE: Final = frozenset(
    "cookie forwarded via x-real-ip x-forwarded-for x-forwarded-host x-forwarded-port "
    "x-forwarded-proto origin referer".split()
)
"""Of the client, its browser, or a proxy before us."""
_NOT_OURS: Final = NOT_SENT.union(CREDENTIAL_HEADERS, _PRIVATE)
_ACCOUNT: Final = frozenset({"openai-organization", "openai-project"})
"""Of the client's own account; the key is not of that account."""
_NOT_PASSED: Final = ("x-ccproxy-", "x-litellm-", "sec-", "cf-")
_ANTHROPICS: Final = ("anthropic-", "x-claude-", "x-app")
_ANTHROPIC_VERSION: Final = b"2023-06-01"


@frozen
class Errand:
    """What the provider is asked for."""

    endpoint: Endpoint
    body: bytes
    label: str = ""
    path_end: str = ""
    """What the client's path has beyond the endpoint's."""
    betas: tuple[str, ...] | None = None
    """What a swap made of `anthropic-beta`; None where it stays."""
    token: str | None = field(default=None, repr=False)
    """The client's own subscription token, or its own key, where it may go along."""
    timeouts: Timeouts = field(factory=Timeouts)
    falls_back: bool = False
    """An answer that is an error is LiteLLM's to replace."""
    cost: Callable[[Usage], float | None] = field(default=lambda _: None, repr=False)
    """What the answer's tokens come to, in US dollars."""


class DirectFailedError(Exception):
    """Nothing has been answered yet, and LiteLLM has a fallback for it."""


class DirectLane:
    """Sends errands to providers."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._fetcher: Fetcher | None = None

    async def carry(self, exchange: Exchange, errand: Errand, report: Report) -> None:
        """One request there and back.

        Raises:
            DirectFailedError: it failed, and there is a fallback.
            ProxyError: the provider could not be reached, or did not answer in time.
        """
        deadline = asyncio.get_running_loop().time() + errand.timeouts.first_byte
        try:
            incoming = await self._reached(exchange, errand, deadline)
        except _FAILURES as error:
            raise _failure(error, errand) from None
        try:
            # Its path's, whatever headers of others a client sends along.
            dialect = Dialect(errand.endpoint.protocol)
            answer = in_dialect(await _accepted(incoming, errand, deadline), dialect)
            if errand.falls_back and (answer.status >= 400 or begins_in_failure(answer, dialect)):
                raise DirectFailedError
            check_key(answer.status, errand.label, is_ours=errand.token is None)
            await pass_on(answer, exchange, report, "the provider")
        finally:
            incoming.let_go()
            report.cost_usd = errand.cost(report.usage)

    async def close(self) -> None:
        self._upstream.close()
        if self._fetcher is not None:
            await self._fetcher.close()

    async def _reached(self, exchange: Exchange, errand: Errand, deadline: float) -> Incoming:
        """A connection that was kept may be gone when it is used again; then a fresh one is tried.

        What a fresh one has taken is never sent twice: the provider may be working on it.
        """
        place, tail = place_of(errand.endpoint.url), _tail(exchange, errand)
        if place is None or errand.endpoint.proxy or not _PLAIN.fullmatch(tail):
            return await self._fetched(exchange, errand, errand.endpoint.url + tail, deadline)
        origin = Origin(place.host, place.port, place.is_tls, errand.endpoint.verify)
        headers = headers_for(exchange, errand)
        head = request_head(exchange.method, place.target + tail, place.name, headers, errand.body)
        if (kept := self._upstream.kept(origin)) is not None:
            try:
                return await _asked(kept, head, exchange, errand, deadline)
            except HungUpError:
                if kept.has_spoken:
                    raise
        made = await self._connected(origin, errand, deadline)
        return await _asked(made, head, exchange, errand, deadline)

    async def _connected(self, origin: Origin, errand: Errand, deadline: float) -> Connection:
        async with in_time(errand.timeouts, deadline):
            return await self._upstream.connect(origin)

    async def _fetched(
        self, exchange: Exchange, errand: Errand, url: str, deadline: float
    ) -> Incoming:
        """What a connection of our own is not made for."""
        async with in_time(errand.timeouts, deadline):
            return await self._fetch(exchange, errand, url)

    async def _fetch(self, exchange: Exchange, errand: Errand, url: str) -> Incoming:
        if self._fetcher is None:
            made = await asyncio.to_thread(_new_fetcher)
            self._fetcher = self._fetcher or made  # another request may have been faster
        verify = errand.endpoint.verify
        return await self._fetcher.fetch(
            exchange.method,
            url,
            headers_for(exchange, errand),
            errand.body,
            proxy=errand.endpoint.proxy,
            checks=await self._upstream.context(verify) if verify else False,
        )


def _new_fetcher() -> Fetcher:
    """In a thread: what it needs is imported first."""
    from ccproxyd.gateway.lanes.fetched import Fetcher

    return Fetcher()


_FAILURES: Final = (UpstreamTimeout, OSError, ValueError)
"""What can go wrong before there is any answer; a TimeoutError is an OSError."""


async def _asked(
    connection: Connection, head: bytes, exchange: Exchange, errand: Errand, deadline: float
) -> Connection:
    """The connection, with the head of the answer on it."""
    await connection.asked(head, errand.body, deadline, without_body=exchange.method == "HEAD")
    return connection


async def _accepted(incoming: Incoming, errand: Errand, deadline: float) -> Answer:
    """An answer that may be passed on."""
    if errand.falls_back and incoming.status >= 400:
        raise DirectFailedError
    answer = await _begun(incoming, errand, deadline)
    if is_empty_stream(answer) and not errand.falls_back:
        return broken_off(answer.status, answer.headers)
    if is_no_answer(answer):
        raise DirectFailedError if errand.falls_back else _unreadable(answer)
    return answer


async def _begun(incoming: Incoming, errand: Errand, deadline: float) -> Answer:
    try:
        return await opened(incoming, errand.timeouts, deadline, json_is_whole=True)
    except _FAILURES as error:
        if isinstance(error, HungUpError) and is_stream(incoming) and not errand.falls_back:
            return broken_off(incoming.status, incoming.headers)
        raise _failure(error, errand) from None


def _unreadable(answer: Answer) -> ProxyError:
    said = f"the provider answered with {answer.status}, and nothing that a client can read"
    return ProxyError(said, code=502)


def _failure(error: Exception, errand: Errand) -> Exception:
    """By its type alone: what a library says can quote a header."""
    if errand.falls_back:
        return DirectFailedError()
    if isinstance(error, UpstreamTimeout):
        return error
    if isinstance(error, TimeoutError):
        return too_late(errand.timeouts)
    host = urlsplit(errand.endpoint.url).netloc.rpartition("@")[2]
    kind = type(error.__cause__ or error).__name__
    return ProxyError(f"the provider at {host} cannot be reached, or hung up ({kind})", code=502)


def _tail(exchange: Exchange, errand: Errand) -> str:
    """What the client's path and query add to the endpoint's address."""
    query = without_key(exchange.query)
    return f"{errand.path_end}{'?' + query if query else ''}"


@frozen
class Place:
    """Where an URL points to, as a connection and a request line have it."""

    host: str
    port: int
    is_tls: bool
    name: str
    """For the header `Host`."""
    target: str


_USUAL_PORTS: Final = {"http": 80, "https": 443}
_PLAIN: Final = re.compile(r'[!"$-~]*')
_PLAIN_URL: Final = re.compile(r"(https?)://([\w.-]+)(?::(\d{1,5}))?(/[!-~]*)", re.ASCII)
"""No credentials in it, no address of IPv6, nothing to be encoded."""


@lru_cache(maxsize=256)
def place_of(url: str) -> Place | None:
    """None for what is not plain, which `fetched` knows what to do with.

    >>> place_of("http://LAN:8080/v1/messages")
    Place(host='lan', port=8080, is_tls=False, name='lan:8080', target='/v1/messages')
    >>> place_of("https://user:password@lan/v1") is None
    True
    """
    found = _PLAIN_URL.fullmatch(url)
    if found is None or "#" in url or "?" in url:
        return None
    scheme, host, port, target = found.groups()
    usual, host = _USUAL_PORTS[scheme], host.lower()
    number = int(port) if port else usual
    name = host if number == usual else f"{host}:{number}"
    return Place(host, number, scheme == "https", name, target)


def headers_for(exchange: Exchange, errand: Errand) -> Pairs:
    """The client's headers, as far as they are the provider's business, and the credential."""
    passes = _passed_to_anthropic if _is_anthropic(errand) else _passed_to_openai
    kept = [pair for pair in exchange.header_pairs if passes(pair[0])]
    return [
        *_with_betas(kept, errand.betas),
        *_credential(errand),
        *_version(exchange, errand),
        (b"accept-encoding", b"identity"),
    ]


def _is_anthropic(errand: Errand) -> bool:
    return errand.endpoint.protocol == "anthropic"


@lru_cache(maxsize=1024)
def _passed_to_anthropic(raw: bytes) -> bool:
    name = raw.decode("latin-1").lower()
    return name not in _NOT_OURS and not name.startswith(_NOT_PASSED)


@lru_cache(maxsize=1024)
def _passed_to_openai(raw: bytes) -> bool:
    name = raw.decode("latin-1").lower()
    named = name in _ACCOUNT or name.startswith(_ANTHROPICS)
    return _passed_to_anthropic(raw) and not named


def _with_betas(headers: Pairs, betas: tuple[str, ...] | None) -> Iterable[tuple[bytes, bytes]]:
    if betas is None:
        return headers
    others = [pair for pair in headers if pair[0].lower() != b"anthropic-beta"]
    return [*others, *header_pairs([("anthropic-beta", ",".join(betas))])] if betas else others


def _credential(errand: Errand) -> Pairs:
    """None for a server that nobody has a key for.

    Raises:
        ValueError: the key is none that can stand in a header.
    """
    key = errand.endpoint.key if errand.token is None else errand.token
    if not key:
        return []
    if not _is_anthropic(errand) or key.startswith(SUBSCRIPTION_TOKEN):
        return [(b"authorization", f"Bearer {key}".encode("latin-1"))]
    return [(b"x-api-key", key.encode("latin-1"))]


def _version(exchange: Exchange, errand: Errand) -> Pairs:
    if not _is_anthropic(errand) or "anthropic-version" in exchange.headers:
        return []
    return [(b"anthropic-version", _ANTHROPIC_VERSION)]

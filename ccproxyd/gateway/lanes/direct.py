"""The direct lane: to the provider itself, past LiteLLM.

The body goes as the client sent it, with another model where the route says so, and with what a
swap of models asks for (`routing.adapt`). Of the headers those go along that a provider would get
from the client itself; credentials, cookies, and what proxies add, do not: the key is the
deployment's, or the client's own subscription token where that may be lent. The answer comes back
byte for byte, with the provider's headers, and so do the provider's errors: `retry-after`, `529`,
and texts that clients parse.

Where LiteLLM has fallbacks for a label, a failure before the first byte is handed on to it instead.

The answer is asked for uncompressed: its usage is read in passing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from attrs import field, frozen
from yarl import URL

from ccproxyd.config.lanes import Endpoint
from ccproxyd.config.settings import Timeouts
from ccproxyd.errors import ProxyError, UpstreamTimeout
from ccproxyd.gateway.auth import CREDENTIAL_HEADERS, SUBSCRIPTION_TOKEN, without_key
from ccproxyd.gateway.exchange import Exchange
from ccproxyd.gateway.lanes.answers import (
    NOT_SENT,
    check_key,
    in_time,
    let_go,
    opened,
    pass_on,
)
from ccproxyd.gateway.lanes.upstream import Upstream
from ccproxyd.gateway.report import Report
from ccproxyd.telemetry.usage import Usage

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
_ANTHROPIC_VERSION: Final = "2023-06-01"


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

    async def carry(self, exchange: Exchange, errand: Errand, report: Report) -> None:
        """One request there and back.

        Raises:
            DirectFailedError: it failed, and there is a fallback.
            ProxyError: the provider could not be reached, or did not answer in time.
        """
        response = await self._reached(exchange, errand)
        try:
            if errand.falls_back and response.status >= 400:
                raise DirectFailedError
            check_key(response.status, errand.label, is_ours=errand.token is None)
            async with _from_provider(errand):
                answer = await opened(response, errand.timeouts)
            await pass_on(answer, exchange, report, "the provider")
        finally:
            let_go(response)
            report.cost_usd = errand.cost(report.usage)

    async def close(self) -> None:
        await self._upstream.close()

    async def _reached(self, exchange: Exchange, errand: Errand) -> aiohttp.ClientResponse:
        """A connection that was kept may be gone when it is used again; a fresh one is tried."""
        async with _from_provider(errand):
            try:
                return await self._send(exchange, errand)
            except aiohttp.ClientConnectorError:
                raise  # that was a fresh one
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                return await self._send(exchange, errand)

    async def _send(self, exchange: Exchange, errand: Errand) -> aiohttp.ClientResponse:
        session = await self._upstream.session(errand.endpoint.verify)
        return await session.request(
            exchange.method,
            _url(exchange, errand),
            headers=headers_for(exchange, errand),
            data=errand.body or None,
            proxy=errand.endpoint.proxy,
            allow_redirects=False,
        )


@asynccontextmanager
async def _from_provider(errand: Errand) -> AsyncIterator[None]:
    """What can go wrong before there is any answer, in our words."""
    try:
        async with in_time(errand.timeouts):
            yield
    except (UpstreamTimeout, aiohttp.ClientError, OSError, ValueError) as error:
        if errand.falls_back:
            raise DirectFailedError from None
        raise _failure(error, errand) from None


def _failure(error: Exception, errand: Errand) -> ProxyError:
    """By its type alone: what a library says can quote a header."""
    if isinstance(error, UpstreamTimeout):
        return error
    host = urlsplit(errand.endpoint.url).netloc.rpartition("@")[2]
    kind = type(error).__name__
    return ProxyError(f"the provider at {host} cannot be reached, or hung up ({kind})", code=502)


def _url(exchange: Exchange, errand: Errand) -> URL:
    query = without_key(exchange.query)
    return URL(
        f"{errand.endpoint.url}{errand.path_end}{'?' + query if query else ''}", encoded=True
    )


def headers_for(exchange: Exchange, errand: Errand) -> list[tuple[str, str]]:
    """The client's headers, as far as they are the provider's business, and the credential."""
    names = _passed_to_anthropic if _is_anthropic(errand) else _passed_to_openai
    kept = [
        (name, value.decode("latin-1"))
        for raw, value in exchange.header_pairs
        if names(name := raw.decode("latin-1").lower())
    ]
    return [
        *_with_betas(kept, errand.betas),
        *_credential(errand),
        *_version(exchange, errand),
        ("accept-encoding", "identity"),
    ]


def _is_anthropic(errand: Errand) -> bool:
    return errand.endpoint.protocol == "anthropic"


def _passed_to_anthropic(name: str) -> bool:
    return name not in _NOT_OURS and not name.startswith(_NOT_PASSED)


def _passed_to_openai(name: str) -> bool:
    return _passed_to_anthropic(name) and name not in _ACCOUNT and not name.startswith(_ANTHROPICS)


def _with_betas(
    headers: list[tuple[str, str]], betas: tuple[str, ...] | None
) -> Iterable[tuple[str, str]]:
    if betas is None:
        return headers
    others = [(name, value) for name, value in headers if name != "anthropic-beta"]
    return [*others, ("anthropic-beta", ",".join(betas))] if betas else others


def _credential(errand: Errand) -> list[tuple[str, str]]:
    key = errand.endpoint.key if errand.token is None else errand.token
    if not _is_anthropic(errand) or (key or "").startswith(SUBSCRIPTION_TOKEN):
        return [("authorization", f"Bearer {key}")]
    return [("x-api-key", key or "")]


def _version(exchange: Exchange, errand: Errand) -> list[tuple[str, str]]:
    if not _is_anthropic(errand) or "anthropic-version" in exchange.headers:
        return []
    return [("anthropic-version", _ANTHROPIC_VERSION)]

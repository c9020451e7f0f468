"""Whose request it is.

A client of ours proves itself with a key of ours, in whichever header its library uses: Claude Code
sends `Authorization: Bearer`, `x-api-key`, or both at once; with a subscription its own token takes
`Authorization`, with an API key of its own that takes `x-api-key`, and ours comes as
`x-litellm-api-key`. A browser can only name a key among the
protocols of a WebSocket. One match is enough. Keys end here: workers have a key of their own.

Comparison is of BLAKE2 digests in constant time, so that neither a key's length nor a common
prefix can be timed.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import parse_qsl, unquote_plus

from attrs import frozen

CREDENTIAL_HEADERS: Final = (
    "authorization",
    "x-api-key",
    "x-litellm-api-key",
    "api-key",
    "x-goog-api-key",
)
SUBSCRIPTION_TOKEN: Final = "sk-ant-oat"  # noqa: S105 - the prefix by which a token is known
ANTHROPIC_KEY: Final = "sk-ant-api"
_QUERY_KEY: Final = "key"
_PROTOCOL_KEY: Final = "openai-insecure-api-key."


def credentials(headers: Mapping[str, str], query: str = "") -> list[str]:
    """Every key that a request offers, bare.

    >>> credentials({"authorization": "Bearer sk-1", "x-api-key": "sk-2"})
    ['sk-1', 'sk-2']
    >>> credentials({}, query="key=sk-3")
    ['sk-3']
    """
    found = [_bare(headers[name]) for name in CREDENTIAL_HEADERS if name in headers]
    protocols = headers.get("sec-websocket-protocol", "").split(",")
    found += [
        name.strip().removeprefix(_PROTOCOL_KEY) for name in protocols if _PROTOCOL_KEY in name
    ]
    if f"{_QUERY_KEY}=" in query:
        found += [value for name, value in parse_qsl(query) if name == _QUERY_KEY]
    return [key for key in found if key]


def subscription_token(headers: Mapping[str, str]) -> str | None:
    """The client's own Anthropic subscription token, when `Authorization` is one."""
    bearer = _bare(headers.get("authorization", ""))
    return bearer if bearer.startswith(SUBSCRIPTION_TOKEN) else None


def anthropic_key(headers: Mapping[str, str]) -> str | None:
    """The client's own key for Anthropic's API, when `x-api-key` is one."""
    key = _bare(headers.get("x-api-key", ""))
    return key if key.startswith(ANTHROPIC_KEY) else None


def without_key(query: str) -> str:
    """A query string that no longer holds a key, otherwise as it was.

    >>> without_key("beta=true&key=sk-3")
    'beta=true'
    """
    if f"{_QUERY_KEY}=" not in query:
        return query
    return "&".join(part for part in query.split("&") if _name_of(part) != _QUERY_KEY)


def without_keys(protocols: Iterable[str]) -> list[str]:
    """The protocols of a WebSocket that are no keys."""
    return [name for name in protocols if not name.startswith(_PROTOCOL_KEY)]


@frozen
class Keyring:
    """The keys that open the port, as digests."""

    digests: tuple[bytes, ...]

    @classmethod
    def of(cls, keys: Iterable[str]) -> Keyring:
        return cls(tuple(_digest(key) for key in keys if key))

    def opens_for(self, offered: Iterable[str]) -> bool:
        """Whether one of the offered keys is ours; every pair is compared, whatever matches."""
        matches = [
            hmac.compare_digest(_digest(key), digest) for key in offered for digest in self.digests
        ]
        return any(matches)


def _name_of(part: str) -> str:
    return unquote_plus(part.partition("=")[0])


def _bare(value: str) -> str:
    scheme, _, rest = value.strip().partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else value.strip()


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode("utf-8", "surrogateescape")).digest()

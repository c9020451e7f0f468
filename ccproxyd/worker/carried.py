"""What of a client's request is for Anthropic alone: a few of its headers, and `beta=true`.

LiteLLM would drop them. So it does with the client's own credential, where the config has none for
its deployment. To a message they are given back by `outgoing`, when LiteLLM has chosen a
deployment. On a count of tokens LiteLLM runs no hook: what it may bring along is kept here while
the request is inside, and the door to LiteLLM's counter for Anthropic (`doors.keep_counts_whole`)
takes it from here. The gateway has made its body and its betas fit for the model already.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any, Final
from urllib.parse import parse_qsl

from attrs import field, frozen

_NAMES: Final = ("user-agent", "x-app")
_PREFIXES: Final = ("anthropic-", "x-claude-", "x-stainless-")
_COUNT: Final = "/count_tokens"
_SUBSCRIPTION: Final = "sk-ant-oat"


@frozen
class Carried:
    """The headers, their names in small letters, and the query, without its question mark."""

    headers: Mapping[str, str] = field(factory=dict, repr=False)
    query: str = ""
    credential: str | None = field(default=None, repr=False)
    """The client's own, if the gateway has let it go along; `outgoing` knows to whom."""


current: ContextVar[Carried | None] = ContextVar("ccproxyd_carried", default=None)
"""What the count that is asked for brings along; None where none is."""


def with_a_count(scope: MutableMapping[str, Any], key: str | None = None) -> Carried | None:
    """What a request brings along, if it is for a count; `key` is the client's own."""
    if not scope.get("path", "").endswith(_COUNT):
        return None
    pairs = scope["headers"]
    asked = scope.get("query_string", b"").decode("latin-1")
    return Carried(_headers(pairs), query(asked), key or _subscription_token(pairs))


def _subscription_token(pairs: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Any other credential is for the proxy, and not for a provider."""
    said = next((value for name, value in pairs if name.lower() == b"authorization"), b"")
    scheme, _, token = said.decode("latin-1").partition(" ")
    is_one = scheme.lower() == "bearer" and token.startswith(_SUBSCRIPTION)
    return token if is_one else None


def _headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    named = ((name.decode("latin-1").lower(), value) for name, value in pairs)
    return {name: value.decode("latin-1") for name, value in named if is_carried(name)}


def is_carried(name: object) -> bool:
    """Whether a header of this name goes along.

    >>> is_carried("X-Claude-Code-Session-Id"), is_carried("X-Api-Key")
    (True, False)
    """
    lower = str(name).lower()
    return lower in _NAMES or lower.startswith(_PREFIXES)


def query(asked: str) -> str:
    """The one part of it that means something to Anthropic; a key may stand there, too.

    >>> query("key=sk-1&beta=true")
    'beta=true'
    """
    return "beta=true" if ("beta", "true") in parse_qsl(asked) else ""

"""What of a client's request is for Anthropic alone: a few of its headers, and `beta=true`.

LiteLLM would drop them. To a message they are given back by `outgoing`, when LiteLLM has chosen a
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


@frozen
class Carried:
    """The headers, their names in small letters, and the query, without its question mark."""

    headers: Mapping[str, str] = field(factory=dict, repr=False)
    query: str = ""


current: ContextVar[Carried | None] = ContextVar("ccproxyd_carried", default=None)
"""What the count that is asked for brings along; None where none is."""


def with_a_count(scope: MutableMapping[str, Any]) -> Carried | None:
    """What a request brings along, if it is for a count."""
    if not scope.get("path", "").endswith(_COUNT):
        return None
    return Carried(
        _headers(scope["headers"]), query(scope.get("query_string", b"").decode("latin-1"))
    )


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

"""Pages of others, whose browsers ask first whether they may.

Before a page's script may send a key, its browser asks with OPTIONS, and without any key; after it,
the answer has to say once more that the page may read it, or the script sees a network error. As
with Anthropic, OpenAI and LiteLLM itself, every page may: what it cannot do without is the key, and
no browser adds that to a request by itself. What a lane says of this itself is taken out: of two
permissions a browser accepts neither.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ccproxyd.gateway.replies import Reply

_WANTED_METHOD: Final = "access-control-request-method"
_WANTED_HEADERS: Final = "access-control-request-headers"
_METHOD: Final = re.compile(r"[A-Za-z]{1,20}")
_READABLE: Final = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"*"),
)
_SAID_HERE: Final = frozenset({*dict(_READABLE), b"access-control-allow-credentials"})


def asks_from_a_page(headers: Mapping[str, str]) -> bool:
    """Whether a request comes from a page of somebody else's."""
    return "origin" in headers


def asks_leave(method: str, headers: Mapping[str, str]) -> bool:
    """Whether a browser asks if it may send a request."""
    return method == "OPTIONS" and asks_from_a_page(headers) and _WANTED_METHOD in headers


def permission(headers: Mapping[str, str]) -> Reply:
    """It may, as and with the headers that it wants to; a star would not stand for a key's."""
    wanted, method = headers.get(_WANTED_HEADERS), headers.get(_WANTED_METHOD, "")
    named = {"access-control-allow-methods": method} if _METHOD.fullmatch(method) else {}
    allowed = {"access-control-allow-headers": wanted} if wanted else {}
    told = {
        "access-control-max-age": "600",
        "vary": f"{_WANTED_METHOD}, {_WANTED_HEADERS}",
        **named,
        **allowed,
    }
    return Reply(200, b"", told)


def for_a_page(pairs: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of an answer that any page may read."""
    return [*(pair for pair in pairs if pair[0].lower() not in _SAID_HERE), *_READABLE]

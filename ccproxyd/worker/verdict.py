"""The gateway's decision about one request, as it travels to a worker.

It comes in a header, `x-ccproxy-decision: <secret> <base64url of JSON>`. The secret is the
generation's own, so nobody but our gateway can decide; it is compared in constant time, and a
decision that does not hold up counts as none. What came is kept in a context variable, which
follows the request through LiteLLM's tasks, and not in anything that LiteLLM could pass on.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final

import orjson
from attrs import field, frozen

PREFIX: Final = "x-ccproxy-"
HEADER: Final = "x-ccproxy-decision"


@frozen
class Verdict:
    """The name that LiteLLM is to be asked for, and the id that the price is reported under.

    `requested_model` is what the client asked for, and wrote its request for. `metadata` is what
    hooks have noted for LiteLLM's callbacks. `api_key` is the client's own key for the provider,
    where the config lets it go along. `barred` are the names that may not be fallen back to.

    The header also says whether the client got the model that it asked for (`kept`). That changes
    nothing here: even then the name may differ from what was sent, as `[1m]` is not part of it.
    """

    label: str
    request_id: str
    requested_model: str = ""
    metadata: Mapping[str, Any] = field(factory=dict, repr=False)
    api_key: str | None = field(default=None, repr=False)
    patience: float | None = field(default=None, repr=False)
    """How many seconds one deployment gets, where another could answer in its place."""
    barred: frozenset[str] = field(default=frozenset(), repr=False)


current: ContextVar[Verdict | None] = ContextVar("ccproxyd_verdict", default=None)


def seal(verdict: Verdict, secret: str) -> str:
    """The header's value, as the gateway writes it.

    >>> unseal(seal(Verdict("think", "r-1"), "s"), "s")
    Verdict(label='think', request_id='r-1', requested_model='')
    """
    fields = {
        "label": verdict.label,
        "request_id": verdict.request_id,
        "requested_model": verdict.requested_model,
        "kept": False,
    }
    return f"{secret} {base64.urlsafe_b64encode(orjson.dumps(fields)).decode()}"


def unseal(value: str, secret: str) -> Verdict | None:
    """What the header says, or None if it is not from our gateway.

    >>> unseal(seal(Verdict("think", "r-1"), "guessed"), "s") is None
    True
    """
    given, _, payload = value.partition(" ")
    if not secret or not hmac.compare_digest(given.encode(), secret.encode()):
        return None
    return _parse(payload)


def _parse(payload: str) -> Verdict | None:
    padding = "=" * (-len(payload) % 4)
    try:
        fields: Any = orjson.loads(base64.b64decode(payload + padding, altchars=b"-_"))
        return Verdict(
            label=_text(fields["label"]),
            request_id=_text(fields["request_id"]),
            requested_model=str(fields.get("requested_model") or ""),
            metadata=dict(fields.get("metadata") or {}),
            api_key=fields.get("api_key"),
            patience=fields.get("patience"),
            barred=frozenset(fields.get("barred") or ()),
        )
    except (binascii.Error, orjson.JSONDecodeError, LookupError, TypeError, ValueError):
        return None


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("a non-empty text")
    return value

"""What is answered here, without LiteLLM: signs of life and the list of models.

Claude Code begins with `HEAD /` and needs no key for it. Load balancers ask LiteLLM's own health
paths; here they say whether a request would be served, and never call a provider.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from ccproxyd.errors import ProxyError, ValidationError
from ccproxyd.gateway.paths import Dialect
from ccproxyd.gateway.replies import Reply, json_reply
from ccproxyd.routing import ModelRouter, RoutingTable
from ccproxyd.routing.router import LABEL_PREFIX

OPEN_PATHS = frozenset({"/", "/health/liveliness", "/health/liveness", "/health/readiness"})
"""Answered without a key: they tell nothing but that something is here."""

_EPOCH = "1970-01-01T00:00:00Z"
_MOST: Final = 1000
_LONG_CONTEXT: Final = re.compile(r"\[1m\]$", re.IGNORECASE)
"""The client's own mark."""
_CLAUDE_CODE: Final = ("claude-code/", "claude-cli/")
_AFTER_CLAUDE: Final = re.compile(r"claude|anthropic", re.IGNORECASE)


def sign_of_life(path: str, *, ready: bool) -> Reply:
    """The answer to a probe; 503 from readiness while a request would have to wait."""
    if path == "/":
        return json_reply({"name": "ccproxyd"})
    if path == "/health/readiness":
        return json_reply({"status": "ready" if ready else "starting"}, 200 if ready else 503)
    return json_reply({"status": "alive"})


def list_models(
    table: RoutingTable, path: str, query: str, dialect: Dialect, agent: str = ""
) -> Reply:
    """`GET /v1/models`, or one of them, in the shape of the client's provider.

    A name with a wildcard is no model that could be asked for, but what it serves can. `agent` is
    who asks: Claude Code offers its user only models that are called after Claude, so to it every
    label is.

    Raises:
        ProxyError: 404, no such model; 400, no such page.
    """
    _, found, wanted = path.partition("/models/")
    if found:
        if not _is_served(table, _LONG_CONTEXT.sub("", wanted)):
            raise ProxyError(f"no model is called {wanted!r}", code=404)
        return json_reply(_model(wanted, dialect))
    names = list(dict.fromkeys(one.name for one in table.targets if "*" not in one.name))
    if agent.startswith(_CLAUDE_CODE):
        names = [name if _AFTER_CLAUDE.match(name) else LABEL_PREFIX + name for name in names]
    if dialect is Dialect.ANTHROPIC:
        return json_reply(_page(names, dict(parse_qsl(query))))
    return json_reply({"object": "list", "data": [_model(name, dialect) for name in names]})


def _is_served(table: RoutingTable, name: str) -> bool:
    models = ModelRouter(table)
    found = models.target_of(name) or models.target_of(name.removeprefix(LABEL_PREFIX))
    return "*" not in name and found is not None


def _page(names: list[str], asked: Mapping[str, str]) -> dict[str, Any]:
    """As Anthropic pages, but all in one where the client sets no limit."""
    limit = _limit(asked.get("limit"), len(names))
    if "before_id" in asked:
        until = _place(names, asked, "before_id")
        start = max(0, until - limit)
        page, more = names[start:until], start > 0
    else:
        start = _place(names, asked, "after_id") + 1 if "after_id" in asked else 0
        page, more = names[start : start + limit], start + limit < len(names)
    return {
        "data": [_model(name, Dialect.ANTHROPIC) for name in page],
        "has_more": more,
        "first_id": page[0] if page else None,
        "last_id": page[-1] if page else None,
    }


def _limit(asked: str | None, usual: int) -> int:
    if asked is None:
        return usual
    if not (asked.isascii() and asked.isdecimal() and 1 <= int(asked[:5]) <= _MOST):
        raise ValidationError(f"limit: must be a number from 1 to {_MOST}")
    return int(asked[:5])


def _place(names: list[str], asked: Mapping[str, str], cursor: str) -> int:
    if asked[cursor] not in names:
        raise ValidationError(f"{cursor}: no model is called {asked[cursor]!r}")
    return names.index(asked[cursor])


def _model(name: str, dialect: Dialect) -> dict[str, Any]:
    if dialect is Dialect.ANTHROPIC:
        label = name.removeprefix(LABEL_PREFIX)
        return {"type": "model", "id": name, "display_name": label, "created_at": _EPOCH}
    return {"id": name, "object": "model", "created": 0, "owned_by": "ccproxyd"}

"""What is answered here, without LiteLLM: signs of life and the list of models.

Claude Code begins with `HEAD /` and needs no key for it. Load balancers ask LiteLLM's own health
paths; here they say whether a request would be served, and never call a provider.
"""

from __future__ import annotations

from typing import Any

from ccproxyd.errors import ProxyError
from ccproxyd.gateway.paths import Dialect
from ccproxyd.gateway.replies import Reply, json_reply
from ccproxyd.routing import RoutingTable

OPEN_PATHS = frozenset({"/", "/health/liveliness", "/health/liveness", "/health/readiness"})
"""Answered without a key: they tell nothing but that something is here."""

_EPOCH = "1970-01-01T00:00:00Z"


def sign_of_life(path: str, *, ready: bool) -> Reply:
    """The answer to a probe; 503 from readiness while a request would have to wait."""
    if path == "/":
        return json_reply({"name": "ccproxyd"})
    if path == "/health/readiness":
        return json_reply({"status": "ready" if ready else "starting"}, 200 if ready else 503)
    return json_reply({"status": "alive"})


def list_models(table: RoutingTable, path: str, dialect: Dialect) -> Reply:
    """`GET /v1/models`, or one of them, in the shape of the client's provider.

    Raises:
        ProxyError: 404, no such model.
    """
    names = list(dict.fromkeys(target.name for target in table.targets))
    _, found, wanted = path.partition("/models/")
    if found:
        if wanted not in names:
            raise ProxyError(f"no model is called {wanted!r}", code=404)
        return json_reply(_model(wanted, dialect))
    models = [_model(name, dialect) for name in names]
    if dialect is Dialect.ANTHROPIC:
        ends = {"first_id": names[0] if names else None, "last_id": names[-1] if names else None}
        return json_reply({"data": models, "has_more": False, **ends})
    return json_reply({"object": "list", "data": models})


def _model(name: str, dialect: Dialect) -> dict[str, Any]:
    if dialect is Dialect.ANTHROPIC:
        return {"type": "model", "id": name, "display_name": name, "created_at": _EPOCH}
    return {"id": name, "object": "model", "created": 0, "owned_by": "ccproxyd"}

"""The verbs of the control API, one row each; both ends work from this table.

A verb has one name everywhere: the path ends in it, `ccproxyctl` is called with it, the method of
`Operations` and the tests carry it. `access` says who may use it: the socket's mode lets in its
owner and root alone, and this is checked again for every verb but `ping`, in case somebody has
opened the socket to others.
"""

from __future__ import annotations

from typing import Final, Literal

from attrs import frozen

Access = Literal["anyone", "owner"]


@frozen
class Verb:
    name: str
    method: Literal["GET", "POST"]
    path: str
    access: Access
    summary: str
    payload: tuple[str, ...] = ()
    """The keys that its JSON object may have."""
    patience: float = 10.0
    """Seconds after which a client takes silence for a hang."""


VERBS: Final = (
    Verb("ping", "GET", "/ping", "anyone", "name and version of the daemon"),
    Verb("status", "GET", "/v1/status", "owner", "show how the daemon and its processes are"),
    Verb("stats", "GET", "/v1/stats", "owner", "show requests, tokens, costs and latencies"),
    Verb("routes", "GET", "/v1/routes", "owner", "show the rules and labels in use"),
    Verb(
        "reload",
        "POST",
        "/v1/reload",
        "owner",
        "take the changed config, without losing a request",
        patience=300.0,
    ),
    Verb(
        "restart",
        "POST",
        "/v1/restart",
        "owner",
        "replace the workers, the gateway or both, without losing a request",
        payload=("what",),
        patience=900.0,
    ),
    Verb("stop", "POST", "/v1/stop", "owner", "finish what is in flight, and end", patience=30.0),
    Verb(
        "explain",
        "POST",
        "/v1/explain",
        "owner",
        "say how a request would be routed, and why",
        payload=("body", "headers", "path"),
        patience=60.0,
    ),
)

RESTARTABLE: Final = ("all", "workers", "gateway")


def find_verb(name: str) -> Verb:
    """The row of a verb; KeyError for an unknown one."""
    return _BY_NAME[name]


_BY_NAME: Final = {verb.name: verb for verb in VERBS}

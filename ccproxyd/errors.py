"""What can go wrong, as types.

Two families that never meet. A `CcproxydError` is for the person who runs the daemon: it names
the cause and the place, and the process exits with its `exit_code`. A `ProxyError` is for a client
of the port: it has an HTTP status and a JSON body, and costs one request.

Exit codes are those of sysexits(3) where one fits: 78 (EX_CONFIG) tells systemd not to try again.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, ClassVar, Final

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_PERMISSION = 4
EXIT_NOT_RUNNING = 7
EXIT_TEMPORARY = 75
EXIT_CONFIG = 78

UNREADABLE: Final = "the provider's answer is none that LiteLLM can read"
NO_REASON: Final = "the provider failed and gave no reason"

_ANTHROPIC_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
    503: "overloaded_error",
}
"""By status; of a type that two have, the first is its own."""
_DEEPEST: Final = 20
_MESSAGES: Final = ("error", "message", "Message", "detail", "msg", "errors")


class CcproxydError(Exception):
    """An expected failure: printed as one line, never as a traceback."""

    exit_code: ClassVar[int] = EXIT_FAILED


class ConfigError(CcproxydError):
    """A config that cannot be used.

    `path` is the field's, with the file it stands in: `ccproxy.yaml: ccproxy.rules[2].params`.

    >>> print(ConfigError("ccproxy.yaml: ccproxy.port", "must be a port number, not 'x'"))
    ccproxy.yaml: ccproxy.port: must be a port number, not 'x'
    >>> print(ConfigError("ccproxy.yaml: ccproxy.prot", "unknown key", hint="port"))
    ccproxy.yaml: ccproxy.prot: unknown key; did you mean 'port'?
    """

    exit_code = EXIT_CONFIG

    def __init__(self, path: str, reason: str, hint: str | None = None) -> None:
        meant = f"; did you mean '{hint}'?" if hint else ""
        super().__init__(f"{path}: {reason}{meant}")
        self.path = path
        self.reason = reason
        self.hint = hint


class AddressInUseError(CcproxydError):
    """The port, or the single instance's lock, belongs to somebody else."""

    exit_code = EXIT_TEMPORARY


class ProxyError(Exception):
    """A request that cannot be served, with the answer that its client gets.

    >>> ProxyError("no such label", code=404).to_json()
    {'error': {'type': 'ProxyError', 'message': 'no such label', 'code': 404}}
    """

    code: int = 500

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        # What a user's rule quotes of a request may have half a character in it, as no JSON has.
        self.message = str(message).encode("utf-8", "replace").decode()
        if code is not None:
            self.code = code

    @property
    def type(self) -> str:
        return type(self).__name__

    def to_json(self) -> dict[str, dict[str, str | int]]:
        return {"error": {"type": self.type, "message": self.message, "code": self.code}}


class ValidationError(ProxyError):
    code = 400


class UpstreamTimeout(ProxyError):  # noqa: N818 - the name is part of the wire format
    code = 504


class Unknown(ProxyError):  # noqa: N818 - the name is part of the wire format
    code = 500


def proxy_error(message: str, code: int) -> ProxyError:
    """The failure of this status, by the name that clients know it by.

    >>> proxy_error("too slow", 504).type
    'UpstreamTimeout'
    """
    known = (ValidationError, UpstreamTimeout, Unknown)
    return next((kind(message) for kind in known if kind.code == code), ProxyError(message, code))


def anthropic_type(status: int) -> str:
    """The name that Anthropic has for a failure with this status.

    >>> anthropic_type(529), anthropic_type(422), anthropic_type(502)
    ('overloaded_error', 'invalid_request_error', 'api_error')
    """
    other = "invalid_request_error" if status < 500 else "api_error"
    return _ANTHROPIC_TYPES.get(status, other)


def anthropic_status(kind: object) -> int | None:
    """The status of a failure that Anthropic calls so, None of one with another name.

    >>> anthropic_status("overloaded_error"), anthropic_status("some_error")
    (529, None)
    """
    return next((status for status, name in _ANTHROPIC_TYPES.items() if name == kind), None)


def message_in(body: Any) -> str | None:
    """What an API's failure says, in whatever shape: the field has a few well-known names.

    >>> message_in({"type": "error", "error": {"type": "api_error", "message": "no"}})
    'no'
    >>> message_in([{"error": {"code": 400, "message": "not so"}}])
    'not so'
    >>> message_in({"detail": [{"loc": ["body"], "msg": "Field required"}]})
    'Field required'
    """
    return _message_in(body, _DEEPEST)


def _message_in(body: Any, levels: int) -> str | None:
    if isinstance(body, str):
        return body.strip() or None
    if levels == 0 or not isinstance(body, list | dict):
        return None
    inner = body if isinstance(body, list) else map(body.get, _MESSAGES)
    return next(filter(None, (_message_in(one, levels - 1) for one in inner)), None)


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """The known word that is nearest to a misspelt one, if any is near.

    >>> did_you_mean("prot", ["host", "port"])
    'port'
    >>> did_you_mean("zebra", ["host", "port"]) is None
    True
    """
    near = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return near[0] if near else None

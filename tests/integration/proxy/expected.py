"""What has to come of a row, worked out from the row.

the key is refused      401, nothing is decided, and the provider hears nothing
nothing fails           200, the label's own model answers
the provider fails      its status, its message and its retry-after, in the client's dialect
it refuses our key      502: a 401 would be taken for one about the client's key
it does not answer      504
it hangs up             before an answer 5xx; once a stream has begun an error is its last event,
                        and the transfer breaks off
and the label has a     the fallback's answer; but not once there is something of an answer,
fallback                nor when the time that a client waits is over
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import field, frozen

from tests.integration.proxy.rows import (
    MODELS,
    PROTOCOL_OF_LABEL,
    PROTOCOLS,
    RETRY_AFTER,
    Row,
    message_of,
    said_by,
)

FALLBACK: Final = "default"
_RULES: Final = {
    "default": "default",
    "small": "MatchModelRule",
    "large": "TokenCountRule",
    "tools": "MatchToolRule",
    "think": "ThinkingRule",
    "fallback": "passthrough",
}
_ANTHROPICS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    429: "rate_limit_error",
    502: "api_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
SOME: Final = "*"
"""Whatever it is, it says something."""


@frozen
class Failure:
    """An error as the client reads it: in Anthropic's envelope or OpenAI's."""

    dialect: str
    type: str = SOME
    message: str = SOME


@frozen
class Expected:
    """`None` for a header is that it is not there."""

    statuses: frozenset[int]
    headers: Mapping[str, str | None]
    failure: Failure | None = None
    text: str | None = None
    """What the model said, where it says anything."""
    ends_in_error: bool = False
    """A stream begins, and the failure is its last event."""
    asked: tuple[str, ...] = field(default=())
    """The provider's models that were asked, in order."""


def expected(row: Row) -> Expected:
    if row.auth != "valid":
        return _refused(row)
    if row.failure == "none":
        return _answered(row)
    if has_fallback(row):
        return _answered_by_fallback(row)
    return _failed(row)


def has_fallback(row: Row) -> bool:
    is_begun = row.failure == "cut" and row.streams
    is_covered = row.label == "fallback" and row.is_conversation
    return is_covered and not is_begun


def _refused(row: Row) -> Expected:
    return Expected(
        statuses=frozenset({401}),
        headers={"x-should-retry": "false", **_nothing_decided()},
        failure=Failure(_dialect(row), _type(row, 401, "ProxyError")),
    )


def _answered(row: Row) -> Expected:
    text = said_by(row) if row.is_conversation else None
    return Expected(frozenset({200}), _decided(row), text=text, asked=(_model(row),))


def _answered_by_fallback(row: Row) -> Expected:
    """Past LiteLLM there is no fallback: it tries the label itself once more."""
    tries = 2 if row.lane == "direct" else 1
    headers = _decided(row) | {"x-ccproxy-lane": "litellm", "x-ccproxy-fallback": FALLBACK}
    asked = (_model(row),) * tries + (f"mock-{FALLBACK}",)
    return Expected(frozenset({200}), headers, text="mock: ok", asked=asked)


def _failed(row: Row) -> Expected:
    asked = (_model(row),)
    match row.failure:
        case "401":
            failure = Failure(_dialect(row), _type(row, 502, "KeyRefusedError"))
            headers = _decided(row) | {"x-should-retry": "false"}
            return Expected(frozenset({502}), headers, failure, asked=asked)
        case "timeout":
            return _timed_out(row)
        case "cut" if row.streams:
            failure = Failure(_dialect(row))
            return Expected(
                frozenset({200}), _decided(row), failure, ends_in_error=True, asked=asked
            )
        case "cut":
            return Expected(
                frozenset({500, 502}), _decided(row), Failure(_dialect(row)), asked=asked
            )
    status = 400 if row.failure == "token limit" else int(row.failure)
    after = {"retry-after": RETRY_AFTER if row.failure == "429" else None}
    failure = Failure(_dialect(row), _providers_type(row, status), message_of(row))
    return Expected(frozenset({status}), _decided(row) | after, failure, asked=asked)


def _timed_out(row: Row) -> Expected:
    return Expected(
        statuses=frozenset({504}),
        headers=_decided(row),
        failure=Failure(_dialect(row), _type(row, 504, "UpstreamTimeout")),
        asked=(_model(row),),
    )


def _dialect(row: Row) -> str:
    return "anthropic" if row.call == "messages" else "openai"


def _type(row: Row, status: int, ours: str) -> str:
    """Of a failure that we tell ourselves: Anthropic's word for it, elsewhere the class."""
    return _ANTHROPICS[status] if row.call == "messages" else ours


def _providers_type(row: Row, status: int) -> str:
    """Anthropic's word for the status; OpenAI's provider says a word of its own."""
    if row.call == "messages":
        return _ANTHROPICS[status]
    if PROTOCOLS.get(row.call, "openai") != _protocol(row):
        return SOME
    return "invalid_request_error" if status < 500 else "server_error"


def _protocol(row: Row) -> str:
    return PROTOCOL_OF_LABEL[row.label] if row.is_conversation else "openai"


def _model(row: Row) -> str:
    return f"mock-{_label(row)}"


def _label(row: Row) -> str:
    return row.label if row.is_conversation else MODELS[row.call]


def _decided(row: Row) -> dict[str, str | None]:
    return {
        "x-ccproxy-label": _label(row),
        "x-ccproxy-rule": _RULES[row.label] if row.is_conversation else "kept",
        "x-ccproxy-model": f"{_protocol(row)}/{_model(row)}",
        "x-ccproxy-lane": row.lane,
        "x-ccproxy-fallback": None,
    }


def _nothing_decided() -> dict[str, str | None]:
    return dict.fromkeys(("x-ccproxy-label", "x-ccproxy-rule", "x-ccproxy-model", "x-ccproxy-lane"))

"""A failure that somebody else tells, in the shape that the client's library reads.

The provider's own go on byte for byte where they are in the shape of the API that the client
speaks, with status and headers: `retry-after`, `x-should-retry`, rate limits, and texts that
clients parse. Where LiteLLM translates, or a server has learnt an API but not its failures, the
client gets the envelope of its own API around the provider's message, and a type that goes with the
status. Of what comes through LiteLLM a worker tells whose words it is in: LiteLLM's refusals, and
what went wrong on the way to a provider, have our own shape as everything else here (`replies`).
What is no failure to a client of the provider but a stream that breaks off is one here, too.

One text is translated as well, in whatever shape. That a conversation is too long Claude Code
understands by `prompt is too long: N tokens > M maximum` alone, and compacts it then; other
providers have the same two numbers in other words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import attrs
import orjson

from ccproxyd.errors import anthropic_status, anthropic_type, message_in, proxy_error
from ccproxyd.gateway.exchange import Pairs
from ccproxyd.gateway.lanes.answers import Answer
from ccproxyd.gateway.lanes.connection import BODYLESS
from ccproxyd.gateway.paths import Dialect
from ccproxyd.gateway.replies import error_body

HEADER: Final = "x-ccproxy-failure"
OURS: Final = "ours"
PROVIDERS: Final = "provider"
CUT: Final = "cut"

_TOO_LONG: Final = "prompt is too long"
_MAY_BE_TOO_LONG: Final = (400, 413, 422)
"""A limit on tokens a minute has two numbers as well, and waiting helps."""
_CODE_TOO_LONG: Final = "context_length_exceeded"
_IS_TOO_LONG: Final = re.compile(
    r"context (length|window|size)|prompt length|token count|tokens allowed|too large for model",
    re.IGNORECASE,
)
_COUNT: Final = re.compile(r"(?<![\w.-])(\d{1,3}(?:,\d{3})+|\d{4,})(?![\w-])")
"""No model has room for fewer than a thousand tokens, and a date in its name is no count."""

_ERROR_EVENT: Final = b'data: {"error"'
_ERROR_EVENTS: Final = {
    Dialect.ANTHROPIC: (_ERROR_EVENT, b'data:{"error"', b"event: error", b"event:error"),
    Dialect.OPENAI: (_ERROR_EVENT, b'data:{"error"'),
}
"""How a stream begins that may fail in foreign words; a named one is of OpenAI's own responses."""
_EVENTS_DATA: Final = re.compile(rb"^data: ?(.*?)\r?$", re.MULTILINE)
_EVENTS_END: Final = re.compile(rb"\n\r?\n")
_OF_A_STREAM: Final = frozenset(
    {b"content-type", b"content-length", b"cache-control", b"x-accel-buffering"}
)
_LONGEST: Final = 2000
_NO_ANSWER: Final = 502
"""The status of what has none of its own."""

_BEGINNINGS: Final = (b"{", b"data", b"event", b"id", b"retry", b":")
"""Of an object, and of events."""
_ERROR_OBJECT: Final = re.compile(rb'\s*\{\s*"(?:error"\s*:|type"\s*:\s*"error")')
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def is_no_answer(answer: Answer) -> bool:
    """Whether a provider has answered with neither a failure nor anything that a client can read.

    A page of HTML, a redirection or an empty body is none: they come from an address that is not
    the API's. Only how it begins is looked at, which may be a single byte.
    """
    if answer.status >= 400:
        return False
    if answer.status >= 300 or answer.status in BODYLESS:
        return True
    if _is_compressed(answer):
        return False
    begins = answer.first.removeprefix(_BYTE_ORDER_MARK).lstrip()
    if not begins:
        return answer.whole or answer.rest.at_end
    return not any(begins.startswith(one) or one.startswith(begins) for one in _BEGINNINGS)


def is_empty_stream(answer: Answer) -> bool:
    """Whether a stream has come to its end without a word."""
    return answer.streams and answer.status < 400 and not answer.first and answer.rest.at_end


def is_litellms_own(answer: Answer) -> bool:
    """Whether LiteLLM's framework refuses a request that nobody was to be asked for.

    What is only relayed is not looked through in the worker, and stays as it is.
    """
    if answer.status < 400 or not answer.whole:
        return False
    body = _parsed(answer.first)
    return body == "Internal Server Error" or (isinstance(body, dict) and set(body) == {"detail"})


def type_of_ours(answer: Answer, source: str) -> str | None:
    """The class that a client is told of a failure in our own shape, None of a provider's."""
    if answer.status < 400 or not (source == OURS or is_litellms_own(answer)):
        return None
    return proxy_error("", answer.status).type


def begins_with_error(answer: Answer) -> bool:
    """Whether LiteLLM says in a stream that it failed before it says anything else.

    Anthropic does so in an event with a name, and that is left as it is: Claude Code asks again
    without a stream then, while it would give up on a status after a few more streams.
    """
    return answer.streams and answer.status < 400 and answer.first.startswith(_ERROR_EVENT)


def unstreamed(answer: Answer) -> Answer:
    """The same failure as an answer with a status, since nothing of it has been sent yet."""
    event = _first_event(answer)
    return _whole(answer, _status_in(event) or 500, answer.headers, orjson.dumps(event))


def in_dialect(answer: Answer, dialect: Dialect) -> Answer:
    """A provider's answer as it is, unless it is a failure that the client's library cannot read.

    Such a failure at the beginning of a stream becomes one with a status, since nothing of it has
    been sent yet; so does one that comes whole with a status of success. One that is compressed all
    the same is left to the client.
    """
    if _is_compressed(answer):
        return answer
    if answer.status >= 400:
        return presented(answer, PROVIDERS, dialect) if answer.whole else answer
    answer = unmasked(answer, dialect)
    if not (answer.streams and answer.first.startswith(_ERROR_EVENTS[dialect])):
        return answer
    event = _first_event(answer)
    if not _EVENTS_END.search(answer.first) or _is_of(dialect, event) or _says_none(event):
        return answer
    return presented(unstreamed(answer), PROVIDERS, dialect)


def unmasked(answer: Answer, dialect: Dialect) -> Answer:
    """An error that comes with a status of success, as the failure that it is."""
    if not _fails_all_the_same(answer):
        return answer
    status = _status_in(_parsed(answer.first)) or _NO_ANSWER
    return presented(attrs.evolve(answer, status=status), PROVIDERS, dialect)


def _is_compressed(answer: Answer) -> bool:
    return dict(answer.headers).get(b"content-encoding", b"identity") != b"identity"


def _fails_all_the_same(answer: Answer) -> bool:
    """Whether an answer that is there at once is an error, though its status says that it is none.

    Some routers in front of providers answer so. Where a stream was asked for, LiteLLM takes what
    has come for one.
    """
    if answer.status >= 400 or not _ERROR_OBJECT.match(answer.first):
        return False
    body = _parsed(answer.first)
    is_there = answer.whole or (answer.streams and isinstance(body, dict))
    return is_there and not _says_none(body)


def begins_in_failure(answer: Answer, dialect: Dialect) -> bool:
    """Whether a stream has an error in place of its first words."""
    begins = answer.streams and answer.first.startswith(_ERROR_EVENTS[dialect])
    return begins and not _says_none(_first_event(answer))


def _says_none(event: Any) -> bool:
    """Some servers have `"error": null` in each frame."""
    return isinstance(event, dict) and "error" in event and not event["error"]


def presented(answer: Answer, source: str, dialect: Dialect) -> Answer:
    """A failure as the client's library expects to read it.

    Args:
        answer: with a status of 400 or more, whole.
        source: what the worker says in `HEADER`.
    """
    body = _parsed(answer.first)
    if source == OURS:
        error = proxy_error(_said(body, answer.status), answer.status)
        return _with_body(answer, error_body(error, dialect))
    if not _is_of(dialect, body):
        return _with_body(answer, _enveloped(body, answer.status, dialect))
    said = _too_long_in_others_words(body, answer.status, dialect)
    return answer if said is None else _with_body(answer, said)


def _too_long_in_others_words(body: Any, status: int, dialect: Dialect) -> dict[str, Any] | None:
    """The same failure in Anthropic's words, where a server has learnt its shape alone."""
    error = body["error"]
    if dialect is not Dialect.ANTHROPIC or status not in _MAY_BE_TOO_LONG:
        return None
    said = str(error["message"])
    message = in_anthropics_words(said, error)
    return None if message == said else {**body, "error": {**error, "message": message}}


def _is_of(dialect: Dialect, body: Any) -> bool:
    """Whether a provider's failure has the shape already."""
    if not isinstance(_mapping(body, "error"), dict) or "message" not in body["error"]:
        return False
    return (body.get("type") == "error") is (dialect is Dialect.ANTHROPIC)


def _enveloped(body: Any, status: int, dialect: Dialect) -> dict[str, Any]:
    error = _error_in(body)
    said = _said(body, status)
    if dialect is Dialect.ANTHROPIC:
        message = in_anthropics_words(said, error) if status in _MAY_BE_TOO_LONG else said
        return {"type": "error", "error": {"type": anthropic_type(status), "message": message}}
    code = _CODE_TOO_LONG if said.startswith(_TOO_LONG) else None
    kind = error.get("type") or anthropic_type(status)
    return {"error": {"message": said, "type": kind, "param": None, "code": code}}


def in_anthropics_words(said: str, error: Mapping[str, Any]) -> str:
    """What a provider says, unless it is that the prompt is too long.

    >>> in_anthropics_words("The input token count (2048) exceeds the maximum of 1024", {})
    'prompt is too long: 2048 tokens > 1024 maximum'
    >>> in_anthropics_words("slow down", {})
    'slow down'
    """
    if _TOO_LONG in said:
        return said
    counts = _counts(said, error)
    if len(counts) == 2 and _IS_TOO_LONG.search(said):
        return f"{_TOO_LONG}: {max(counts)} tokens > {min(counts)} maximum"
    return f"{_TOO_LONG}: {said}" if error.get("code") == _CODE_TOO_LONG else said


def _counts(said: str, error: Mapping[str, Any]) -> list[int]:
    """What there was and what there may be, in any order; llama.cpp has them in fields."""
    fields = [error.get("n_prompt_tokens"), error.get("n_ctx")]
    counts = [one for one in fields if isinstance(one, int)]
    counts = counts or [int(one.replace(",", "")) for one in _COUNT.findall(said)]
    return counts[:2] if len(set(counts[:2])) == 2 else []


def _said(body: Any, status: int) -> str:
    """The provider's message; a page of HTML is none."""
    said = message_in(body) or ""
    if not said or said.startswith("<"):
        return f"the provider answered with {status} and gave no reason"
    return said[:_LONGEST]


def _with_body(answer: Answer, body: Mapping[str, Any]) -> Answer:
    return _whole(answer, answer.status, answer.headers, orjson.dumps(body))


def _whole(answer: Answer, status: int, headers: Pairs, body: bytes) -> Answer:
    kept = [pair for pair in headers if pair[0] not in _OF_A_STREAM]
    own = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    return attrs.evolve(
        answer, status=status, headers=[*kept, *own], first=body, whole=True, streams=False
    )


def _error_in(body: Any) -> dict[str, Any]:
    """What says more of a failure than its message; llama.cpp's events have no envelope."""
    whole = body if isinstance(body, dict) else {}
    return _mapping(body, "error") or whole


def _status_in(body: Any) -> int | None:
    """The status that an error says for itself, by a number or by Anthropic's name for it."""
    error = _error_in(body)
    code = str(error.get("code"))
    said = int(code) if re.fullmatch("[45][0-9][0-9]", code) else None
    return said or anthropic_status(error.get("type"))


def _first_event(answer: Answer) -> Any:
    found = _EVENTS_DATA.search(answer.first)
    return _parsed(found.group(1)) if found else ""


def _mapping(body: Any, name: str) -> dict[str, Any] | None:
    found = body.get(name) if isinstance(body, dict) else None
    return found if isinstance(found, dict) else None


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode("utf-8", "replace")

"""What really went wrong, where LiteLLM says it in its own words.

A failure on its way through LiteLLM loses its status (529 becomes 500, 413 becomes 400), its
headers (`retry-after`) and its shape: the message is wrapped in the names of two or three exception
classes, with advice on LiteLLM's settings behind it. But the chain of those exceptions ends in the
provider's own answer, or in the connection that broke. So LiteLLM's hook for failures, which
`handler` has, keeps what is found there (`note`), and `answering` answers with it.

A stream can break between its head and all the rest, or together with its first words: of those
LiteLLM's client loses what it has not handed on. LiteLLM makes a status of it, as of a provider
that never answered; but clients act differently on a stream that is cut, so the two are told apart.

LiteLLM's own refusals have no such chain: of these only the words are cleared (`words`), as in the
errors that it writes into a stream (`events`). Where a provider answers with 200 and nothing that
LiteLLM can read, or with an error, it may even take the 200 for the status of its own answer. What
it says of a client's mistakes it has for errors of its own, but for some.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Any, Final

import aiohttp
import attrs
import httpx
import orjson
from attrs import frozen

from ccproxyd.errors import (
    UNREADABLE,
    ProxyError,
    UpstreamTimeout,
    ValidationError,
    message_in,
    proxy_error,
)
from ccproxyd.worker.unreadable import is_about_an_answer
from ccproxyd.worker.words import (
    has_broken,
    has_stalled,
    is_litellms_own,
    is_unread,
    parsed,
    plain,
    seconds_to_cool,
    status_in,
    status_named_in,
    told_by_an_error,
    unquoted,
)

PROVIDER: Final = b"provider"
"""The answer is the provider's own, byte for byte."""
OURS: Final = b"ours"
"""The provider did not answer, or was not asked: the body is a `ProxyError`'s."""
CUT: Final = b"cut"
"""The stream that was asked for had begun when it broke; the body is a `ProxyError`'s."""

_NOT_PASSED: Final = frozenset(
    b"connection content-encoding content-length date keep-alive proxy-authenticate server "
    b"set-cookie te trailer transfer-encoding upgrade".split()
)
_NO_STATUS: Final = 600
_SUCCESSES: Final = range(200, 300)
_REDIRECTIONS: Final = range(300, 400)
_JSON: Final = (b"content-type", b"application/json")
_LONGEST_CHAIN: Final = 20
_NOT_IN_TIME: Final = "the provider did not answer in time"
_INCOMPLETE: Final = (
    "without sending complete message body",
    "Response payload is not completed",
)
"""What httpx says of an answer that has a head, where LiteLLM has been told to use it alone; and
aiohttp, whose exception LiteLLM may have lost from the chain, which can be a circle."""

_REQUESTS: Final = frozenset({"RerankRequest"})
"""Models of LiteLLM's, each of whose fields is one of the client's as it came."""
_LACKS_A_PARAMETER: Final = "ProxyMissingRequiredParamError"

_NATIVELY_BROKEN: Final = re.compile(r"upstream network error: [^()]*(?:\((\w+)\))?")
"""What LiteLLM's compiled part says, mostly with its own name for what broke."""

_FAILED_RESPONSE: Final = b"event: response.failed\n"
_NO_SUCCESS: Final = (b'{"type":"error"', b"null", _FAILED_RESPONSE)
_NO_TEXT: Final = re.compile(rb"[\x00-\x08\x0e-\x1f]")
"""LiteLLM does not say any more how an error was compressed, and hands it on as it is."""
_UNREAD: Final = (httpx.DecodingError, httpx.TooManyRedirects, aiohttp.ClientResponseError)
"""Compressed as it is not said to be; in a circle; in no HTTP, which LiteLLM calls nothing else."""

Headers = Collection[tuple[bytes, bytes]]


@frozen
class Failure:
    """The answer that the client should have; `source` is `PROVIDER`, `OURS` or `CUT`."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    source: bytes


def find(error: BaseException, *, streams: bool = False) -> Failure | None:
    """The nearest failure of a provider, or of the way there, that an exception comes from.

    Args:
        streams: the client has asked for a stream.
    """
    found = (_failure(one, streams=streams) for one in _chain(error))
    return next(filter(None, found), None) or _unread(error)


def _unread(error: BaseException) -> Failure | None:
    """What a provider has said may be further in than what went wrong with reading it."""
    is_unread = any(isinstance(one, _UNREAD) or is_about_an_answer(one) for one in _chain(error))
    return ours(ProxyError(UNREADABLE, code=502)) if is_unread else None


def status_in_stream(error: BaseException) -> int | None:
    """Of an error event, which has no status of its own: the innermost exception is made of it."""
    found = [status for one in _chain(error) if (status := _status_of(one))]
    return found[-1] if found else None


def _status_of(error: BaseException) -> int | None:
    event = getattr(error, "body", None)
    told = event.get("code") if isinstance(event, dict) else getattr(error, "status_code", None)
    return status_in(told)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The exception, then what it was raised from, or meanwhile."""
    for _ in range(_LONGEST_CHAIN):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _failure(error: BaseException, *, streams: bool) -> Failure | None:
    if isinstance(error, httpx.HTTPStatusError) and error.response.status_code >= 400:
        told = error.response
        return _told_by_provider(told.status_code, told.headers.raw, _body_of(told))
    if (success := _told_as_success(error, streams=streams)) is not None:
        return ours(success)
    if (native := _told_to_native_code(error)) is not None:
        return native
    if isinstance(error, RuntimeError) and (broken := _NATIVELY_BROKEN.match(str(error))):
        return _unreached(broken.group(1) or "")
    if isinstance(error, ProxyError):  # from one of our doors; LiteLLM adds its advice even so
        return ours(proxy_error(plain(error.message), error.code))
    if (mistake := _mistake(error)) is not None:
        return ours(mistake)
    if isinstance(error, httpx.TimeoutException):
        return ours(UpstreamTimeout(_NOT_IN_TIME))
    if isinstance(error, httpx.TransportError):
        unreached = _unreached(_kind(error), _place(error))
        return attrs.evolve(unreached, source=CUT) if streams and _had_begun(error) else unreached
    return None


def _told_to_native_code(error: BaseException) -> Failure | None:
    """LiteLLM's compiled part raises a status, a body and headers, in no class to be named."""
    match error.args, getattr(error, "headers", None):
        case (int(status), str(body)), list(headers) if status >= 400:
            raw = [tuple(text.encode("utf-8", "replace") for text in pair) for pair in headers]
            return _told_by_provider(status, raw, body.encode("utf-8", "replace"))
    return None


def _told_as_success(error: BaseException, *, streams: bool) -> ProxyError | None:
    """What an answer was whose status was none of a failure: LiteLLM has taken it for its own.

    In a stream an error event can have the status of the stream, whose words stay where they are.
    """
    status, said = getattr(error, "status_code", None), str(getattr(error, "message", ""))
    if status in _REDIRECTIONS:
        return ProxyError(UNREADABLE, code=502)
    if streams or status not in _SUCCESSES or is_litellms_own(said):
        return None  # LiteLLM's own words stand around the answer, which is further in
    return told_by_an_error(unquoted(said))


def _mistake(error: BaseException) -> ValidationError | None:
    """What a client has got wrong, where it is sure that it was the client: LiteLLM told of 500."""
    if str(getattr(error, "title", "")) in _REQUESTS:
        found = error.errors(include_url=False, include_input=False)  # type: ignore[attr-defined]
        told = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found)
        return ValidationError("; ".join(told))
    if any(kind.__name__ == _LACKS_A_PARAMETER for kind in type(error).__mro__):
        return ValidationError(plain(str(getattr(error, "message", error))))
    return None


def _kind(error: httpx.TransportError) -> str:
    """What broke, by the name that the library below has for it; LiteLLM's own says nothing."""
    cause = error.__cause__
    is_below = cause is not None and not type(cause).__module__.startswith("litellm")
    return type(cause if is_below else error).__name__


def _place(error: httpx.TransportError) -> str:
    """The host and the port that were asked, "" where the exception does not know."""
    with suppress(RuntimeError):
        return error.request.url.netloc.decode("ascii")
    return ""


def _had_begun(error: httpx.TransportError) -> bool:
    """Whether the head of an answer was there, and it was the body that broke."""
    is_aiohttps = isinstance(error.__cause__, aiohttp.ClientPayloadError)
    return is_aiohttps or any(text in str(error) for text in _INCOMPLETE)


def _told_by_provider(status: int, headers: Headers, body: bytes) -> Failure:
    known = [(name.lower(), value) for name, value in headers]
    passed = tuple((name, value) for name, value in known if name not in _NOT_PASSED)
    return Failure(a_status(status), passed, body, PROVIDER)


def _body_of(response: httpx.Response) -> bytes:
    """Nothing where it was never read, or is no text: compressed, as nobody has asked for."""
    try:
        body = response.content
    except httpx.StreamError:  # it was never read, and cannot be any more
        return b""
    return b"" if _NO_TEXT.search(body) else body


def a_status(status: int) -> int:
    """The same, unless it is none that an answer can have; a provider may say any number.

    >>> a_status(529), a_status(999)
    (529, 502)
    """
    return status if status < _NO_STATUS else 502


def _unreached(kind: str, place: str = "") -> Failure:
    provider = f"the provider at {place}" if place else "the provider"
    how = f" ({kind})" if kind else ""
    return ours(ProxyError(f"{provider} cannot be reached, or hung up{how}", code=502))


def ours(error: ProxyError, headers: Headers = ()) -> Failure:
    """A failure that no provider has told, as the gateway takes it."""
    body = orjson.dumps(error.to_json())
    return Failure(error.code, (_JSON, *headers), body, OURS)


def unforeseen(error: Exception) -> Failure:
    """What LiteLLM has raised past its own answers for failures.

    A sentence of its own, such as which variable of the environment is lacking, it raises as an
    `Exception` of no kind; of any other its client has no use.
    """
    said = next((str(one) for one in _chain(error) if type(one) is Exception), "")
    return of_litellm(500, (), orjson.dumps({"error": said}) if said else b"")


def is_no_success(body: bytes) -> bool:
    """Whether what LiteLLM answers with 200 says that it has failed, or nothing at all.

    A stream of responses begins with `response.created`, unless LiteLLM has found it to fail.

    >>> is_no_success(b'{"type":"error","error":{}}'), is_no_success(b'{"type":"message"}')
    (True, False)
    """
    return body.startswith(_NO_SUCCESS)


def of_litellm(status: int, headers: Headers, body: bytes) -> Failure:
    """A refusal of LiteLLM's own, or one whose origin it has lost.

    Args:
        status: less than 400 for a failure that LiteLLM takes for a success (`is_no_success`).
    """
    told = _told_in(body)
    said = message_in(told) or ""
    kept = [(name, value) for name, value in headers if name.lower() == b"retry-after"]
    if not kept and (seconds := seconds_to_cool(said)):
        kept = [(b"retry-after", seconds.encode())]
    if status == 408 or has_stalled(said):
        return ours(UpstreamTimeout(_NOT_IN_TIME))
    if has_broken(said):
        return _unreached("APIConnectionError")
    named = status_named_in(told) if status < 400 else None
    return ours(_in_plain_words(named or status, said), kept)


def _told_in(body: bytes) -> Any:
    """What says why: all of it, or, of a stream's event, the response in it."""
    if not body.startswith(_FAILED_RESPONSE):
        return parsed(body)
    event = parsed(body.partition(b"data: ")[2].partition(b"\n")[0])
    return event.get("response") if isinstance(event, dict) else None


def _in_plain_words(status: int, said: str) -> ProxyError:
    words = plain(said)
    if status < 400 or (status == 500 and said):
        status = 502 if status < 400 or is_unread(words) else status
        words = UNREADABLE if is_unread(words) else words
    return proxy_error(words or f"LiteLLM failed with {status}", status)

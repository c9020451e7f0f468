"""What LiteLLM's words say, without what it has put around them.

It wraps a provider's words in the names of two or three classes of exceptions, prints bytes and
objects as Python writes them, and has advice on its own settings behind. Where a provider answers
with 200 and nothing that LiteLLM can read, or with an error, it quotes all that came. Nothing here
imports LiteLLM: these are texts.
"""

from __future__ import annotations

import ast
import re
from contextlib import suppress
from typing import Any, Final

import orjson

from ccproxyd.errors import (
    UNREADABLE,
    ProxyError,
    Unknown,
    anthropic_status,
    message_in,
    proxy_error,
)

_CLASSES: Final = re.compile(
    r"(litellm\.\w+: |[A-Z]\w*(Error|Exception|Timeout): |Timeout Error: "
    r"|[\w-]+(Exception|Error) -( |$))+"
)
_ADVICE: Final = re.compile(
    r"\. Handle with `litellm\.\w+`\.|\nLiteLLM: model group |\nmodel=\S+\. context_window_fall"
    r"|\nTraceback \(most recent call last\):\n|Deployment Info: |Set 'context_window_fallback'"
    r"|Received Model Group=| Original exception: \w+: litellm\.|Received Messages=| Passed model="
)
"""How what LiteLLM adds begins."""
_WRITTEN_BY_LITELLM: Final = ("litellm.", "Invalid request format: litellm.")
_COOLING_DOWN: Final = re.compile(r"[Tt]ry again in (\d+) seconds")
_STALLED: Final = (
    "Timeout on reading data from socket",
    "Request timed out",
    "Connection timed out",
)
_BROKEN: Final = ("Response payload is not completed", "Server disconnected", "Connection error.")
"""What aiohttp says, and, where LiteLLM quotes them, other libraries. A text can be long, and quote
a conversation: it is looked through once."""
_NO_WORDS: Final = (
    "<",
    "{",
    "Expecting value: line",
    "Error parsing chunk: ",
    "Checksum mismatch: ",
    "Empty or invalid response from LLM endpoint",
    "Unable to get json response",
    "LiteLLM: provider returned ",
    "openai closed the responses stream before any terminal event",
)
"""How a text begins that LiteLLM has about an answer that it cannot read, or quotes from it."""
_PRINTED: Final = re.compile(r"""b['"]|\{'|\(\d{3}, ['"]""")
_PRINTED_ANSWER: Final = re.compile(r"""\(\d{3}, ['"]""")
_LONGEST_ERROR: Final = 32 * 1024
"""Bytes; LiteLLM looks through the words of an exception for a second for each megabyte of them."""
_LONGEST_WORDS: Final = 4000
_FIELDS: Final = (b"data:", b"event:", b"id:", b"retry:", b":")
"""How the lines of a stream of events begin."""
_IS_STATUS: Final = re.compile("[45][0-9][0-9]")


def plain(text: str) -> str:
    r"""A message without the wrapping that LiteLLM has put around it.

    >>> plain("litellm.RateLimitError: RateLimitError: OpenAIException - slow down")
    'slow down'
    >>> plain('litellm.BadRequestError: AnthropicException - {"error": {"message": "no"}}')
    'no'
    >>> plain("TypeError: is what the provider says")
    'TypeError: is what the provider says'
    """
    advice = _ADVICE.search(text)
    said = text[: advice.start()].rstrip("\n") if advice else text
    if is_litellms_own(said):
        said = said[said.index("litellm.") :]
        classes = _CLASSES.match(said)
        said = said[classes.end() :] if classes else said
    elif not _PRINTED_ANSWER.match(said):
        return said
    return message_in(unquoted(said)) or said


def unquoted(said: str) -> Any:
    """LiteLLM prints bytes, an object, or a status with a body, as Python writes them."""
    value: Any = said
    if _PRINTED.match(said):
        with suppress(SyntaxError, ValueError, MemoryError, RecursionError):
            value = ast.literal_eval(said)
    value = value[-1] if isinstance(value, tuple) else value
    value = value.encode() if isinstance(value, str) else value
    return parsed(value) if isinstance(value, bytes) else value


def parsed(body: bytes) -> Any:
    """JSON's value, or the text that is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode("utf-8", "replace")


def is_litellms_own(said: str) -> bool:
    """Whether it is LiteLLM that speaks, and not whom it quotes."""
    return said.startswith(_WRITTEN_BY_LITELLM)


def is_unread(words: str) -> bool:
    """Whether these say only that an answer could not be read, or are what came in place of one."""
    return not words or words.startswith(_NO_WORDS)


def seconds_to_cool(said: str) -> str | None:
    """For how long LiteLLM will not ask a label's deployments, where it says so.

    >>> seconds_to_cool("No deployments available, Try again in 30 seconds.")
    '30'
    """
    found = _COOLING_DOWN.search(said)
    return found.group(1) if found else None


def has_stalled(said: str) -> bool:
    """Whether a provider has not gone on in time."""
    return _says(said, _STALLED)


def has_broken(said: str) -> bool:
    """Whether a provider has hung up, or was never there."""
    return _says(said, _BROKEN)


def _says(said: str, words: tuple[str, ...]) -> bool:
    """Whether aiohttp says so, or, behind a word of LiteLLM's own, somebody else."""
    aiohttps, *others = words
    start = said.find("litellm.")
    return aiohttps in said or (start >= 0 and any(said.find(one, start) >= 0 for one in others))


class Aside:
    """What an answer says that was to be a stream of events, and is none.

    A provider, or a proxy before it, may answer with an error, or a page, and status 200. As much
    of it is kept as an error may have; comments, which keep a stream alive, say nothing.
    """

    def __init__(self) -> None:
        self._kept = bytearray()

    def hear(self, piece: bytes) -> None:
        """The next bytes of it."""
        self._kept += piece[: _LONGEST_ERROR - len(self._kept)]

    @property
    def error(self) -> ProxyError | None:
        """What it was, unless it has said nothing at all.

        >>> aside = Aside()
        >>> aside.hear(b': a comment\\n\\n{"error": "slow down"}')
        >>> aside.error
        ProxyError('slow down')
        """
        lines = bytes(self._kept).splitlines()
        said = b"\n".join(line for line in lines if not line.startswith(_FIELDS)).strip()
        return told_by_an_error(parsed(said)) if said else None


def told_by_an_error(body: Any) -> ProxyError:
    """What came with a status of success: with the status that it names for itself, or 502.

    >>> told_by_an_error({"error": {"message": "slow down", "code": "429"}}).code
    429
    """
    words = message_in(body) or ""
    if is_unread(words):
        return ProxyError(UNREADABLE, code=502)
    told = words if len(words) <= _LONGEST_WORDS else f"{words[:_LONGEST_WORDS]} ..."
    return proxy_error(told, status_named_in(body) or 502)


def status_named_in(body: Any) -> int | None:
    """By a number, or by Anthropic's name for it; `api_error` LiteLLM calls what has no name."""
    inner = body.get("error") if isinstance(body, dict) else None
    error = inner if isinstance(inner, dict) else body
    if not isinstance(error, dict):
        return None
    named = anthropic_status(error.get("type"))
    return status_in(error.get("code")) or (None if named == Unknown.code else named)


def status_in(code: object) -> int | None:
    """The status of a failure that this code is, as a number or in letters.

    >>> status_in("429"), status_in(503), status_in("rate_limited")
    (429, 503, None)
    """
    return int(str(code)) if _IS_STATUS.fullmatch(str(code)) else None

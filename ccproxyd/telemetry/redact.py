"""What must never be written, taken out of a text.

A LiteLLM that fails to start explains itself in free text, and the person who waits needs it; but a
traceback can hold a key, a header or a URL with a password. This removes what is recognisable as a
secret. It cannot recognise a prompt, so no free text at all is taken from a worker once it has
served a request.

Our own words are about keys and tokens as well: `api_key: must be a text`. Of them only that is
taken out which is a secret by its looks (`redact_known`), not what stands behind such a name.
"""

from __future__ import annotations

import re
from typing import Final

MARK: Final = "[redacted]"
_PASSES: Final = 4
"""What one pass takes out may leave something that the next one knows."""

_PATTERNS: Final = (
    # Keys by their makers' prefixes: Anthropic, OpenAI, OpenRouter (sk-), Google, GitHub, AWS,
    # Slack, Hugging Face, Groq, xAI, Perplexity, and JSON web tokens.
    re.compile(r"\b(?:sk|pk|rk)-[A-Za-z0-9_\-]{4,}"),
    # The same glued to a word: behind the `n` of a `\n` that is written out, say.
    re.compile(r"sk-[A-Za-z0-9_\-]{16,}"),
    re.compile(r"\bAIza[A-Za-z0-9_\-]{20,}"),
    re.compile(r"\bya29\.[A-Za-z0-9_\-.]+"),
    re.compile(r"\b(?:gh[pousr]|github_pat)_[A-Za-z0-9_]{16,}"),
    re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}"),
    re.compile(r"\bxox[a-z]-[A-Za-z0-9-]{8,}"),
    re.compile(r"\b(?:hf|gsk|xai|pplx|nvapi)[_-][A-Za-z0-9_\-]{8,}"),
    re.compile(r"\beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]*"),
)

_BEARER: Final = re.compile(r"\b(bearer|basic)\s+[^\s'\",;)}\]]+", re.IGNORECASE)

_PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,20}PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
# A header has several to the end of its line; a quoted one, and one that is done, are left alone.
_COOKIE: Final = re.compile(
    r"(cookie[ \t]*:[ \t]*+)(?!'[^'\n]*'|\"[^\"\n]*\"|\[redacted\])[^\n]+", re.IGNORECASE
)

# The end of the name is enough; to look for its beginning would cost the square of a long line.
_NAMED: Final = re.compile(
    r"""(?ix)
    ( (?: api[_-]?key | (?:access|secret|private)key | [_-]key | authorization | token | secret
        | password | passwd | passphrase | credential s? | cookie ) \\* ['"]? \s* [:=] \s* )
    (?: \\+ (?P<mark> ['"] ) .*? \\ (?P=mark)
    | '(?: \\. | [^'\\] )*' | "(?: \\. | [^"\\] )*" | [^\s,;)}&] ) [^\s,;)}&]*
    """
)

_URL_USER: Final = re.compile(r"(://)[^\s/'\"]+@")
_URL_QUERY: Final = re.compile(r"(\bhttps?://[^\s?'\"]+\?)[^\s'\"]+", re.IGNORECASE)


def redact(text: str) -> str:
    """The text without what looks like a secret.

    >>> redact("Authorization: Bearer abc.def, api_key='k-1'")
    'Authorization: [redacted], api_key=[redacted]'
    >>> redact("GET https://user:pw@host/v1?key=abc failed with sk-ant-1234567")
    'GET https://[redacted]@host/v1?[redacted] failed with [redacted]'
    """
    for _ in range(_PASSES):
        cleaned = _one_pass(text)
        if cleaned == text:
            break
        text = cleaned
    return text


def redact_known(text: str) -> str:
    """A text of ours without what looks like a secret, whatever it is called.

    >>> redact_known("api_key: must be a text, not sk-ant-1234567")
    'api_key: must be a text, not [redacted]'
    """
    text = _PRIVATE_KEY.sub(MARK, text)
    text = _URL_USER.sub(rf"\1{MARK}@", text)
    text = _URL_QUERY.sub(rf"\1{MARK}", text)
    text = _BEARER.sub(MARK, text)
    for pattern in _PATTERNS:
        text = pattern.sub(MARK, text)
    return text


def _one_pass(text: str) -> str:
    return _NAMED.sub(_keep_name, redact_known(_COOKIE.sub(_keep_name, text)))


def _keep_name(match: re.Match[str]) -> str:
    return match.group(1) + MARK


_STACK_LINE: Final = re.compile(
    r"""(?x)
    \s* File \s " (?: [^"]{0,400} \.pyx? | < [\w .:-]{0,60} > ) ", \s line \s \d+
      (?: \s in \s [\w<>.]+ )? \s* $
    | (?: Current \s )? [Tt]hread \s 0x [0-9a-f]+ (?: \s \[ [^\]]{0,32} \] )?
      \s \( most \s recent \s call \s first \): \s* $
    | Fatal \s Python \s error: \s [A-Z] [\w\s]{0,40} $
    | \s* <no \s Python \s frame> \s* $
    """
)


def is_stack_line(line: str) -> bool:
    """Whether a line is one that faulthandler writes: places in code, and nothing that they hold.

    >>> is_stack_line('  File "app.py", line 7 in serve')
    True
    >>> is_stack_line("ValueError: what the user asked")
    False
    """
    return _STACK_LINE.match(line) is not None

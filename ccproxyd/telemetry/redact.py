"""What must never be written, taken out of a text.

A LiteLLM that fails to start explains itself in free text, as does a module of the user's, and the
person who waits needs it; but a traceback can hold a key, a header or a URL with a password. This
removes what is recognisable as a secret: by its looks, by the name that it stands behind, by its
place in a header or a URL. It cannot recognise a prompt, so no free text at all is taken from a
worker once it has served a request.

It is for whatever leaves. Our own errors are about keys as well (`config.yaml: general_settings.
master_key: must be a text`): the path of a field is no name of a value.

Rather one word too many than a secret; but what tells somebody the cause stays: models, files,
types of exceptions, names of fields, numbers of tokens.

A line may be of any length and from anybody, so nothing here costs more than in proportion to it:
where a pattern looks ahead or to a beginning, it is bounded.
"""

from __future__ import annotations

import re
from typing import Final

MARK: Final = "[redacted]"
_PASSES: Final = 4
"""What one pass takes out may leave something that the next one knows."""

_PATTERNS: Final = (
    # Keys by their makers' prefixes: Anthropic, OpenAI, OpenRouter (sk-), Google, GitHub, GitLab,
    # AWS, Slack, Hugging Face, Groq, xAI, Perplexity, NVIDIA, Fireworks, Replicate, Together,
    # Stripe, Databricks, Tavily, Jina, LangSmith, Atlassian, npm, PyPI, Docker, DigitalOcean,
    # Shopify, Linear, Notion, Grafana, Sentry, Supabase, Twilio, Mailgun, SendGrid, Vault, Doppler,
    # Telegram's bots, age, and JSON web tokens.
    # Models, labels and people have names that begin so, too: short ones without a figure.
    re.compile(r"\bsk-(?=[A-Za-z_\-]{0,40}\d)[A-Za-z0-9_\-]{4,}"),
    re.compile(r"\bsk-(?:ant|proj|or|svcacct|ccproxy)-[A-Za-z0-9_\-]{4,}"),
    re.compile(r"\b[pr]k-(?=[A-Za-z_\-]{0,40}\d)[A-Za-z0-9_\-]{8,}"),
    # The same glued to a word: behind the `n` of a `\n` that is written out, say; but not what
    # `task-`, `risk-`, `disk-`, `desk-`, `mask-`, `flask-` and their like begin.
    re.compile(r"(?<!ta|ri|di|de|ma|la|io|hi|tu|du|hu|ba)sk-[A-Za-z0-9_\-]{16,}"),
    re.compile(r"sk-(?:ant|proj|or)-[A-Za-z0-9_\-]{16,}"),
    re.compile(r"\bAIza[A-Za-z0-9_\-]{20,}"),
    re.compile(r"\bya29\.[A-Za-z0-9_\-.]+"),
    re.compile(r"\b1//0[A-Za-z0-9_\-]{20,}"),
    re.compile(r"\b(?:GOCSPX|xapp|tvly|pypi|HRKU|NRAK|AGE-SECRET-KEY)-[A-Za-z0-9_\-]{16,}"),
    re.compile(r"\b(?:gh[pousr]|github_pat)_[A-Za-z0-9_]{16,}"),
    re.compile(r"\bglpat-[A-Za-z0-9_\-]{16,}"),
    re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}"),
    re.compile(r"\bxox[a-z]-[A-Za-z0-9-]{8,}"),
    re.compile(r"\b(?:hf|gsk|xai|pplx|nvapi)[_-](?=[A-Za-z0-9]{12})[A-Za-z0-9_\-]{16,}"),
    re.compile(r"\b(?:fw|r8|tgp_v1|[sr]k_live|[sr]k_test)_[A-Za-z0-9_\-]{16,}"),
    re.compile(
        r"\b(?:whsec|dckr_pat|do[opr]_v1|shp(?:at|ca|pa|ss)|lsv2_(?:pt|sk)|lin_api|glsa"
        r"|sntrys|sbp|pscale_(?:tkn|pw)|jina|esecret)_(?=[A-Za-z_\-]{0,40}\d)[A-Za-z0-9_\-]{16,}"
    ),
    # npm's and Notion's; names of several words begin so, too.
    re.compile(r"\b(?:npm|ntn|secret)_(?=[A-Za-z]{0,40}\d)[A-Za-z0-9]{16,}"),
    re.compile(r"\b(?:dapi|SK|key-)[0-9a-f]{32}\b"),
    re.compile(r"\b(?:SG|hvs|dp\.[a-z]{2})\.[A-Za-z0-9_\-]{16,}(?:\.[A-Za-z0-9_\-]{16,})?"),
    re.compile(r"\b(?:ATATT|ATCTT)[A-Za-z0-9_\-=]{20,}"),
    re.compile(r"\b\d{6,12}:AA[A-Za-z0-9_\-]{30,}"),
    re.compile(r"\beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]*"),
)

# What has no maker's prefix, but is as long as a key and as mixed: no word and no number is, and a
# digest has no capitals.
_MIXED: Final = re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9]{32,}")
_FEWEST_OF_A_KIND: Final = 2
"""Capitals, small letters and figures, of each."""
_MIXED_SOON: Final = 200
"""Characters; a line may be of any length."""

_KEY_BEGINS: Final = re.compile(r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY(?: BLOCK)?-----")
_KEY_ENDS: Final = re.compile(r"-----END [A-Z ]{0,20}PRIVATE KEY(?: BLOCK)?-----")
_PRIVATE_KEY: Final = re.compile(rf"{_KEY_BEGINS.pattern}.*?(?:{_KEY_ENDS.pattern}|\Z)", re.DOTALL)
# One that has lost its beginning: nothing but base64, and as long as such lines are.
_KEY_LINE: Final = re.compile(
    r"(?m)^[ \t]*+(?=[a-z0-9+/]*+[A-Z])(?=[A-Z0-9+/]*+[a-z])[A-Za-z0-9+/]{60,}+={0,2}[ \t]*+$"
)
_KEY_PIECE: Final = re.compile(
    r"^\s*[A-Za-z0-9+/=]*[\\n'\",;)]*\s*$|[A-Za-z0-9+/]{40}|^\s*(?:Proc-Type|DEK-Info):"
)
_LONGEST_KEY: Final = 200
"""Lines; one that never ends must not silence a process."""

_QUOTED: Final = r"""(?:
    b? \\+ (?P<mark> ['"] ) .*? \\ (?P=mark)
    | b? '(?: \\. | [^'\\] )*+' | b? "(?: \\. | [^"\\] )*+"
)"""

_PLACE: Final = r"[ ] \( [\w./-]{1,200} : \d{1,9} \) [ \t]* (?: \n | \Z )"
"""What we say last of an exception: where it came from."""

# A header has several words to the end of its line, or of the quotes that stand around all of it.
_QUOTED_HEADER: Final = re.compile(
    r"""(?ix)
    (?<= (?P<around> ['"] ) ) ( [\w-]{0,40} (?: authorization | cookie ) [ \t]* [:=] [ \t]*+ )
    (?: (?! (?P=around) ) [^\n] )++ (?= (?P=around) )
    """
)
_HEADER: Final = re.compile(
    rf"""(?ix)
    ( (?: authorization | cookie ) \\* ['"]? [ \t]* [:=] [ \t]*+ )
    (?: {_QUOTED} | (?! \[redacted\] ) (?: (?! {_PLACE} ) [^\n] )++ )
    """
)
# What a header with these schemes is known by, where its name is not told.
_SIGNED: Final = re.compile(r"\b(?:AWS4-HMAC-SHA256|Digest)\s+\w+=[^\n]+")
# `(b"x-api-key", b"...")`; a list must look like one of headers, not of the names of fields.
_PAIR: Final = re.compile(
    rf"""(?ix)
    ( (?: \( \s* b? ['"] | \[ \s* b? ['"] (?= \w{{0,40}} - | auth | cookie ) ) [\w-]{{0,60}}?
      (?: authorization | cookie | key | token | secret | password ) ['"] \s* , \s* )
    {_QUOTED} (?= \s* [)\]] )
    """
)

_BEARER: Final = re.compile(
    r"""(?ix)
    \b bearer (?: ['"]? \s* : \s* | ['"]? \s+ | %20 | \+ ) ['"]?
    (?! (?: auth\w* | tokens? | keys? ) (?! [\w.~+/=-] ) ) [^\s'",;)}\]]+
    """
)
# The word is an everyday one; what stands behind it has to look like base64.
_BASIC: Final = re.compile(
    r"""(?x)
    \b [Bb] (?: asic | ASIC ) (?: \s+ | %20 | \+ ) ['"]?
    (?= [A-Za-z0-9+/]{0,200} [A-Z0-9=] ) [A-Za-z0-9+/]{8,} ={0,2}
    """
)

# The end of the name is enough; to look for its beginning would cost the square of a long line.
_NAMED: Final = re.compile(
    rf"""(?ix)
    ( (?: api[ _-]?key | (?:access|secret|private)key | [_-]key | token | secret
        | password | passwd | pwd | passphrase | credential s? | signature
        | (?<= [?&] ) (?: key | sig | code )
        | (?<! [a-z] ) (?: pass | auth ) (?= \s* = ) )
      (?: \s+ (?: provided | given | used | sent | was | is ) )? \\* ['"]? \]? \s* [:=] \s* )
    (?: {_QUOTED} | ['"] [^\n]* | [^\s,;)}}&] ) [^\s,;)}}&]*
    """
)
_OPTION: Final = re.compile(
    r"""(?ix)
    ( -- [\w-]{0,40}? (?: [_-]key | apikey | token | secret | password | passphrase ) \s+ )
    (?! (?: and | for | is | must | needs | or | requires | the | to | was | with ) \b ) [^\s,;]+
    """
)
_SPOKEN: Final = re.compile(
    r"""(?ix)
    ( \b api[ _-]?key \s+ ['"]? ) (?= [^\s\d]{0,60} \d ) [\w.~+/=-]{12,}
    """
)
# Pydantic's word for whatever a config has in a field's place.
_INPUT: Final = re.compile(r"(?s)(input_value=)(?:.{0,300}?(?=, input_type=)|[^\n]+)")

_URL: Final = re.compile(r"//[^\s'\"<>]+")
_AUTHORITY: Final = re.compile(r"//(?:\[[^\]]*\])?[^/?#]*")
_PORT: Final = re.compile(r"\d*")
# Without a scheme and a host: what stands before it is a path, or any other word.
_QUERY: Final = re.compile(r"(?<=[\w/\]}])(\?)[\w.\-\[\]%$]{1,100}=[^\s'\"]*")
_WEBHOOK: Final = re.compile(
    r"""(?ix)
    ( \b (?: hooks\.slack\.com | discord (?:app)? \.com/api/webhooks | webhook\.office\.com
        | hooks\.zapier\.com | api\.telegram\.org ) / ) [^\s'"<>]+
    """
)

_FIELD: Final = re.compile(
    r"(?:[\w ./-]{1,200}: ){0,3}?[^\n:]{1,200}\.ya?ml: "
    r"\w{1,60}[.\[][\w.\[\]/-]{1,300}(?=: (?:[a-z]+ |[A-Z]\w{1,60}: ))"
)
"""Of our own errors: the file and the field, behind what cannot be done and before why."""


def redact(text: str) -> str:
    """The text without what looks like a secret.

    >>> redact("api_key='k-1', Authorization: Token abc, def")
    'api_key=[redacted], Authorization: [redacted]'
    >>> redact("GET https://user:pw@host/v1?key=abc failed with sk-ant-1234567")
    'GET https://[redacted]@host/v1?[redacted] failed with [redacted]'
    >>> redact("config.yaml: general_settings.master_key: must be a text")
    'config.yaml: general_settings.master_key: must be a text'
    """
    field = _FIELD.match(text)
    if field:
        return _by_looks(field[0]) + redact(text[field.end() :])
    for _ in range(_PASSES):
        cleaned = _one_pass(text)
        if cleaned == text:
            break
        text = cleaned
    return text


class LinesRedactor:
    """The same for a stream of lines: a private key is known by its first, and goes to its last.

    Others may write between its lines; what could be no piece of a key is told.
    """

    def __init__(self) -> None:
        self._left = 0
        """Lines that a key may still have; 0 where there is none."""

    def __call__(self, line: str) -> str:
        """The line without what looks like a secret; nothing is left of one that is all key."""
        was_inside = self._left > 0
        end = _last(_KEY_ENDS, line)
        if _last(_KEY_BEGINS, line) > end:
            self._left = _LONGEST_KEY
        else:
            self._left = 0 if end else max(0, self._left - 1)
        if not was_inside:
            return redact(line)
        rest = line[end:]
        return "" if _KEY_PIECE.search(rest) else redact(rest)


def _last(pattern: re.Pattern[str], line: str) -> int:
    """Where the last match ends; 0 if there is none."""
    return max((match.end() for match in pattern.finditer(line)), default=0)


def _one_pass(text: str) -> str:
    text = _PRIVATE_KEY.sub(MARK, text)
    text = _KEY_LINE.sub(MARK, text)
    text = _QUOTED_HEADER.sub(rf"\2{MARK}", text)
    for pattern in (_HEADER, _PAIR, _INPUT):
        text = pattern.sub(rf"\1{MARK}", text)
    text = _SIGNED.sub(MARK, text)
    text = _by_looks(text)
    for pattern in (_NAMED, _OPTION, _SPOKEN):
        text = pattern.sub(rf"\1{MARK}", text)
    return text


def _by_looks(text: str) -> str:
    """Without what is a secret whatever it is called."""
    text = _WEBHOOK.sub(rf"\1{MARK}", text)
    text = _URL.sub(_clean_url, text)
    text = _QUERY.sub(rf"\1{MARK}", text)
    text = _BEARER.sub(MARK, text)
    text = _BASIC.sub(MARK, text)
    for pattern in _PATTERNS:
        text = pattern.sub(MARK, text)
    return _MIXED.sub(lambda found: MARK if _is_mixed(found[0]) else found[0], text)


def _is_mixed(word: str) -> bool:
    start, kinds = word[:_MIXED_SOON], (str.isupper, str.islower, str.isdigit)
    return all(sum(map(is_one, start)) >= _FEWEST_OF_A_KIND for is_one in kinds)


def _clean_url(match: re.Match[str]) -> str:
    """A URL without its user, its query and its fragment."""
    url = match[0]
    user = _end_of_user(url)
    if user:
        url = f"//{MARK}{url[user:]}"
    place = min((at for at in (url.find("?"), url.find("#")) if at > 0), default=len(url))
    return url[: place + 1] + MARK if place + 1 < len(url) else url


def _end_of_user(url: str) -> int:
    """Where a URL's host begins, with the `@` before it; 0 where there is no user.

    A password may have a `/` in it, which ends the authority too early. What then stands before
    it has a colon and behind that no port.
    """
    found = _AUTHORITY.match(url)
    authority = found[0] if found else ""
    if "@" in authority:
        before_query = re.split(r"[?#]", url, maxsplit=1)[0]
        return before_query.rfind("@")
    _, colon, port = authority.rpartition(":")
    if colon and not authority.endswith("]") and not _PORT.fullmatch(port):
        return max(0, url.rfind("@"))
    return 0


_PATH: Final = r"/?(?:[\w.+@~\\-]{1,100}/){0,40}[\w.+@~\\-]{1,100}\.pyx?"
_MADE: Final = (
    r"<(?:string|stdin|frozen\ [\w.]{1,100}|attrs\ generated\ [\w.]{1,40}\ [\w.]{1,200})>"
)
_FATAL: Final = (
    r"Segmentation\ fault|Aborted|Bus\ error|Illegal\ instruction|Floating[-\ ]point\ exception"
)
_STACK_LINE: Final = re.compile(
    rf"""(?ax)
    \s* File \s " (?: {_PATH} | {_MADE} ) ", \s line \s \d{{1,9}}
      (?: \s in \s (?: [A-Za-z_] \w{{0,100}} | <\w{{1,20}}> ) )? \s* $
    | (?: Current \s )? [Tt]hread \s 0x [0-9a-f]+ (?: \s \[ [\w.:()\ -]{{0,32}} \] )?
      \s \( most \s recent \s call \s first \): \s* $
    | Fatal \s Python \s error: \s (?: {_FATAL} ) \s* $
    | \s* <no \s Python \s frame> \s* $
    """
)


def is_stack_line(line: str) -> bool:
    """Whether a line is one that faulthandler writes: places in code, and nothing that they hold.

    A place is a file with a module's name, a number and an identifier. A file whose name has a
    space is none: it could be anybody's words.

    >>> is_stack_line('  File "app.py", line 7 in serve')
    True
    >>> is_stack_line('  File "what the user asked.py", line 7 in serve')
    False
    """
    return _STACK_LINE.match(line) is not None

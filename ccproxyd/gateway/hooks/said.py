"""What a request says, as texts for moderation to look at.

The *newest turn* of a conversation is all that stands behind the model's last answer: messages and
the results of tools. An answer at the very end is no answer but the beginning of one, which the
client wants continued; it belongs to the turn. With it goes what holds for this one answer alone:
`instructions`, which OpenAI's responses carry over to no other, `suffix` and `prediction`.

Bytes may be anything. They are taken for a form, for JSON, for lines of JSON or for plain text,
whichever fits, so that no escape hides a word. What is no UTF-8 is looked at all the same, piece by
piece, since one such byte may stand in any text. Only what calls itself an image, sound or film,
and is no text, is passed over; so is base64, unless there is text in it.
"""

from __future__ import annotations

import binascii
import codecs
import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson

from ccproxyd.config.moderation import ALL
from ccproxyd.errors import ValidationError
from ccproxyd.gateway.bodies import is_form, is_unsaid_json
from ccproxyd.gateway.forms import Part, parts_of
from ccproxyd.routing import Request

Said = str | tuple[str, ...]
"""A text; or several that stand side by side, for what is only found where they meet."""

_TURNS: Final = ("messages", "input", "prompt")
_FOR_THIS_ANSWER: Final = ("instructions", "suffix", "prediction")
_UNSAID: Final = frozenset(
    "encrypted_content encrypted_index role signature thoughtSignature thought_signature "
    "type".split()
)
"""What is from a list of words, or for nobody to read."""
_MEDIA: Final = ("audio/", "image/", "video/")
_TEXTUAL: Final = re.compile(r"text/|.*[/+](json|jsonl|xml|yaml|x-ndjson|x-yaml|javascript)\b")
_MEDIA_TYPES: Final = ("media_type", "mime_type", "mimeType")
_DATA_URL: Final = re.compile(r"data:([^,]{0,255}?);base64,")
_MEDIA_TYPE: Final = re.compile(r"(?:[\w.+-]+/[\w.+-]+)?(?:;[\w.+=-]+)*")
_ESCAPES: Final = re.compile(r"(?:\\u[0-9a-fA-F]{4})+")
_WIDE: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_LONGEST_WORD: Final = 256
"""A key is base64, too; an image is longer."""

_PIECE: Final = 256 * 1024
_OVERLAP: Final = 4 * 1024
"""So long a text is found also where two pieces meet."""


def said_in(request: Request, scope: str) -> list[Said]:
    """The texts of the newest turn; of what is no conversation, or in scope `all`, every text.

    >>> hello, hi = {"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}
    >>> messages = [hello, hi, {"role": "user", "content": "How are you?"}]
    >>> said_in(Request({"messages": messages}), "newest")
    ['How are you?']
    """
    body = request.body
    if scope == ALL or not request.is_conversation or not request.messages:
        return strings_of(body)
    # In whatever letters: a server in Go reads `Messages`, too.
    named = [(name.casefold(), value) for name, value in body.items()]
    turns = [_newest(value) for name, value in named if name in _TURNS]
    return strings_of([*turns, *(value for name, value in named if name in _FOR_THIS_ANSWER)])


def said_in_bytes(raw: bytes, content_type: str = "") -> Iterator[Said]:
    """Every text of a body of whatever kind."""
    if not is_form(content_type) or is_unsaid_json(raw, content_type):
        yield from _texts(raw)
        return
    try:
        yield from _said_in_form(raw, content_type)
    except ValidationError:
        yield from _texts(raw)


def said_in_query(query: str) -> Iterator[Said]:
    """Every text of a query, or of a form that is written like one, names included.

    >>> list(said_in_query("prompt=Hello%2C+world&flag"))
    ['prompt', 'Hello, world', 'flag', '']
    """
    for pair in parse_qsl(query, keep_blank_values=True):
        for text in pair:
            yield from _readings(text)


def strings_of(value: Any) -> list[Said]:
    """Every string at whatever depth, but not the keys; then the blocks that stand side by side.

    >>> strings_of({"input": ["a", {"text": "b"}], "n": 1})
    ['a', 'b']
    >>> strings_of([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])
    ['a', 'b', ('a', 'b')]
    """
    found: list[Said] = []
    side_by_side: list[Said] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            if (opened := _opened_url(item)) is None:
                found.extend(_readings(item))
            else:
                waiting.extend(opened)
        elif isinstance(item, list):
            side_by_side.extend(_blocks(item))
            waiting.extend(reversed(item))
        elif isinstance(item, dict):
            waiting.extend(reversed(list(_values(item))))
    return found + side_by_side


def _newest(items: Any) -> Any:
    if not isinstance(items, list):
        return items
    end = len(items)
    while end and _is_the_models(items[end - 1]):
        end -= 1
    start = end
    while start and not _is_the_models(items[start - 1]):
        start -= 1
    return items[start:]


def _is_the_models(item: Any) -> bool:
    """An answer, or an item of one in the shape of OpenAI's responses."""
    if not isinstance(item, dict):
        return False
    kind = item.get("type")
    is_item = isinstance(kind, str) and (kind == "reasoning" or kind.endswith("_call"))
    return is_item or item.get("role") == "assistant"


def _blocks(items: list[Any]) -> Iterator[Said]:
    found = tuple(
        item["text"]
        for item in items
        if isinstance(item, dict) and isinstance(item.get("text"), str)
    )
    if len(found) > 1:
        yield found


def _values(block: dict[str, Any]) -> Iterator[Any]:
    """What there is to read in a block, documents opened."""
    if block.get("type") == "redacted_thinking":
        return
    for name, value in block.items():
        if name in _UNSAID:
            continue
        media_type = _media_type(block, name)
        if media_type is not None and isinstance(value, str):
            yield from _opened(value, media_type)
        else:
            yield value


def _media_type(block: dict[str, Any], field: str) -> str | None:
    """That of a field with base64, "" where it is not said; of another field None."""
    if field not in ("data", "file_data") or block.get("type") == "text":
        return None
    named = (block[name] for name in _MEDIA_TYPES if isinstance(block.get(name), str))
    if (said := next(named, None)) is not None:
        return str(said).lower()
    if isinstance(block.get("format"), str):
        return "audio/"
    return "" if field == "file_data" or block.get("type") == "base64" else None


def _opened_url(text: str) -> list[Any] | None:
    """What a data URL holds, None where the text is none."""
    found = _DATA_URL.match(text) if text.startswith("data:") else None
    if found is None:
        return None
    # Words in the place of a type are words.
    said = [] if _MEDIA_TYPE.fullmatch(found[1]) else [found[1]]
    return [*said, *_opened(text[found.end() :], found[1].lower())]


def _opened(text: str, media_type: str) -> list[Any]:
    """What a base64 document says; and what looks like none, or like a word, as it stands."""
    own = [text] if len(text) <= _LONGEST_WORD or " " in text else []
    is_text = _TEXTUAL.match(media_type) is not None
    if media_type.startswith(_MEDIA) and not is_text:
        return own
    try:
        raw = _from_base64(text)
    except ValueError:
        return [text]
    if (value := _json_of(raw)) is not None:
        return [*own, value, *_decoded(raw)]
    return [*own, *_decoded(raw)] if is_text or _is_utf8(raw) else own


def _from_base64(text: str) -> bytes:
    """In either alphabet, in lines or not, padded or not.

    Raises:
        ValueError: it is none.
    """
    text = text.replace("\r", "").replace("\n", "").replace("-", "+").replace("_", "/")
    return binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)


def _said_in_form(raw: bytes, content_type: str) -> Iterator[Said]:
    """
    Raises:
        ValidationError: it cannot be read as a form.
    """
    if "multipart" not in content_type.lower():
        yield from said_in_query(raw.decode("utf-8", "replace"))
        return
    for part in parts_of(raw, content_type):
        yield from _said_in_part(part)


def _said_in_part(part: Part) -> Iterator[Said]:
    yield part.name
    if part.filename:
        yield part.filename
    if part.filename is None and part.charset != "utf-8":
        yield from _readings(part.text)
    if not part.media_type.startswith(_MEDIA) or _is_utf8(part.content):
        yield from _texts(part.content)


def _texts(raw: bytes) -> Iterator[Said]:
    """All of it as it stands; of JSON also the strings, line by line if need be."""
    raw = raw.removeprefix(codecs.BOM_UTF8)
    if _begins_as_json(raw):
        whole = _json_of(raw)
        values = [whole] if whole is not None else map(_json_of, raw.split(b"\n"))
        for value in values:
            yield from strings_of(value)
    for text in _decoded(raw):
        yield from _readings(text)


def _json_of(raw: bytes) -> Any:
    """An object or a list, else None: a number or a word may as well be a text."""
    if not _begins_as_json(raw):
        return None
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None


def _begins_as_json(raw: bytes) -> bool:
    return raw.lstrip()[:1] in (b"{", b"[")


def _decoded(raw: bytes) -> Iterator[str]:
    """What is no UTF-8 comes in pieces, so that other threads get their turn between two."""
    if raw[:2] in _WIDE:
        yield raw.decode("utf-16", "replace")
    if _is_utf8(raw):
        yield raw.decode()
        return
    for start in range(0, len(raw), _PIECE):
        yield raw[max(start - _OVERLAP, 0) : start + _PIECE].decode("utf-8", "replace")


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _readings(text: str) -> Iterator[str]:
    r"""A text as it stands, and as JSON in a string: a tool that writes JSON says Z\u00fcrich."""
    yield text
    if r"\u" in text and (read := _ESCAPES.sub(_unescaped, text)) != text:
        yield read


def _unescaped(found: re.Match[str]) -> str:
    return bytes.fromhex(found[0].replace(r"\u", "")).decode("utf-16-be", "replace")

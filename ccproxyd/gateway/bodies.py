"""The bytes of a request, and what they ask for.

The whole body is held: it is parsed once, and a worker that dies before it answers must not cost
the request. Clients send up to half a megabyte on every turn, and attachments are larger, so the
cap is only there to keep one broken client from taking all memory.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from io import BytesIO
from typing import Any, Final
from urllib.parse import parse_qs

import orjson

from ccproxyd.errors import ProxyError, ValidationError
from ccproxyd.gateway.forms import parts_of

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

MAX_BODY_BYTES: Final = 512 * 1024 * 1024
MAX_UNPACKED_BYTES: Final = 64 * 1024 * 1024
"""Half a megabyte can be packed gigabytes; a conversation is a tenth of this."""

_GZIP: Final = zlib.MAX_WBITS | 16
_PACKED: Final = {
    "gzip": (_GZIP,),
    "x-gzip": (_GZIP,),
    "deflate": (zlib.MAX_WBITS, -zlib.MAX_WBITS),
}
"""What zlib is to look for. Deflate is meant to have zlib's own head, and of some has none."""
_STEP_BYTES: Final = 16 * 1024
"""Of what is packed; a thousand times as much can come of it."""


class ClientGoneError(Exception):
    """The client went away; there is nobody to answer."""


async def read_body(receive: Receive) -> bytes:
    """The whole body.

    Raises:
        ClientGoneError: the client went away before it had sent everything.
        ProxyError: 413, it is larger than any request is.
    """
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        piece: bytes = message.get("body", b"")
        pieces.append(piece)
        size += len(piece)
        if size > MAX_BODY_BYTES:
            raise too_large(MAX_BODY_BYTES)
        if not message.get("more_body", False):
            return b"".join(pieces)


def check_type(pairs: Iterable[tuple[bytes, bytes]]) -> None:
    """A body is of one type: LiteLLM goes by the first line that says which, and we by the last.

    Raises:
        ValidationError: the lines differ.
    """
    if len({value for name, value in pairs if name == b"content-type"}) > 1:
        raise ValidationError("the request has two headers 'content-type', which differ")


def encodings_in(pairs: Iterable[tuple[bytes, bytes]]) -> tuple[str, ...]:
    """How a body was compressed, by all the lines that say so.

    >>> encodings_in([(b"content-encoding", b"GZip, identity"), (b"content-encoding", b"")])
    ('gzip',)
    """
    lines = [value.decode("latin-1") for name, value in pairs if name == b"content-encoding"]
    named = (kind.strip().lower() for kind in ",".join(lines).split(","))
    return tuple(kind for kind in named if kind not in ("", "identity"))


def unpack(raw: bytes, encodings: Sequence[str]) -> bytes:
    """What was compressed, for it is read here.

    Raises:
        ProxyError: 415, the encoding is another one, or one of several; 400, it is not of this
            encoding; 413, there is more in it than in any request.
    """
    if (kind := ", ".join(encodings)) not in _PACKED:
        said = f"the request body is compressed as {kind[:40]!r}; gzip and deflate can be read here"
        raise ProxyError(said, code=415)
    for window in _PACKED[kind]:
        with suppress(zlib.error):
            return _unpacked(raw, window)
    raise ValidationError(f"the request body is not compressed as {kind}")


def _unpacked(raw: bytes, window: int) -> bytes:
    """In steps, so that no more is held than may be. Of gzip several may follow each other.

    Raises:
        ProxyError: there is too much in it.
        zlib.error: it is something else, or has no end, or something behind it.
    """
    found, packed = BytesIO(), zlib.decompressobj(window)
    for start in range(0, len(raw), _STEP_BYTES):
        piece = raw[start : start + _STEP_BYTES]
        while piece:
            if packed.eof and window != _GZIP:
                raise zlib.error
            packed = zlib.decompressobj(window) if packed.eof else packed
            if found.write(packed.decompress(piece)) and found.tell() > MAX_UNPACKED_BYTES:
                raise too_large(MAX_UNPACKED_BYTES, " when it is unpacked")
            piece = packed.unused_data
    if not packed.eof:
        raise zlib.error
    return found.getvalue()


def too_large(most: int, when: str = "") -> ProxyError:
    return ProxyError(f"the request is larger than {most} bytes{when}", code=413)


def parse_body(
    raw: bytes, content_type: str, loads: Callable[[bytes], Any] = orjson.loads
) -> dict[str, Any]:
    """What the body says, as a mapping; of a form only the fields that a rule could read.

    >>> parse_body(b'{"model": "haiku"}', "application/json")
    {'model': 'haiku'}

    Raises:
        ValidationError: it is neither a JSON object nor a whole form, or has fields of other kinds.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return _form_fields(raw, content_type)
    if kind == "application/x-www-form-urlencoded":
        return {name: values[0] for name, values in parse_qs(raw.decode("latin-1")).items()}
    return _json_object(raw, loads)


def check_names(raw: bytes) -> None:
    """Of JSON, that it says the same to every reader; what is none passes.

    A server in Go takes `Messages` for `messages`. In the body itself these are refused, too, but
    not deeper: what a tool is given may well have two such names.

    Raises:
        ValidationError: an object has a name twice, or the body one in other letters, and readers
            differ in which of the two counts.
    """
    found = None
    try:
        with suppress(ValueError):
            found = json.loads(
                raw.decode(), object_pairs_hook=_once, parse_int=str, parse_float=str
            )
    except RecursionError:
        raise ValidationError("the request body is nested too deeply") from None
    if isinstance(found, dict) and len({name.casefold() for name in found}) < len(found):
        raise ValidationError("the request body has two names that differ in case alone")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValidationError("the request body has an object with a name twice")
    return found


def is_unsaid_json(raw: bytes, content_type: str) -> bool:
    """Whether a body is JSON and does not say so: curl calls whatever it sends a form.

    >>> is_unsaid_json(b'{"model": "x"}', "application/x-www-form-urlencoded")
    True
    """
    kind = content_type.partition(";")[0].strip().lower()
    return kind in ("", "application/x-www-form-urlencoded") and raw.lstrip()[:1] == b"{"


def is_form(content_type: str) -> bool:
    """Whether a body of this type is read as a form, and cannot be written again."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind in ("multipart/form-data", "application/x-www-form-urlencoded")


def with_model(body: Mapping[str, Any], model: str) -> bytes:
    """The same body, asking for another model.

    Raises:
        ValidationError: it can be read, but not be written again.
    """
    return _written({**body, "model": model})


def without(body: Mapping[str, Any], name: str) -> bytes:
    """The same body less a field.

    >>> without({"input": "x", "stream": True}, "stream")
    b'{"input":"x"}'

    Raises:
        ValidationError: it can be read, but not be written again.
    """
    return _written({key: value for key, value in body.items() if key != name})


def _written(body: Mapping[str, Any]) -> bytes:
    """The parser takes a nest of a thousand levels, the writer one of a quarter of that."""
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:
        raise ValidationError("the request body is nested too deeply") from None


def _json_object(raw: bytes, loads: Callable[[bytes], Any]) -> dict[str, Any]:
    try:
        value = loads(raw)
    except orjson.JSONDecodeError as error:
        # The parser's own message can quote the body; its position cannot.
        where = f"line {error.lineno} column {error.colno}"
        raise ValidationError(f"the request body is not valid JSON: {where}") from None
    if not isinstance(value, dict):
        raise ValidationError("the request body must be a JSON object")
    if not isinstance(value.get("model"), str | None):
        raise ValidationError("'model' must be a string")
    metadata = value.get("metadata")
    if metadata and isinstance(metadata, list | int | float):  # LiteLLM's fields go in there
        raise ValidationError("'metadata' must be an object")
    return value


_MAX_FIELD_BYTES: Final = 1024 * 1024
"""LiteLLM refuses a form with a longer one."""


def _form_fields(raw: bytes, content_type: str) -> dict[str, Any]:
    """The text fields of a multipart form; files are passed over."""
    return {
        part.name: part.text
        for part in parts_of(raw, content_type)
        if part.filename is None and len(part.content) <= _MAX_FIELD_BYTES
    }

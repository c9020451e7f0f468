"""A multipart form, as LiteLLM will read it.

What we take for a field must be what LiteLLM takes for it: a head that two parsers read in two
ways would hide a prompt from the rules and from moderation. LiteLLM reads forms by Starlette, which
reads them by python-multipart, and so do we.

A form that it cannot read, or that has no end, is refused: LiteLLM would refuse the one, and answer
the other by what it has got of it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from attrs import Factory, define, frozen
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from ccproxyd.errors import ValidationError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_SILENT: Final = logging.Logger("python_multipart", logging.CRITICAL + 1)
"""The parser warns of what it cannot read, and quotes it."""


@frozen
class Part:
    """A field, or a file: that has a `filename`, if only an empty one.

    `media_type` is "" where the part says nothing of it.
    """

    name: str
    content: bytes
    filename: str | None = None
    media_type: str = ""
    charset: str = "utf-8"
    """That of the form's names and fields."""

    @property
    def text(self) -> str:
        """That of a field."""
        return _decoded(self.content, self.charset)


def parts_of(raw: bytes, content_type: str) -> list[Part]:
    """The parts of a form, in order.

    Raises:
        ValidationError: there is no boundary, or it is no whole form.
    """
    said = parse_options_header(content_type)[1]
    boundary = said.get(b"boundary")
    if not boundary:
        raise ValidationError("the form has no boundary")
    reader = _Reader(said.get(b"charset", b"utf-8").decode("latin-1").lower())
    try:
        parser = MultipartParser(boundary, reader.callbacks())
        parser.logger = _SILENT
        parser.write(raw)
    except FormParserError:
        raise ValidationError("the form cannot be read") from None
    if not reader.is_whole:
        raise ValidationError("the form has no end")
    return reader.parts


@define
class _Reader:
    """Takes what the parser finds; where a name or a value stands, it says by two positions."""

    charset: str
    parts: list[Part] = Factory(list)
    is_whole: bool = False
    _head: dict[bytes, bytes] = Factory(dict)
    _name: bytes = b""
    _value: bytes = b""
    _content: list[bytes] = Factory(list)

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._read_name,
            "on_header_value": self._read_value,
            "on_header_end": self._end_header,
            "on_part_data": self._read_content,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        self._head, self._content = {}, []

    def _read_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _read_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._head[self._name.lower()] = self._value
        self._name = self._value = b""

    def _read_content(self, data: bytes, start: int, end: int) -> None:
        self._content.append(data[start:end])

    def _end(self) -> None:
        _, said = parse_options_header(self._head.get(b"content-disposition"))
        if b"name" not in said:
            raise ValidationError("a part of the form has no name")
        filename = said.get(b"filename")
        self.parts.append(
            Part(
                name=_decoded(said[b"name"], self.charset),
                content=b"".join(self._content),
                filename=None if filename is None else _decoded(filename, self.charset),
                media_type=_media_type(self._head.get(b"content-type")),
                charset=self.charset,
            )
        )

    def _finish(self) -> None:
        self.is_whole = True


def _decoded(raw: bytes, charset: str) -> str:
    """As Starlette does it: Latin 1 is what fits in no other way."""
    try:
        return raw.decode(charset)
    except (LookupError, ValueError):
        return raw.decode("latin-1")


def _media_type(header: bytes | None) -> str:
    return parse_options_header(header)[0].decode("latin-1")

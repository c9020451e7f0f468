"""How an answer becomes JSON, and JSON an answer.

The names are those of the JSON. The annotations are the schema: `to_json` writes by them, and
`from_json` reads by them. A client outlives an upgrade of the daemon and the daemon one of the
client, so reading is tolerant: an unknown field is passed over, and one that is missing or of
another type is an absent one, with its default. Writing is exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Any, Final, Self, get_args, get_origin, get_type_hints

from attrs import asdict, frozen

_ABSENT: Final = object()


@frozen
class Message:
    """A part of an answer."""

    @classmethod
    def accepts(cls, value: object) -> bool:
        """Whether `from_json` makes anything of the value."""
        return isinstance(value, Mapping)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: object) -> Self:
        given = value if isinstance(value, Mapping) else {}
        hints = get_type_hints(cls)
        read = {name: _read(hints[name], given[name]) for name in hints.keys() & given.keys()}
        return cls(**{name: found for name, found in read.items() if found is not _ABSENT})


def _read(hint: Any, value: object) -> Any:
    """A value as its annotation says, or `_ABSENT`."""
    origin = get_origin(hint)
    if origin is UnionType:
        return None if value is None else _read(get_args(hint)[0], value)
    if origin is tuple:
        return _read_items(get_args(hint)[0], value)
    if origin is Mapping:
        return _read_mapping(get_args(hint)[1], value)
    if issubclass(hint, Message):
        return hint.from_json(value) if hint.accepts(value) else _ABSENT
    return _read_scalar(hint, value)


def _read_items(hint: Any, value: object) -> Any:
    if not isinstance(value, list | tuple):
        return _ABSENT
    read = (_read(hint, item) for item in value)
    return tuple(found for found in read if found is not _ABSENT)


def _read_mapping(hint: Any, value: object) -> Any:
    if not isinstance(value, Mapping):
        return _ABSENT
    read = {str(key): _read(hint, item) for key, item in value.items()}
    return {key: found for key, found in read.items() if found is not _ABSENT}


def _read_scalar(hint: type, value: object) -> Any:
    """JSON has one kind of number, and Python takes a bool for an int: neither may confuse us."""
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, bool):
        return _ABSENT
    return value if isinstance(value, hint) else _ABSENT

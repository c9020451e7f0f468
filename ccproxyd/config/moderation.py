"""`ccproxy.moderation`: what may not be sent to any provider.

    enabled: true
    deny: ['(?i)project zeus', 'AKIA[0-9A-Z]{16}']
    check: my_checks.guard     # async_moderation_hook(data, user_api_key_dict, call_type)
    message: ask the legal department
    scope: all                 # not the newest turn alone

The patterns are compiled by the `regex` package, which understands what Python's own `re` does. It
has what `re` lacks and a pattern from a config needs: a time limit, for one that would try for
years to match a text, and it lets other threads run meanwhile.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import field, frozen

from ccproxyd.config.fields import Fields, kind_of
from ccproxyd.errors import ConfigError

PATH: Final = "ccproxy.moderation"
REFUSED: Final = "the request was refused by moderation"

NEWEST: Final = "newest"
ALL: Final = "all"
SCOPES: Final = (NEWEST, ALL)


def _flag(fields: Fields, key: str, default: bool) -> bool:
    return fields.flag(key, default)


def _message(fields: Fields, key: str, default: str) -> str:
    return fields.text(key, default)


def _scope(fields: Fields, key: str, default: str) -> str:
    return fields.choice(key, default, SCOPES)


def _check(fields: Fields, key: str, default: str | None) -> str | None:
    if not fields.has(key):
        return default
    path = fields.text(key)
    if "." not in path and ":" not in path:
        raise fields.error(key, f"must be an import path such as my_checks.{path}, not {path!r}")
    return path


def _deny(fields: Fields, key: str, _default: object) -> tuple[str, ...]:
    return tuple(_pattern(item, path) for path, item in fields.items(key))


def _pattern(value: Any, path: str) -> str:
    """The pattern itself is not quoted: it may be what nobody is to read."""
    import regex  # takes 20 ms, and few have patterns

    if not isinstance(value, str):
        raise ConfigError(path, f"must be a regular expression, not {kind_of(value)}")
    if not value:
        raise ConfigError(path, "is empty, and would be found in everything")
    try:
        regex.compile(value)
    except regex.error as error:
        place = "" if error.pos is None else f" at character {error.pos + 1}"
        raise ConfigError(path, f"is no regular expression: {error.msg}{place}") from None
    return value


@frozen
class Moderation:
    """Off, unless it says otherwise."""

    enabled: bool = field(
        default=False,
        metadata={"read": _flag, "summary": "look at what is asked before it is sent anywhere"},
    )
    deny: tuple[str, ...] = field(
        default=(),
        metadata={"read": _deny, "summary": "regular expressions that may not be found in it"},
    )
    check: str | None = field(
        default=None,
        metadata={"read": _check, "summary": "the import path of a function that judges it"},
    )
    message: str = field(
        default=REFUSED,
        metadata={"read": _message, "summary": "what a refused client is told"},
    )
    scope: str = field(
        default=NEWEST,
        metadata={
            "read": _scope,
            "summary": "newest: what each turn of a conversation adds; all: all that is sent",
        },
    )

    @property
    def judges(self) -> bool:
        """Whether there is anything to judge by."""
        return bool(self.deny or self.check)

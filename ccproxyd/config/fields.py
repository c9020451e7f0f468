"""Typed getters over a parsed document, whose errors carry the field's path.

Parse, don't validate: a section of a document goes in as whatever YAML made of it, and what comes
out has the type that its reader asked for. Nothing is converted in silence; a number in quotes is
a text. A key that stands there without a value (`port:`) counts as absent. When a section has been
read, `finish` refuses the keys that nobody asked for, so that a misspelt one never goes unnoticed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final, TypeVar

from ccproxyd.errors import ConfigError, did_you_mean

T = TypeVar("T")

_KINDS: Final[Mapping[type, str]] = {
    type(None): "nothing",
    bool: "a flag",
    int: "a number",
    float: "a number",
    str: "a text",
    list: "a list",
    tuple: "a list",
    dict: "a mapping",
}


def kind_of(value: object) -> str:
    """What a value is, for a message: its kind, never its content.

    >>> kind_of([1]), kind_of("sk-secret")
    ('a list', 'a text')
    """
    return _KINDS.get(type(value), type(value).__name__)


def join(path: str, key: str) -> str:
    """A key's path: below the file's name it starts, below a section it follows a dot.

    >>> join("ccproxy.yaml", "ccproxy"), join("ccproxy.yaml: ccproxy", "port")
    ('ccproxy.yaml: ccproxy', 'ccproxy.yaml: ccproxy.port')
    """
    return f"{path}.{key}" if ": " in path else f"{path}: {key}"


class Fields:
    """One section of a document.

    >>> fields = Fields({"port": "x"}, "ccproxy.yaml: ccproxy")
    >>> fields.integer("port", 4000)
    Traceback (most recent call last):
    ccproxyd.errors.ConfigError: ccproxy.yaml: ccproxy.port: must be a whole number, not 'x'
    """

    def __init__(self, value: object, path: str) -> None:
        """Take a section; an empty one (`ccproxy:`) has no keys.

        Raises:
            ConfigError: it is no mapping.
        """
        if not isinstance(value, Mapping | None):
            raise ConfigError(path, f"must be a mapping, not {kind_of(value)}")
        self.path = path
        self._values: Mapping[str, Any] = value or {}
        self._read: set[str] = set()

    def has(self, key: str) -> bool:
        return self.value(key) is not None

    def value(self, key: str) -> Any:
        """What stands there, as it is; None when nothing does."""
        self._read.add(key)
        return self._values.get(key)

    def where(self, key: str) -> str:
        return join(self.path, key)

    def text(self, key: str, default: str | None = None) -> str:
        """A text that is not empty; one without a default is required."""
        return self._typed(key, default, _is_text, "a text")

    def integer(
        self, key: str, default: int | None = None, *, least: int = 0, most: int | None = None
    ) -> int:
        value = self._typed(key, default, _is_integer, "a whole number")
        if value < least or (most is not None and value > most):
            raise self.error(key, f"must be {_range(least, most)}, not {value}")
        return value

    def number(
        self, key: str, default: float | None = None, *, above: float | None = None
    ) -> float:
        """A finite number, in whatever unit the key says; not below 0, or above `above`."""
        value = float(self._typed(key, default, _is_number, "a number"))
        if above is not None and value <= above:
            raise self.error(key, f"must be more than {above:g}, not {value:g}")
        if value < 0:
            raise self.error(key, f"must not be negative, not {value:g}")
        return value

    def flag(self, key: str, default: bool | None = None) -> bool:
        return self._typed(key, default, _is_flag, "true or false")

    def choice(self, key: str, default: str, choices: Collection[str]) -> str:
        value = self.text(key, default)
        if value not in choices:
            reason = f"must be {', '.join(choices)}, not {value!r}"
            raise self.error(key, reason, did_you_mean(value, choices))
        return value

    def section(self, key: str) -> Fields:
        return Fields(self.value(key), self.where(key))

    def items(self, key: str) -> Iterator[tuple[str, Any]]:
        """The items of a list, each with its path (`... rules[2]`)."""
        value = self.value(key)
        if not isinstance(value, list | tuple | None):
            raise self.error(key, f"must be a list, not {kind_of(value)}")
        for index, item in enumerate(value or ()):
            yield f"{self.where(key)}[{index}]", item

    def finish(self, elsewhere: Mapping[str, str] | None = None) -> None:
        """Refuse what nobody read.

        Args:
            elsewhere: keys that people put here, with the reason why they do not belong.
        """
        for key in self._values:
            if key not in self._read:
                reason = (elsewhere or {}).get(key, "unknown key")
                raise self.error(key, reason, self._meant(key, reason))

    def error(self, key: str, reason: str, hint: str | None = None) -> ConfigError:
        return ConfigError(self.where(key), reason, hint)

    def _meant(self, key: str, reason: str) -> str | None:
        return did_you_mean(key, sorted(self._read)) if reason == "unknown key" else None

    def _typed(self, key: str, default: T | None, is_right: Callable[[Any], bool], kind: str) -> T:
        value = self.value(key)
        if value is None:
            if default is None:
                raise self._missing(key)
            return default
        if not is_right(value):
            raise self.error(key, f"must be {kind}, not {_shown(value)}")
        return value  # type: ignore[no-any-return]  # is_right has just said so

    def _missing(self, key: str) -> ConfigError:
        """What is missing may be there under a misspelt name: that is then the error."""
        unread = [other for other in self._values if other not in self._read]
        if near := did_you_mean(key, unread):
            return self.error(near, "unknown key", key)
        return self.error(key, "is missing")


def _shown(value: object) -> str:
    """A short scalar is shown, for the reader to find it; anything longer only by its kind."""
    if isinstance(value, str | int | float) and len(repr(value)) <= 40:
        return repr(value)
    return kind_of(value)


def _range(least: int, most: int | None) -> str:
    return f"at least {least}" if most is None else f"between {least} and {most}"


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)

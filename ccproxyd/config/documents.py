"""YAML text into a document of plain JSON values.

Safe loading only: no tag makes an object. Stricter than YAML where that helps the reader of an
error: a key that stands twice is refused, since the first one would be lost in silence. Looser
where YAML surprises: an unquoted date stays the text that it is (`api_version: 2024-02-15`).

An error says where, and never what stands there: it may be a key that YAML takes for an alias or a
tag (`api_key: *abc`).
"""

from __future__ import annotations

import math
import re
from typing import Any, Final

import yaml

from ccproxyd.config.fields import join
from ccproxyd.errors import ConfigError

MAX_DEPTH: Final = 60
MAX_VALUES: Final = 200_000
MAX_INTEGER: Final = 2**63 - 1

_TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"
_QUOTED: Final = re.compile(r""" ?("[^"\n]*"|'[^'\n]*')""")
_KIND: Final = re.compile(r"'<[a-z ]+>'")


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own name and form
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node] | None) -> yaml.MappingNode:
        """Composed, not yet merged with `<<`, which may well repeat a key."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)  # type: ignore[arg-type]
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                line = key.start_mark.line + 1
                if key.value in seen:
                    raise _Twice(key.value, seen[key.value], line)
                seen[key.value] = line
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError:
            raise _Unlike(node.start_mark) from None


class _Unlike(yaml.MarkedYAMLError):
    """A value that is not of the type that its tag says."""

    def __init__(self, mark: Any) -> None:
        problem = "a value is not what it looks like"
        super().__init__(problem=problem, problem_mark=mark)


class _Twice(yaml.YAMLError):
    """A key that stands twice in one mapping."""


def parse_document(data: bytes, file: str) -> dict[str, Any]:
    r"""The mapping that a YAML file holds.

    Raises:
        ConfigError: not UTF-8, not YAML (with line and column), empty, or no mapping.

    >>> parse_document(b"ccproxy:\n  port: 4000\n", "ccproxy.yaml")
    {'ccproxy': {'port': 4000}}
    >>> parse_document(b"a: 1\na: 2\n", "ccproxy.yaml")
    Traceback (most recent call last):
    ccproxyd.errors.ConfigError: ccproxy.yaml: line 2: the key 'a' stands twice, first in line 1
    """
    document = _load(_decode(data, file), file)
    if document is None:
        raise ConfigError(file, "is empty; `ccproxyctl install` writes a sample")
    if not isinstance(document, dict):
        raise ConfigError(file, "must hold a mapping of keys to values at its top level")
    plain: dict[str, Any] = _Plain(file).convert(document, file)
    return plain


def _decode(data: bytes, file: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(file, f"line {line}: is not UTF-8; save the file as UTF-8") from None


def _load(text: str, file: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  # nosec B506
    except _Twice as error:
        key, first, line = error.args
        raise ConfigError(
            file, f"line {line}: the key {key!r} stands twice, first in line {first}"
        ) from None
    except yaml.YAMLError as error:
        raise ConfigError(file, _where_and_why(error, text)) from None
    except RecursionError:
        raise ConfigError(file, "is nested too deeply") from None


def _where_and_why(error: yaml.YAMLError, text: str) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        why = _QUOTED.sub(_unquoted, str(error.problem or error.context))
        return f"line {mark.line + 1}, column {mark.column + 1}: {why}"
    position = getattr(error, "position", 0)
    line = text.count("\n", 0, position) + 1
    return f"line {line}: {getattr(error, 'reason', 'does not parse')}"


def _unquoted(quoted: re.Match[str]) -> str:
    """Nothing of a token; one character, or the kind of a token, is no secret."""
    is_harmless = len(quoted[1]) == 3 or quoted[1] == "'\\t'" or _KIND.fullmatch(quoted[1])
    return quoted[0] if is_harmless else ""


class _Plain:
    """One document's way to plain values; a bound on its size, since anchors can multiply it."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._left = MAX_VALUES

    def convert(self, value: Any, path: str, depth: int = 0) -> Any:
        self._left -= 1
        if depth > MAX_DEPTH or self._left < 0:
            raise ConfigError(self._file, "is too large or nested too deeply; look at its anchors")
        if isinstance(value, dict):
            return {
                _key(key, path): self.convert(item, join(path, str(key)), depth + 1)
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [
                self.convert(item, f"{path}[{index}]", depth + 1)
                for index, item in enumerate(value)
            ]
        return _scalar(value, path)


def _key(key: object, path: str) -> str:
    if isinstance(key, bool) or not isinstance(key, str | int):
        raise ConfigError(path, f"the key {key!r} must be a text; put it in quotes")
    return str(_scalar(key, path))


def _scalar(value: Any, path: str) -> Any:
    """What JSON can say, since the document travels between processes as JSON."""
    if not isinstance(value, str | int | float | None):
        raise ConfigError(path, f"a value of YAML's type {type(value).__name__} has no use here")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(path, f"must be a finite number, not {value}")
    if isinstance(value, int) and not -MAX_INTEGER <= value <= MAX_INTEGER:
        raise ConfigError(path, "is too large a number")
    if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ConfigError(path, "holds half a character (a lone surrogate)")
    return value

"""Values that a config takes from the environment.

Three forms, in two files:

    ${NAME}             both files, anywhere in a text
    ${NAME:-otherwise}  the same, with what holds when NAME is unset or empty
    os.environ/NAME     LiteLLM's own form: the whole of a value

In ccproxy.yaml all of them are expanded, and an unset name is an error. In config.yaml, which is
LiteLLM's file, an unset `${NAME}` is left as it is, and a value that is nothing but `${NAME}`
becomes `os.environ/NAME`: LiteLLM reads it in its worker, and the key stands in no file of ours.

A value that is nothing but one reference and reads as a number, true or false becomes one, since
`port: ${PORT}` means the number. What claude-ccproxy runs in a shell (`oat_sources`,
`credentials`) is the shell's text and stays as it is.

What came out of the environment may be a key in the wrong place: an error that would quote it says
the reference instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from ccproxyd.config.fields import join
from ccproxyd.errors import ConfigError

LITELLM_PREFIX: Final = "os.environ/"
SHELL_TEXTS: Final = frozenset({"oat_sources", "credentials"})

_REFERENCE: Final = re.compile(r"\$\{(?P<name>[A-Za-z_]\w*)(?::-(?P<otherwise>[^}]*))?\}")
_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_DECIMAL: Final = re.compile(r"[-+]?[0-9]*\.[0-9]+")
_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_WORD_CHARACTERS: Final = 16
"""What has letters alone and fewer of them may be any word of ours, unless it stands in quotes."""
_SHORTEST: Final = 4

Environ = Mapping[str, str]


def expand(value: Any, environ: Environ, path: str) -> Any:
    """A value of ccproxy.yaml with everything below it expanded.

    Raises:
        ConfigError: the environment has no such name; the path is the field's.

    >>> expand({"port": "${PORT:-4000}"}, {}, "ccproxy.yaml")
    {'port': 4000}
    """
    if isinstance(value, dict):
        return {
            key: item if key in SHELL_TEXTS else expand(item, environ, join(path, key))
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [expand(item, environ, f"{path}[{index}]") for index, item in enumerate(value)]
    return _expand_text(value, environ, path) if isinstance(value, str) else value


def _expand_text(text: str, environ: Environ, path: str) -> Any:
    def replaced(reference: re.Match[str]) -> str:
        return _required(_look_up(reference, environ), reference["name"], path)

    if text.startswith(LITELLM_PREFIX):
        name = text.removeprefix(LITELLM_PREFIX)
        return _typed(_required(environ.get(name), name, path))
    expanded = _REFERENCE.sub(replaced, text)
    return _typed(expanded) if _REFERENCE.fullmatch(text) else expanded


def _required(found: str | None, name: str, path: str) -> str:
    if found is None:
        raise ConfigError(path, f"the environment has no {name}")
    return found


def expand_known(value: Any, environ: Environ, *, literally: bool = False) -> Any:
    """A value of config.yaml, where what the environment does not know is left alone.

    Args:
        literally: put the values in, never `os.environ/NAME` in their place. It must be so inside
            a list, whose texts LiteLLM does not look up.

    >>> expand_known({"api_key": "${KEY}", "api_base": "http://${KEY}/v1"}, {"KEY": "k"})
    {'api_key': 'os.environ/KEY', 'api_base': 'http://k/v1'}
    """
    if isinstance(value, dict):
        return {
            key: expand_known(item, environ, literally=literally) for key, item in value.items()
        }
    if isinstance(value, list):
        return [_expand_item(item, environ, literally) for item in value]
    return _expand_known_text(value, environ, literally) if isinstance(value, str) else value


def _expand_item(item: Any, environ: Environ, literally: bool) -> Any:
    return expand_known(item, environ, literally=literally or not isinstance(item, dict))


def _expand_known_text(text: str, environ: Environ, literally: bool) -> str:
    def replaced(reference: re.Match[str]) -> str:
        found = _look_up(reference, environ)
        return reference[0] if found is None else found

    whole = _REFERENCE.fullmatch(text)
    if whole and environ.get(whole["name"]) and not literally:
        return LITELLM_PREFIX + whole["name"]
    return _REFERENCE.sub(replaced, text)


def resolve(value: Any, environ: Environ) -> Any:
    """What a value of config.yaml will be for LiteLLM; None for a name that is unset.

    >>> resolve("os.environ/KEY", {"KEY": "k"}), resolve("os.environ/KEY", {}), resolve(7, {})
    ('k', None, 7)
    """
    if isinstance(value, str) and value.startswith(LITELLM_PREFIX):
        return environ.get(value.removeprefix(LITELLM_PREFIX))
    return value


def references(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every name that a document takes from the environment, with the field that does.

    >>> list(references({"api_key": "os.environ/KEY"}, "config.yaml"))
    [('config.yaml: api_key', 'KEY')]
    """
    if isinstance(value, dict):
        for key, item in value.items():
            yield from references(item, join(path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from references(item, f"{path}[{index}]")
    elif isinstance(value, str):
        yield from ((path, name) for name in _names(value))


def _names(text: str) -> list[str]:
    if text.startswith(LITELLM_PREFIX):
        return [text.removeprefix(LITELLM_PREFIX)]
    return [found["name"] for found in _REFERENCE.finditer(text)]


def referred(documents: Iterable[Any], environ: Environ) -> dict[str, str]:
    """What the references of documents stand for, by name; what is unset is left out.

    >>> referred([{"port": "${PORT}"}], {"PORT": "4000", "HOME": "/"})
    {'PORT': '4000'}
    """
    names = {name for document in documents for _, name in references(document, "")}
    return {name: environ[name] for name in sorted(names) if environ.get(name)}


@contextmanager
def saying_references(values: Environ) -> Iterator[None]:
    """A `ConfigError` inside says `${NAME}` where it would quote what NAME stands for.

    >>> with saying_references({"PORT": "hunter2"}):
    ...     raise ConfigError("ccproxy.yaml: ccproxy.port", "must be a number, not 'hunter2'")
    Traceback (most recent call last):
    ccproxyd.errors.ConfigError: ccproxy.yaml: ccproxy.port: must be a number, not ${PORT}
    """
    try:
        yield
    except ConfigError as error:
        reason = by_reference(error.reason, values)
        hint = error.hint and by_reference(error.hint, values)
        raise ConfigError(error.path, reason, hint) from None


def by_reference(text: str, values: Environ) -> str:
    """A text with `${NAME}` where it quotes what NAME stands for.

    The longest first: one value may be a part of another.
    """
    for name, value in sorted(values.items(), key=lambda item: -len(item[1])):
        text = text.replace(repr(value), f"${{{name}}}")
        if len(value) >= (_WORD_CHARACTERS if value.isalpha() else _SHORTEST):
            text = text.replace(value, f"${{{name}}}")
    return text


def parse_env_file(text: str, file: str) -> dict[str, str]:
    r"""The `NAME=value` lines of the `env` file; `#` begins a comment line, quotes are optional.

    Raises:
        ConfigError: a line of another form, by its number; its text may be a secret.

    >>> parse_env_file("# keys\nexport A_KEY='x y'\nB_KEY=z\n", "env")
    {'A_KEY': 'x y', 'B_KEY': 'z'}
    """
    found = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            name, value = _env_line(line.strip(), file, number)
            found[name] = value
    return found


def is_env_name(name: str) -> bool:
    return bool(_ENV_NAME.fullmatch(name))


def _env_line(line: str, file: str, number: int) -> tuple[str, str]:
    name, equals, value = line.removeprefix("export ").partition("=")
    if not equals or not is_env_name(name.strip()):
        raise ConfigError(file, f"line {number}: must be NAME=value")
    return name.strip(), _unquoted(value.strip())


def _unquoted(value: str) -> str:
    quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted else value


def _look_up(reference: re.Match[str], environ: Environ) -> str | None:
    found = environ.get(reference["name"])
    if reference["otherwise"] is None:
        return found
    return found or reference["otherwise"]


def _typed(text: str) -> str | int | float | bool:
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    return text

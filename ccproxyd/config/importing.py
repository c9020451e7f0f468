"""From an import path in a config to what it stands for; the only place where a config runs code.

A path is `module.name` or `module:name`, and a module in the config directory is found first.
Whatever a user's module does wrong becomes one line: the field that names it, the exception, and
where in the module it came from. That goes for whatever it raises, since a compiled extension's
panic and a test tool's skip are no `Exception`, and would end the process that loads them or leave
a reload without an answer. Only a person's ^C, which Python raises in the main thread alone, ends
the command.
"""

from __future__ import annotations

import importlib
import inspect
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from ccproxyd.config.aliases import install_aliases
from ccproxyd.config.fresh import fresh_modules
from ccproxyd.config.modules import local_names
from ccproxyd.errors import ConfigError, did_you_mean

_LONGEST_MESSAGE: Final = 300


@contextmanager
def importing(config_dir: Path, sources: Mapping[str, str] | None = None) -> Iterator[None]:
    """What is imported inside is fresh, and finds us by claude-ccproxy's names too.

    Args:
        sources: of the users' modules by path, where the config brought them along.
    """
    install_aliases()
    with fresh_modules(config_dir, sources):
        yield


def find_named(
    written: str,
    path: str,
    config_dir: Path,
    is_wanted: Callable[[Any], bool] = inspect.isclass,
) -> Any:
    """What an import path stands for; `is_wanted` tells what to offer for a misspelt one.

    Raises:
        ConfigError: the module cannot be imported, or has no such name.
    """
    module_name, _, name = written.replace(":", ".").rpartition(".")
    module = _import(module_name, name, path, config_dir)
    return _attribute(module, name, path, config_dir, is_wanted)


def _import(module_name: str, name: str, path: str, config_dir: Path) -> ModuleType:
    with telling(path, partial(_why_not_imported, module_name, config_dir)):
        try:
            return importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            missing = error.name
            if missing is None or not f"{module_name}.".startswith(f"{missing}."):
                raise
    near = did_you_mean(module_name, local_names(config_dir))
    reason = f"no module {missing!r} in {config_dir}, and none installed"
    raise ConfigError(path, reason, f"{near}.{name}" if near else None)


def _attribute(
    module: ModuleType, name: str, path: str, config_dir: Path, is_wanted: Callable[[Any], bool]
) -> Any:
    # A module may have a __getattr__, which may do anything.
    with telling(path, partial(_why_not_imported, module.__name__, config_dir)):
        try:
            return getattr(module, name)
        except AttributeError:
            near = [key for key, value in vars(module).items() if is_wanted(value)]
    kind = "class" if is_wanted is inspect.isclass else "function"
    reason = f"module {module.__name__} has no {kind} {name!r}"
    raise ConfigError(path, reason, did_you_mean(name, near))


@contextmanager
def telling(path: str, why: Callable[[BaseException], str]) -> Iterator[None]:
    """Whatever a user's module raises inside is an error of the field that names it.

    Raises:
        ConfigError: something was raised.
        KeyboardInterrupt: a person has pressed ^C.
    """
    try:
        yield
    except BaseException as error:
        if _is_interrupt(error):
            raise
        raise ConfigError(path, why(error)) from error


def _is_interrupt(error: BaseException) -> bool:
    """Whether a person has pressed ^C; a module that raises the same in a thread is just wrong."""
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and isinstance(error, KeyboardInterrupt)


def _why_not_imported(module_name: str, config_dir: Path, error: BaseException) -> str:
    return f"cannot import {module_name}: {describe(error, config_dir)}"


def describe(error: BaseException, config_dir: Path) -> str:
    """An exception of a user's module as one line: type, message, file and line."""
    message = one_line(error)
    told = f"{type(error).__name__}: {message}" if message else type(error).__name__
    place = place_of(error, config_dir)
    return f"{told} ({place})" if place else told


def one_line(error: BaseException) -> str:
    """What an exception says, without line breaks, and not for ever."""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return " ".join(text.split())[:_LONGEST_MESSAGE]


def place_of(error: BaseException, config_dir: Path) -> str | None:
    """The innermost place in the user's own modules, as `file:line`."""
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((error.filename, error.lineno))
    for file, line in reversed(places):
        if Path(file).is_relative_to(config_dir):
            return f"{Path(file).relative_to(config_dir)}:{line}"
    return None


def place_of_function(function: Any, config_dir: Path) -> str:
    """Where it begins, for an exception that came from nowhere in it."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return type(function).__name__
    file = Path(code.co_filename)
    shown = file.relative_to(config_dir) if file.is_relative_to(config_dir) else file.name
    return f"{shown}:{code.co_firstlineno}"

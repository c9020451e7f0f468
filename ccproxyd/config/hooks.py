"""The hooks of the user's own, and the moderation's check, ready to be called.

A hook is any function that takes `(data, user_api_key_dict)` and its parameters by name, async or
not. A check takes `(data, user_api_key_dict, call_type)`, or is an object whose method
`async_moderation_hook` does, as LiteLLM would call it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from ccproxyd.config.entries import HookEntry
from ccproxyd.config.importing import find_named
from ccproxyd.config.moderation import PATH, Moderation
from ccproxyd.config.settings import FILE
from ccproxyd.errors import ConfigError, did_you_mean

CHECK: Final = f"{PATH}.check"

Function = Callable[..., Any]


@frozen
class OwnHook:
    """A hook of the user's own, with the parameters that it is called with.

    `path` is like `ccproxy.hooks[2]`.
    """

    function: Function
    params: Mapping[str, Any]
    path: str


def load_hooks(entries: Iterable[HookEntry], config_dir: Path) -> dict[str, OwnHook]:
    """The user's own among the hooks, by the path of their entry.

    Raises:
        ConfigError: the first that does not load, by its field.
    """
    own = [entry for entry in entries if not entry.is_built_in]
    return {entry.path: _hook(entry, config_dir) for entry in own}


def load_check(moderation: Moderation, config_dir: Path) -> Function | None:
    """What the config names to judge requests by; None where it names none, or is not to.

    Raises:
        ConfigError: it does not load.
    """
    if moderation.check is None or not moderation.enabled:
        return None
    path = f"{FILE}: {CHECK}"
    named = _function(moderation.check, path, config_dir)
    found: Function = getattr(named, "async_moderation_hook", named)
    _check_takes(found, 3, path, "(data, user_api_key_dict, call_type)")
    return found


def _hook(entry: HookEntry, config_dir: Path) -> OwnHook:
    found = _function(entry.hook, entry.path, config_dir)
    _check_parameters(found, entry)
    _check_takes(found, 2, entry.path, "(data, user_api_key_dict, **params)", entry.params)
    return OwnHook(found, entry.params, entry.path.removeprefix(f"{FILE}: "))


def _function(written: str, path: str, config_dir: Path) -> Any:
    found = find_named(written, path, config_dir, inspect.isroutine)
    if inspect.isclass(found):
        raise ConfigError(path, f"{written} is a class; name a function, or an object of it")
    if not callable(getattr(found, "async_moderation_hook", found)):
        raise ConfigError(path, f"{written} is no function")
    return found


def _check_parameters(function: Function, entry: HookEntry) -> None:
    """Say it in terms of the config, where Python would speak of keyword arguments."""
    signature = _signature(function)
    parameters = list(signature.parameters.values()) if signature else []
    if signature is None or any(one.kind is one.VAR_KEYWORD for one in parameters):
        return
    known = [one.name for one in parameters[2:]]
    for name in entry.params:
        if name not in known:
            reason = f"{entry.hook} has no parameter {name!r}"
            raise ConfigError(f"{entry.path}.params", reason, did_you_mean(name, known))


def _check_takes(
    function: Function, count: int, path: str, shown: str, params: Mapping[str, Any] | None = None
) -> None:
    signature = _signature(function)
    if signature is None:
        return
    try:
        signature.bind(*[None] * count, **(params or {}))
    except TypeError as error:
        raise ConfigError(path, f"must take {shown}: {error}") from None


def _signature(function: Function) -> inspect.Signature | None:
    """None where it cannot be known, as of some functions in C."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None

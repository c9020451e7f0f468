"""The user's rules, imported and built; the only place where a config runs code.

A rule is named by its bare name (`TokenCountRule`), by our path (`ccproxyd.routing.X`), by
claude-ccproxy's (`ccproxy.rules.X`), or by any import path (`custom_rules.X`, `custom_rules:X`); a
module in the config directory is found first. A rule of the user's own is any class with
`evaluate(request, config)`.

Whatever a user's module does wrong becomes one line: the field that names it, the exception, and
where in the module it came from.
"""

from __future__ import annotations

import importlib
import inspect
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from ccproxyd.config.aliases import install_aliases
from ccproxyd.config.entries import bare_name
from ccproxyd.config.fresh import fresh_modules
from ccproxyd.config.litellm import check_labels
from ccproxyd.config.load import Loaded
from ccproxyd.config.modules import local_names
from ccproxyd.config.settings import FILE, RuleEntry
from ccproxyd.errors import ConfigError, did_you_mean
from ccproxyd.routing import (
    BUILT_IN,
    ClassificationRule,
    Request,
    RoutingTable,
    Rule,
    Target,
)

_LONGEST_MESSAGE: Final = 300


def build_table(loaded: Loaded, config_dir: Path) -> RoutingTable:
    """What the gateway decides by.

    Raises:
        ConfigError: a rule that does not load, or a label that LiteLLM does not know.
    """
    targets, aliases = loaded.litellm.targets(), loaded.litellm.aliases
    return RoutingTable(
        rules=build_rules(loaded.settings.rules, config_dir, targets, aliases, loaded.sources),
        targets=targets,
        aliases=aliases,
        passthrough=loaded.settings.default_model_passthrough,
        config=loaded.settings,
    )


def build_rules(
    entries: Iterable[RuleEntry],
    config_dir: Path,
    targets: Iterable[Target],
    aliases: Mapping[str, str] | None = None,
    sources: Mapping[str, str] | None = None,
) -> tuple[Rule, ...]:
    """The rules in their order. All of them load, or nothing is changed.

    Args:
        sources: of the users' modules by path, where the config brought them along.

    Raises:
        ConfigError: the first rule that does not load, by its field.
    """
    entries = tuple(entries)
    check_labels(entries, targets, aliases or {})
    install_aliases()
    with fresh_modules(config_dir, sources):
        return tuple(_rule(entry, config_dir.resolve()) for entry in entries)


class OwnRule(ClassificationRule):
    """A rule of a class that knows nothing of ours."""

    def __init__(self, rule: Any) -> None:
        self.rule = rule
        self.reads_tokens = bool(getattr(rule, "reads_tokens", True))

    def evaluate(self, request: Request, config: Any) -> bool:
        return bool(self.rule.evaluate(request, config))

    def detail(self, request: Request) -> str:
        tell = getattr(self.rule, "detail", None)
        return str(tell(request)) if callable(tell) else ""


def _rule(entry: RuleEntry, config_dir: Path) -> Rule:
    found = _find_class(entry, config_dir)
    return Rule(
        label=entry.label,
        rule=_instance(found, entry, config_dir),
        name=found.__name__,
        sticky=entry.sticky,
        path=entry.path.removeprefix(f"{FILE}: "),
    )


def _instance(found: type, entry: RuleEntry, config_dir: Path) -> ClassificationRule:
    nested = [_instance(_find_class(one, config_dir), one, config_dir) for one in entry.nested]
    path = f"{entry.path}.params"
    args = [*nested, *entry.args]
    _check_arguments(found, args, entry.kwargs, path)
    try:
        rule = found(*args, **entry.kwargs)
    except (Exception, SystemExit) as error:
        raise ConfigError(path, _why_refused(found, error, config_dir)) from error
    _check_evaluate(rule, entry)
    return rule if isinstance(rule, ClassificationRule) else OwnRule(rule)


def _why_refused(found: type, error: BaseException, config_dir: Path) -> str:
    """Our own rules say in plain words what is wrong; of others we tell all there is."""
    if found in BUILT_IN.values() and isinstance(error, TypeError | ValueError):
        return _one_line(error)
    return f"{found.__name__} cannot be made: {describe(error, config_dir)}"


def _check_arguments(
    found: type, args: Sequence[Any], kwargs: Mapping[str, Any], path: str
) -> None:
    """Say it in terms of the config, where Python would speak of `__init__`."""
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):
        return
    parameters = signature.parameters.values()
    if not any(one.kind is one.VAR_KEYWORD for one in parameters):
        known = [
            one.name
            for one in parameters
            if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
        ]
        for name in kwargs:
            if name not in known:
                reason = f"{found.__name__} has no parameter {name!r}"
                raise ConfigError(path, reason, did_you_mean(name, known))
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise ConfigError(path, f"{found.__name__}: {error}") from None


def _check_evaluate(rule: Any, entry: RuleEntry) -> None:
    path = f"{entry.path}.rule"
    if inspect.iscoroutinefunction(rule.evaluate):
        raise ConfigError(path, "evaluate must be a plain function, not an async one")
    try:
        inspect.signature(rule.evaluate).bind(None, None)
    except TypeError:
        raise ConfigError(path, "evaluate must take (request, config)") from None
    except ValueError:
        return


def _find_class(entry: RuleEntry, config_dir: Path) -> type:
    path = f"{entry.path}.rule"
    bare = bare_name(entry.rule)
    if bare is not None:
        return _built_in(bare, path)
    module_name, _, name = entry.rule.replace(":", ".").rpartition(".")
    found = _attribute(_import(module_name, name, path, config_dir), name, path)
    if not inspect.isclass(found) or not callable(getattr(found, "evaluate", None)):
        raise ConfigError(path, f"{entry.rule} is no class with evaluate(request, config)")
    if inspect.isabstract(found):
        raise ConfigError(path, f"{entry.rule} does not define evaluate(request, config)")
    return found


def _built_in(name: str, path: str) -> type:
    if name not in BUILT_IN:
        hint = did_you_mean(name, BUILT_IN)
        own = "" if hint else "; a rule of your own is named by its module, as in custom_rules.X"
        raise ConfigError(path, f"no built-in rule {name!r}{own}", hint)
    return BUILT_IN[name]


def _import(module_name: str, name: str, path: str, config_dir: Path) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise _not_importable(module_name, error, path, config_dir) from error
        near = did_you_mean(module_name, local_names(config_dir))
        reason = f"no module {error.name!r} in {config_dir}, and none installed"
        raise ConfigError(path, reason, f"{near}.{name}" if near else None) from None
    except (Exception, SystemExit) as error:
        raise _not_importable(module_name, error, path, config_dir) from error


def _not_importable(
    module_name: str, error: BaseException, path: str, config_dir: Path
) -> ConfigError:
    return ConfigError(path, f"cannot import {module_name}: {describe(error, config_dir)}")


def _attribute(module: ModuleType, name: str, path: str) -> Any:
    try:
        return getattr(module, name)
    except AttributeError:
        classes = [key for key, value in vars(module).items() if inspect.isclass(value)]
        reason = f"module {module.__name__} has no class {name!r}"
        raise ConfigError(path, reason, did_you_mean(name, classes)) from None


def describe(error: BaseException, config_dir: Path) -> str:
    """An exception of a user's module as one line: type, message, file and line."""
    message = _one_line(error)
    told = f"{type(error).__name__}: {message}" if message else type(error).__name__
    place = _place(error, config_dir)
    return f"{told} ({place})" if place else told


def _one_line(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return " ".join(text.split())[:_LONGEST_MESSAGE]


def _place(error: BaseException, config_dir: Path) -> str | None:
    """The innermost place in the user's own modules, as `file:line`."""
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((error.filename, error.lineno))
    for file, line in reversed(places):
        if Path(file).is_relative_to(config_dir):
            return f"{Path(file).relative_to(config_dir)}:{line}"
    return None

"""What a config says about requests, imported and built: rules, hooks, the moderation's check.

A rule is named by its bare name (`TokenCountRule`), by our path (`ccproxyd.routing.X`), by
claude-ccproxy's (`ccproxy.rules.X`), or by any import path (`custom_rules.X`, `custom_rules:X`); a
module in the config directory is found first. A rule of the user's own is any class with
`evaluate(request, config)`.

Rules, hooks and the moderation's check are loaded together, so that a module which they share is
there once, and so that none of them takes effect unless all of them load.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from attrs import frozen

from ccproxyd.config.entries import bare_name
from ccproxyd.config.environment import saying_references
from ccproxyd.config.hooks import Function, OwnHook, load_check, load_hooks
from ccproxyd.config.importing import describe, find_named, importing, one_line, telling
from ccproxyd.config.litellm import check_labels
from ccproxyd.config.load import Loaded
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
from ccproxyd.routing.rules import truth_of


@frozen
class Parts:
    """`hooks` has the user's own alone, by the paths of their entries."""

    routing: RoutingTable
    hooks: Mapping[str, OwnHook]
    check: Function | None = None


def build_parts(loaded: Loaded, config_dir: Path) -> Parts:
    """All of it. Everything loads, or nothing is changed.

    Raises:
        ConfigError: something does not load, by its field; or a label that LiteLLM does not know.
    """
    targets, aliases = loaded.litellm.targets(), loaded.litellm.aliases
    settings = loaded.settings
    check_labels(settings.rules, targets, aliases)
    with saying_references(loaded.referred), importing(config_dir, loaded.sources):
        return Parts(
            routing=_table(loaded, _rules(settings.rules, config_dir)),
            hooks=load_hooks(settings.hooks, config_dir.resolve()),
            check=load_check(settings.moderation, config_dir.resolve()),
        )


def build_table(loaded: Loaded, config_dir: Path) -> RoutingTable:
    """What is decided by, for whoever runs no hooks.

    Raises:
        ConfigError: a rule that does not load, or a label that LiteLLM does not know.
    """
    targets, aliases = loaded.litellm.targets(), loaded.litellm.aliases
    with saying_references(loaded.referred):
        rules = build_rules(loaded.settings.rules, config_dir, targets, aliases, loaded.sources)
    return _table(loaded, rules)


def _table(loaded: Loaded, rules: tuple[Rule, ...]) -> RoutingTable:
    return RoutingTable(
        rules=rules,
        targets=loaded.litellm.targets(),
        aliases=loaded.litellm.aliases,
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
    with importing(config_dir, sources):
        return _rules(entries, config_dir)


def _rules(entries: Iterable[RuleEntry], config_dir: Path) -> tuple[Rule, ...]:
    return tuple(_rule(entry, config_dir.resolve()) for entry in entries)


class OwnRule(ClassificationRule):
    """A rule of a class that knows nothing of ours."""

    def __init__(self, rule: Any) -> None:
        self.rule = rule
        self.reads_tokens = bool(getattr(rule, "reads_tokens", True))

    def evaluate(self, request: Request, config: Any) -> bool:
        return truth_of(self.rule.evaluate(request, config))

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
    with telling(path, partial(_why_refused, found, config_dir)):
        rule = found(*args, **entry.kwargs)
    _check_evaluate(rule, entry)
    return rule if isinstance(rule, ClassificationRule) else OwnRule(rule)


def _why_refused(found: type, config_dir: Path, error: BaseException) -> str:
    """Our own rules say in plain words what is wrong; of others we tell all there is."""
    if found in BUILT_IN.values() and isinstance(error, TypeError | ValueError):
        return one_line(error)
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
    found = find_named(entry.rule, path, config_dir)
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

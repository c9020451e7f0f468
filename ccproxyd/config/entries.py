"""The rules and hooks of ccproxy.yaml as they are written, before anything is imported.

    - label: think                # claude-ccproxy says `name`
      rule: ThinkingRule          # a bare name, or any import path
      params: [{min_effort: high}]
      sticky: true

Parameters are a list of mappings, a list of values, both mixed, one mapping or one value.
The rules that combine others (AllOf, AnyOf, Not) take them in their parameters under `rules`, each
with a `rule` and `params` of its own.

    - rule_evaluator              # a built-in hook, or any import path
    - hook: capture_headers
      params: {headers: [user-agent]}

Parameters of a hook have names: a mapping, or a list of mappings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import frozen

from ccproxyd.config.fields import Fields, join, kind_of
from ccproxyd.errors import ConfigError, did_you_mean

COMBINING_RULES: Final = frozenset({"AllOf", "AnyOf", "Not"})

BUILT_IN_HOOKS: Final = (
    "rule_evaluator",
    "model_router",
    "forward_oauth",
    "forward_apikey",
    "extract_session_id",
    "capture_headers",
    "request_analyzer",
    "response_enhancer",
)
HOOK_PARAMETERS: Final[Mapping[str, tuple[str, ...]]] = {"capture_headers": ("headers",)}
"""Of the built-in hooks; the others have none."""
HARMLESS_HEADERS: Final = ("user-agent", "x-app", "anthropic-version", "anthropic-beta")
"""What `capture_headers` takes where it names none."""
_CREDENTIALS: Final = ("auth", "cookie", "credential", "key", "passw", "secret", "token")
_RULE_PREFIXES: Final = (
    "ccproxy.rules.",
    "ccproxyd.rules.",
    "ccproxyd.routing.rules.",
    "ccproxyd.routing.",
)
_HOOK_PREFIXES: Final = ("ccproxy.hooks.", "ccproxyd.hooks.")


@frozen
class RuleEntry:
    """A rule as it is written, not yet imported.

    `nested` holds the rules of AllOf, AnyOf and Not, which stand in `params` under `rules`.
    """

    label: str
    rule: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    sticky: bool
    path: str
    nested: tuple[RuleEntry, ...] = ()


@frozen
class HookEntry:
    """A hook: a built-in by its bare name, or a user's own by its import path."""

    hook: str
    params: Mapping[str, Any]
    path: str

    @property
    def is_built_in(self) -> bool:
        return self.hook in BUILT_IN_HOOKS

    def credentials(self) -> tuple[str, ...]:
        """The headers of `capture_headers` that hold credentials, and are passed over."""
        return tuple(name for name in self._named() if names_credential(name))

    def headers(self) -> tuple[str, ...]:
        """Those that it does capture, in lower case."""
        named = self._named() or HARMLESS_HEADERS
        return tuple(name.lower() for name in named if not names_credential(name))

    def _named(self) -> tuple[str, ...]:
        given = self.params.get("headers", ())
        return (given,) if isinstance(given, str) else tuple(given)


DEFAULT_HOOKS: Final = tuple(
    HookEntry(hook, {}, f"ccproxy.yaml: ccproxy.hooks[{index}]")
    for index, hook in enumerate(("rule_evaluator", "model_router", "forward_oauth"))
)
"""What holds where no hooks are listed: what claude-ccproxy did before it had the key."""


def bare_name(rule: str) -> str | None:
    """A built-in rule's own name, by whatever path it is written; None for any other path.

    >>> bare_name("ccproxy.rules.ThinkingRule"), bare_name("custom_rules.MyRule")
    ('ThinkingRule', None)
    """
    for prefix in _RULE_PREFIXES:
        if rule.startswith(prefix):
            return rule.removeprefix(prefix)
    return None if "." in rule or ":" in rule else rule


def parse_rules(fields: Fields, key: str) -> tuple[RuleEntry, ...]:
    return tuple(_rule(Fields(item, path)) for path, item in fields.items(key))


def _rule(fields: Fields) -> RuleEntry:
    entry = _entry(fields, label=_label(fields), sticky=fields.flag("sticky", False))
    fields.finish()
    return entry


def _nested_rule(label: str, item: Any, path: str) -> RuleEntry:
    fields = Fields(item, path)
    entry = _entry(fields, label=label, sticky=False)
    outside = "belongs to the rule around it"
    fields.finish(elsewhere=dict.fromkeys(("label", "name", "sticky"), outside))
    return entry


def _entry(fields: Fields, *, label: str, sticky: bool) -> RuleEntry:
    rule = fields.text("rule")
    args, kwargs = parse_params(fields.value("params"), fields.where("params"))
    nested: tuple[RuleEntry, ...] = ()
    if bare_name(rule) in COMBINING_RULES:
        nested, kwargs = _split_nested(label, kwargs, fields.where("params"))
    if bare_name(rule) == "Not" and len(nested) > 1:
        raise fields.error("params", "Not takes one rule; put AnyOf or AllOf around several")
    return RuleEntry(label, rule, args, kwargs, sticky, fields.path, nested)


def _split_nested(
    label: str, kwargs: Mapping[str, Any], path: str
) -> tuple[tuple[RuleEntry, ...], dict[str, Any]]:
    rest = dict(kwargs)
    params = Fields({"rules": rest.pop("rules", None)}, path)
    nested = tuple(_nested_rule(label, item, where) for where, item in params.items("rules"))
    if not nested:
        raise params.error("rules", "must list the rules to combine, each with its own 'rule'")
    return nested, rest


def _label(fields: Fields) -> str:
    """`label`, or what claude-ccproxy calls `name`."""
    if not fields.has("name"):
        return fields.text("label")
    name = fields.text("name")
    if fields.text("label", name) != name:
        raise fields.error("name", "says something else than 'label'; one of the two is enough")
    return name


def parse_params(value: Any, path: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A rule's parameters as positional and keyword arguments.

    Mappings merge to keywords, everything else is positional, in whatever list they stand:

    >>> parse_params([{"threshold": 60000}], "")
    ((), {'threshold': 60000})
    >>> parse_params(["haiku", {"where": "used"}], "")
    (('haiku',), {'where': 'used'})
    >>> parse_params({"threshold": 1}, ""), parse_params(7, "")
    (((), {'threshold': 1}), ((7,), {}))
    """
    items = _as_list(value)
    positional = tuple(item for item in items if not isinstance(item, Mapping))
    return positional, _merged((item for item in items if isinstance(item, Mapping)), path)


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _merged(mappings: Iterable[Mapping[str, Any]], path: str) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for mapping in mappings:
        for key, value in mapping.items():
            if key in merged:
                raise ConfigError(join(path, key), "is given twice")
            merged[key] = value
    return merged


def names_credential(header: str) -> bool:
    """Whether a header is one that could hold a credential; rather one too many.

    >>> names_credential("X-Api-Key"), names_credential("user-agent")
    (True, False)
    """
    return any(word in header.lower() for word in _CREDENTIALS)


def parse_hooks(fields: Fields, key: str) -> tuple[HookEntry, ...]:
    if not fields.has(key):
        return DEFAULT_HOOKS
    return tuple(_hook(item, path) for path, item in fields.items(key))


def _hook(item: Any, path: str) -> HookEntry:
    if isinstance(item, str) and item.strip():
        return HookEntry(_hook_name(item, path), {}, path)
    if not isinstance(item, Mapping):
        raise ConfigError(path, f"must be a hook's name or a mapping, not {kind_of(item)}")
    fields = Fields(item, path)
    hook = _hook_name(fields.text("hook"), path)
    args, params = parse_params(fields.value("params"), fields.where("params"))
    fields.finish()
    if args or not all(isinstance(name, str) for name in params):
        raise fields.error("params", "must be a mapping of names to values")
    if hook in BUILT_IN_HOOKS:
        _check_built_in(hook, Fields(params, fields.where("params")))
    return HookEntry(hook, params, path)


def _check_built_in(hook: str, params: Fields) -> None:
    for name in HOOK_PARAMETERS.get(hook, ()):
        given = params.value(name)
        named = [given] if isinstance(given, str) else given
        if given is not None and not _are_texts(named):
            raise params.error(name, "must be a list of names")
    params.finish()


def _are_texts(value: Any) -> bool:
    are_texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return are_texts and all(item.strip() for item in value)


def _hook_name(hook: str, path: str) -> str:
    """A built-in's bare name, whatever its prefix; a user's own hook as it is."""
    for prefix in _HOOK_PREFIXES:
        if hook.startswith(prefix):
            return _built_in_hook(hook.removeprefix(prefix), path)
    return hook if "." in hook or ":" in hook else _built_in_hook(hook, path)


def _built_in_hook(name: str, path: str) -> str:
    if name not in BUILT_IN_HOOKS:
        raise ConfigError(path, f"no built-in hook {name!r}", did_you_mean(name, BUILT_IN_HOOKS))
    return name

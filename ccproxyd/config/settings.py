"""ccproxy.yaml as frozen settings.

Each class is one section of the file, and its fields are the section's keys: name, type, default,
how the value is read and one line of what it does stand together, once. `documented_keys` lists
them all, so that a man page can be held against it.

A config of claude-ccproxy loads as well: rules that say `name` for `label`, hooks by the path
`ccproxy.hooks.X`, the keys that this version has no use for (with a warning), and its `litellm:`
section, whose host, port and worker count hold where `ccproxy:` names none.

Parsing is pure. It gets a document whose `${NAME}` are already expanded (see `load`), and knows
nothing of which rules exist: they are imported in `imports`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

import attrs
from attrs import field, frozen

from ccproxyd.config.budgets import Budgets
from ccproxyd.config.entries import (
    BUILT_IN_HOOKS,
    DEFAULT_HOOKS,
    HookEntry,
    RuleEntry,
    parse_hooks,
    parse_rules,
)
from ccproxyd.config.fallbacks import Fallbacks, parse_fallbacks
from ccproxyd.config.fields import Fields
from ccproxyd.config.moderation import Moderation

__all__ = [
    "BUILT_IN_HOOKS",
    "FILE",
    "UNUSED_KEYS",
    "Budgets",
    "HookEntry",
    "Lanes",
    "Logging",
    "Moderation",
    "RuleEntry",
    "Settings",
    "Timeouts",
    "Workers",
    "documented_keys",
]

FILE: Final = "ccproxy.yaml"
HIGHEST_PORT: Final = 65535
START_METHODS: Final = ("auto", "fork", "spawn")
DIRECT_LANE: Final = ("auto", "off")

UNUSED_KEYS: Final = ("metrics_enabled", "oat_sources", "credentials")
"""Keys of claude-ccproxy that are accepted and have no effect."""

_OUR_HANDLERS: Final = frozenset(
    f"{module}{end}"
    for module in ("ccproxy.handler", "ccproxyd.worker.handler")
    for end in ("", ":CCProxyHandler", ".CCProxyHandler")
)

S = TypeVar("S")


def _text(fields: Fields, key: str, default: str) -> str:
    return fields.text(key, default)


def _flag(fields: Fields, key: str, default: bool) -> bool:
    return fields.flag(key, default)


def _port(fields: Fields, key: str, default: int) -> int:
    return fields.integer(key, default, least=0, most=HIGHEST_PORT)


def _at_least_one(fields: Fields, key: str, default: int) -> int:
    return fields.integer(key, default, least=1)


def _seconds(fields: Fields, key: str, default: float) -> float:
    return fields.number(key, default)


def _time_limit(fields: Fields, key: str, default: float) -> float:
    return fields.number(key, default, above=0)


def _start_method(fields: Fields, key: str, default: str) -> str:
    return fields.choice(key, default, START_METHODS)


def _direct_lane(fields: Fields, key: str, default: str) -> str:
    """Unquoted, YAML reads `off` as false."""
    return "off" if fields.value(key) is False else fields.choice(key, default, DIRECT_LANE)


def _rules(fields: Fields, key: str, _default: object) -> tuple[RuleEntry, ...]:
    return parse_rules(fields, key)


def _hooks(fields: Fields, key: str, _default: object) -> tuple[HookEntry, ...]:
    return parse_hooks(fields, key)


def _subsection(fields: Fields, key: str, default: S) -> S:
    return _fill(default, fields.section(key))


def _moderation(fields: Fields, key: str, default: Moderation) -> Moderation:
    found = _subsection(fields, key, default)
    if found.enabled and not found.judges:
        raise fields.error(key, "is enabled, and has neither 'deny' nor 'check' to judge by")
    return found


def _key(read: Callable[[Fields, str, Any], Any], summary: str) -> dict[str, Any]:
    """What makes a field a key of the file: how its value is read, and what it does."""
    return {"read": read, "summary": summary}


@frozen
class Workers:
    """`ccproxy.workers`: the LiteLLM processes."""

    count: int = field(
        default=1,
        metadata=_key(_at_least_one, "how many LiteLLM workers serve"),
    )
    start_method: str = field(
        default="auto",
        metadata=_key(_start_method, "fork, spawn, or auto: fork on Linux, spawn on macOS"),
    )
    drain_seconds: float = field(
        default=600.0,
        metadata=_key(_seconds, "how long an old worker may finish its streams after a reload"),
    )
    stop_seconds: float = field(
        default=30.0,
        metadata=_key(_seconds, "how long requests may finish at a stop"),
    )
    max_rss_mb: int = field(
        default=1500,
        metadata=_key(_at_least_one, "a worker that uses more memory than this is replaced"),
    )
    max_generations: int = field(
        default=3,
        metadata=_key(_at_least_one, "how many generations of workers may live at once"),
    )
    lazy: bool = field(
        default=False,
        metadata=_key(_flag, "start LiteLLM only when needed, if every label can go direct"),
    )


@frozen
class Lanes:
    """`ccproxy.lanes`: the ways to a provider."""

    direct: str = field(
        default="auto",
        metadata=_key(_direct_lane, "auto: past LiteLLM where nothing needs it; off: never"),
    )


@frozen
class Timeouts:
    """`ccproxy.timeouts`, in seconds."""

    first_byte: float = field(
        default=600.0,
        metadata=_key(_time_limit, "how long an answer may take to begin"),
    )
    idle: float = field(
        default=300.0,
        metadata=_key(_time_limit, "how long an answer that has begun may pause"),
    )


@frozen
class Logging:
    """`ccproxy.logging`: what is recorded of a request; never its content."""

    enable_pre_api_call: bool = field(
        default=True,
        metadata=_key(_flag, "log each request that is sent on"),
    )
    enable_post_api_call: bool = field(
        default=True,
        metadata=_key(_flag, "log each request that has ended"),
    )
    enable_success: bool = field(
        default=False,
        metadata=_key(_flag, "log once more each request that has ended well"),
    )
    enable_failure: bool = field(
        default=True,
        metadata=_key(_flag, "log, as a warning, each request that has failed"),
    )
    enable_stream_end: bool = field(
        default=False,
        metadata=_key(_flag, "log each stream that is over"),
    )
    enable_routing_analysis: bool = field(
        default=True,
        metadata=_key(_flag, "log how good the route was"),
    )
    enable_cost_tracking: bool = field(
        default=True,
        metadata=_key(_flag, "log tokens and cost"),
    )
    enable_moderation: bool = field(
        default=False,
        metadata=_key(_flag, "log what moderation has let pass, too"),
    )

    @property
    def follows_requests(self) -> bool:
        """Whether there is a line for what becomes of a request."""
        return (
            self.enable_pre_api_call
            or self.enable_post_api_call
            or self.enable_success
            or self.enable_failure
            or self.enable_stream_end
        )


_WORKERS: Final = Workers()
_LANES: Final = Lanes()
_TIMEOUTS: Final = Timeouts()
_BUDGETS: Final = Budgets()
_MODERATION: Final = Moderation()
_LOGGING: Final = Logging()


@frozen
class Settings:
    """All of ccproxy.yaml. Every field but the last is a key below `ccproxy:`."""

    host: str = field(
        default="127.0.0.1",
        metadata=_key(_text, "the address to listen on"),
    )
    port: int = field(
        default=4000,
        metadata=_key(_port, "the port to listen on; 0 takes any that is free"),
    )
    debug: bool = field(
        default=False,
        metadata=_key(_flag, "log in more detail"),
    )
    default_model_passthrough: bool = field(
        default=True,
        metadata=_key(_flag, "without a match, keep a requested model that model_list serves"),
    )
    rules: tuple[RuleEntry, ...] = field(
        default=(),
        metadata=_key(_rules, "what gives a request its label; the first match wins"),
    )
    hooks: tuple[HookEntry, ...] = field(
        default=DEFAULT_HOOKS,
        metadata=_key(_hooks, "what is done to a request besides"),
    )
    workers: Workers = field(
        default=_WORKERS,
        metadata=_key(_subsection, "the LiteLLM processes"),
    )
    lanes: Lanes = field(
        default=_LANES,
        metadata=_key(_subsection, "the ways to a provider"),
    )
    fallbacks: Fallbacks = field(
        factory=dict,
        metadata=_key(parse_fallbacks, "which labels stand in for one that fails"),
    )
    timeouts: Timeouts = field(
        default=_TIMEOUTS,
        metadata=_key(_subsection, "how long to wait for a provider, in seconds"),
    )
    budgets: Budgets = field(
        default=_BUDGETS,
        metadata=_key(_subsection, "how much may be spent, in US dollars"),
    )
    moderation: Moderation = field(
        default=_MODERATION,
        metadata=_key(_moderation, "what may not be sent to any provider"),
    )
    logging: Logging = field(
        default=_LOGGING,
        metadata=_key(_subsection, "what is recorded of a request"),
    )
    management_routes: bool = field(
        default=False,
        metadata=_key(_flag, "let clients reach LiteLLM's management and UI routes"),
    )
    warnings: tuple[str, ...] = ()

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Settings:
        """Settings out of the whole of ccproxy.yaml, `${NAME}` already expanded.

        Raises:
            ConfigError: the first field that is wrong, by its path.
        """
        top = Fields(document, FILE)
        ours, ancestors = top.section("ccproxy"), top.section("litellm")
        top.finish(elsewhere=dict.fromkeys(_known_keys(), "belongs below 'ccproxy:'"))
        _read_unused(ours)
        found = _fill(_ancestors_defaults(ancestors), ours)
        return attrs.evolve(found, warnings=tuple(_warnings(found, ours)))

    def has_hook(self, name: str) -> bool:
        """Whether a built-in hook is listed, by its bare name."""
        return any(entry.hook == name for entry in self.hooks)


def documented_keys() -> dict[str, str]:
    """Every key that has an effect, as a dotted path, with what it does.

    >>> documented_keys()["ccproxy.workers.count"]
    'how many LiteLLM workers serve'
    """
    return dict(_documented(Settings, "ccproxy"))


def _documented(section: type, path: str) -> Iterator[tuple[str, str]]:
    for key in _keys(section):
        yield f"{path}.{key.name}", key.metadata["summary"]
        if attrs.has(type(key.default)):
            yield from _documented(type(key.default), f"{path}.{key.name}")


def _keys(section: type) -> list[attrs.Attribute[Any]]:
    return [key for key in attrs.fields(section) if key.metadata]


def _known_keys() -> list[str]:
    return [key.name for key in _keys(Settings)] + ["handler", *UNUSED_KEYS]


def _fill(default: S, fields: Fields) -> S:
    """A section's class out of its keys; what is not there stays as in `default`."""
    section = type(default)
    values = {
        key.name: key.metadata["read"](fields, key.name, getattr(default, key.name))
        for key in _keys(section)
    }
    fields.finish()
    return section(**values)


def _ancestors_defaults(fields: Fields) -> Settings:
    """What claude-ccproxy's `litellm:` section says, for where `ccproxy:` says nothing."""
    base = Settings()
    debug = [fields.flag(key, False) for key in ("debug", "detailed_debug")]
    found = attrs.evolve(
        base,
        host=_text(fields, "host", base.host),
        port=_port(fields, "port", base.port),
        debug=any(debug),
        workers=Workers(count=_at_least_one(fields, "num_workers", base.workers.count)),
    )
    fields.finish()
    return found


def _read_unused(fields: Fields) -> None:
    """The keys of claude-ccproxy that change nothing, checked as far as that makes sense."""
    fields.flag("metrics_enabled", False)
    fields.section("oat_sources")
    fields.text("credentials", "none")
    if (handler := fields.text("handler", "ccproxy.handler")) not in _OUR_HANDLERS:
        where = "litellm_settings.callbacks of config.yaml"
        reason = f"{handler!r} is no handler of ours; a handler of your own belongs in {where}"
        raise fields.error("handler", reason)


def _warnings(settings: Settings, ours: Fields) -> Iterator[str]:
    for key in UNUSED_KEYS:
        if ours.has(key):
            yield f"{ours.where(key)}: is not used by this version"
    for entry in settings.hooks:
        for name in entry.credentials() if entry.hook == "capture_headers" else ():
            yield f"{entry.path}.params.headers: {name!r} may hold a credential; it is passed over"
    if settings.rules and not settings.has_hook("rule_evaluator"):
        yield f"{ours.where('hooks')}: without rule_evaluator the rules are evaluated all the same"
    if settings.logging.enable_moderation and not settings.moderation.enabled:
        section = ours.section("logging").where("enable_moderation")
        yield f"{section}: has no effect while ccproxy.moderation.enabled is false"
    if settings.moderation.judges and not ours.section("moderation").has("enabled"):
        yield f"{ours.where('moderation')}: is off, and refuses nothing, until enabled is true"

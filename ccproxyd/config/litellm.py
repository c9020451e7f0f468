"""What we need to know of config.yaml, and the config that a worker loads in its place.

config.yaml is LiteLLM's file. We read the few fields that routing, auth and the checks depend on,
and leave everything else as it is. A worker does not load the user's file itself but a rendered
copy, with our handler registered, a key of its own, and some settings that a proxy in the path of
an interactive client needs.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from ccproxyd.config.callbacks import OUR_HANDLER, listed_callbacks, means_our_handler
from ccproxyd.config.deployments import Deployment, follow, parse_deployments, provider_of
from ccproxyd.config.entries import RuleEntry
from ccproxyd.config.environment import references, resolve
from ccproxyd.config.fields import Fields, kind_of
from ccproxyd.errors import ConfigError, did_you_mean
from ccproxyd.routing.router import ModelRouter, RoutingTable, Target

FILE: Final = "config.yaml"
MASTER_KEY_NAME: Final = "LITELLM_MASTER_KEY"
WHOLE_ADDRESSES: Final = "LITELLM_ANTHROPIC_DISABLE_URL_SUFFIX"
"""With this in its environment LiteLLM puts nothing behind an address of Anthropic's protocol."""

_SECTIONS: Final = (
    "litellm_settings",
    "general_settings",
    "router_settings",
    "environment_variables",
)
_LITELLM_DEFAULTS: Final[Mapping[str, Any]] = {
    # Its pings would pass for the provider's; the gateway has some of its own.
    "anthropic_sse_ping_interval_seconds": 0,
}
_GENERAL_DEFAULTS: Final[Mapping[str, Any]] = {
    # Without it LiteLLM finishes, and pays for, the calls of clients that have gone.
    "cancel_on_disconnect": True,
    # Without it every start of a worker asks each openai/ deployment for its models.
    "disable_model_info_refresh": True,
}
_CLOSED_DEFAULTS: Final[Mapping[str, Any]] = {
    # Nobody can sign in to its admin UI. Without it LiteLLM warns of sign-ins at each start.
    "trusted_proxy_ranges": [],
}
# One 401 of a label's only deployment would answer 429 to everyone for some seconds, and retries
# would hold a 429 back that the client handles better itself: both only if the user asks for them.
_COOLDOWN_SETTINGS: Final = (
    "disable_cooldowns",
    "cooldown_time",
    "allowed_fails",
    "allowed_fails_policy",
)
_RETRY_SETTINGS: Final = ("num_retries", "retry_policy", "model_group_retry_policy")

Document = Mapping[str, Any]


@frozen
class LiteLLMConfig:
    """The fields of config.yaml that we act on, `os.environ/NAME` looked up."""

    deployments: tuple[Deployment, ...]
    aliases: Mapping[str, str]
    master_key: str | None
    database: bool
    callbacks: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @classmethod
    def parse(
        cls, document: Document, *, environ: Mapping[str, str], origins: Sequence[str] = ()
    ) -> LiteLLMConfig:
        """What config.yaml says, its includes merged and `${NAME}` expanded.

        Args:
            environ: what `os.environ/NAME` refers to.
            origins: the path of each entry of `model_list`, where includes brought some.

        Raises:
            ConfigError: a field that is wrong, by its path.
        """
        _check_sections(document)
        database = _has_database(document)
        deployments = tuple(_deployments(document, environ, origins))
        return cls(
            deployments=deployments,
            aliases=_aliases(document),
            master_key=_master_key(document, environ, required=database),
            database=database,
            callbacks=tuple(_texts(listed_callbacks(document))),
            warnings=(*_warnings(document, environ), *_about_addresses(deployments, environ)),
        )

    def targets(self) -> tuple[Target, ...]:
        """The deployments grouped by name, in the order of their first."""
        models: dict[str, list[str]] = {}
        for deployment in self.deployments:
            models.setdefault(deployment.model_name, []).append(deployment.model)
        return tuple(Target(name=name, models=tuple(found)) for name, found in models.items())


def _check_sections(document: Document) -> None:
    for section in _SECTIONS:
        Fields(document.get(section), f"{FILE}: {section}")
    entries = document.get("model_list")
    if "model_list" not in document and (near := did_you_mean("model_list", document)):
        raise ConfigError(f"{FILE}: {near}", "unknown key", "model_list")
    if not isinstance(entries, list | None):
        raise ConfigError(f"{FILE}: model_list", f"must be a list, not {kind_of(entries)}")


def _section(document: Document, name: str) -> Mapping[str, Any]:
    return document.get(name) or {}


def _deployments(
    document: Document, environ: Mapping[str, str], origins: Sequence[str]
) -> Iterator[Deployment]:
    entries = document.get("model_list") or []
    paths = origins or [f"{FILE}: model_list[{index}]" for index in range(len(entries))]
    return parse_deployments(entries, environ, paths)


def _aliases(document: Document) -> dict[str, str]:
    """`model_group_alias`, whose values are names or `{model: name, hidden: ...}`."""
    found = _section(document, "router_settings").get("model_group_alias")
    fields = Fields(found, f"{FILE}: router_settings.model_group_alias")
    return {name: _alias(fields, name) for name in found or ()}


def _alias(fields: Fields, name: str) -> str:
    if isinstance(fields.value(name), Mapping):
        return fields.section(name).text("model")
    return fields.text(name)


def check_labels(
    rules: Iterable[RuleEntry], targets: Iterable[Target], aliases: Mapping[str, str]
) -> None:
    """Refuse a rule's label that LiteLLM would not know.

    Raises:
        ConfigError: the first label that is no `model_name`, no alias of one, and fits no wildcard.
    """
    check_names(((f"{rule.path}.label", rule.label) for rule in rules), targets, aliases)


def check_names(
    labels: Iterable[tuple[str, str]], targets: Iterable[Target], aliases: Mapping[str, str]
) -> None:
    """The same for labels that stand anywhere else, each with its field's path."""
    table = RoutingTable(targets=tuple(targets), aliases=aliases)
    router = ModelRouter(table)
    names = [*(target.name for target in table.targets), *aliases]
    for path, label in labels:
        if router.target_of(label) is None:
            reason = f"{label!r} is no model_name of {FILE}"
            raise ConfigError(path, reason, did_you_mean(label, names))


def _has_database(document: Document) -> bool:
    """Whether LiteLLM keeps keys of its own, and is to judge what clients send."""
    found = _section(document, "general_settings").get("database_url")
    return bool(found or _section(document, "environment_variables").get("DATABASE_URL"))


def _master_key(document: Document, environ: Mapping[str, str], *, required: bool) -> str | None:
    """In LiteLLM's order: the setting, then the variable, which the file may set as well."""
    fields = Fields(_section(document, "general_settings"), f"{FILE}: general_settings")
    variables = _section(document, "environment_variables")
    found = resolve(fields.value("master_key"), environ)
    found = found or resolve(variables.get(MASTER_KEY_NAME), environ)
    found = found or environ.get(MASTER_KEY_NAME)
    if found is None and required:
        raise fields.error("master_key", "is missing; with a database LiteLLM wants one")
    if not isinstance(found, str | None):
        raise fields.error("master_key", f"must be a text, not {kind_of(found)}")
    return found


def _warnings(document: Document, environ: Mapping[str, str]) -> Iterator[str]:
    if not document.get("model_list"):
        yield f"{FILE}: model_list is empty; no request can be served"
    if "ccproxy_settings" in document:
        yield f"{FILE}: ccproxy_settings: has no effect; rules stand in ccproxy.yaml"
    if "key_management_system" not in _section(document, "general_settings"):
        for path, name in references(dict(document), FILE):
            if name not in environ:
                yield f"{path}: the environment has no {name}"
    if "DATABASE_URL" in environ and not _has_database(document):
        yield (
            "DATABASE_URL is in the environment, so LiteLLM connects to it; if it is meant for"
            f" LiteLLM, say so in {FILE}: general_settings.database_url"
        )


def _about_addresses(
    deployments: Iterable[Deployment], environ: Mapping[str, str]
) -> Iterator[str]:
    """LiteLLM and the direct lane put /v1/messages behind an address, also behind a /v1."""
    if environ.get(WHOLE_ADDRESSES, "").lower() == "true":
        return
    for one in deployments:
        is_wrong = str(one.api_base or "").rstrip("/").endswith("/v1")
        if is_wrong and provider_of(one) == "anthropic":
            yield f"{one.path}.litellm_params.api_base: anthropic/ takes an address without /v1"


def _texts(values: Iterable[Any]) -> list[str]:
    return [value for value in values if isinstance(value, str)]


def render(
    document: Document,
    *,
    master_key: str,
    config_dir: Path,
    selftest_name: str,
    management: bool = False,
) -> dict[str, Any]:
    """The worker's config: the user's, with what we add; the argument stays as it is.

    Args:
        document: the whole of config.yaml, its includes merged.
        master_key: the generation's own; not used when LiteLLM has a key database.
        config_dir: where a callback's module may be.
        selftest_name: the `model_name` that the worker proves itself with.
        management: clients can reach LiteLLM's routes of management, and its admin UI.
    """
    rendered = copy.deepcopy(dict(document))
    for section in ("litellm_settings", "general_settings", "router_settings"):
        rendered[section] = rendered.get(section) or {}
    rendered["model_list"] = [*_rendered_models(rendered), _selftest(selftest_name)]
    rendered["litellm_settings"] = {**_LITELLM_DEFAULTS, **rendered["litellm_settings"]}
    rendered["litellm_settings"]["callbacks"] = _rendered_callbacks(rendered, config_dir)
    defaults = {**_GENERAL_DEFAULTS, **({} if management else _CLOSED_DEFAULTS)}
    rendered["general_settings"] = {**defaults, **rendered["general_settings"]}
    rendered["router_settings"] |= _router_defaults(rendered)
    if not _has_database(rendered):
        rendered["general_settings"]["master_key"] = master_key
    return rendered


def _rendered_models(document: Document) -> list[Any]:
    entries = document.get("model_list") or []
    return [copy.deepcopy(found) for entry in entries for found in follow(entry, entries)]


def _selftest(name: str) -> dict[str, Any]:
    # Should mock_response ever be overlooked, the address still leads nowhere. The provider is none
    # that has files or batches: what names no model goes to the first deployment of OpenAI's.
    nowhere = {"api_base": "http://127.0.0.1:1", "api_key": "none"}
    params = {"model": "custom_openai/selftest", "mock_response": "ok", **nowhere}
    return {"model_name": name, "litellm_params": params}


def _rendered_callbacks(document: Document, config_dir: Path) -> list[Any]:
    """The user's own first: LiteLLM runs them in this order."""
    own = [
        callback
        for callback in listed_callbacks(document)
        if not (isinstance(callback, str) and means_our_handler(callback, config_dir))
    ]
    return [*own, OUR_HANDLER]


def _router_defaults(document: Document) -> dict[str, Any]:
    asked = {**document["litellm_settings"], **document["router_settings"]}
    defaults: dict[str, Any] = {}
    if not any(key in asked for key in _COOLDOWN_SETTINGS):
        defaults["disable_cooldowns"] = True
    if not any(key in asked for key in _RETRY_SETTINGS):
        defaults["num_retries"] = 0
    return defaults

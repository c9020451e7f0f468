"""Which labels can do without LiteLLM, and where their requests then go.

A request takes the *direct lane* when nothing about it needs LiteLLM: the provider behind its label
speaks the client's own protocol, and no part of config.yaml asks for what only LiteLLM does (its
keys, guardrails, caches, callbacks, retries, a choice among several deployments). This module
decides what holds for every request of a label; `gateway.lanes.choice` adds what the request says.

The lists below are of what is known to make no difference. LiteLLM grows new settings every week,
so a key that they do not name sends its label to LiteLLM's lane, which is always right and only
slower; the reason names the key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import field, frozen

from ccproxyd.config.callbacks import listed_callbacks, means_our_handler
from ccproxyd.config.deployments import KEYS_OF_A_PROVIDER, Deployment, provider_of
from ccproxyd.config.environment import resolve
from ccproxyd.config.litellm import WHOLE_ADDRESSES
from ccproxyd.config.load import Loaded
from ccproxyd.config.proxies import find_proxy

DIRECT: Final = "direct"
LITELLM: Final = "litellm"

_SECTIONS: Final = frozenset(
    "model_list litellm_settings general_settings router_settings environment_variables include "
    "ccproxy_settings callback_settings credential_list files_settings finetune_settings "
    "mcp_servers mcp_tools search_tools vector_store_registry".split()
)
_FALLBACKS: Final = (
    "fallbacks",
    "default_fallbacks",
    "context_window_fallbacks",
    "content_policy_fallbacks",
)
_HARMLESS: Final[Mapping[str, frozenset[str]]] = {
    "litellm_settings": frozenset(
        "drop_params set_verbose json_logs callbacks request_timeout turn_off_message_logging "
        "suppress_debug_info telemetry redact_user_api_key_info ssl_verify cooldown_time "
        "allowed_fails disable_aiohttp_trust_env aiohttp_trust_env "
        "use_chat_completions_url_for_anthropic_messages".split()
    ).union(_FALLBACKS),
    "general_settings": frozenset(
        "master_key cancel_on_disconnect disable_model_info_refresh pass_through_endpoints "
        "disable_spend_logs store_model_in_db forward_client_headers_to_llm_api "
        "forward_llm_provider_auth_headers".split()
    ),
    "router_settings": frozenset(
        "model_group_alias routing_strategy routing_strategy_args disable_cooldowns cooldown_time "
        "allowed_fails allowed_fails_policy timeout stream_timeout set_verbose debug_level".split()
    ).union(_FALLBACKS),
}
_OFF: Final[tuple[Any, ...]] = (None, False, 0, [], {})
"""A setting with one of these values is as good as absent."""

_PARAMS: Final = frozenset(
    "model api_key api_base base_url custom_llm_provider timeout stream_timeout weight".split()
)
_ANTHROPIC_BASES: Final = ("ANTHROPIC_API_BASE", "ANTHROPIC_BASE_URL")
_OPENAI_BASES: Final = ("OPENAI_BASE_URL", "OPENAI_API_BASE")
_OPENAI: Final = "https://api.openai.com/v1"
_RESPONSES: Final = "responses/"
"""Before a model's name: it is to be asked by that API of OpenAI's, also for a chat."""
_OPENAIS_OWN: Final = (
    ".api.openai.com",
    ".openai.azure.com",
    ".openai.azure.us",
    ".cognitiveservices.azure.com",
    ".services.ai.azure.com",
)
_KEYS: Final = {
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
    "openai": ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY"),
    "custom_openai": ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY"),
    "hosted_vllm": ("HOSTED_VLLM_API_KEY",),
}
"""Where LiteLLM looks for a key that a deployment does not have, wherever its address is."""
_COMPATIBLE: Final = frozenset({"custom_openai", "hosted_vllm"})
"""Any server that speaks OpenAI's chat, wherever `api_base` says."""
_CHAT_MODES: Final = (None, "chat")
_OTHER_PRICES: Final = ("off_peak_pricing", "tiered_pricing")

Document = Mapping[str, Any]
Environ = Mapping[str, str]


@frozen
class Endpoint:
    """A provider's address for one protocol.

    `key` is None where the client's own token goes, and "" where nothing does.
    """

    protocol: str
    """`anthropic` (messages) or `openai` (chat completions)."""
    url: str
    key: str | None = field(default=None, repr=False)
    timeout: float | None = None
    """In seconds; the longest silence that LiteLLM would bear."""
    stream_timeout: float | None = None
    """The same for a request that streams."""
    verify: bool | str = True
    """Of the server's certificate: whether, or against which file of authorities."""
    proxy: str | None = field(default=None, repr=False)


@frozen
class Lane:
    """How the requests of a label go, and why so."""

    name: str
    reason: str
    endpoint: Endpoint | None = None
    deployment: Deployment | None = None

    @property
    def is_direct(self) -> bool:
        return self.name == DIRECT


class _NeedsLiteLLMError(Exception):
    """Its text is what makes LiteLLM necessary."""


@frozen
class _Surroundings:
    """What all deployments have in common."""

    environ: Environ = field(repr=False)
    timeouts: Mapping[str, Any]
    verify: bool | str


def lanes_of(loaded: Loaded, environ: Environ, config_dir: Path) -> dict[str, Lane]:
    """The lane of each `model_name` of a loaded config, in this environment."""
    return find_lanes(
        loaded.documents["litellm"],
        loaded.litellm.deployments,
        provider_environ(loaded, environ),
        config_dir,
        direct=loaded.settings.lanes.direct,
        database=loaded.litellm.database,
    )


def provider_environ(loaded: Loaded, environ: Environ) -> Environ:
    """The environment that LiteLLM finds keys and addresses in; config.yaml itself adds to it."""
    everything = {**environ, **loaded.environ}
    found = _section(loaded.documents["litellm"], "environment_variables")
    added = {name: resolve(value, everything) for name, value in found.items()}
    return {**everything, **{k: str(value) for k, value in added.items() if value is not None}}


def needs_litellm(lanes: Mapping[str, Lane]) -> str | None:
    """Why LiteLLM has to run from the start: a label that cannot do without it."""
    found = next(((name, lane) for name, lane in lanes.items() if not lane.is_direct), None)
    return f"{found[0]}: {found[1].reason}" if found else None


def find_lanes(
    document: Document,
    deployments: tuple[Deployment, ...],
    environ: Environ,
    config_dir: Path,
    *,
    direct: str,
    database: bool = False,
) -> dict[str, Lane]:
    """The lane of each `model_name`.

    Args:
        document: the whole of config.yaml, its includes merged.
        deployments: what was parsed of its `model_list`.
        environ: see `provider_environ`.
        config_dir: where a callback's module may be.
        direct: the setting `lanes.direct`.
        database: LiteLLM keeps the clients' keys, and nobody but LiteLLM can judge them.
    """
    names = dict.fromkeys(deployment.model_name for deployment in deployments)
    own = "lanes.direct is off" if direct == "off" else "LiteLLM keeps the keys" * database
    if reason := own or next(_obstacles(document, config_dir), None):
        return dict.fromkeys(names, Lane(LITELLM, reason))
    around = _surroundings(document, environ)
    return {
        name: _lane([one for one in deployments if one.model_name == name], around)
        for name in names
    }


def _surroundings(document: Document, environ: Environ) -> _Surroundings:
    ours, router = _section(document, "litellm_settings"), _section(document, "router_settings")
    usual = router.get("timeout") or ours.get("request_timeout")
    return _Surroundings(
        environ=environ,
        timeouts={"timeout": usual, "stream_timeout": router.get("stream_timeout")},
        verify=_verify(ours.get("ssl_verify"), environ),
    )


def _verify(setting: Any, environ: Environ) -> bool | str:
    """In LiteLLM's order; a text that is no yes or no is the path of a file."""
    found = environ.get("SSL_VERIFY", True if setting is None else setting)
    if str(found).lower() in ("true", "1"):
        return environ.get("SSL_CERT_FILE") or True
    return False if str(found).lower() in ("false", "0") else str(found)


def _lane(deployments: list[Deployment], around: _Surroundings) -> Lane:
    try:
        endpoint = _endpoint(deployments, around)
    except _NeedsLiteLLMError as needs:
        return Lane(LITELLM, str(needs))
    reason = f"{deployments[0].model} speaks {endpoint.protocol}'s protocol"
    return Lane(DIRECT, reason, endpoint, deployment=deployments[0])


def _endpoint(deployments: list[Deployment], around: _Surroundings) -> Endpoint:
    if len(deployments) > 1:
        raise _NeedsLiteLLMError(f"{len(deployments)} deployments share it")
    [deployment] = deployments
    _check_params(deployment)
    protocol, url, key = _address(deployment, around.environ)
    return Endpoint(
        protocol=protocol,
        url=url,
        key=key,
        timeout=_seconds(deployment, around, "timeout"),
        stream_timeout=_seconds(deployment, around, "stream_timeout"),
        verify=around.verify,
        proxy=find_proxy(url, around.environ),
    )


def _address(deployment: Deployment, environ: Environ) -> tuple[str, str, str | None]:
    """Protocol, URL and key."""
    match provider_of(deployment):
        case "anthropic":
            return _anthropic(deployment, environ)
        case provider if provider == "openai" or provider in _COMPATIBLE:
            return _openai(deployment, environ)
        case provider:
            raise _NeedsLiteLLMError(f"LiteLLM translates for {provider or deployment.model}")


def anthropic_base(api_base: str | None, environ: Environ) -> str:
    """Where LiteLLM would look for Anthropic."""
    return api_base or _first(environ, _ANTHROPIC_BASES) or "https://api.anthropic.com"


def is_anthropics_own(base: str) -> bool:
    """Whether an address is Anthropic's, and nobody's who only speaks its protocol.

    >>> is_anthropics_own("https://api.anthropic.com/v1/messages"), is_anthropics_own("https://x")
    (True, False)
    """
    parts = urlsplit(base)
    return parts.scheme == "https" and parts.hostname == "api.anthropic.com"


def openai_base(api_base: str | None, environ: Environ) -> str:
    """Where LiteLLM would look for OpenAI."""
    return api_base or _first(environ, _OPENAI_BASES) or _OPENAI


def is_openais_own(base: str) -> bool:
    """Whether an address is OpenAI's, or Microsoft's for the same models.

    >>> is_openais_own("https://eu.api.openai.com/v1"), is_openais_own("http://127.0.0.1:8080/v1")
    (True, False)
    """
    return f".{urlsplit(base).hostname}".endswith(_OPENAIS_OWN)


def needs_no_key(
    provider: str | None, api_base: str | None, params: Mapping[str, Any], environ: Environ
) -> bool:
    """Whether a deployment is a server of one's own, and nobody has said a key for it.

    >>> needs_no_key("openai", "http://127.0.0.1:8080/v1", {}, {})
    True
    """
    if provider not in _KEYS or any(params.get(name) for name in KEYS_OF_A_PROVIDER):
        return False
    if provider == "anthropic":
        is_own = is_anthropics_own(anthropic_base(api_base, environ))
    else:
        is_own = is_openais_own(openai_base(api_base, environ))
    return not is_own and _first(environ, _KEYS[provider]) is None


def bare_model(model: str) -> str:
    """The provider's own id.

    >>> bare_model("anthropic/claude-haiku-4-5"), bare_model("hosted_vllm/org/name")
    ('claude-haiku-4-5', 'org/name')
    """
    prefix, slash, rest = model.partition("/")
    known = prefix in {"anthropic", "openai", *_COMPATIBLE}
    return rest if slash and known else model


def _check_params(deployment: Deployment) -> None:
    for name, value in deployment.params.items():
        if value is not None and name not in _PARAMS and not _is_price(name):
            raise _NeedsLiteLLMError(f"{deployment.path}.litellm_params.{name}")
    if deployment.info.get("mode") not in _CHAT_MODES:
        raise _NeedsLiteLLMError(f"{deployment.path}.model_info.mode")
    for name in _OTHER_PRICES:
        if deployment.info.get(name):
            raise _NeedsLiteLLMError(f"{deployment.path}.model_info.{name}")


def _is_price(name: str) -> bool:
    """A rate that we can charge by; LiteLLM also knows some by the second and by the image."""
    return ("cost" in name and "_token" in name) or name == "search_context_cost_per_query"


def _anthropic(deployment: Deployment, environ: Environ) -> tuple[str, str, str | None]:
    base = anthropic_base(deployment.api_base, environ)
    key = _text(deployment.params.get("api_key") or environ.get("ANTHROPIC_API_KEY"))
    if needs_no_key(provider_of(deployment), deployment.api_base, deployment.params, environ):
        key = ""
    elif environ.get("ANTHROPIC_AUTH_TOKEN") and not key:
        raise _NeedsLiteLLMError("the environment has ANTHROPIC_AUTH_TOKEN")
    complete = environ.get(WHOLE_ADDRESSES, "").lower() == "true"
    url = base if complete else _with_end(base, "/v1/messages")
    return "anthropic", url, key


def _openai(deployment: Deployment, environ: Environ) -> tuple[str, str, str | None]:
    provider, params = provider_of(deployment), deployment.params
    base = deployment.api_base
    if bare_model(deployment.model).startswith(_RESPONSES):
        raise _NeedsLiteLLMError(f"LiteLLM asks for responses of {deployment.model}")
    if provider == "openai":
        base = openai_base(base, environ)
    if not base:
        raise _NeedsLiteLLMError(f"{deployment.path}.litellm_params has no api_base")
    inherited = environ.get("OPENAI_API_KEY") if provider == "openai" else None
    key = _text(params.get("api_key") or inherited)
    if not key and not needs_no_key(provider, base, params, environ):
        raise _NeedsLiteLLMError(f"{deployment.path}.litellm_params has no api_key")
    return "openai", _with_end(base, "/chat/completions"), key or ""


def _with_end(base: str, end: str) -> str:
    """LiteLLM appends what is missing, but looks for the whole end alone."""
    return base if base.endswith(end) else base.rstrip("/") + end


def _seconds(deployment: Deployment, around: _Surroundings, name: str) -> float | None:
    found = deployment.params.get(name) or around.timeouts[name]
    if found is not None and not isinstance(found, int | float):
        raise _NeedsLiteLLMError(f"{deployment.path}.litellm_params.{name}")
    return found


def _text(key: Any) -> str | None:
    return key if isinstance(key, str) and key else None


def _first(environ: Environ, names: tuple[str, ...]) -> str | None:
    return next((environ[name] for name in names if environ.get(name)), None)


def _section(document: Document, name: str) -> Document:
    return document.get(name) or {}


# What only LiteLLM does


def _obstacles(document: Document, config_dir: Path) -> Iterator[str]:
    """The parts of config.yaml that concern every request and that only LiteLLM honours."""
    for name, value in document.items():
        if name not in _SECTIONS and value not in _OFF:
            yield f"config.yaml: {name}"
    for section, harmless in _HARMLESS.items():
        for name, value in _section(document, section).items():
            if name not in harmless and value not in _OFF:
                yield f"config.yaml: {section}.{name}"
    for callback in listed_callbacks(document):
        if not (isinstance(callback, str) and means_our_handler(callback, config_dir)):
            yield "config.yaml: litellm_settings.callbacks"


def labels_with_fallbacks(document: Document) -> frozenset[str]:
    """The labels that have somewhere else to go, by config.yaml; `*` for all of them."""
    found: set[str] = set()
    for section in ("litellm_settings", "router_settings"):
        settings = _section(document, section)
        for name in _FALLBACKS:
            found |= _named(settings.get(name))
    return frozenset(found)


def has_fallbacks(label: str, fallbacks: frozenset[str]) -> bool:
    """Whether LiteLLM finds somewhere else to go; it knows a label without its provider as well."""
    return not fallbacks.isdisjoint(("*", label, label.partition("/")[2]))


def _named(fallbacks: Any) -> set[str]:
    """`[{label: [other, ...]}, ...]`, or for `default_fallbacks` a list of names."""
    entries = fallbacks if isinstance(fallbacks, list) else []
    return {
        name
        for entry in entries
        for name in (entry if isinstance(entry, Mapping) else ("*",))
        if isinstance(name, str)
    }

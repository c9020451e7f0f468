"""The entries of `model_list`, as far as routing depends on them.

An *indirection* is a deployment of claude-ccproxy's configs whose `litellm_params.model` is, bare,
another `model_name` of the list:

    - {model_name: think, litellm_params: {model: claude-opus}}
    - {model_name: claude-opus, litellm_params: {model: anthropic/claude-opus, api_base: ...}}

claude-ccproxy asked LiteLLM for the former's model, and so arrived at the latter's deployment. We
ask for the label, and LiteLLM would try `claude-opus` at a provider that it guesses; so a label
that is an indirection has the parameters of what it names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import field, frozen

from ccproxyd.config.environment import resolve
from ccproxyd.config.fields import Fields, kind_of

Entry = Mapping[str, Any]

KEYS_OF_A_PROVIDER: Final = ("api_key", "litellm_credential_name")
_TEXTS: Final = (
    "api_key",
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "azure_ad_token",
    "azure_password",
    "client_secret",
)
"""Where anything else ends LiteLLM's start, with the value in its reason."""
_OWN_PROVIDER: Final = frozenset(
    {"api_base", "base_url", "custom_llm_provider", "mock_response", *KEYS_OF_A_PROVIDER}
)


@frozen
class Deployment:
    """One entry of `model_list`, indirections followed.

    `path` is where it is written; `has_key` says whether it brings a key of its own. `params` are
    all its `litellm_params`, looked up in the environment; they hold secrets. `info` is what
    `model_info` tells LiteLLM of the model: its kind, its prices.
    """

    model_name: str
    model: str
    api_base: str | None
    has_key: bool
    path: str
    params: Mapping[str, Any] = field(factory=dict, repr=False)
    info: Mapping[str, Any] = field(factory=dict, repr=False)


def provider_of(deployment: Deployment) -> str | None:
    """As LiteLLM finds it: said by name, by the model's prefix, or by a name that only one has."""
    named = deployment.params.get("custom_llm_provider")
    prefix, slash, _ = deployment.model.partition("/")
    if named:
        return str(named)
    if slash:
        return prefix
    return "anthropic" if deployment.model.startswith("claude") else None


def parse_deployments(
    entries: Sequence[Any], environ: Mapping[str, str], paths: Sequence[str]
) -> Iterator[Deployment]:
    """The deployments of a `model_list`, indirections followed.

    Args:
        paths: where each entry is written.

    Raises:
        ConfigError: an entry that is wrong, by its path.
    """
    for entry, path in zip(entries, paths, strict=True):
        _deployment(entry, environ, path)
    for entry, path in zip(entries, paths, strict=True):
        for followed in follow(entry, entries):
            yield _deployment(followed, environ, path)


def _deployment(entry: Any, environ: Mapping[str, str], path: str) -> Deployment:
    fields = Fields(_looked_up(entry, environ), path)
    fields.has("model_info")  # so near to model_name that it would pass for a misspelt one
    model_name = fields.text("model_name")
    written = fields.section("litellm_params").value("model")
    params = Fields(_looked_up(fields.value("litellm_params"), environ), f"{path}.litellm_params")
    if isinstance(written, str) and not params.has("model"):
        raise params.error("model", f"the environment has no {written.rpartition('/')[2]}")
    _check_texts(params)
    return Deployment(
        model_name=model_name,
        model=params.text("model"),
        api_base=params.value("api_base") or params.value("base_url"),
        has_key=any(params.value(key) for key in KEYS_OF_A_PROVIDER),
        path=path,
        params=_looked_up(fields.value("litellm_params"), environ),
        info=_looked_up(fields.value("model_info") or {}, environ),
    )


def _check_texts(params: Fields) -> None:
    for name in _TEXTS:
        value = params.value(name)
        if not isinstance(value, str | None):
            put = "; put it in quotes" if isinstance(value, int | float) else ""
            raise params.error(name, f"must be a text, not {kind_of(value)}{put}")


def _looked_up(value: Any, environ: Mapping[str, str]) -> Any:
    """A mapping with its own values looked up; anything else as it is, for `Fields` to judge."""
    if not isinstance(value, Mapping):
        return value
    return {key: resolve(item, environ) for key, item in value.items()}


def follow(
    entry: Entry,
    entries: Sequence[Entry],
    seen: frozenset[str] = frozenset(),
) -> list[Entry]:
    """The entries that an indirection stands for; any other entry is its own.

    >>> direct = {"model_name": "opus", "litellm_params": {"model": "anthropic/opus"}}
    >>> [found] = follow({"model_name": "think", "litellm_params": {"model": "opus"}}, [direct])
    >>> found["model_name"], found["litellm_params"]
    ('think', {'model': 'anthropic/opus'})
    """
    model = entry["litellm_params"]["model"]
    named = [other for other in entries if other["model_name"] == model]
    if not named or model in seen | {entry["model_name"]} or not _is_bare(entry):
        return [entry]
    return [
        _merged(entry, direct)
        for other in named
        for direct in follow(other, entries, seen | {entry["model_name"]})
    ]


def _is_bare(entry: Entry) -> bool:
    """A name without a provider, and nothing beside it that says where it is to be found."""
    params = entry["litellm_params"]
    return "/" not in params["model"] and not _OWN_PROVIDER.intersection(params)


def _merged(entry: Entry, direct: Entry) -> dict[str, Any]:
    """The entry with the other's parameters, where it has none itself."""
    own = {key: value for key, value in entry["litellm_params"].items() if key != "model"}
    info = {key: value for key, value in (direct.get("model_info") or {}).items() if key != "id"}
    info |= entry.get("model_info") or {}
    merged = {**entry, "litellm_params": {**direct["litellm_params"], **own}}
    return merged | ({"model_info": info} if info else {})

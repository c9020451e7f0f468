"""How long a conversation may become: the smallest context window on its way.

A client knows how many tokens its own model takes, and compacts a conversation before that; a rule
may send the same conversation to a model that takes fewer. So the client is told the smallest
window that a main conversation can meet. Small requests beside it do not count: searches, titles,
subagents and whatever asks for a haiku are short, or have a context of their own.

A TokenCountRule shields what comes after it: what is longer than its threshold never gets there, so
a label behind it matters only if its window is below that threshold. Where no rule matches, a model
that is kept is the client's own choice; `default` is ours.

A window is what `model_info` says, else what is known of Claude's families, else LiteLLM's list.
What nobody knows is not guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from ccproxyd.config.entries import RuleEntry, bare_name
from ccproxyd.errors import CcproxydError
from ccproxyd.paths import litellm_directory
from ccproxyd.routing import Decision, NoRouteError, Request, Router, RoutingTable
from ccproxyd.routing.families import context_window
from ccproxyd.routing.router import DEFAULT_LABEL

if TYPE_CHECKING:
    from ccproxyd.config.deployments import Deployment
    from ccproxyd.config.load import Loaded

_LIST: Final = "model_prices_and_context_window_backup.json"
_FIELD: Final = "max_input_tokens"
_SMALL_MODEL: Final = "haiku"
_SOME_MODEL: Final = "claude-of-the-clients-choice"
"""Of Claude's names, one that only a wildcard serves."""


@frozen
class Stage:
    """A label that a main conversation can go to; `most` is the length of those that get there."""

    label: str
    most: int | None = None


@frozen
class Window:
    """What a label takes, in tokens."""

    label: str
    tokens: int


def smallest_window(loaded: Loaded) -> Window | None:
    """Of those that a main conversation can meet the smallest, as far as they are known."""
    found = list(_met(loaded))
    return min(found, key=lambda window: window.tokens) if found else None


def _met(loaded: Loaded) -> Iterator[Window]:
    for stage in stages(loaded.settings.rules, falls_to_default=_falls_to_default(loaded)):
        tokens = _window_of(loaded, stage.label)
        if tokens is not None and (stage.most is None or tokens < stage.most):
            yield Window(stage.label, tokens)


def stages(rules: Iterable[RuleEntry], *, falls_to_default: bool) -> Iterator[Stage]:
    """Where a main conversation can go, in the order of the rules."""
    most = None
    for rule in rules:
        if _may_be_main(rule):
            yield Stage(rule.label, most)
        if bare_name(rule.rule) == "DefaultRule":
            return
        if (threshold := _threshold(rule)) is not None:
            most = threshold if most is None else min(most, threshold)
    if falls_to_default:
        yield Stage(DEFAULT_LABEL, most)


def _may_be_main(rule: RuleEntry) -> bool:
    match bare_name(rule.rule):
        case "SubagentRule":
            return False
        case "MatchToolRule":
            return _param(rule, 1, "where") in ("used", "declared")
        case "MatchModelRule":
            return _SMALL_MODEL not in str(_param(rule, 0, "model_name")).lower()
        case "AllOf":
            return all(map(_may_be_main, rule.nested))
        case "AnyOf":
            return any(map(_may_be_main, rule.nested))
    return True


def _threshold(rule: RuleEntry) -> int | None:
    found = _param(rule, 0, "threshold") if bare_name(rule.rule) == "TokenCountRule" else None
    return found if isinstance(found, int) else None


def _param(rule: RuleEntry, index: int, name: str) -> Any:
    return rule.args[index] if len(rule.args) > index else rule.kwargs.get(name)


def is_served(loaded: Loaded, model: str) -> bool:
    """Whether a request for this model has somewhere to go, whatever the rules say."""
    return _decision(loaded, model) is not None


def _falls_to_default(loaded: Loaded) -> bool:
    """Whether a conversation that no rule matches may leave the model that its client asked for."""
    decision = _decision(loaded, _SOME_MODEL)
    return decision is not None and not decision.kept


def _decision(loaded: Loaded, model: str) -> Decision | None:
    table = RoutingTable(
        targets=loaded.litellm.targets(),
        aliases=loaded.litellm.aliases,
        passthrough=loaded.settings.default_model_passthrough,
    )
    try:
        return Router(table).decide(Request({"model": model, "messages": []}))
    except NoRouteError:
        return None


def _window_of(loaded: Loaded, label: str) -> int | None:
    name = loaded.litellm.aliases.get(label, label)
    deployments = [one for one in loaded.litellm.deployments if one.model_name == name]
    known = [found for one in deployments if (found := _window_at(one)) is not None]
    return min(known, default=None)


def _window_at(deployment: Deployment) -> int | None:
    told = deployment.info.get(_FIELD)
    if isinstance(told, int) and told > 0:
        return told
    model = deployment.info.get("base_model") or deployment.model
    return context_window(model) or listed_window(model, _listed_models())


def listed_window(model: str, listed: Mapping[str, Any]) -> int | None:
    """What a list of LiteLLM's says of a model, under its name with or without the provider.

    >>> listed_window("openai/gpt-5", {"gpt-5": {"max_input_tokens": 272000}})
    272000
    """
    for name in (model, model.partition("/")[2]):
        entry = listed.get(name)
        found = entry.get(_FIELD) if isinstance(entry, dict) else None
        if isinstance(found, int):
            return found
    return None


def _listed_models() -> Mapping[str, Any]:
    """LiteLLM's own list; without it nothing is known of these models."""
    import orjson  # only for models that are not Claude's: the list is large

    try:
        listed = orjson.loads((litellm_directory("tell windows") / _LIST).read_bytes())
    except (CcproxydError, OSError, orjson.JSONDecodeError):
        return {}
    return listed if isinstance(listed, dict) else {}

"""From a request to a label, and from the label to a model: the two steps of a route.

`RequestClassifier` asks the rules in order; the first that matches gives its label. `ModelRouter`
knows which labels LiteLLM serves:

    the rule says               and LiteLLM's model_list has    the request goes to
    a label                     it                              that label
    nothing                     the requested model             that model (passthrough)
    nothing                     a model `default`               `default`
    nothing                     neither                         nowhere: 404

Rules are for conversations. An embedding, a moderation or an image keeps the model that it asks
for, unless a rule matches whose label is for such calls (`kinds`); the rules of other labels are
passed over:

    the rule that matches       and LiteLLM's model_list has    the request goes to
    has a label for such calls  it                              that label
    none                        the requested model             that model (kept)
    none                        neither, but no model was       the first model that is for such
                                asked for                       calls (default)
    none                        nothing of these                nowhere: 404

A rule that raises counts as no match and is reported: one mistake in a rule of the user's own must
not cost every request. But one that raises a `ProxyError` means it: the request is refused with it.
`Router` is both steps, and `explain` the same decision with everything that
was measured on the way, leaving no trace in the memory of sticky rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import Factory, evolve, frozen

from ccproxyd.errors import ProxyError
from ccproxyd.routing.kinds import Kind, kind_of
from ccproxyd.routing.request import Request
from ccproxyd.routing.rules import ClassificationRule, is_built_in, matches
from ccproxyd.routing.sticky import StickyTable

DEFAULT_LABEL: Final = "default"
LABEL_PREFIX: Final = "claude/"
"""Before a label, where a client takes nothing for a model that is not called after Claude."""
_MAX_NAME: Final = 512
"""A longer name is nobody's, and would keep a pattern of several wildcards busy."""
_HELD: Final = "the conversation stays on its label"


class NoRouteError(ProxyError):
    """There is no model for a request."""

    code = 404


@frozen
class Rule:
    """A rule with its place in the config: `path` is like `ccproxy.rules[2]`."""

    label: str
    rule: ClassificationRule
    name: str
    sticky: bool = False
    path: str = ""


@frozen
class Target:
    """A `model_name` of LiteLLM, and the provider's models that stand behind it.

    `modes` is what is known of their use: `embedding`, `rerank`, in LiteLLM's words.
    """

    name: str
    models: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()


@frozen
class RoutingTable:
    """All that a decision needs. `config` is handed to the rules as it is."""

    rules: tuple[Rule, ...] = ()
    targets: tuple[Target, ...] = ()
    aliases: Mapping[str, str] = Factory(dict)
    passthrough: bool = True
    config: Any = None


@frozen
class Decision:
    """Where a request goes, and why.

    `label` is what LiteLLM is asked for; `model` the provider's model of its first deployment.
    `kept` is true when the client got the model that it asked for.
    """

    label: str
    rule: str
    model: str
    reason: str
    requested_model: str
    kept: bool = False


@frozen
class Outcome:
    """What one rule made of a request."""

    label: str
    rule: str
    matched: bool
    detail: str
    refused: bool = False


@frozen
class Explanation:
    """A decision with all that was measured. `winner` is the index of the rule that decided.

    Where that rule refuses the request, the decision has no label, and the refusal for a reason.
    """

    decision: Decision
    token_count: int
    session_id: str | None
    agent_id: str | None
    outcomes: tuple[Outcome, ...]
    winner: int | None


OnError = Callable[[Rule, BaseException], None]


@frozen
class Match:
    """A rule that matched; `held` where it only did so before."""

    rule: Rule
    held: bool


def _ignore(_rule: Rule, _error: BaseException) -> None:
    """What to do about a rule that raised, when nobody says."""


class RequestClassifier:
    """Rules to label. `now` is in monotonic seconds and only matters to sticky rules.

    What a rule raises of our `ProxyError`s comes out of `classify` and `match`.
    """

    def __init__(
        self,
        table: RoutingTable,
        memory: StickyTable | None = None,
        on_error: OnError = _ignore,
    ) -> None:
        self._table = table
        self._models = ModelRouter(table)
        self._memory = StickyTable() if memory is None else memory
        self._on_error = on_error

    def classify(self, request: Request, now: float = 0.0) -> Rule | None:
        """The first rule that matches, or None."""
        match = self.match(request, now)
        return match.rule if match else None

    def match(self, request: Request, now: float = 0.0) -> Match | None:
        """The same, and whether the rule holds what it matched before."""
        for rule in self._rules_for(request):
            held = self._holds(rule, request, now)
            matched = held or self._evaluate(rule, request)
            if rule.sticky:
                self._note(rule, request, now, matched)
            if matched:
                return Match(rule, held)
        return None

    def outcomes(self, request: Request, now: float = 0.0) -> tuple[Outcome, ...]:
        """What every rule makes of a request; nothing is remembered or reported."""
        asked = self._rules_for(request)
        return tuple(
            self._outcome(rule, request, now) if rule in asked else _passed_over(rule, request)
            for rule in self._table.rules
        )

    def _rules_for(self, request: Request) -> tuple[Rule, ...]:
        """The rules whose label makes sense for this call."""
        if request.is_conversation:
            return self._table.rules
        kind = kind_of(request.call_type)
        return tuple(rule for rule in self._table.rules if self._models.is_for(kind, rule.label))

    def _evaluate(self, rule: Rule, request: Request) -> bool:
        try:
            return matches(rule.rule, request, self._table.config)
        except ProxyError:
            raise
        except BaseException as error:  # a compiled extension's panic is no Exception
            self._on_error(rule, error)
            return False

    def _holds(self, rule: Rule, request: Request, now: float) -> bool:
        return rule.sticky and self._memory.holds(request, rule.label, now)

    def _note(self, rule: Rule, request: Request, now: float, matched: bool) -> None:
        if matched:
            self._memory.remember(request, rule.label, now)
        else:
            self._memory.forget(request, rule.label)

    def _outcome(self, rule: Rule, request: Request, now: float) -> Outcome:
        try:
            matched = matches(rule.rule, request, self._table.config)
        except ProxyError as error:
            if self._holds(rule, request, now):
                return Outcome(rule.label, rule.name, True, _HELD)
            detail = f"refused: {error.message}"
            return Outcome(rule.label, rule.name, False, detail, refused=True)
        except BaseException as error:
            return Outcome(rule.label, rule.name, False, f"raised {type(error).__name__}")
        detail = _detail(rule, request)
        if not matched and self._holds(rule, request, now):
            return Outcome(rule.label, rule.name, True, f"{detail}; {_HELD}")
        return Outcome(rule.label, rule.name, matched, detail)


class ModelRouter:
    """Label to model, as LiteLLM's router would find it.

    >>> router = ModelRouter(RoutingTable(targets=(Target("anthropic/*", ("anthropic/*",)),)))
    >>> router.route(None, Request({"model": "claude-opus-4-8[1m]"})).label
    'anthropic/claude-opus-4-8'
    """

    def __init__(self, table: RoutingTable) -> None:
        self._table = table
        self._exact: dict[str, Target] = {}
        for target in table.targets:
            self._exact.setdefault(target.name, target)
        self._wildcards = [
            (_pattern(target.name), target)
            for target in sorted(self._exact.values(), key=lambda target: -len(target.name))
            if "*" in target.name
        ]

    def target_of(self, label: str) -> Target | None:
        """What serves a label: itself, its alias, or the wildcard nearest to it."""
        named = self._named(label)
        if named is not None:
            return named
        wildcards = self._wildcards if len(label) <= _MAX_NAME else []
        return next((target for pattern, target in wildcards if pattern.fullmatch(label)), None)

    def route(self, rule: Rule | None, request: Request) -> Decision:
        """Where a request goes that this rule matched, or none.

        Raises:
            NoRouteError: there is no model for it.
        """
        if rule is not None:
            return self._decide(rule.label, rule.name, _detail(rule, request), request)
        served = self._served_name(request)
        if not request.is_conversation:
            return self._keep(served, request)
        if served and self._table.passthrough:
            reason = f"no rule matched, and {_short(served)} is served"
            return self._decide(served, "passthrough", reason, request)
        if self._named(DEFAULT_LABEL):
            return self._decide(DEFAULT_LABEL, DEFAULT_LABEL, "no rule matched", request)
        raise NoRouteError(_no_route(request))

    def is_for(self, kind: Kind, label: str) -> bool:
        """Whether a label is known to make sense for a call of this kind."""
        target = self.target_of(label)
        return target is not None and not kind.modes.isdisjoint(target.modes)

    def _keep(self, served: str | None, request: Request) -> Decision:
        """Where something goes that is no conversation, and that no rule matched."""
        kind = kind_of(request.call_type)
        if served:
            reason = f"no rule with a label for {kind.name} matched"
            return self._decide(served, "kept", reason, request)
        first = None if request.model else self._first_for(kind)
        if first is None:
            raise NoRouteError(_no_route(request))
        reason = f"no model was asked for, and {_short(first)} is the first for {kind.name}"
        return self._decide(first, DEFAULT_LABEL, reason, request)

    def _first_for(self, kind: Kind) -> str | None:
        names = (target.name for target in self._table.targets if "*" not in target.name)
        return next((name for name in names if self.is_for(kind, name)), None)

    def redirect(self, name: str, by: str, request: Request) -> Decision:
        """Where a request goes that somebody else than a rule sends to a label or a model.

        Raises:
            NoRouteError: nothing serves it.
        """
        label = self._served_name(Request({"model": name})) or name
        return self._decide(label, by, f"a {by} asks for {_short(name)}", request)

    def model_of(self, label: str) -> str | None:
        """The provider's model behind a label, of several deployments the first's."""
        target = self.target_of(label)
        return None if target is None else _provider_model(target, label)

    def _decide(self, label: str, rule: str, reason: str, request: Request) -> Decision:
        target = self.target_of(label)
        if target is None:
            raise NoRouteError(f"there is no model_name {_short(label)} in LiteLLM's model_list")
        return Decision(
            label=label,
            rule=rule,
            model=_provider_model(target, label),
            reason=reason,
            requested_model=request.requested_model,
            kept=rule in ("kept", "passthrough"),
        )

    def _named(self, label: str) -> Target | None:
        found = self._exact.get(label)
        alias = self._table.aliases.get(label)
        return self._exact.get(alias) if found is None and alias is not None else found

    def _served_name(self, request: Request) -> str | None:
        """The name by which LiteLLM serves the requested model, if it does.

        LiteLLM finds `anthropic/*` for a bare `claude-...` that its own list knows; with the
        prefix it finds it for any.
        """
        if self._named(request.requested_model):
            return request.requested_model
        _, prefixed, label = request.model.partition(LABEL_PREFIX)
        if prefixed and self._named(label):
            return label
        names = [request.model] if request.model else []
        if request.model.startswith("claude"):
            names.append(f"anthropic/{request.model}")
        return next((name for name in names if self.target_of(name)), None)


class Router:
    """A table put to use: decides, and explains."""

    def __init__(
        self,
        table: RoutingTable,
        memory: StickyTable | None = None,
        on_error: OnError = _ignore,
    ) -> None:
        self.table = table
        self.classifier = RequestClassifier(table, memory, on_error)
        self.models = ModelRouter(table)
        self.reads_tokens = any(rule.rule.reads_tokens for rule in table.rules)
        """Whether some rule may ask how many tokens a request has."""
        self.is_built_in = all(is_built_in(rule.rule) for rule in table.rules)
        """Whether every rule is ours."""

    def decide(self, request: Request, now: float = 0.0) -> Decision:
        """Where the request goes.

        Raises:
            NoRouteError: there is no model for it.
            ProxyError: a rule refuses it.
        """
        match = self.classifier.match(request, now)
        decision = self.models.route(match.rule if match else None, request)
        if match and match.held:
            return evolve(decision, reason=f"{decision.reason}; {_HELD}")
        return decision

    def explain(self, request: Request, now: float = 0.0) -> Explanation:
        """What `decide` would say, and why.

        Raises:
            NoRouteError: there is no model for it.
        """
        outcomes = self.classifier.outcomes(request, now)
        winner = next((i for i, one in enumerate(outcomes) if one.matched or one.refused), None)
        return Explanation(
            decision=self._explained(outcomes, winner, request),
            token_count=request.token_count,
            session_id=request.session_id,
            agent_id=request.agent_id,
            outcomes=outcomes,
            winner=winner,
        )

    def _explained(
        self, outcomes: tuple[Outcome, ...], winner: int | None, request: Request
    ) -> Decision:
        if winner is None:
            return self.models.route(None, request)
        found = outcomes[winner]
        if found.refused:
            return Decision("", found.rule, "", found.detail, request.requested_model)
        return evolve(self.models.route(self.table.rules[winner], request), reason=found.detail)


def _detail(rule: Rule, request: Request) -> str:
    """What a rule measured; a mistake in telling it does not undo the match."""
    try:
        return str(rule.rule.detail(request)) or rule.name
    except BaseException:
        return rule.name


def _passed_over(rule: Rule, request: Request) -> Outcome:
    kind = kind_of(request.call_type)
    return Outcome(rule.label, rule.name, False, f"its label is not for {kind.name}")


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(re.escape(name).replace(r"\*", "(.*)"))


def _provider_model(target: Target, label: str) -> str:
    """The first deployment's model, its wildcards filled as LiteLLM fills them."""
    model = target.models[0] if target.models else label
    found = _pattern(target.name).fullmatch(label) if "*" in model else None
    if found is None:
        return model
    if len(found.groups()) > model.count("*"):
        return label
    for part in found.groups():
        model = model.replace("*", part, 1)
    return model


def _short(name: str) -> str:
    return repr(name[:80])


def _no_route(request: Request) -> str:
    asked = _short(request.model) if request.model else "no model"
    if not request.is_conversation and request.model:
        return f"cannot route: {asked} was asked for, which model_list in config.yaml does not have"
    if not request.is_conversation:
        return (
            "cannot route: no model was asked for, and model_list in config.yaml has none that is "
            f"known to be for {kind_of(request.call_type).name}; name the model in the request"
        )
    return (
        f"cannot route: no rule matched, {asked} was asked for, and there is no model_name "
        f"'{DEFAULT_LABEL}' in config.yaml; add one, and run 'ccproxyctl reload'"
    )

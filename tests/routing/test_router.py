"""Rules to a label, labels to a model, and how it is explained."""

import gc
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from attrs import evolve

from ccproxyd.errors import ProxyError
from ccproxyd.routing import (
    AllOf,
    AnyOf,
    ClassificationRule,
    Decision,
    DefaultRule,
    ImageRule,
    MatchModelRule,
    MatchToolRule,
    ModelRouter,
    NoRouteError,
    Not,
    Outcome,
    Request,
    RequestClassifier,
    Router,
    RoutingTable,
    Rule,
    StickyTable,
    SubagentRule,
    Target,
    ThinkingRule,
    TokenCounter,
    TokenCountRule,
)
from tests.support.shapes import CONVERSING, NAMES, main_body, said, shape, user

SAMPLE_RULES = (
    Rule("token_count", TokenCountRule(60000), "TokenCountRule", path="ccproxy.rules[0]"),
    Rule("background", MatchModelRule("haiku"), "MatchModelRule", path="ccproxy.rules[1]"),
    Rule("think", ThinkingRule(min_effort="xhigh"), "ThinkingRule", path="ccproxy.rules[2]"),
    Rule("web_search", MatchToolRule("WebSearch"), "MatchToolRule", path="ccproxy.rules[3]"),
)
LABELS = ("default", "token_count", "background", "think", "web_search")
TARGETS = tuple(Target(label, (f"anthropic/demo-{label}",)) for label in LABELS)
SAMPLE = RoutingTable(rules=SAMPLE_RULES, targets=TARGETS)

EXPECTED = {
    "readbig-10": "token_count",
    "model-haiku-01": "background",
    "task-explore-02": "background",
    "task-explore-03": "background",
    "effort-xhigh-01": "think",
    "websearch-02": "web_search",
}


class Broken(ClassificationRule):
    """A rule with a mistake in it."""

    def evaluate(self, request: Request, config: Any) -> bool:
        raise KeyError("a word of the request")

    def detail(self, request: Request) -> str:
        raise ValueError("another")


class Configured(ClassificationRule):
    def evaluate(self, request: Request, config: Any) -> Any:
        return config["wanted"] if config else ""


def asking(model: str, **more: Any) -> Request:
    return Request({"model": model, "messages": [], **more})


def embedding(model: str) -> Request:
    return Request({"model": model, "input": "Hi"}, path="/v1/embeddings")


def rule(label: str, matcher: ClassificationRule, *, sticky: bool = False) -> Rule:
    return Rule(label, matcher, type(matcher).__name__, sticky=sticky)


def served(*names: str, **more: Any) -> ModelRouter:
    targets = tuple(Target(name, (name,)) for name in names)
    return ModelRouter(RoutingTable(targets=targets, **more))


# -- the sample rules on what Claude Code sends


@pytest.fixture(scope="module")
def counter() -> TokenCounter:
    return TokenCounter()


@pytest.mark.parametrize("name", CONVERSING)
def test_the_sample_rules_give_each_request_its_label(name: str, counter: TokenCounter) -> None:
    made = shape(name)
    request = Request(made.body, headers=made.headers, path=made.path, counter=counter)
    decision = Router(SAMPLE).decide(request)
    assert decision.label == EXPECTED.get(name, "default")
    assert decision.model == f"anthropic/demo-{decision.label}"
    assert decision.requested_model == made.body["model"]


def test_every_expected_request_is_among_the_shapes() -> None:
    assert set(EXPECTED) <= set(CONVERSING) <= set(NAMES)


def test_the_first_match_wins() -> None:
    table = RoutingTable(
        rules=(rule("a", SubagentRule()), rule("b", DefaultRule()), rule("c", DefaultRule())),
        targets=(Target("a"), Target("b"), Target("c")),
    )
    assert Router(table).decide(asking("m")).label == "b"


def test_rules_after_the_first_match_are_not_asked() -> None:
    errors: list[Rule] = []
    table = RoutingTable(rules=(rule("a", DefaultRule()), rule("b", Broken())), targets=TARGETS)
    classifier = RequestClassifier(table, on_error=lambda found, _: errors.append(found))
    assert classifier.classify(asking("m")) == table.rules[0]
    assert errors == []


def test_a_rule_is_handed_the_config() -> None:
    table = RoutingTable(rules=(rule("a", Configured()),), targets=(Target("a"),))
    classify = RequestClassifier(table).classify
    assert classify(asking("m")) is None
    with_config = RoutingTable(rules=table.rules, targets=table.targets, config={"wanted": 1})
    assert RequestClassifier(with_config).classify(asking("m")) == table.rules[0]


# -- a rule that raises


def test_a_rule_that_raises_is_reported_and_counts_as_no_match() -> None:
    seen: list[tuple[str, str]] = []

    def on_error(found: Rule, error: Exception) -> None:
        seen.append((found.label, type(error).__name__))

    rules = (
        rule("a", Broken()),
        rule("b", AllOf(DefaultRule(), Broken())),
        rule("c", DefaultRule()),
    )
    table = RoutingTable(rules=rules, targets=(Target("c", ("m",)),))
    assert Router(table, on_error=on_error).decide(asking("m")).label == "c"
    assert seen == [("a", "KeyError"), ("b", "KeyError")]


class Later(ClassificationRule):
    """A plain function that returns what an async one makes: always true, for Python."""

    def __init__(self, made: Callable[[], Any]) -> None:
        self.made = made

    def evaluate(self, request: Request, config: Any) -> bool:
        return cast("bool", self.made())


async def _found() -> bool:
    return False


class Awaited:
    def __await__(self) -> Iterator[Any]:
        raise AssertionError


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("made", [_found, Awaited], ids=["a coroutine", "another"])
@pytest.mark.parametrize("within", [lambda one: one, Not, lambda one: AllOf(one), AnyOf])
def test_a_rule_that_says_something_to_be_awaited_has_failed(
    made: Callable[[], Any], within: Callable[[ClassificationRule], ClassificationRule]
) -> None:
    seen: list[str] = []
    rules = (rule("a", within(Later(made))), rule("b", DefaultRule()))
    table = RoutingTable(rules=rules, targets=(Target("a"), Target("b")))
    classifier = RequestClassifier(
        table, on_error=lambda _, error: seen.append(type(error).__name__)
    )
    assert classifier.classify(asking("m")) == rules[1]
    assert seen == ["TypeError"]
    router = Router(table)
    assert router.explain(asking("m")).outcomes[0].detail == "raised TypeError"
    gc.collect()  # where Python would tell of a coroutine that nobody has awaited


@pytest.mark.parametrize(("said", "label"), [("no", "a"), ([], "b"), (1, "a"), (None, "b")])
def test_what_else_a_rule_says_has_pythons_truth(said: Any, label: str) -> None:
    rules = (rule("a", Later(lambda: said)), rule("b", DefaultRule()))
    table = RoutingTable(rules=rules, targets=(Target("a"), Target("b")))
    found = RequestClassifier(table).classify(asking("m"))
    assert found is not None
    assert found.label == label


def test_a_rule_that_raises_with_nobody_to_tell_is_no_match() -> None:
    table = RoutingTable(rules=(rule("a", Broken()),), targets=(Target("default", ("m",)),))
    assert Router(table).decide(asking("m")).label == "default"


def test_a_mistake_in_telling_does_not_undo_a_match() -> None:
    class Mute(Broken):
        def evaluate(self, request: Request, config: Any) -> bool:
            return True

    table = RoutingTable(rules=(rule("a", Mute()),), targets=(Target("a", ("m",)),))
    decision = Router(table).decide(asking("m"))
    assert (decision.label, decision.reason) == ("a", "Mute")


# -- no rule matches


def test_a_served_model_is_kept() -> None:
    assert served("opus", "default").route(None, asking("opus")) == Decision(
        label="opus",
        rule="passthrough",
        model="opus",
        reason="no rule matched, and 'opus' is served",
        requested_model="opus",
        kept=True,
    )


def test_a_label_can_be_asked_for_by_name() -> None:
    assert Router(SAMPLE).decide(asking("think")).label == "think"


@pytest.mark.parametrize("model", ["nobody", "", "opus[2m]"])
def test_any_other_model_gets_the_default(model: str) -> None:
    assert served("opus", "default").route(None, asking(model)) == Decision(
        label="default",
        rule="default",
        model="default",
        reason="no rule matched",
        requested_model=model,
    )


def test_without_passthrough_a_served_model_gets_the_default() -> None:
    router = served("opus", "default", passthrough=False)
    assert router.route(None, asking("opus")).label == "default"


def test_a_default_may_be_an_alias() -> None:
    assert served("opus", aliases={"default": "opus"}).route(None, asking("x")).model == "opus"


@pytest.mark.parametrize(
    "router", [served("opus"), served(), served("anthropic/*"), served("*", passthrough=False)]
)
def test_without_a_default_there_is_no_route(router: ModelRouter) -> None:
    with pytest.raises(NoRouteError) as raised:
        router.route(None, asking("nobody"))
    assert raised.value.code == 404
    assert "'nobody'" in raised.value.message
    assert "default" in raised.value.message


def test_no_route_for_a_request_without_a_model_says_so() -> None:
    with pytest.raises(NoRouteError, match="no model was asked for"):
        served().route(None, Request({}))


def test_a_rule_whose_label_is_not_served_has_no_route() -> None:
    with pytest.raises(NoRouteError, match="'think'"):
        served("opus").route(rule("think", DefaultRule()), asking("opus"))


def test_a_hostile_model_name_is_cut_and_escaped() -> None:
    with pytest.raises(NoRouteError) as raised:
        served("*-x").route(None, asking("a\n" * 100_000))
    assert len(raised.value.message) < 400
    assert "\n" not in raised.value.message


# -- names


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("opus", "opus"),
        ("alias", "opus"),
        ("to-nobody", None),
        ("anthropic/claude", "anthropic/*"),
        ("anthropic/beta/claude", "anthropic/beta/*"),
        ("openai/gpt", None),
        ("anthropic", None),
    ],
)
def test_a_label_is_served_by_name_alias_or_the_nearest_wildcard(
    label: str, name: str | None
) -> None:
    aliases = {"alias": "opus", "to-nobody": "nobody"}
    router = served("opus", "anthropic/*", "anthropic/beta/*", aliases=aliases)
    target = router.target_of(label)
    assert (target.name if target else None) == name


def test_a_star_serves_all_that_nothing_else_does() -> None:
    router = served("*", "opus", "anthropic/*")
    found = [router.target_of(name) for name in ("opus", "anthropic/x", "anything")]
    assert [target.name for target in found if target] == ["opus", "anthropic/*", "*"]


@pytest.mark.parametrize(
    ("name", "provider", "requested", "model"),
    [
        ("*", "*", "gpt-5", "gpt-5"),
        ("*", "anthropic/*", "claude-x", "anthropic/claude-x"),
        ("anthropic/*", "anthropic/*", "anthropic/claude-x", "anthropic/claude-x"),
        ("fast-*", "openai/gpt-5", "fast-one", "openai/gpt-5"),
        ("a-*-*", "p/*", "a-b-c", "a-b-c"),
        ("a-*-*", "p/*/*", "a-b-c", "p/b/c"),
        ("a+b", "p/a+b", "a+b", "p/a+b"),
    ],
)
def test_a_wildcard_is_filled_as_litellm_fills_it(
    name: str, provider: str, requested: str, model: str
) -> None:
    router = ModelRouter(RoutingTable(targets=(Target(name, (provider,)),)))
    assert router.route(None, asking(requested)).model == model


@pytest.mark.parametrize(
    ("names", "requested", "label"),
    [
        (("claude-opus-4-8",), "claude-opus-4-8[1m]", "claude-opus-4-8"),
        (("claude-opus-4-8", "claude-opus-4-8[1m]"), "claude-opus-4-8[1m]", "claude-opus-4-8[1m]"),
        (("*",), "claude-opus-4-8[1m]", "claude-opus-4-8"),
        (("anthropic/*",), "claude-opus-4-8[1m]", "anthropic/claude-opus-4-8"),
        (("anthropic/*", "*"), "claude-opus-4-8", "claude-opus-4-8"),
    ],
)
def test_a_requested_model_is_served_under_the_name_that_litellm_knows(
    names: tuple[str, ...], requested: str, label: str
) -> None:
    decision = served(*names).route(None, asking(requested))
    assert (decision.label, decision.kept) == (label, True)
    assert decision.requested_model == requested


def test_of_several_deployments_the_first_gives_the_model() -> None:
    table = RoutingTable(targets=(Target("a", ("p/one", "p/two")),))
    assert ModelRouter(table).route(None, asking("a")).model == "p/one"


def test_of_two_targets_of_a_name_the_first_counts() -> None:
    table = RoutingTable(targets=(Target("a", ("p/one",)), Target("a", ("p/two",))))
    assert ModelRouter(table).route(None, asking("a")).model == "p/one"


def test_a_target_without_deployments_is_its_own_model() -> None:
    assert ModelRouter(RoutingTable(targets=(Target("a"),))).route(None, asking("a")).model == "a"


# -- what is no conversation

EMBEDDER = Target("embedder", ("openai/e",), modes=("embedding",))
MIXED = RoutingTable(
    rules=(
        rule("think", DefaultRule()),
        Rule("embedder", MatchModelRule("embed"), "MatchModelRule"),
    ),
    targets=(Target("think", ("t",)), Target("embed", ("e",)), EMBEDDER),
    passthrough=False,
)


def test_the_rules_of_conversations_are_not_for_embeddings() -> None:
    table = RoutingTable(
        rules=(rule("think", DefaultRule()),),
        targets=(Target("think", ("t",)), Target("embed", ("e",))),
        passthrough=False,
    )
    decision = Router(table).decide(embedding("embed"))
    assert (decision.label, decision.rule, decision.kept) == ("embed", "kept", True)
    assert decision.reason == "no rule with a label for embeddings matched"


def test_a_rule_whose_label_is_for_embeddings_is_for_them() -> None:
    decision = Router(MIXED).decide(embedding("text-embed-3"))
    assert (decision.label, decision.rule, decision.kept) == ("embedder", "MatchModelRule", False)
    kept = Router(MIXED).decide(embedding("think"))
    assert (kept.label, kept.rule) == ("think", "kept")


def test_a_label_for_embeddings_is_not_for_images() -> None:
    image = Request({"model": "embed"}, path="/v1/images/generations")
    assert Router(MIXED).decide(image).rule == "kept"


def test_a_conversation_is_given_whatever_label_matches() -> None:
    """Many a model that is filed under images is served through a provider's chat as well."""
    table = RoutingTable(rules=(rule("embedder", DefaultRule()),), targets=(EMBEDDER,))
    assert Router(table).decide(Request({"model": "claude"})).label == "embedder"


def test_an_embedding_does_not_get_the_default() -> None:
    with pytest.raises(NoRouteError, match="'embed'"):
        Router(SAMPLE).decide(embedding("embed"))


@pytest.mark.parametrize("model", [None, ""])
def test_where_no_model_is_asked_for_it_is_the_first_of_its_kind(model: str | None) -> None:
    wild = Target("openai/*", ("openai/*",), modes=("moderation",))
    targets = (wild, Target("chat"), Target("judge", ("p/one",), modes=("moderation",)))
    router = Router(RoutingTable(targets=targets))
    body = {"input": "x"} if model is None else {"input": "x", "model": model}
    decision = router.decide(Request(body, path="/v1/moderations"))
    assert (decision.label, decision.rule, decision.kept) == ("judge", "default", False)
    assert "the first for moderations" in decision.reason
    lacking = "has none that is known to be for embeddings; name the model"
    with pytest.raises(NoRouteError, match=lacking):
        router.decide(Request({"input": "x"}, path="/v1/embeddings"))


def test_an_embedding_is_explained_with_the_rules_that_are_passed_over() -> None:
    explained = Router(MIXED).explain(embedding("an-embed"))
    assert [one.matched for one in explained.outcomes] == [False, True]
    assert explained.outcomes[0].detail == "its label is not for embeddings"
    assert (explained.winner, explained.decision.rule) == (1, "MatchModelRule")


def test_a_rule_that_is_passed_over_is_not_asked() -> None:
    table = RoutingTable(rules=(rule("think", Broken()),), targets=(Target("think"), Target("e")))
    errors: list[Exception] = []
    router = Router(table, on_error=lambda _, error: errors.append(error))
    assert router.decide(embedding("e")).rule == "kept"
    assert errors == []


@pytest.mark.parametrize("mark", ["", "[1m]"])
def test_a_label_can_be_asked_for_as_if_it_were_a_claude(mark: str) -> None:
    table = RoutingTable(targets=(*TARGETS, Target("*", ("anthropic/*",))))
    decision = Router(table).decide(Request({"model": f"claude/think{mark}", "messages": []}))
    assert (decision.label, decision.rule) == ("think", "passthrough")
    other = Router(table).decide(Request({"model": "claude/nobody", "messages": []}))
    assert other.label == "claude/nobody"
    own = RoutingTable(targets=(Target("claude/think"), *TARGETS))
    assert Router(own).decide(Request({"model": "claude/think"})).label == "claude/think"


# -- sticky rules

TOOLS = [{"name": "Read"}]


def turn(length: int, effort: str, session: str = "one") -> Request:
    body = {
        "model": "m",
        "messages": [f"message {number}" for number in range(length)],
        "tools": TOOLS,
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": effort},
    }
    return Request(body, headers={"x-claude-code-session-id": session})


@pytest.fixture
def sticky() -> Router:
    table = RoutingTable(
        rules=(rule("think", ThinkingRule(min_effort="xhigh"), sticky=True),), targets=TARGETS
    )
    return Router(table, StickyTable(idle_seconds=60))


def test_a_sticky_label_stays_when_what_made_it_is_gone(sticky: Router) -> None:
    labels = [
        sticky.decide(turn(length, effort), now=length).label
        for length, effort in ((1, "high"), (3, "xhigh"), (5, "high"), (7, "low"))
    ]
    assert labels == ["default", "think", "think", "think"]


def test_a_sticky_label_says_why_it_stays(sticky: Router) -> None:
    sticky.decide(turn(3, "xhigh"))
    reason = sticky.decide(turn(5, "high")).reason
    assert reason == "thinking adaptive, effort high; the conversation stays on its label"


def test_a_sticky_label_ends_with_compaction_and_does_not_come_back(sticky: Router) -> None:
    lengths_and_efforts = ((30, "xhigh"), (32, "high"), (2, "high"), (40, "high"))
    labels = [sticky.decide(turn(*given)).label for given in lengths_and_efforts]
    assert labels == ["think", "think", "default", "default"]


def test_a_sticky_label_ends_with_idleness(sticky: Router) -> None:
    sticky.decide(turn(3, "xhigh"), now=0)
    assert sticky.decide(turn(5, "high"), now=50).label == "think"
    assert sticky.decide(turn(7, "high"), now=111).label == "default"


def test_a_sticky_label_is_one_sessions(sticky: Router) -> None:
    sticky.decide(turn(3, "xhigh"))
    assert sticky.decide(turn(5, "high", session="two")).label == "default"


def test_a_memory_outlives_its_router(sticky: Router) -> None:
    """A reload makes a new router, and the same conversations go on."""
    memory = StickyTable()
    Router(sticky.table, memory).decide(turn(3, "xhigh"))
    assert Router(sticky.table, memory).decide(turn(5, "high")).label == "think"


def test_explaining_leaves_no_trace(sticky: Router) -> None:
    assert sticky.explain(turn(3, "xhigh")).decision.label == "think"
    assert sticky.decide(turn(5, "high")).label == "default"


def test_a_held_conversation_is_explained(sticky: Router) -> None:
    sticky.decide(turn(3, "xhigh"))
    explained = sticky.explain(turn(5, "high"))
    assert explained.outcomes[0].matched
    assert explained.decision == sticky.decide(turn(5, "high"))


# -- the same request again


def again(request: Request) -> Request:
    """A client whose stream was cut sends it once more, and wants the answer whole."""
    body = {name: value for name, value in request.body.items() if name != "stream"}
    headers = {**request.headers, "x-stainless-timeout": "300"}
    return Request(body, headers=headers, path=request.path, counter=TokenCounter())


@pytest.mark.parametrize("name", CONVERSING)
@pytest.mark.parametrize("is_sticky", [True, False], ids=["sticky", "plain"])
def test_a_resend_after_a_cut_stream_goes_to_the_same_model(name: str, is_sticky: bool) -> None:
    rules = tuple(evolve(one, sticky=is_sticky) for one in SAMPLE_RULES)
    router = Router(evolve(SAMPLE, rules=rules))
    made = shape(name)
    first = Request(made.body, headers=made.headers, path=made.path, counter=TokenCounter())
    decided = router.decide(first, now=0)
    second = router.decide(again(first), now=30)
    assert (second.label, second.model, second.rule) == (
        decided.label,
        decided.model,
        decided.rule,
    )


def test_so_does_one_that_only_stickiness_holds(sticky: Router) -> None:
    sticky.decide(turn(3, "xhigh"), now=0)
    held = turn(5, "high")
    assert sticky.decide(held, now=10).label == "think"
    assert sticky.decide(again(held), now=20).label == "think"


# -- explaining


def test_every_rule_is_measured_after_the_first_match_too(counter: TokenCounter) -> None:
    made = shape("model-haiku-01")
    request = Request(made.body, headers=made.headers, counter=counter)
    explained = Router(SAMPLE).explain(request)
    count = explained.token_count
    assert explained.outcomes == (
        Outcome("token_count", "TokenCountRule", False, f"{count} tokens <= 60000"),
        Outcome("background", "MatchModelRule", True, "'claude-haiku-4-5-20251001' contains haiku"),
        Outcome("think", "ThinkingRule", False, "thinking enabled, budget 31999"),
        Outcome(
            "web_search",
            "MatchToolRule",
            False,
            "WebSearch is not among what the request is about",
        ),
    )
    assert (explained.winner, explained.decision.label) == (1, "background")
    assert explained.session_id == made.headers["X-Claude-Code-Session-Id"]
    assert explained.agent_id is None


@pytest.mark.parametrize("name", ["simple-01", "readbig-10", "task-explore-03", "websearch-02"])
def test_an_explanation_is_of_the_decision(name: str, counter: TokenCounter) -> None:
    made = shape(name)
    request = Request(made.body, headers=made.headers, counter=counter)
    router = Router(SAMPLE)
    assert router.explain(request).decision == router.decide(request)


def test_a_rule_that_raises_is_explained_without_its_words() -> None:
    reported: list[Rule] = []
    table = RoutingTable(rules=(rule("a", Broken()),), targets=TARGETS)
    router = Router(table, on_error=lambda found, _: reported.append(found))
    outcomes = router.explain(asking("m")).outcomes
    assert outcomes == (Outcome("a", "Broken", False, "raised KeyError"),)
    assert reported == []


class Refuses(ClassificationRule):
    """A rule that means it."""

    def evaluate(self, request: Request, config: Any) -> bool:
        raise ProxyError("no work on a Sunday", code=403)


def test_a_rule_that_raises_our_error_refuses_the_request() -> None:
    reported: list[Rule] = []
    table = RoutingTable(rules=(rule("a", Broken()), rule("a", Refuses())), targets=TARGETS)
    router = Router(table, on_error=lambda found, _: reported.append(found))
    with pytest.raises(ProxyError, match="Sunday") as refused:
        router.decide(asking("m"))
    assert refused.value.code == 403
    assert [one.name for one in reported] == ["Broken"]


def test_a_refusal_is_explained_as_the_outcome() -> None:
    table = RoutingTable(rules=(rule("a", Refuses()), rule("b", DefaultRule())), targets=TARGETS)
    explained = Router(table).explain(asking("m"))
    assert explained.winner == 0
    assert explained.outcomes[0] == Outcome(
        "a", "Refuses", False, "refused: no work on a Sunday", refused=True
    )
    assert explained.outcomes[1].matched
    decision = explained.decision
    assert (decision.label, decision.rule, decision.reason) == (
        *("", "Refuses", "refused: no work on a Sunday"),
    )


def test_a_rule_that_matches_first_spares_a_request_the_refusal() -> None:
    table = RoutingTable(
        rules=(rule("think", DefaultRule()), rule("a", Refuses())), targets=TARGETS
    )
    router = Router(table)
    assert router.explain(asking("m")).decision == router.decide(asking("m"))


def test_a_conversation_that_is_held_is_not_refused() -> None:
    matches = iter([True])

    class Once(Refuses):
        def evaluate(self, request: Request, config: Any) -> bool:
            return next(matches, False) or super().evaluate(request, config)

    table = RoutingTable(rules=(rule("think", Once(), sticky=True),), targets=TARGETS)
    router = Router(table, StickyTable())
    request = Request({"messages": []}, headers={"x-claude-code-session-id": "s"})
    assert router.decide(request).label == "think"
    assert router.decide(request).label == "think"
    assert router.explain(request).decision.label == "think"


# -- routes that somebody else than a rule asks for


def test_a_request_can_be_sent_to_another_label_or_model() -> None:
    models = served("think", "claude-*")
    found = models.redirect("think", "hook", asking("m"))
    assert (found.label, found.rule, found.requested_model) == ("think", "hook", "m")
    assert models.redirect("claude-opus-4-8[1m]", "hook", asking("m")).label == "claude-opus-4-8"
    with pytest.raises(NoRouteError, match="no model_name 'nowhere'"):
        models.redirect("nowhere", "hook", asking("m"))


def test_the_model_behind_a_label_can_be_asked_for() -> None:
    models = served("think", "claude-*")
    assert models.model_of("think") == models.redirect("think", "hook", asking("m")).model
    assert models.model_of("nowhere") is None


def test_an_explanation_holds_no_words_of_the_request() -> None:
    body = main_body(user({**said(10), "text": "a secret word"}), system=100)
    assert "secret" not in str(Router(SAMPLE).explain(Request(body)))


# -- what a table needs


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ((), False),
        ((rule("a", ImageRule()),), False),
        ((rule("a", ImageRule()), rule("b", TokenCountRule(1))), True),
        ((rule("a", Configured()),), True),
    ],
)
def test_a_router_knows_whether_a_rule_may_read_tokens(rules: Any, expected: bool) -> None:
    assert Router(RoutingTable(rules=rules)).reads_tokens is expected


def test_a_router_knows_whether_all_its_rules_are_built_in() -> None:
    ours = (rule("a", ImageRule()), rule("b", TokenCountRule(1)))
    assert Router(RoutingTable(rules=ours)).is_built_in
    assert not Router(RoutingTable(rules=(*ours, rule("c", Configured())))).is_built_in

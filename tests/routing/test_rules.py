"""Each rule against requests that it should and should not match."""

import inspect
from typing import Any

import pytest

from ccproxyd.routing import rules
from ccproxyd.routing.request import Request
from ccproxyd.routing.rules import (
    BUILT_IN,
    AllOf,
    AnyOf,
    ClassificationRule,
    DefaultRule,
    ImageRule,
    MatchHeaderRule,
    MatchModelRule,
    MatchSystemRule,
    MatchToolRule,
    Not,
    SubagentRule,
    ThinkingRule,
    TokenCountRule,
    is_built_in,
)
from tests.support.shapes import NAMES, shape

SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
OWN_SEARCH = {"name": "WebSearch", "input_schema": {}}


def matches(rule: ClassificationRule, body: Any, **headers: str) -> bool:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return rule.evaluate(Request(body, headers=named), None)


def matching(rule: ClassificationRule) -> set[str]:
    """The recorded requests that a rule matches."""
    made = map(shape, NAMES)
    return {one.name for one in made if rule.evaluate(Request(one.body, headers=one.headers), None)}


# -- TokenCountRule


def test_a_count_matches_above_the_threshold_and_not_at_it() -> None:
    body = {"system": "Hello, world"}
    assert [matches(TokenCountRule(n), body) for n in (2, 3, 4)] == [True, False, False]


def test_a_count_is_told_with_its_threshold() -> None:
    request = Request({"system": "Hello, world"})
    assert TokenCountRule(2).detail(request) == "3 tokens > 2"
    assert TokenCountRule(3).detail(request) == "3 tokens <= 3"


# -- MatchModelRule


@pytest.mark.parametrize(
    ("name", "model", "expected"),
    [
        ("haiku", "claude-haiku-4-5-20251001", True),
        ("Haiku", "claude-haiku-4-5", True),
        ("haiku", "claude-opus-4-8", False),
        ("claude-opus-4-8", "claude-opus-4-8[1m]", True),
        ("claude-opus-4-8[1m]", "claude-opus-4-8", True),
        ("1m", "claude-opus-4-8[1m]", False),
        ("haiku", "", False),
    ],
)
def test_a_model_matches_by_a_part_of_its_name(name: str, model: str, expected: bool) -> None:
    assert matches(MatchModelRule(name), {"model": model}) is expected


def test_a_model_is_told_with_the_name() -> None:
    rule = MatchModelRule("haiku")
    assert rule.detail(Request({"model": "my-haiku"})) == "'my-haiku' contains haiku"
    assert rule.detail(Request({"model": "a\nb"})) == "'a\\nb' does not contain haiku"


# -- ThinkingRule


def test_disabled_thinking_does_not_match() -> None:
    assert not matches(ThinkingRule(), {"thinking": {"type": "disabled"}})


@pytest.mark.parametrize("kind", ["enabled", "adaptive"])
def test_thinking_that_is_on_matches(kind: str) -> None:
    assert matches(ThinkingRule(), {"thinking": {"type": kind}})


def test_an_effort_without_thinking_does_not_match() -> None:
    body = {"thinking": {"type": "disabled"}, "output_config": {"effort": "max"}}
    assert not matches(ThinkingRule(min_effort="low"), body)
    assert not matches(ThinkingRule(), {"output_config": {"effort": "max"}})


@pytest.mark.parametrize("given", ["low", "medium", "high", "xhigh", "max"])
@pytest.mark.parametrize("least", ["low", "medium", "high", "xhigh", "max"])
def test_efforts_have_an_order(given: str, least: str) -> None:
    order = ["low", "medium", "high", "xhigh", "max"]
    body = {"thinking": {"type": "adaptive"}, "output_config": {"effort": given}}
    assert matches(ThinkingRule(min_effort=least), body) is (
        order.index(given) >= order.index(least)
    )


@pytest.mark.parametrize(("budget", "expected"), [(9_999, False), (10_000, True), (None, False)])
def test_a_least_budget_is_reached_or_not(budget: int | None, expected: bool) -> None:
    body = {"thinking": {"type": "enabled", "budget_tokens": budget}}
    assert matches(ThinkingRule(min_budget=10_000), body) is expected


def test_an_unknown_effort_reaches_no_least_one() -> None:
    assert not matches(ThinkingRule(min_effort="low"), {"thinking": {"type": "adaptive"}})


def test_all_parameters_of_thinking_must_hold() -> None:
    rule = ThinkingRule(types=["enabled"], min_budget=5_000, min_effort="high")
    thinking = {"type": "enabled", "budget_tokens": 5_000}
    good: dict[str, Any] = {"thinking": thinking, "output_config": {"effort": "high"}}
    assert matches(rule, good)
    assert not matches(rule, {**good, "thinking": {**thinking, "type": "adaptive"}})
    assert not matches(rule, {**good, "thinking": {**thinking, "budget_tokens": 4_999}})
    assert not matches(rule, {**good, "output_config": {"effort": "medium"}})


def test_the_disabled_type_can_be_asked_for() -> None:
    assert matches(ThinkingRule("disabled"), {"thinking": {"type": "disabled"}})


def test_the_reasoning_of_openai_is_thinking() -> None:
    assert matches(ThinkingRule(min_effort="high"), {"reasoning_effort": "xhigh"})


def test_thinking_is_told() -> None:
    body = {
        "thinking": {"type": "enabled", "budget_tokens": 31999},
        "output_config": {"effort": "high"},
    }
    assert ThinkingRule().detail(Request(body)) == "thinking enabled, budget 31999, effort high"
    assert ThinkingRule().detail(Request({})) == "thinking absent"


# -- MatchToolRule


def test_among_recorded_requests_one_is_about_the_web_search() -> None:
    assert matching(MatchToolRule("WebSearch")) == {"websearch-02"}


def test_among_recorded_requests_one_has_just_used_the_web_search() -> None:
    assert matching(MatchToolRule("WebSearch", where="used")) == {"websearch-03"}


def test_nearly_every_recorded_request_declares_the_web_search() -> None:
    assert len(matching(MatchToolRule("WebSearch", where="declared"))) == 45


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"tools": [SEARCH], "tool_choice": {"type": "tool", "name": "web_search"}}, True),
        ({"tools": [SEARCH]}, True),
        ({"tools": [SEARCH], "tool_choice": {"type": "auto"}}, True),
        ({"tools": [{**SEARCH, "name": "look"}], "tool_choice": {"name": "look"}}, True),
        ({"tools": [OWN_SEARCH], "tool_choice": {"type": "tool", "name": "WebSearch"}}, True),
        ({"tools": [{"type": "web_search_preview"}]}, True),
        ({"tools": [{"type": "web_search_preview_2025_03_11"}]}, True),
        ({"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}}, True),
        ({"web_search_options": {}}, True),
        ({"tools": [SEARCH, {"type": "web_fetch_20250910", "name": "web_fetch"}]}, True),
        ({"tools": [OWN_SEARCH]}, False),
        ({"tools": [SEARCH, {"name": "Read"}]}, False),
        ({"tools": [SEARCH, {"type": "bash_20250124", "name": "bash"}]}, False),
        ({"tools": [SEARCH], "tool_choice": {"type": "none"}}, False),
        ({"tools": [SEARCH], "tool_choice": "none"}, False),
        ({"tools": [SEARCH, OWN_SEARCH], "tool_choice": {"type": "tool", "name": "Read"}}, False),
        ({"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]}, False),
        ({}, False),
    ],
)
def test_a_request_is_about_a_tool_or_not(body: Any, expected: bool) -> None:
    assert matches(MatchToolRule("WebSearch"), body) is expected
    assert matches(MatchToolRule("web_search"), body) is expected


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("WebFetch", "web_fetch_20250910"),
        ("CodeExecution", "code_execution_20250825"),
        ("CodeExecution", "code_interpreter"),
        ("web_*", "web_search_20250305"),
    ],
)
def test_a_tool_of_the_provider_has_one_name_in_every_spelling(name: str, kind: str) -> None:
    assert matches(MatchToolRule(name), {"tools": [{"type": kind, "name": "any"}]})


@pytest.mark.parametrize("kind", ["bash_20250124", "text_editor_20250728", "computer_20250124"])
def test_a_tool_that_the_client_carries_out_is_only_declared(kind: str) -> None:
    body = {"tools": [{"type": kind, "name": kind[:4]}]}
    name = kind.rpartition("_")[0]
    assert not matches(MatchToolRule(name), body)
    assert matches(MatchToolRule(name, where="declared"), body)
    assert matches(MatchToolRule(name), {**body, "tool_choice": {"type": "tool", "name": kind[:4]}})


def test_a_star_stands_for_any_tool_of_a_server() -> None:
    rule = MatchToolRule("mcp__demo__*", where="declared")
    assert matching(rule) == {"mcp-01"}


def test_one_tools_name_within_anothers_is_not_that_tool() -> None:
    assert not matches(
        MatchToolRule("Edit", where="declared"), {"tools": [{"name": "NotebookEdit"}]}
    )


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("request", "WebSearch is among what the request is about"),
        ("declared", "WebSearch is among declared tools"),
        ("used", "WebSearch is not among tools just used"),
    ],
)
def test_a_tool_is_told_with_its_place(where: str, told: str) -> None:
    assert MatchToolRule("WebSearch", where).detail(Request({"tools": [SEARCH]})) == told


# -- the smaller rules


def test_an_image_matches() -> None:
    assert matching(ImageRule()) == {"image-attach-01"}
    assert matching(ImageRule(min_count=2)) == set()


def test_images_are_told() -> None:
    assert ImageRule().detail(Request({})) == "0 images < 1"
    image = {"role": "user", "content": [{"type": "image"}]}
    assert ImageRule().detail(Request({"messages": [image]})) == "1 images >= 1"


def test_subagents_match() -> None:
    rule = SubagentRule()
    assert matching(rule) == {"task-explore-02", "task-explore-03", "task-gp-02", "task-gp-03"}
    assert rule.detail(Request({})) == "not a subagent"
    assert rule.detail(Request({}, headers={"x-claude-code-agent-id": "a"})) == "a subagent"


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (MatchHeaderRule("X-App"), True),
        (MatchHeaderRule("x-app", "cl"), True),
        (MatchHeaderRule("x-app", "CLI"), False),
        (MatchHeaderRule("x-app", pattern="^cli$"), True),
        (MatchHeaderRule("x-app", pattern="^c$"), False),
        (MatchHeaderRule("x-app", "cli", "web"), False),
        (MatchHeaderRule("x-other"), False),
    ],
)
def test_a_header_matches_by_presence_part_and_pattern(rule: Any, expected: bool) -> None:
    assert matches(rule, {}, x_app="cli") is expected


def test_a_headers_value_is_not_told() -> None:
    request = Request({}, headers={"authorization": "Bearer sk-secret"})
    for rule in (
        MatchHeaderRule("authorization", "secret"),
        MatchHeaderRule("authorization", "no"),
    ):
        assert "sk" not in rule.detail(request)
    assert MatchHeaderRule("x-app").detail(request) == "no header x-app"


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (MatchSystemRule("brief"), True),
        (MatchSystemRule(pattern=r"\bbr\w+f\b"), True),
        (MatchSystemRule("brief", "long"), False),
        (MatchSystemRule("hello"), False),
    ],
)
def test_a_system_prompt_matches_by_part_and_pattern(rule: Any, expected: bool) -> None:
    body = {"system": "Be brief.", "messages": [{"role": "user", "content": "hello"}]}
    assert matches(rule, body) is expected
    assert "brief" not in rule.detail(Request(body))


def test_the_default_rule_always_matches() -> None:
    assert matching(DefaultRule()) == set(NAMES)
    assert DefaultRule().detail(Request({})) == "always"


# -- rules in rules

YES, NO = DefaultRule(), Not(DefaultRule())


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (AllOf(YES, YES), True),
        (AllOf(YES, NO), False),
        (AnyOf(NO, YES), True),
        (AnyOf(NO, NO), False),
        (AllOf([YES, NO]), False),
        (AnyOf(rules=[NO, YES]), True),
        (Not(YES), False),
        (Not(AllOf(YES, AnyOf(NO))), True),
    ],
)
def test_rules_combine(rule: ClassificationRule, expected: bool) -> None:
    assert matches(rule, {}) is expected


def test_a_combination_tells_of_all_its_rules() -> None:
    rule = AllOf(SubagentRule(), Not(AnyOf(ImageRule(), ThinkingRule())))
    told = "not a subagent and not (0 images < 1 or thinking absent)"
    assert rule.detail(Request({})) == told


class Own(ClassificationRule):
    """A rule of a user's own, as short as they come."""

    def evaluate(self, request: Request, config: Any) -> bool:
        return bool(config)


def test_a_rule_of_ones_own_needs_no_more_than_evaluate() -> None:
    assert Own().detail(Request({})) == ""
    assert AnyOf(Own(), Not(Own())).detail(Request({})) == "Own or not (Own)"
    assert AllOf(Own()).evaluate(Request({}), {"anything": 1})


def test_a_rule_that_does_not_say_may_read_tokens() -> None:
    assert Own().reads_tokens
    assert AllOf(SubagentRule(), Own()).reads_tokens
    assert Not(TokenCountRule(1)).reads_tokens


def test_of_the_rules_here_one_reads_tokens() -> None:
    assert not AllOf(SubagentRule(), Not(ImageRule())).reads_tokens
    simple = {rule for rule in BUILT_IN.values() if rule not in (AllOf, AnyOf, Not)}
    assert {rule for rule in simple if rule.reads_tokens} == {TokenCountRule}


def test_a_rule_is_built_in_when_all_that_it_is_made_of_is() -> None:
    assert is_built_in(AllOf(SubagentRule(), Not(AnyOf(ImageRule(), DefaultRule()))))
    for rule in (Own(), AllOf(SubagentRule(), Own()), Not(Own()), Not(AnyOf(Own()))):
        assert not is_built_in(rule)


def test_every_rule_of_the_module_is_in_the_table() -> None:
    defined = {
        name
        for name, found in vars(rules).items()
        if inspect.isclass(found) and issubclass(found, ClassificationRule)
    }
    public = {name for name in defined if not name.startswith("_")}
    assert set(BUILT_IN) == public - {"ClassificationRule"}


# -- parameters


@pytest.mark.parametrize(
    ("rule", "given", "error", "named"),
    [
        (TokenCountRule, {"threshold": "60000"}, TypeError, "threshold"),
        (TokenCountRule, {"threshold": True}, TypeError, "threshold"),
        (TokenCountRule, {"threshold": 6e4}, TypeError, "threshold"),
        (TokenCountRule, {"threshold": -1}, ValueError, "threshold"),
        (TokenCountRule, {}, TypeError, "threshold"),
        (MatchModelRule, {"model_name": None}, TypeError, "model_name"),
        (MatchModelRule, {"model_name": ""}, ValueError, "model_name"),
        (MatchModelRule, {"model_name": "[1m]"}, ValueError, "model_name"),
        (ThinkingRule, {"types": 7}, TypeError, "types"),
        (ThinkingRule, {"types": [7]}, TypeError, "types"),
        (ThinkingRule, {"types": []}, ValueError, "types"),
        (ThinkingRule, {"types": ["on"]}, ValueError, "types"),
        (ThinkingRule, {"min_budget": "much"}, TypeError, "min_budget"),
        (ThinkingRule, {"min_effort": "ultra"}, ValueError, "min_effort"),
        (ThinkingRule, {"min_effort": 3}, TypeError, "min_effort"),
        (MatchToolRule, {"tool_name": 7}, TypeError, "tool_name"),
        (MatchToolRule, {"tool_name": " "}, ValueError, "tool_name"),
        (MatchToolRule, {"tool_name": "a", "where": "here"}, ValueError, "where"),
        (ImageRule, {"min_count": 0}, ValueError, "min_count"),
        (ImageRule, {"min_count": "1"}, TypeError, "min_count"),
        (SubagentRule, {"any": 1}, TypeError, "SubagentRule"),
        (MatchHeaderRule, {"name": None}, TypeError, "name"),
        (MatchHeaderRule, {"name": "a", "value": 7}, TypeError, "value"),
        (MatchHeaderRule, {"name": "a", "pattern": "("}, ValueError, "pattern"),
        (MatchSystemRule, {}, ValueError, "text or pattern"),
        (MatchSystemRule, {"text": ""}, ValueError, "text"),
        (MatchSystemRule, {"pattern": "["}, ValueError, "pattern"),
        (AllOf, {}, ValueError, "rules"),
        (AnyOf, {"rules": ["TokenCountRule"]}, TypeError, "rules"),
        (Not, {"rule": "TokenCountRule"}, TypeError, "rule"),
    ],
)
def test_a_wrong_parameter_is_named(
    rule: type, given: dict[str, Any], error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        rule(**given)

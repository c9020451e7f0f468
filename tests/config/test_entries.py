from __future__ import annotations

from typing import Any

import pytest

from ccproxyd.config.entries import (
    DEFAULT_HOOKS,
    HookEntry,
    RuleEntry,
    bare_name,
    parse_hooks,
    parse_params,
    parse_rules,
)
from ccproxyd.config.fields import Fields
from ccproxyd.errors import ConfigError


def rules(*written: Any) -> tuple[RuleEntry, ...]:
    return parse_rules(Fields({"rules": list(written)}, "ccproxy.yaml: ccproxy"), "rules")


def hooks(*written: Any) -> tuple[HookEntry, ...]:
    return parse_hooks(Fields({"hooks": list(written)}, "ccproxy.yaml: ccproxy"), "hooks")


def rule(**written: Any) -> RuleEntry:
    return rules({"label": "think", "rule": "ThinkingRule", **written})[0]


def error_of(read: Any, *written: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read(*written)
    return str(caught.value)


def test_a_rule_has_a_label_a_name_and_a_place() -> None:
    assert rules({"label": "think", "rule": "ThinkingRule"}) == (
        RuleEntry("think", "ThinkingRule", (), {}, False, "ccproxy.yaml: ccproxy.rules[0]"),
    )


def test_name_is_the_ancestors_word_for_label() -> None:
    assert rules({"name": "think", "rule": "ThinkingRule"})[0].label == "think"


def test_name_and_label_may_both_stand_there_when_they_agree() -> None:
    assert rule(name="think").label == "think"
    assert "rules[0].name: says something else than 'label'" in error_of(
        rules, {"label": "a", "name": "b", "rule": "ThinkingRule"}
    )


def test_a_rule_may_be_sticky() -> None:
    assert rule(sticky=True).sticky


@pytest.mark.parametrize(
    ("params", "args", "kwargs"),
    [
        (None, (), {}),
        ([], (), {}),
        ([{"a": 1}, {"b": 2}], (), {"a": 1, "b": 2}),
        ([{"a": 1, "b": 2}], (), {"a": 1, "b": 2}),
        ({"a": 1}, (), {"a": 1}),
        ([50000], (50000,), {}),
        (["x", "y"], ("x", "y"), {}),
        ("x", ("x",), {}),
        (0, (0,), {}),
        (False, (False,), {}),
        (["x", {"b": 2}], ("x",), {"b": 2}),
        ([{"b": 2}, "x"], ("x",), {"b": 2}),
        ([["x", "y"]], (["x", "y"],), {}),
    ],
)
def test_parameters_may_be_written_in_all_documented_ways(
    params: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    entry = rule(params=params)
    assert (entry.args, entry.kwargs) == (args, kwargs)


def test_a_parameter_that_is_given_twice_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"^c: params\.a: is given twice$"):
        parse_params([{"a": 1}, {"a": 2}], "c: params")


def test_combining_rules_hold_others() -> None:
    nested = [{"rule": "SubagentRule"}, {"rule": "TokenCountRule", "params": [9]}]
    entry = rule(rule="AllOf", params=[{"rules": nested}])
    assert entry.kwargs == {}
    assert [(one.label, one.rule, one.args) for one in entry.nested] == [
        ("think", "SubagentRule", ()),
        ("think", "TokenCountRule", (9,)),
    ]
    assert entry.nested[1].path == "ccproxy.yaml: ccproxy.rules[0].params.rules[1]"


def test_combining_rules_combine() -> None:
    inner = {"rule": "Not", "params": {"rules": [{"rule": "SubagentRule"}]}}
    entry = rule(rule="ccproxyd.routing.AnyOf", params={"rules": [inner]})
    assert entry.nested[0].nested[0].rule == "SubagentRule"


def test_a_rule_of_the_users_that_is_called_not_is_no_combination() -> None:
    assert rule(rule="mine.Not", params={"rules": ["x"]}).kwargs == {"rules": ["x"]}


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"rule": "ThinkingRule"}, "rules[0].label: is missing"),
        ({"label": "a"}, "rules[0].rule: is missing"),
        ({"label": "a", "rul": "X"}, "rules[0].rul: unknown key; did you mean 'rule'?"),
        ({"lable": "a", "rule": "X"}, "rules[0].lable: unknown key; did you mean 'label'?"),
        ({"label": "a", "rule": "X", "parms": 1}, "rules[0].parms: unknown key; did you mean"),
        ({"label": 4, "rule": "X"}, "rules[0].label: must be a text, not 4"),
        ({"label": "a", "rule": "X", "sticky": 1}, "rules[0].sticky: must be true or false"),
        ("ThinkingRule", "rules[0]: must be a mapping, not a text"),
        (None, "rules[0].label: is missing"),
        ({"label": "a", "rule": "AllOf"}, "rules[0].params.rules: must list the rules to combine"),
        (
            {"label": "a", "rule": "AllOf", "params": [{"rules": "X"}]},
            "rules[0].params.rules: must be a list, not a text",
        ),
        (
            {"label": "a", "rule": "AllOf", "params": [{"rules": [{"rule": "X", "label": "b"}]}]},
            "rules[0].params.rules[0].label: belongs to the rule around it",
        ),
        (
            {"label": "a", "rule": "Not", "params": [{"rules": [{"rule": "X"}, {"rule": "Y"}]}]},
            "rules[0].params: Not takes one rule; put AnyOf or AllOf around several",
        ),
    ],
)
def test_a_rule_that_is_wrong_is_an_error_with_its_path(written: Any, message: str) -> None:
    assert message in error_of(rules, written)


@pytest.mark.parametrize(
    "path",
    [
        "TokenCountRule",
        "ccproxy.rules.TokenCountRule",
        "ccproxyd.rules.TokenCountRule",
        "ccproxyd.routing.TokenCountRule",
        "ccproxyd.routing.rules.TokenCountRule",
    ],
)
def test_a_built_in_rule_has_several_paths(path: str) -> None:
    assert bare_name(path) == "TokenCountRule"


@pytest.mark.parametrize("path", ["custom_rules.X", "custom_rules:X", "ccproxy.X"])
def test_any_other_path_is_no_built_in(path: str) -> None:
    assert bare_name(path) is None


def test_without_hooks_the_usual_ones_hold() -> None:
    assert parse_hooks(Fields({}, "ccproxy.yaml: ccproxy"), "hooks") == DEFAULT_HOOKS
    assert hooks() == ()


def test_a_built_in_hook_is_known_by_all_its_paths() -> None:
    found = hooks("model_router", "ccproxy.hooks.forward_oauth", "ccproxyd.hooks.forward_apikey")
    assert [entry.hook for entry in found] == ["model_router", "forward_oauth", "forward_apikey"]
    assert all(entry.is_built_in for entry in found)


@pytest.mark.parametrize("params", [{"headers": ["a"]}, [{"headers": ["a"]}]])
def test_a_hook_may_have_parameters_in_both_documented_forms(params: Any) -> None:
    [found] = hooks({"hook": "ccproxy.hooks.capture_headers", "params": params})
    assert found == HookEntry(
        "capture_headers", {"headers": ["a"]}, "ccproxy.yaml: ccproxy.hooks[0]"
    )


@pytest.mark.parametrize("path", ["my_hooks.request_logger", "my_hooks:log"])
def test_a_hook_of_the_users_keeps_its_path(path: str) -> None:
    [found] = hooks(path)
    assert found.hook == path
    assert not found.is_built_in


@pytest.mark.parametrize(
    ("named", "taken", "passed_over"),
    [
        (["User-Agent", "X-Api-Key"], ("user-agent",), ("X-Api-Key",)),
        ("x-app", ("x-app",), ()),
        (["authorization", "cookie"], (), ("authorization", "cookie")),
        (None, ("user-agent", "x-app", "anthropic-version", "anthropic-beta"), ()),
    ],
)
def test_headers_are_captured_that_are_named_and_hold_no_credential(
    named: Any, taken: tuple[str, ...], passed_over: tuple[str, ...]
) -> None:
    params = {} if named is None else {"headers": named}
    [found] = hooks({"hook": "capture_headers", "params": params})
    assert (found.headers(), found.credentials()) == (taken, passed_over)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (
            "forward_outh",
            "hooks[0]: no built-in hook 'forward_outh'; did you mean 'forward_oauth'?",
        ),
        ("ccproxy.hooks.rule_evaluater", "did you mean 'rule_evaluator'?"),
        (7, "hooks[0]: must be a hook's name or a mapping, not a number"),
        ("", "hooks[0]: must be a hook's name or a mapping, not a text"),
        ({"params": {}}, "hooks[0].hook: is missing"),
        ({"hook": "model_router", "param": {}}, "hooks[0].param: unknown key"),
        ({"hook": "model_router", "params": ["x"]}, "hooks[0].params: must be a mapping of names"),
        ({"hook": "own.hook", "params": {1: "x"}}, "hooks[0].params: must be a mapping of names"),
        ({"hook": "model_router", "params": {"x": 1}}, "hooks[0].params.x: unknown key"),
        (
            {"hook": "capture_headers", "params": {"header": ["a"]}},
            "hooks[0].params.header: unknown key; did you mean 'headers'?",
        ),
        (
            {"hook": "capture_headers", "params": {"headers": [1]}},
            "hooks[0].params.headers: must be a list of names",
        ),
        (
            {"hook": "capture_headers", "params": {"headers": {"a": 1}}},
            "hooks[0].params.headers: must be a list of names",
        ),
    ],
)
def test_a_hook_that_is_wrong_is_an_error_with_its_path(written: Any, message: str) -> None:
    assert message in error_of(hooks, written)

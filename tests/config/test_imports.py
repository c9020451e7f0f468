from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from ccproxyd.config.imports import OwnRule, build_parts, build_rules, build_table
from ccproxyd.config.load import load
from ccproxyd.config.samples import samples_directory
from ccproxyd.config.settings import Settings
from ccproxyd.errors import ConfigError
from ccproxyd.routing import (
    AllOf,
    ClassificationRule,
    DefaultRule,
    MatchModelRule,
    MatchToolRule,
    Not,
    Request,
    Router,
    RoutingTable,
    Rule,
    SubagentRule,
    Target,
    ThinkingRule,
    TokenCountRule,
)
from tests.config.conftest import FIXTURES, KEYS, WriteConfig

TARGETS = (Target("think", ("x/1",)),)
HIGH = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}}
SEARCH = {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}


def build(config_dir: Path, rule: str, params: Any = None, **more: Any) -> Rule:
    entry = {"label": "think", "rule": rule, "params": params, **more}
    settings = Settings.parse({"ccproxy": {"rules": [entry]}})
    [built] = build_rules(settings.rules, config_dir, TARGETS)
    return built


def error_of(config_dir: Path, rule: str, params: Any = None) -> str:
    with pytest.raises(ConfigError) as caught:
        build(config_dir, rule, params)
    message = str(caught.value)
    assert "\n" not in message
    return message


def table_of(config_dir: Path, **environ: str) -> RoutingTable:
    return build_table(load(config_dir, {**KEYS, **environ}), config_dir)


def label_of(table: RoutingTable, **body: Any) -> str:
    return Router(table).decide(Request(body)).label


# Our own rules


@pytest.mark.parametrize("prefix", ["", "ccproxy.rules.", "ccproxyd.routing.", "ccproxyd.rules."])
def test_a_built_in_rule_is_built_by_any_of_its_names(prefix: str, tmp_path: Path) -> None:
    built = build(tmp_path, f"{prefix}TokenCountRule", [{"threshold": 9}], sticky=True)
    assert isinstance(built.rule, TokenCountRule)
    assert built.rule.threshold == 9
    assert (built.label, built.name, built.sticky) == ("think", "TokenCountRule", True)
    assert built.path == "ccproxy.rules[0]"


def test_rules_combine(tmp_path: Path) -> None:
    inner = {"rule": "Not", "params": [{"rules": [{"rule": "ccproxy.rules.ThinkingRule"}]}]}
    params = [{"rules": [{"rule": "MatchModelRule", "params": ["haiku"]}, inner]}]
    rule = build(tmp_path, "AllOf", params).rule
    assert isinstance(rule, AllOf)
    assert isinstance(rule.rules[1], Not)
    assert rule.evaluate(Request({"model": "claude-haiku-4-5"}), None)
    assert not rule.evaluate(Request({"model": "claude-haiku-4-5", **HIGH}), None)


@pytest.mark.parametrize(
    ("rule", "params", "message"),
    [
        (
            "ThinkingFieldRule",
            None,
            "rules[0].rule: no built-in rule 'ThinkingFieldRule'; did you mean 'ThinkingRule'?",
        ),
        ("ccproxy.rules.TokenCountRul", None, "did you mean 'TokenCountRule'?"),
        ("Zebra", None, "no built-in rule 'Zebra'; a rule of your own is named by its module"),
        (
            "TokenCountRule",
            [{"treshold": 1}],
            "params: TokenCountRule has no parameter 'treshold'; did you mean 'threshold'?",
        ),
        (
            "TokenCountRule",
            None,
            "rules[0].params: TokenCountRule: missing a required argument: 'threshold'",
        ),
        ("ThinkingRule", [1, 2, 3, 4], "ThinkingRule: too many positional arguments"),
        ("MatchModelRule", ["a", {"model_name": "b"}], "multiple values for argument 'model_name'"),
        ("DefaultRule", [1], "rules[0].params: DefaultRule: too many positional arguments"),
        ("DefaultRule", [{"x": 1}], "rules[0].params: DefaultRule has no parameter 'x'"),
    ],
)
def test_a_built_in_rule_that_does_not_load_is_an_error(
    rule: str, params: Any, message: str, tmp_path: Path
) -> None:
    found = error_of(tmp_path, rule, params)
    assert found.startswith("ccproxy.yaml: ccproxy.rules[0].")
    assert message in found


@pytest.mark.parametrize(
    ("rule", "params", "name"),
    [
        ("TokenCountRule", ["many"], "threshold"),
        ("TokenCountRule", [-1], "threshold"),
        ("ThinkingRule", [{"min_effort": "hihg"}], "min_effort"),
        ("MatchToolRule", [{"tool_name": 4}], "tool_name"),
        ("MatchHeaderRule", [{"name": "x", "pattern": "("}], "pattern"),
        ("MatchSystemRule", None, "text"),
    ],
)
def test_a_parameter_of_the_wrong_type_is_an_error_that_names_it(
    rule: str, params: Any, name: str, tmp_path: Path
) -> None:
    found = error_of(tmp_path, rule, params)
    assert found.startswith(f"ccproxy.yaml: ccproxy.rules[0].params: {name}")
    assert "Error" not in found


def test_a_rule_within_a_rule_is_named_by_its_whole_path(tmp_path: Path) -> None:
    params = [{"rules": [{"rule": "SubagentRule"}, {"rule": "TokenCountRule", "params": ["x"]}]}]
    found = error_of(tmp_path, "AnyOf", params)
    assert found.startswith("ccproxy.yaml: ccproxy.rules[0].params.rules[1].params: threshold")


def test_a_label_that_litellm_does_not_know_is_an_error(tmp_path: Path) -> None:
    settings = Settings.parse({"ccproxy": {"rules": [{"label": "x", "rule": "DefaultRule"}]}})
    with pytest.raises(ConfigError, match=r"rules\[0\]\.label: 'x' is no model_name"):
        build_rules(settings.rules, tmp_path, TARGETS)
    assert build_rules(settings.rules, tmp_path, TARGETS, {"x": "think"})


# Rules of the user's


RULE = "class Rule:\n    def evaluate(self, request, config):\n        return LIMIT > 1\n"


def test_a_rule_of_the_users_may_be_any_class_with_evaluate(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("LIMIT = 2\n" + RULE)
    built = build(tmp_path, "mine:Rule")
    assert isinstance(built.rule, OwnRule)
    assert built.name == "Rule"
    assert built.rule.evaluate(Request({}), None)
    assert built.rule.detail(Request({})) == ""
    assert built.rule.reads_tokens


def test_a_class_of_the_users_that_returns_a_coroutine_says_nothing(tmp_path: Path) -> None:
    """It would be true whatever it comes to; an async `evaluate` is refused at once."""
    made = "async def later(): return False\n" + RULE.replace("LIMIT > 1", "later()")
    (tmp_path / "mine.py").write_text(made)
    with pytest.raises(TypeError, match="awaited"):
        build(tmp_path, "mine:Rule").rule.evaluate(Request({}), None)


def test_a_class_of_the_users_may_tell_its_details(tmp_path: Path) -> None:
    more = "    reads_tokens = False\n    def detail(self, request):\n        return 7\n"
    (tmp_path / "mine.py").write_text("LIMIT = 2\n" + RULE + more)
    rule = build(tmp_path, "mine.Rule").rule
    assert rule.detail(Request({})) == "7"
    assert not rule.reads_tokens


def test_an_evaluate_that_does_not_tell_its_parameters_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("class Rule:\n    evaluate = getattr\n")
    assert build(tmp_path, "mine.Rule")


def test_rules_of_the_users_combine_with_ours(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("LIMIT = 2\n" + RULE)
    rule = build(tmp_path, "AllOf", [{"rules": [{"rule": "mine.Rule"}, {"rule": "DefaultRule"}]}])
    assert rule.rule.evaluate(Request({}), None)


def test_an_installed_class_can_be_a_rule(tmp_path: Path) -> None:
    built = build(tmp_path, "tests.config.test_imports.InstalledRule", [{"answer": True}])
    assert built.rule.evaluate(Request({}), None)


class InstalledRule(ClassificationRule):
    def __init__(self, **keywords: Any) -> None:
        self.answer = keywords["answer"]

    def evaluate(self, request: Request, config: Any) -> bool:
        return bool(self.answer)


def test_an_edited_module_takes_effect(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from limits import LIMIT\n" + RULE)
    (tmp_path / "limits.py").write_text("LIMIT = 1\n")
    old = build(tmp_path, "mine.Rule")
    (tmp_path / "limits.py").write_text("LIMIT = 2\n")
    new = build(tmp_path, "mine.Rule")
    assert not old.rule.evaluate(Request({}), None)
    assert new.rule.evaluate(Request({}), None)


def test_a_rule_that_does_not_load_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text("LIMIT = 1\n" + RULE)
    (tmp_path / "bad.py").write_text("import good\n1 / 0\n")
    error_of(tmp_path, "bad.Rule")
    assert not {"good", "bad"} & set(sys.modules)


def test_a_generated_ccproxy_module_does_not_shadow_ours(tmp_path: Path) -> None:
    (tmp_path / "ccproxy.py").write_text("raise RuntimeError\n")
    (tmp_path / "mine.py").write_text("from ccproxy.rules import DefaultRule\n")
    assert isinstance(build(tmp_path, "mine.DefaultRule").rule, DefaultRule)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "x = 1\n1 / 0\n",
            "rule: cannot import mine: ZeroDivisionError: division by zero (mine.py:2)",
        ),
        ("x = 1\nclass\n", "rule: cannot import mine: SyntaxError: invalid syntax (mine.py:2)"),
        (
            "import nothing_like_it\n",
            "import mine: ModuleNotFoundError: No module named 'nothing_like_it' (mine.py:1)",
        ),
        ("import sys\nsys.exit(3)\n", "cannot import mine: SystemExit: 3 (mine.py:2)"),
        (
            "class Panic(BaseException): pass\nraise Panic('lost')\n",
            "cannot import mine: Panic: lost (mine.py:2)",
        ),
        ("def __getattr__(name):\n    raise OSError\n", "cannot import mine: OSError (mine.py:2)"),
        ("raise ValueError('a\\n  b')\n", "cannot import mine: ValueError: a b (mine.py:1)"),
        ("raise ValueError\n", "cannot import mine: ValueError (mine.py:1)"),
        ("def f():\n    g()\ndef g():\n    {}['k']\nf()\n", "KeyError: 'k' (mine.py:4)"),
        ("class Rul:\n    pass\n", "module mine has no class 'Rule'; did you mean 'Rul'?"),
        ("Rule = 7\n", "rule: mine.Rule is no class with evaluate(request, config)"),
        ("class Rule: pass\n", "rule: mine.Rule is no class with evaluate(request, config)"),
        (
            "from ccproxy.rules import ClassificationRule\nclass Rule(ClassificationRule): pass\n",
            "rule: mine.Rule does not define evaluate(request, config)",
        ),
        (
            "class Rule:\n    def evaluate(self, request): pass\n",
            "rule: evaluate must take (request, config)",
        ),
        (
            "class Rule:\n    async def evaluate(self, request, config): pass\n",
            "rule: evaluate must be a plain function, not an async one",
        ),
        (
            "class Rule:\n    def __init__(self):\n        raise OSError('no')\n"
            "    def evaluate(self, request, config): pass\n",
            "params: Rule cannot be made: OSError: no (mine.py:3)",
        ),
        (
            "class Rule:\n    def __init__(self):\n        raise GeneratorExit\n"
            "    def evaluate(self, request, config): pass\n",
            "params: Rule cannot be made: GeneratorExit (mine.py:3)",
        ),
        (
            "class Rule:\n    def __init__(self, a): pass\n"
            "    def evaluate(self, request, config): pass\n",
            "params: Rule: missing a required argument: 'a'",
        ),
    ],
)
def test_a_module_of_the_users_that_is_wrong_is_one_line(
    source: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(source)
    found = error_of(tmp_path, "mine.Rule")
    assert found.startswith("ccproxy.yaml: ccproxy.rules[0].")
    assert message in found


def test_a_missing_module_is_an_error_with_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "custom_rules.py").write_text("")
    assert error_of(tmp_path, "custom_rule.Mine") == (
        f"ccproxy.yaml: ccproxy.rules[0].rule: no module 'custom_rule' in {tmp_path},"
        " and none installed; did you mean 'custom_rules.Mine'?"
    )
    assert error_of(tmp_path, "zebra.deep.Mine").endswith("and none installed")


def test_a_very_long_message_is_cut(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("raise ValueError('x' * 10_000)\n")
    assert len(error_of(tmp_path, "mine.Rule")) < 500


def test_a_class_that_hides_its_parameters_is_tried(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "class Rule:\n"
        "    __signature__ = 'none'\n"
        "    def __init__(self, a): pass\n"
        "    def evaluate(self, request, config): pass\n"
    )
    assert "Rule cannot be made: TypeError: " in error_of(tmp_path, "mine.Rule")
    assert build(tmp_path, "mine.Rule", [1])


# Whole tables


def test_a_table_holds_all_that_a_decision_needs(write_config: WriteConfig) -> None:
    config_dir = write_config()
    loaded = load(config_dir, {})
    table = build_table(loaded, config_dir)
    assert [rule.label for rule in table.rules] == ["think"]
    assert [target.name for target in table.targets] == ["default", "think"]
    assert table.config is loaded.settings
    assert table.passthrough


def test_the_samples_route(tmp_path: Path) -> None:
    table = table_of(samples_directory())
    assert label_of(table, model="claude-sonnet-5") == "claude-sonnet-5"
    assert label_of(table, model="gpt-9") == "default"
    assert label_of(table, model="claude-haiku-4-5") == "background"
    assert label_of(table, model="claude-opus-4-8", **HIGH) == "think"
    assert label_of(table, model="claude-opus-4-8", **SEARCH) == "web_search"


def test_the_sample_of_custom_rules_loads(tmp_path: Path) -> None:
    shutil.copy(samples_directory() / "custom_rules.py", tmp_path)
    long = build(tmp_path, "custom_rules.LongAnswerRule", [{"max_tokens": 32000}]).rule
    assert long.evaluate(Request({"max_tokens": 64000}), None)
    assert not long.evaluate(Request({"max_tokens": "64000"}), None)
    assert long.detail(Request({"max_tokens": 5})) == "max_tokens 5"
    project = build(tmp_path, "custom_rules.ProjectRule", [{"project": "a"}]).rule
    assert project.evaluate(Request({}, headers={"x-project": "a"}), None)


def test_the_demo_routes() -> None:
    table = table_of(samples_directory() / "demo", CCPROXYD_DEMO_URL="http://127.0.0.1:9")
    assert label_of(table, model="anything") == "default"
    assert label_of(table, model="claude-haiku-4-5") == "background"
    assert label_of(table, model="claude-opus-4-8", **HIGH) == "think"
    assert label_of(table, model="claude-opus-4-8", **SEARCH) == "web_search"
    assert [rule.name for rule in table.rules] == [
        "TokenCountRule",
        "MatchModelRule",
        "ThinkingRule",
        "MatchToolRule",
    ]


@pytest.mark.parametrize("name", ["labels", "handler_file", "names", "template"])
def test_what_the_ancestor_documents_builds(name: str) -> None:
    table = table_of(FIXTURES / name)
    expected = {
        "token_count": TokenCountRule,
        "background": MatchModelRule,
        "think": ThinkingRule,
        "web_search": MatchToolRule,
    }
    assert all(type(rule.rule) is expected[rule.label] for rule in table.rules)


def test_custom_rules_in_the_ancestors_form_decide() -> None:
    table = table_of(FIXTURES / "custom_rules")
    at_noon = {"metadata": {"hour": 12}, "messages": []}

    def label(**body: Any) -> str:
        return label_of(table, **{**at_noon, **body})

    assert [rule.name for rule in table.rules] == [
        "TokenCountRule",
        "PriorityUserRule",
        "OffHoursRule",
        "ContentLengthRule",
        "MixedRule",
        "DefaultRule",
    ]
    assert label() == "default"
    assert label(metadata={"user_email": "vip@example.com"}) == "premium"
    assert label(messages=[{"role": "user", "content": "it is urgent"}]) == "premium"
    assert label(metadata={"hour": 20}) == "off_hours"
    assert label(messages=[{"role": "user", "content": "x " * 25_001}]) == "long_conversation"
    assert label(model="positional_value/keyword_value") == "mixed"


def test_a_subagent_rule_has_no_parameters(tmp_path: Path) -> None:
    assert isinstance(build(tmp_path, "SubagentRule", []).rule, SubagentRule)


# Rules, hooks and a check together

SHARED = """
seen = []

class Mine:
    def evaluate(self, request, config):
        return bool(seen)

def hook(data, user_api_key_dict):
    seen.append(1)

def check(data, user_api_key_dict, call_type): ...
"""
ALL_OF_IT = """
ccproxy:
  rules: [{label: think, rule: own.Mine}]
  hooks: [rule_evaluator, own.hook]
  moderation: {enabled: true, check: own.check}
"""


def test_rules_hooks_and_the_check_share_their_modules(write_config: WriteConfig) -> None:
    config_dir = write_config(ALL_OF_IT, own=SHARED)
    parts = build_parts(load(config_dir, {}), config_dir)
    [hook] = parts.hooks.values()
    assert label_of(parts.routing, model="m") == "default"
    hook.function({}, {})
    assert label_of(parts.routing, model="m") == "think"
    assert parts.check is sys.modules["own"].check


def test_if_one_of_them_does_not_load_nothing_is_changed(write_config: WriteConfig) -> None:
    config_dir = write_config(ALL_OF_IT, own=SHARED)
    build_parts(load(config_dir, {}), config_dir)
    before = sys.modules["own"]
    write_config(ALL_OF_IT, own=SHARED.replace("def check", "def czech"))
    with pytest.raises(ConfigError, match=r"moderation\.check: module own has no function"):
        build_parts(load(config_dir, {}), config_dir)
    assert sys.modules["own"] is before


@pytest.mark.parametrize("build", [build_parts, build_table])
def test_a_rule_that_does_not_want_its_parameter_does_not_quote_the_environment(
    write_config: WriteConfig, build: Any
) -> None:
    rule = "{label: think, rule: TokenCountRule, params: [{threshold: '${KEY}'}]}"
    config_dir = write_config(f"ccproxy: {{rules: [{rule}]}}")
    with pytest.raises(ConfigError, match=r"\$\{KEY\}") as caught:
        build(load(config_dir, {"KEY": "hunter2"}), config_dir)
    assert "hunter2" not in str(caught.value)


def test_a_hook_of_a_config_that_is_in_force_outlives_its_file(write_config: WriteConfig) -> None:
    config_dir = write_config(ALL_OF_IT, own=SHARED)
    loaded = load(config_dir, {})
    (config_dir / "own.py").write_text("half a")
    assert build_parts(loaded, config_dir).hooks


def test_an_edited_hook_is_another_config(write_config: WriteConfig) -> None:
    config_dir = write_config(ALL_OF_IT, own=SHARED)
    before = load(config_dir, {})
    write_config(ALL_OF_IT, own=f"{SHARED}# edited")
    after = load(config_dir, {})
    assert before.routing_fingerprint != after.routing_fingerprint
    assert before.worker_fingerprint == after.worker_fingerprint


def test_hooks_in_the_ancestors_form_load_and_run() -> None:
    loaded = load(FIXTURES / "names", KEYS)
    [hook] = build_parts(loaded, FIXTURES / "names").hooks.values()
    data = {"metadata": {}, "model": "m"}
    assert hook.function(data, {}, **hook.params) is data

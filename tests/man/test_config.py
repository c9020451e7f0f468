"""ccproxy.yaml(5) against what reads the file."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml

from ccproxyd.config.entries import (
    BUILT_IN_HOOKS,
    COMBINING_RULES,
    HOOK_PARAMETERS,
    HookEntry,
)
from ccproxyd.config.imports import build_rules
from ccproxyd.config.litellm import render
from ccproxyd.config.settings import UNUSED_KEYS, Settings, documented_keys
from ccproxyd.errors import ProxyError
from ccproxyd.routing import BUILT_IN, Request, Target, Thinking
from tests.man.mdoc import Item, Page

RULE_KEYS = {"label", "name", "rule", "params", "sticky"}
HOOK_KEYS = {"hook", "params"}
ANCESTORS_KEYS = {*UNUSED_KEYS, "handler", "litellm", "host", "port", "num_workers", "debug"}
ANCESTORS_KEYS |= {"detailed_debug"}


def settings(page: Page) -> dict[str, Item]:
    return {item.names[0]: item for item in page.items("SETTINGS", "Cm")}


def keys() -> dict[str, Any]:
    """Every key with its default."""
    return {key.removeprefix("ccproxy."): default_of(key) for key in documented_keys()}


def default_of(key: str) -> Any:
    value: Any = Settings()
    for name in key.split(".")[1:]:
        value = getattr(value, name)
    return value


def written(value: Any) -> Any:
    """As YAML would have it."""
    if isinstance(value, tuple):
        return [written(item) for item in value]
    return value.hook if isinstance(value, HookEntry) else value


def test_every_setting_is_there_and_no_other(ccproxy_yaml: Page) -> None:
    assert settings(ccproxy_yaml).keys() == keys().keys()


@pytest.mark.parametrize("key", keys())
def test_the_default_of_a_setting_is_the_one_of_the_code(ccproxy_yaml: Page, key: str) -> None:
    shown, default = settings(ccproxy_yaml)[key].more, keys()[key]
    if attrs.has(type(default)):
        assert shown == ()
    else:
        assert yaml.safe_load(" ".join(shown)) == written(default)


def rules(page: Page) -> dict[str, Item]:
    return {item.names[0]: item for item in page.items("RULES", "Ic", "")}


def parameters(name: str) -> dict[str, Any]:
    if name in COMBINING_RULES:
        return {"rules": None}
    found = inspect.signature(BUILT_IN[name]).parameters.values()
    return {one.name: None if one.default is one.empty else one.default for one in found}


def test_every_rule_is_there_and_no_other(ccproxy_yaml: Page) -> None:
    assert rules(ccproxy_yaml).keys() == BUILT_IN.keys()


@pytest.mark.parametrize("rule", BUILT_IN)
def test_the_parameters_of_a_rule_are_all_there_and_no_others(
    ccproxy_yaml: Page, rule: str
) -> None:
    head = rules(ccproxy_yaml)[rule]
    told = {
        word.items[-1].names[0]: yaml.safe_load(" ".join(word.items[-1].more))
        for word in ccproxy_yaml.words
        if word.is_head and head in word.items and word.items[-1] != head
    }
    assert told == parameters(rule)


def test_the_keys_of_a_rule_are_there(ccproxy_yaml: Page) -> None:
    items = [item for item in ccproxy_yaml.items("RULES", "Cm", "") if item.depth == 1]
    assert {item.names[0] for item in items} == RULE_KEYS - {"name"}


def test_every_hook_is_there_and_no_other(ccproxy_yaml: Page) -> None:
    items = ccproxy_yaml.items("HOOKS", "Ic")
    assert sorted(name for item in items for name in item.names) == sorted(BUILT_IN_HOOKS)


@pytest.mark.parametrize("hook", BUILT_IN_HOOKS)
def test_the_parameters_of_a_hook_are_all_there_and_no_others(
    ccproxy_yaml: Page, hook: str
) -> None:
    inside = ccproxy_yaml.inside("HOOKS", hook)
    told = [word.text for word in inside if word.is_head and word.items[-1].macro == "Cm"]
    assert tuple(told) == HOOK_PARAMETERS.get(hook, ())


def test_every_fact_of_a_request_is_there_and_no_other(ccproxy_yaml: Page) -> None:
    mapping = {"get", "items", "keys", "values"}
    request = Request({})
    facts = {name for name in dir(request) if not name.startswith("_")}
    facts -= mapping | {"asked_token_count", "body", "new_characters", "is_conversation", "tools"}
    thinking = {name for name in dir(Thinking()) if not name.startswith("_")}
    told = {
        word.text
        for word in ccproxy_yaml.words
        if word.macro == "Va" and word.subsection == "Rules of your own"
    }
    assert told == facts | thinking


def test_no_key_is_named_that_nobody_reads(ccproxy_yaml: Page) -> None:
    known = {*keys(), *RULE_KEYS, *HOOK_KEYS, *ANCESTORS_KEYS, "ccproxy"}
    known |= {name for rule in BUILT_IN for name in parameters(rule)}
    known |= {name for names in HOOK_PARAMETERS.values() for name in names}
    assert ccproxy_yaml.of("Cm") <= known


# The examples


def documents(page: Page) -> list[Any]:
    """The examples that are YAML."""
    starts = ("ccproxy:", "model_list:", "- ")
    return [yaml.safe_load(text) for text in page.examples if text.startswith(starts)]


def test_the_examples_of_a_config_are_good(ccproxy_yaml: Page) -> None:
    count = 0
    for document in documents(ccproxy_yaml):
        count += 1
        ours = {"rules": document} if isinstance(document, list) else document.get("ccproxy", {})
        if ours.get("port"):
            ours["port"] = 4000  # it is taken from the environment
        entries = Settings.parse({"ccproxy": ours}).rules
        built = [entry for entry in entries if not entry.rule.startswith("custom_rules.")]
        labels = [Target(entry.label, ("anthropic/a",)) for entry in built]
        assert len(build_rules(built, page_directory(), labels)) == len(built)
    assert count >= 6


def page_directory() -> Any:
    from tests.man.mdoc import MAN

    return MAN


def test_the_example_of_a_rule_of_ones_own_works(ccproxy_yaml: Page) -> None:
    [source] = [text for text in ccproxy_yaml.examples if text.startswith("from ccproxyd.routing")]
    names: dict[str, Any] = {}
    exec(compile(source, "custom_rules.py", "exec"), names)  # noqa: S102 - it is our own
    rule = names["LongAnswerRule"](max_tokens=32000)
    assert rule.evaluate(Request({"max_tokens": 64000}), None)
    assert not rule.evaluate(Request({}), None)
    assert not rule.evaluate(Request({"max_tokens": None}), None)
    assert rule.detail(Request({"max_tokens": 5})) == "max_tokens 5"


def test_the_example_of_a_hook_of_ones_own_works(ccproxy_yaml: Page) -> None:
    [source] = [text for text in ccproxy_yaml.examples if text.startswith("from ccproxyd.errors")]
    names: dict[str, Any] = {}
    exec(compile(source, "my_hooks.py", "exec"), names)  # noqa: S102 - it is our own
    data = {"messages": ["hi"], "model": "think", "metadata": {"ccproxy_model_name": "think"}}
    names["careful"](data, {}, lowest=0)
    assert (data["temperature"], data["model"]) == (0, "default")
    names["careful"]({"input": "an embedding", "metadata": {}}, {})
    with pytest.raises(ProxyError) as refused:
        names["careful"]({"messages": ["drop table x"], "metadata": {}}, {})
    assert refused.value.code == 403


def test_all_that_a_worker_s_config_has_besides_is_named(ccproxy_yaml: Page) -> None:
    made = render({}, master_key="k", config_dir=Path(), selftest_name="ccproxyd-selftest-1")
    sections = ("general_settings", "litellm_settings", "router_settings")
    added = {key for section in sections for key in made[section]} - {"callbacks"}
    said = {word.rpartition(".")[2] for word in ccproxy_yaml.of("Va", "CONFIG.YAML")}
    assert said >= {*added, "model_list"}
    assert "ccproxyd-selftest-*" in ccproxy_yaml.of("Ql", "CONFIG.YAML")

from pathlib import Path
from typing import Any

import pytest
import yaml

from ccproxyd.config.load import load
from ccproxyd.ctl import windows
from ccproxyd.ctl.windows import Stage, Window, is_served, smallest_window, stages

Rule = dict[str, Any]


def token_count(label: str, threshold: int) -> Rule:
    return {"label": label, "rule": "TokenCountRule", "params": [{"threshold": threshold}]}


def rule(label: str, name: str, **params: Any) -> Rule:
    return {"label": label, "rule": name, "params": params}


def model(label: str, window: int | None = None, name: str = "some/model") -> dict[str, Any]:
    info = {"model_info": {"max_input_tokens": window}} if window else {}
    return {"model_name": label, "litellm_params": {"model": name}, **info}


def smallest(
    directory: Path, rules: list[Rule], models: list[dict[str, Any]], **ours: Any
) -> Window | None:
    (directory / "ccproxy.yaml").write_text(yaml.safe_dump({"ccproxy": {"rules": rules, **ours}}))
    (directory / "config.yaml").write_text(yaml.safe_dump({"model_list": models}))
    return smallest_window(load(directory, {}))


@pytest.fixture(autouse=True)
def _no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "_listed_models", lambda: {"listed": {"max_input_tokens": 7000}})


def test_the_smallest_on_the_way_counts(tmp_path: Path) -> None:
    rules = [rule("think", "ThinkingRule"), rule("vision", "ImageRule")]
    models = [model("think", 300), model("vision", 200), model("default", 400)]
    assert smallest(tmp_path, rules, models) == Window("vision", 200)


def test_behind_a_threshold_nothing_is_longer_than_it(tmp_path: Path) -> None:
    models = [model("long", 900), model("default", 200)]
    assert smallest(tmp_path, [token_count("long", 150)], models) == Window("long", 900)
    assert smallest(tmp_path, [token_count("long", 201)], models) == Window("default", 200)


def test_before_a_threshold_everything_can_come(tmp_path: Path) -> None:
    rules = [rule("think", "ThinkingRule"), token_count("long", 100)]
    models = [model("think", 200), model("long", 900), model("default", 200)]
    assert smallest(tmp_path, rules, models) == Window("think", 200)


@pytest.mark.parametrize(
    "small",
    [
        rule("small", "SubagentRule"),
        rule("small", "MatchModelRule", model_name="Haiku"),
        {"label": "small", "rule": "MatchModelRule", "params": ["claude-haiku"]},
        rule("small", "MatchToolRule", tool_name="WebSearch"),
        rule("small", "AllOf", rules=[{"rule": "SubagentRule"}, {"rule": "ImageRule"}]),
        rule("small", "AnyOf", rules=[{"rule": "ccproxy.rules.SubagentRule"}]),
    ],
)
def test_small_requests_beside_it_do_not_count(tmp_path: Path, small: Rule) -> None:
    models = [model("small", 100), model("default", 200)]
    assert smallest(tmp_path, [small], models) == Window("default", 200)


@pytest.mark.parametrize(
    "main",
    [
        rule("main", "MatchModelRule", model_name="opus"),
        rule("main", "MatchToolRule", tool_name="WebSearch", where="used"),
        rule("main", "Not", rules=[{"rule": "SubagentRule"}]),
        rule("main", "AnyOf", rules=[{"rule": "SubagentRule"}, {"rule": "ImageRule"}]),
        rule("main", "custom_rules.MyRule"),
    ],
)
def test_whatever_else_may_be_the_conversation(tmp_path: Path, main: Rule) -> None:
    (tmp_path / "custom_rules.py").touch()
    models = [model("main", 100), model("default", 200)]
    assert smallest(tmp_path, [main], models) == Window("main", 100)


def test_behind_a_rule_for_everything_comes_nothing(tmp_path: Path) -> None:
    models = [model("all", 300), model("default", 200)]
    assert smallest(tmp_path, [rule("all", "DefaultRule")], models) == Window("all", 300)


def test_a_model_that_is_kept_is_the_clients_own_choice(tmp_path: Path) -> None:
    models = [model("claude-*", name="anthropic/claude-*"), model("default", 200)]
    assert smallest(tmp_path, [], models) is None
    assert smallest(tmp_path, [], models, default_model_passthrough=False) == Window("default", 200)


def test_without_a_default_nothing_falls_to_it(tmp_path: Path) -> None:
    assert smallest(tmp_path, [], [model("other", 200)]) is None


@pytest.mark.parametrize(
    ("served", "expected"), [("default", True), ("claude-*", True), ("other", False)]
)
def test_a_model_is_served_by_its_name_or_by_default(
    tmp_path: Path, served: str, expected: bool
) -> None:
    (tmp_path / "ccproxy.yaml").write_text("ccproxy: {}")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"model_list": [model(served)]}))
    assert is_served(load(tmp_path, {}), "claude-haiku-4-5") is expected


def test_of_several_deployments_the_smallest_is_what_a_label_takes(tmp_path: Path) -> None:
    models = [model("default", 300), model("default", 200), model("default")]
    assert smallest(tmp_path, [], models) == Window("default", 200)


@pytest.mark.parametrize(
    ("name", "tokens"),
    [("anthropic/claude-haiku-4-5", 200_000), ("anthropic/claude-opus-4-8", 1_000_000)],
)
def test_the_families_are_known(tmp_path: Path, name: str, tokens: int) -> None:
    assert smallest(tmp_path, [], [model("default", name=name)]) == Window("default", tokens)


def test_other_models_are_looked_up(tmp_path: Path) -> None:
    found = smallest(tmp_path, [], [model("default", name="openai/listed")])
    assert found == Window("default", 7000)
    based = model("default", name="openai/mine") | {"model_info": {"base_model": "listed"}}
    assert smallest(tmp_path, [], [based]) == Window("default", 7000)


def test_what_nobody_knows_is_not_guessed(tmp_path: Path) -> None:
    assert smallest(tmp_path, [], [model("default")]) is None


def test_the_nearer_of_two_thresholds_shields(tmp_path: Path) -> None:
    rules = [token_count("long", 500), token_count("longer", 800)]
    (tmp_path / "ccproxy.yaml").write_text(yaml.safe_dump({"ccproxy": {"rules": rules}}))
    models = [model("long"), model("longer"), model("default")]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"model_list": models}))
    found = stages(load(tmp_path, {}).settings.rules, falls_to_default=True)
    assert list(found) == [Stage("long"), Stage("longer", 500), Stage("default", 500)]


def test_the_list_is_litellms_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    listed = windows._listed_models()
    assert (windows.listed_window("openai/gpt-4o", listed) or 0) > 100_000


def test_without_litellm_there_is_no_list(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(windows, "litellm_directory", lambda _: tmp_path)
    assert windows._listed_models() == {}
    (tmp_path / windows._LIST).write_text("[]")
    assert windows._listed_models() == {}

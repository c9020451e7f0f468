from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from ccproxyd.config.deployments import Deployment, follow, parse_deployments
from ccproxyd.errors import ConfigError


def entry(name: Any = "default", model: Any = "anthropic/sonnet", **params: Any) -> dict[str, Any]:
    return {"model_name": name, "litellm_params": {"model": model, **params}}


def deployments(*entries: Any, **environ: str) -> list[Deployment]:
    paths = [f"config.yaml: model_list[{index}]" for index in range(len(entries))]
    return list(parse_deployments(entries, environ, paths))


def error_of(*entries: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        deployments(*entries)
    return str(caught.value)


def test_a_deployment_is_read() -> None:
    [found] = deployments(entry(api_base="https://x", api_key="k"))
    assert evolve(found, params={}) == Deployment(
        "default", "anthropic/sonnet", "https://x", True, "config.yaml: model_list[0]"
    )
    assert found.params == {"model": "anthropic/sonnet", "api_base": "https://x", "api_key": "k"}


def test_what_it_takes_from_the_environment_is_looked_up() -> None:
    written = entry("os.environ/N", "os.environ/M", api_base="os.environ/B", api_key="os.environ/K")
    [found] = deployments(written, N="n", M="openai/m", B="https://b", K="k")
    assert (found.model_name, found.model, found.api_base) == ("n", "openai/m", "https://b")
    assert found.has_key


@pytest.mark.parametrize("params", [{}, {"api_key": "os.environ/NONE"}, {"api_key": None}])
def test_a_key_that_is_not_there_is_no_key(params: dict[str, Any]) -> None:
    assert not deployments(entry(**params))[0].has_key


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (1234567890987654321, "a number; put it in quotes"),
        (True, "a flag; put it in quotes"),
        (["hunter2"], "a list"),
        ({"key": "hunter2"}, "a mapping"),
    ],
)
@pytest.mark.parametrize("name", ["api_key", "aws_secret_access_key"])
def test_a_key_that_is_no_text_is_an_error_that_does_not_show_it(
    name: str, value: Any, what: str
) -> None:
    field = f"config.yaml: model_list[0].litellm_params.{name}"
    assert error_of(entry(**{name: value})) == f"{field}: must be a text, not {what}"


def test_a_named_credential_is_a_key() -> None:
    assert deployments(entry(litellm_credential_name="mine"))[0].has_key


def test_base_url_is_another_word_for_api_base() -> None:
    assert deployments(entry(base_url="https://b"))[0].api_base == "https://b"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("x", "model_list[0]: must be a mapping, not a text"),
        ({"litellm_params": {"model": "m"}}, "model_list[0].model_name: is missing"),
        (
            {"litellm_params": {"model": "m"}, "model_info": {}},
            "model_list[0].model_name: is missing",
        ),
        ({"modelname": "a"}, "model_list[0].modelname: unknown key; did you mean 'model_name'?"),
        (entry(name=4), "model_list[0].model_name: must be a text, not 4"),
        ({"model_name": "a"}, "model_list[0].litellm_params.model: is missing"),
        (entry(model=None), "model_list[0].litellm_params.model: is missing"),
        (entry(model=["m"]), "model_list[0].litellm_params.model: must be a text, not a list"),
        (
            entry(model="os.environ/NONE"),
            "model_list[0].litellm_params.model: the environment has no NONE",
        ),
        ({"model_name": "a", "litellm_params": "m"}, "litellm_params: must be a mapping"),
    ],
)
def test_a_deployment_that_is_wrong_is_an_error_with_its_path(written: Any, message: str) -> None:
    assert message in error_of(written)


def test_an_indirection_has_the_deployment_that_it_names() -> None:
    [label, direct] = deployments(
        entry("think", "claude-opus"),
        entry("claude-opus", "anthropic/claude-opus", api_base="https://api.anthropic.com"),
    )
    assert (label.model_name, label.model) == ("think", "anthropic/claude-opus")
    assert label.api_base == direct.api_base
    assert label.path == "config.yaml: model_list[0]"


def test_an_indirection_to_several_is_several() -> None:
    found = deployments(entry("a", "pool"), entry("pool", "x/1"), entry("pool", "y/2", api_key="k"))
    assert [(one.model_name, one.model, one.has_key) for one in found] == [
        ("a", "x/1", False),
        ("a", "y/2", True),
        ("pool", "x/1", False),
        ("pool", "y/2", True),
    ]


def test_an_indirection_may_go_on() -> None:
    found = deployments(entry("a", "b"), entry("b", "c"), entry("c", "x/1"))
    assert [one.model for one in found] == ["x/1"] * 3


def test_an_indirection_keeps_what_it_says_itself() -> None:
    written = {**entry("a", "b", timeout=5), "model_info": {"mode": "chat"}}
    direct = {**entry("b", "x/1", timeout=9, api_key="k"), "model_info": {"id": "1", "base": "m"}}
    [found] = follow(written, [written, direct])
    assert found == {
        "model_name": "a",
        "litellm_params": {"model": "x/1", "timeout": 5, "api_key": "k"},
        "model_info": {"base": "m", "mode": "chat"},
    }


@pytest.mark.parametrize(
    "written",
    [
        entry("a", "a"),
        entry("a", "b", api_key="k"),
        entry("a", "b", api_base="https://x"),
        entry("a", "b", custom_llm_provider="openai"),
        entry("a", "unknown"),
        entry("a", "x/b"),
    ],
)
def test_what_says_itself_where_it_is_to_be_found_is_no_indirection(written: Any) -> None:
    others = [written, entry("b", "x/1"), entry("x/b", "y/2")]
    assert follow(written, others) == [written]


def test_indirections_in_a_circle_end() -> None:
    first, second = entry("a", "b"), entry("b", "a")
    assert [found["model_name"] for found in follow(first, [first, second])] == ["a"]

from pathlib import Path
from typing import Any

import pytest

from ccproxyd.config.deployments import parse_deployments
from ccproxyd.config.lanes import (
    DIRECT,
    LITELLM,
    Lane,
    bare_model,
    find_lanes,
    has_fallbacks,
    labels_with_fallbacks,
    lanes_of,
)
from ccproxyd.config.load import load

SONNET = {"model": "anthropic/claude-sonnet-5", "api_key": "k"}
NOWHERE = Path("/nonexistent")


def entry(name: str = "default", info: dict[str, Any] | None = None, **params: Any) -> Any:
    found = {"model_name": name, "litellm_params": params or SONNET}
    return {**found, "model_info": info} if info else found


def lanes(
    *entries: Any,
    environ: dict[str, str] | None = None,
    direct: str = "auto",
    config_dir: Path = NOWHERE,
    **sections: Any,
) -> dict[str, Lane]:
    entries = entries or (entry(),)
    document = {"model_list": list(entries), **sections}
    paths = [f"config.yaml: model_list[{index}]" for index in range(len(entries))]
    deployments = tuple(parse_deployments(entries, environ or {}, paths))
    return find_lanes(document, deployments, environ or {}, config_dir, direct=direct)


def lane(*entries: Any, **more: Any) -> Lane:
    return lanes(*entries, **more)["default"]


def endpoint(*entries: Any, **more: Any) -> Any:
    found = lane(*entries, **more)
    assert found.name == DIRECT, found.reason
    return found.endpoint


# What can go direct


def test_anthropics_own_model_goes_direct() -> None:
    found = lane()
    assert found.is_direct
    assert found.reason == "anthropic/claude-sonnet-5 speaks anthropic's protocol"
    assert endpoint().url == "https://api.anthropic.com/v1/messages"
    assert endpoint().key == "k"


@pytest.mark.parametrize(
    ("params", "url"),
    [
        ({"model": "claude-opus-4-8", "api_key": "k"}, "https://api.anthropic.com/v1/messages"),
        ({**SONNET, "api_base": "http://a:1"}, "http://a:1/v1/messages"),
        ({**SONNET, "api_base": "http://a:1/"}, "http://a:1/v1/messages"),
        ({**SONNET, "base_url": "http://a:1/v1/messages"}, "http://a:1/v1/messages"),
        (
            {"model": "mine", "custom_llm_provider": "anthropic", "api_key": "k"},
            "https://api.anthropic.com/v1/messages",
        ),
        (
            {"model": "openai/gpt-5", "api_key": "k"},
            "https://api.openai.com/v1/chat/completions",
        ),
        (
            {"model": "openai/x", "api_key": "k", "api_base": "http://b/v1"},
            "http://b/v1/chat/completions",
        ),
        (
            {"model": "hosted_vllm/org/x", "api_key": "k", "api_base": "http://b/v1"},
            "http://b/v1/chat/completions",
        ),
    ],
)
def test_the_address_is_the_one_that_litellm_would_use(params: Any, url: str) -> None:
    assert endpoint(entry(**params)).url == url


def test_a_wildcard_goes_direct_too() -> None:
    found = lanes(entry("claude-*", model="anthropic/claude-*", api_key="k"))["claude-*"]
    assert found.is_direct


def test_keys_and_addresses_come_from_the_environment_as_litellm_takes_them() -> None:
    environ = {"ANTHROPIC_API_KEY": "from-env", "ANTHROPIC_BASE_URL": "http://a"}
    found = endpoint(entry(model="anthropic/claude-sonnet-5"), environ=environ)
    assert (found.url, found.key) == ("http://a/v1/messages", "from-env")
    environ = {"OPENAI_API_KEY": "from-env", "OPENAI_BASE_URL": "http://b/v1"}
    found = endpoint(entry(model="openai/gpt-5"), environ=environ)
    assert (found.url, found.key) == ("http://b/v1/chat/completions", "from-env")


def loaded_lanes(directory: Path, environ: dict[str, str], variables: str) -> dict[str, Lane]:
    """The lanes of a config directory, whose config.yaml sets these variables."""
    params = "{model: anthropic/claude-sonnet-5, api_key: k}"
    entries = f"model_list: [{{model_name: default, litellm_params: {params}}}]"
    general = "general_settings: {master_key: sk-1}"
    (directory / "ccproxy.yaml").write_text("ccproxy: {}")
    text = f"{entries}\n{general}\nenvironment_variables: {variables}\n"
    (directory / "config.yaml").write_text(text)
    return lanes_of(load(directory, environ), environ, directory)


def test_the_environment_of_config_yaml_counts(tmp_path: Path) -> None:
    variables = "{ANTHROPIC_API_BASE: os.environ/BASE}"
    found = loaded_lanes(tmp_path, {"BASE": "http://a"}, variables)["default"]
    assert found.endpoint is not None
    assert found.endpoint.url == "http://a/v1/messages"


def test_where_litellm_keeps_the_keys_nothing_goes_past_it(tmp_path: Path) -> None:
    """The gateway lets every client through then: LiteLLM alone can tell them apart."""
    found = loaded_lanes(tmp_path, {}, "{DATABASE_URL: 'postgres://x'}")["default"]
    assert found == Lane(LITELLM, "LiteLLM keeps the keys")


def test_a_key_may_be_looked_up_and_is_never_shown() -> None:
    params = {"model": "anthropic/claude-sonnet-5", "api_key": "os.environ/MY_KEY"}
    found = lane(entry(**params), environ={"MY_KEY": "sk-secret"})
    assert found.endpoint is not None
    assert found.endpoint.key == "sk-secret"
    assert "sk-secret" not in repr(found)


LAN = {"api_base": "http://lan:8080/v1"}


@pytest.mark.parametrize(
    "params",
    [
        {"model": "anthropic/x", "api_base": "http://lan:8080"},
        {"model": "openai/x", **LAN},
        {"model": "hosted_vllm/x", **LAN},
        {"model": "custom_openai/x", **LAN},
    ],
)
def test_a_server_of_ones_own_needs_no_key(params: Any) -> None:
    assert endpoint(entry(**params)).key == ""
    assert endpoint(entry(**params, api_key="k")).key == "k"


@pytest.mark.parametrize(
    ("params", "environ"),
    [
        ({"model": "openai/x", **LAN}, {"OPENAI_ADMIN_KEY": "sk"}),
        ({"model": "hosted_vllm/x", **LAN}, {"HOSTED_VLLM_API_KEY": "sk"}),
        ({"model": "custom_openai/x", **LAN}, {"OPENAI_API_KEY": "sk"}),
    ],
)
def test_where_litellm_knows_a_key_it_is_litellms_to_send(params: Any, environ: Any) -> None:
    found = lane(entry(**params), environ=environ)
    assert found.reason == "config.yaml: model_list[0].litellm_params has no api_key"


def test_a_key_of_the_environment_goes_where_litellm_sends_it() -> None:
    found = endpoint(entry(model="openai/x", **LAN), environ={"OPENAI_API_KEY": "sk"})
    assert found.key == "sk"


def test_without_any_key_the_clients_own_token_may_serve() -> None:
    assert endpoint(entry(model="anthropic/claude-sonnet-5")).key is None


def test_timeouts_are_those_of_the_deployment_then_of_the_router_then_of_litellm() -> None:
    general = {"litellm_settings": {"request_timeout": 30}}
    assert endpoint(**general).timeout == 30
    assert endpoint(**general, router_settings={"timeout": 20}).timeout == 20
    found = endpoint(entry(**SONNET, timeout=10, stream_timeout=5), **general)
    assert (found.timeout, found.stream_timeout) == (10, 5)


@pytest.mark.parametrize(
    ("environ", "setting", "verify"),
    [
        ({}, None, True),
        ({"SSL_CERT_FILE": "/ca.pem"}, None, "/ca.pem"),
        ({"SSL_VERIFY": "False"}, None, False),
        ({"SSL_VERIFY": "/ca.pem"}, True, "/ca.pem"),
        ({}, False, False),
        ({}, "/ca.pem", "/ca.pem"),
    ],
)
def test_certificates_are_looked_at_as_litellm_would(
    environ: dict[str, str], setting: Any, verify: Any
) -> None:
    settings = {} if setting is None else {"litellm_settings": {"ssl_verify": setting}}
    assert endpoint(environ=environ, **settings).verify == verify


def test_the_proxy_is_found_once() -> None:
    assert endpoint(environ={"HTTPS_PROXY": "http://p:3128"}).proxy == "http://p:3128"
    assert endpoint(environ={"HTTPS_PROXY": "http://p", "NO_PROXY": "*"}).proxy is None


def test_settings_that_make_no_difference_do_not_matter() -> None:
    found = lane(
        litellm_settings={"drop_params": True, "num_retries": 0, "cache": False},
        general_settings={"master_key": "sk-1"},
        router_settings={"routing_strategy": "simple-shuffle", "model_group_alias": {"a": "b"}},
        include=["more.yaml"],
    )
    assert found.is_direct


def test_our_handler_is_no_obstacle_by_whichever_name(tmp_path: Path) -> None:
    settings = {"callbacks": ["ccproxy.handler"]}
    assert lane(litellm_settings=settings, config_dir=tmp_path).is_direct


# What needs LiteLLM, and why


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({"litellm_settings": {"cache": True}}, "config.yaml: litellm_settings.cache"),
        ({"litellm_settings": {"callbacks": ["x.y"]}}, "config.yaml: litellm_settings.callbacks"),
        (
            {"litellm_settings": {"success_callback": ["langfuse"]}},
            "config.yaml: litellm_settings.success_callback",
        ),
        ({"guardrails": [{"guardrail_name": "x"}]}, "config.yaml: guardrails"),
        (
            {"general_settings": {"database_url": "postgres://x"}},
            "config.yaml: general_settings.database_url",
        ),
        ({"router_settings": {"num_retries": 2}}, "config.yaml: router_settings.num_retries"),
        (
            {"router_settings": {"brand_new_setting": "x"}},
            "config.yaml: router_settings.brand_new_setting",
        ),
    ],
)
def test_what_only_litellm_does_sends_every_label_to_it(sections: Any, reason: str) -> None:
    found = lane(**sections)
    assert (found.name, found.reason, found.endpoint) == (LITELLM, reason, None)


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"model": "gemini/x", "api_key": "k"}, "LiteLLM translates for gemini"),
        ({"model": "gpt-5", "api_key": "k"}, "LiteLLM translates for gpt-5"),
        (
            {"model": "openai/responses/gpt-5", "api_key": "k"},
            "LiteLLM asks for responses of openai/responses/gpt-5",
        ),
        ({**SONNET, "rpm": 5}, "config.yaml: model_list[0].litellm_params.rpm"),
        (
            {**SONNET, "mock_response": "x"},
            "config.yaml: model_list[0].litellm_params.mock_response",
        ),
        ({**SONNET, "timeout": "10s"}, "config.yaml: model_list[0].litellm_params.timeout"),
        ({"model": "openai/x"}, "config.yaml: model_list[0].litellm_params has no api_key"),
        (
            {"model": "hosted_vllm/x", "api_key": "k"},
            "config.yaml: model_list[0].litellm_params has no api_base",
        ),
    ],
)
def test_a_deployment_that_needs_litellm_says_why(params: Any, reason: str) -> None:
    assert lane(entry(**params)).reason == reason


def test_a_deployments_own_price_is_no_obstacle() -> None:
    assert lane(entry(**SONNET, input_cost_per_token=1e-6)).is_direct


def test_a_price_that_is_not_by_the_token_is_litellms() -> None:
    found = lane(entry(**SONNET, input_cost_per_second=1e-6))
    assert found.reason == "config.yaml: model_list[0].litellm_params.input_cost_per_second"
    found = lane(entry(info={"tiered_pricing": [1]}, **SONNET))
    assert found.reason == "config.yaml: model_list[0].model_info.tiered_pricing"


def test_deployments_that_share_a_label_are_litellms_to_balance() -> None:
    assert lane(entry(), entry()).reason == "2 deployments share it"


def test_another_kind_of_model_is_litellms() -> None:
    found = lane(entry(info={"mode": "responses"}, **SONNET))
    assert found.reason == "config.yaml: model_list[0].model_info.mode"
    assert lane(entry(info={"mode": "chat"}, **SONNET)).is_direct


def test_a_token_in_the_environment_is_litellms() -> None:
    found = lane(
        entry(model="anthropic/claude-sonnet-5"), environ={"ANTHROPIC_AUTH_TOKEN": "sk-ant-oat"}
    )
    assert found.reason == "the environment has ANTHROPIC_AUTH_TOKEN"


def test_the_direct_lane_can_be_closed() -> None:
    assert lane(direct="off") == Lane(LITELLM, "lanes.direct is off")


# Fallbacks


@pytest.mark.parametrize(
    ("section", "setting", "falls_back"),
    [
        ("router_settings", {"fallbacks": [{"default": ["think"]}]}, True),
        ("litellm_settings", {"fallbacks": [{"default": ["think"]}]}, True),
        ("litellm_settings", {"context_window_fallbacks": [{"default": ["think"]}]}, True),
        ("litellm_settings", {"default_fallbacks": ["think"]}, True),
        ("router_settings", {"fallbacks": [{"think": ["default"]}]}, False),
        ("router_settings", {}, False),
    ],
)
def test_a_label_with_fallbacks_says_so(section: str, setting: Any, falls_back: bool) -> None:
    assert lane(**{section: setting}).is_direct
    found = labels_with_fallbacks({section: setting})
    assert has_fallbacks("default", found) is falls_back


@pytest.mark.parametrize(
    ("model", "bare"),
    [
        ("anthropic/claude-x", "claude-x"),
        ("openai/org/x", "org/x"),
        ("gemini/x", "gemini/x"),
        ("claude-x", "claude-x"),
    ],
)
def test_the_providers_own_id_has_no_prefix(model: str, bare: str) -> None:
    assert bare_model(model) == bare

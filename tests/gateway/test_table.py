import pytest

from ccproxyd.errors import ConfigError
from ccproxyd.gateway.paths import Carriage
from ccproxyd.gateway.table import Table
from ccproxyd.routing import Request, StickyTable
from tests.gateway.house import KEY, build_table, order_to_prepare, prices, write_config

LENDING = """
ccproxy:
  hooks: [rule_evaluator, forward_oauth]
"""


def models(*entries):
    lines = [
        f"  - {{model_name: {name}, litellm_params: {{{params}}}}}" for name, params in entries
    ]
    return "\n".join(["model_list:", *lines])


def lends(directory, *entries, ours=LENDING, more="", environ=None):
    write_config(directory, ours, f"{models(*entries)}\n{more}")
    order = order_to_prepare(directory)
    order["config"]["environ"] = environ or {}
    return Table.build(order, StickyTable(), lambda *_: None, prices()).lends_subscription("own")


ANTHROPIC = "model: anthropic/claude-opus-4-8"
ELSEWHERE = "model: anthropic/claude, api_base: 'https://elsewhere.example'"


@pytest.fixture(autouse=True)
def _no_base_from_outside(monkeypatch):
    monkeypatch.delenv("ANTHROPIC_API_BASE", raising=False)
    monkeypatch.delenv("ANTHROPIC_BASE_URL", raising=False)


def test_a_table_is_all_that_a_request_needs(config_dir):
    table = build_table(config_dir)
    request = Request({"thinking": {"type": "adaptive"}})
    assert table.router.decide(request).label == "think"
    assert table.keyring.opens_for([KEY])
    assert table.paths.carriage("POST", "/v1/messages") is Carriage.ROUTED
    assert not table.clients_belong_to_litellm


def test_a_rule_that_does_not_load_is_named(tmp_path):
    ours = "ccproxy: {rules: [{label: default, rule: own_rules.Mine}]}"
    write_config(tmp_path, ours, rules="raise RuntimeError('half written')")
    with pytest.raises(ConfigError, match=r"rules\[0\].*half written") as refused:
        build_table(tmp_path)
    assert refused.value.path == "ccproxy.yaml: ccproxy.rules[0].rule"


def test_management_and_the_users_own_endpoints_are_opened_by_the_config(tmp_path):
    endpoints = "[{path: /v1/mine, target: x}, {path: no-path}, {}, 3]"
    general = f"general_settings: {{pass_through_endpoints: {endpoints}}}"
    litellm = f"{models(('default', ANTHROPIC))}\n{general}"
    table = build_table(write_config(tmp_path, "ccproxy: {}", litellm))
    assert table.paths.carriage("POST", "/v1/mine") is Carriage.CARRIED
    assert table.paths.carriage("POST", "/key/info") is Carriage.CLOSED
    write_config(tmp_path, "ccproxy: {management_routes: true}", litellm)
    assert build_table(tmp_path).paths.carriage("POST", "/key/info") is Carriage.CARRIED


def test_a_subscription_is_lent_to_anthropics_own_address(tmp_path):
    assert lends(tmp_path, ("own", ANTHROPIC))
    assert lends(tmp_path, ("own", "model: claude-opus-4-8"))
    assert lends(tmp_path, ("own", f"{ANTHROPIC}, api_base: 'https://api.anthropic.com/'"))


@pytest.mark.parametrize(
    "params",
    [
        f"{ANTHROPIC}, api_key: k",
        ELSEWHERE,
        f"{ANTHROPIC}, api_base: 'http://api.anthropic.com'",
        f"{ANTHROPIC}, api_base: 'https://api.anthropic.com.elsewhere.example'",
        f"{ANTHROPIC}, api_base: 'https://api.anthropic.com@elsewhere.example'",
        "model: openai/gpt-5",
        "model: gpt-5",
    ],
)
def test_a_subscription_goes_nowhere_else(tmp_path, params):
    assert not lends(tmp_path, ("own", params))


def test_one_deployment_elsewhere_is_enough_to_keep_it(tmp_path):
    assert not lends(tmp_path, ("own", ANTHROPIC), ("own", ELSEWHERE))
    assert lends(tmp_path, ("own", ANTHROPIC), ("other", ELSEWHERE))


@pytest.mark.parametrize("section", ["litellm_settings", "router_settings"])
@pytest.mark.parametrize("name", ["fallbacks", "context_window_fallbacks"])
def test_a_fallback_to_elsewhere_keeps_it(tmp_path, section, name):
    more = f"{section}: {{{name}: [{{own: [other]}}]}}"
    assert not lends(tmp_path, ("own", ANTHROPIC), ("other", ELSEWHERE), more=more)
    assert lends(tmp_path, ("own", ANTHROPIC), ("other", ANTHROPIC), more=more)


def test_an_address_of_the_environment_counts(tmp_path, monkeypatch):
    base = "https://elsewhere.example"
    assert not lends(tmp_path, ("own", ANTHROPIC), environ={"ANTHROPIC_API_BASE": base})
    monkeypatch.setenv("ANTHROPIC_BASE_URL", base)
    assert not lends(tmp_path, ("own", ANTHROPIC))


def test_it_is_lent_only_where_the_hook_is_on_and_the_label_is_known(tmp_path):
    assert not lends(tmp_path, ("own", ANTHROPIC), ours="ccproxy: {hooks: []}")
    assert not lends(tmp_path, ("other", ANTHROPIC))

"""What an answer costs here and by LiteLLM's own reckoning, from the provider's own JSON.

LiteLLM runs once, in a process of its own, and prices every answer below for every model that the
direct lane may reach.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import orjson
import pytest

from ccproxyd.gateway.prices import load_prices
from ccproxyd.gateway.usage import usage_of_json
from ccproxyd.telemetry.prices import PriceList

Answer = dict[str, Any]

CACHED = {
    "input_tokens": 1000,
    "output_tokens": 500,
    "cache_read_input_tokens": 3000,
    "cache_creation_input_tokens": 200,
    "service_tier": "standard",
    "inference_geo": "not_available",
}
KEPT = {"cache_creation": {"ephemeral_5m_input_tokens": 150, "ephemeral_1h_input_tokens": 50}}
LONG = {"cache_read_input_tokens": 280_000}
SEARCHED = {"server_tool_use": {"web_search_requests": 3}}
COMPACTED = [
    {"type": "compaction", **CACHED, "input_tokens": 5000},
    {"type": "message", **CACHED, **KEPT},
]
ANTHROPIC = {
    "plain": {"input_tokens": 1000, "output_tokens": 500},
    "cached": CACHED,
    "kept": {**CACHED, **KEPT},
    "beyond 100k": {**CACHED, **KEPT, "cache_read_input_tokens": 110_000},
    "beyond 200k": {**CACHED, **KEPT, "input_tokens": 210_000},
    "beyond 272k": {**CACHED, **KEPT, **LONG},
    "searched": {**CACHED, **SEARCHED},
    "priority": {**CACHED, **LONG, "service_tier": "priority"},
    "batch": {**CACHED, "service_tier": "batch"},
    "in the US": {**CACHED, **KEPT, "inference_geo": "us"},
    "elsewhere": {**CACHED, "inference_geo": "eu"},
    "fast": {**CACHED, "speed": "fast"},
    "all of it": {**CACHED, **KEPT, **LONG, **SEARCHED, "inference_geo": "US", "speed": "fast"},
    "compacted": {**CACHED, **KEPT, "iterations": COMPACTED},
    "thought": {**CACHED, "output_tokens_details": {"thinking_tokens": 300}},
}

CHAT = {
    "prompt_tokens": 5000,
    "completion_tokens": 700,
    "total_tokens": 5700,
    "prompt_tokens_details": {"cached_tokens": 3000, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 300, "audio_tokens": 0},
}
SPOKEN = {
    "prompt_tokens_details": {"cached_tokens": 500, "text_tokens": 4000, "audio_tokens": 1000},
    "completion_tokens_details": {"text_tokens": 300, "audio_tokens": 400},
}
WRITTEN = {"prompt_tokens_details": {"cached_tokens": 3000, "cache_write_tokens": 500}}
LONG_CHAT = {"prompt_tokens": 300_000, "total_tokens": 300_700}
TIERS = ("default", "flex", "priority", "fast", "balanced", "ultrafast", "scale")
OPENAI = {
    "plain": {"prompt_tokens": 5000, "completion_tokens": 700, "total_tokens": 5700},
    "cached": CHAT,
    "written": {**CHAT, **WRITTEN},
    "spoken": {**CHAT, **SPOKEN},
    "beyond 128k": {**CHAT, "prompt_tokens": 130_000},
    "beyond 200k": {**CHAT, "prompt_tokens": 210_000},
    "beyond 272k": {**CHAT, **WRITTEN, **LONG_CHAT},
}

DEPLOYMENTS = {
    "both rates": {"input_cost_per_token": 1e-3, "output_cost_per_token": 2e-3},
    "texts": {"input_cost_per_token": "1e-3", "output_cost_per_token": "2e-3"},
    "only input": {"input_cost_per_token": 1e-3},
    "only output": {"output_cost_per_token": 2e-3},
    "free": {"input_cost_per_token": 0, "output_cost_per_token": 0},
    "its own cache": {
        "input_cost_per_token": 1e-3,
        "output_cost_per_token": 2e-3,
        "cache_read_input_token_cost": 1e-4,
        "cache_creation_input_token_cost": 2e-4,
    },
    "reasoning": {
        "input_cost_per_token": 1e-3,
        "output_cost_per_token": 2e-3,
        "output_cost_per_reasoning_token": 3e-3,
    },
    "its own tiers": {
        "input_cost_per_token": 1e-3,
        "input_cost_per_token_flex": 1e-4,
        "output_cost_per_token": 2e-3,
        "output_cost_per_token_above_200k_tokens": 4e-3,
    },
}
"""`litellm_params` of a deployment with rates of its own."""

SCRIPT = """
import json, logging, sys
import litellm

asked = json.load(sys.stdin)
logging.disable(logging.CRITICAL)


def cost(provider, model, answer, **more):
    response = {"model": model, **answer}
    name = f"{provider}/{model}"
    return litellm.completion_cost(response, name, custom_llm_provider=provider, **more)


def attempt(*arguments, **more):
    try:
        return cost(*arguments, **more)
    except Exception:
        return None


models = [
    (entry["litellm_provider"], name)
    for name, entry in litellm.model_cost.items()
    if entry.get("litellm_provider") in ("anthropic", "openai")
    and entry.get("mode") in ("chat", "responses", "completion")
]
public = [
    [provider, model, [cost(provider, model, one) for one in asked["answers"][provider]]]
    for provider, model in models
]
named = [
    attempt(provider, model, asked["answers"][provider][0]) for provider, model in asked["named"]
]
custom = []
for provider, model, params in asked["deployments"]:
    params = {"model": f"{provider}/{model}", "api_key": "none", **params}
    router = litellm.Router(model_list=[{"model_name": "label", "litellm_params": params}])
    [found] = router.get_model_ids()
    priced = [
        cost(provider, model, one, custom_pricing=True, router_model_id=found)
        for one in asked["answers"][provider]
    ]
    custom.append(priced)
regional = [
    [cost("openai", model, one, data_residency="eu") for one in asked["answers"]["openai"]]
    for provider, model in models
    if provider == "openai"
]
print(json.dumps({"public": public, "named": named, "custom": custom, "regional": regional}))
"""

ANSWERS: dict[str, list[Answer]] = {
    "anthropic": [{"usage": usage} for usage in ANTHROPIC.values()],
    "openai": [
        *({"usage": usage} for usage in OPENAI.values()),
        *(
            {"usage": usage, "service_tier": tier}
            for tier in TIERS
            for usage in (CHAT, OPENAI["beyond 272k"], OPENAI["spoken"])
        ),
    ],
}
NAMED = [
    ("anthropic", "claude-opus-4-8"),
    ("anthropic", "Claude-Opus-4-8"),
    ("anthropic", "anthropic/claude-opus-4-8"),
    ("openai", "gpt-4o-2031-01-31"),
    ("openai", "openai/gpt-4o"),
    ("openai", "ft:gpt-4o-2024-08-06:us::id"),
    ("openai", "claude-opus-4-8"),
    ("openai", "nobody-knows"),
]
MODELS = [
    ("anthropic", "claude-opus-4-8"),
    ("anthropic", "claude-haiku-5-5"),
    ("anthropic", "nobody-knows"),
    ("openai", "gpt-5.5"),
    ("openai", "gpt-4o"),
    ("openai", "nobody-knows"),
]
CUSTOM = [(*model, params) for model in MODELS for params in DEPLOYMENTS.values()]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What LiteLLM says."""
    home = tmp_path_factory.mktemp("litellm")
    asked = {"answers": ANSWERS, "named": NAMED, "deployments": CUSTOM}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=orjson.dumps(asked),
        stdout=subprocess.PIPE,
        env={"LITELLM_LOCAL_MODEL_COST_MAP": "True", "HOME": str(home), "TMPDIR": str(home)},
        cwd=home,
        check=True,
    )
    found: dict[str, Any] = orjson.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def prices() -> PriceList:
    return load_prices()


def ours(prices: PriceList, provider: str, model: str, **more: Any) -> list[float | None]:
    tariff = prices.tariff(provider, model, **more)
    return [
        tariff.cost(usage_of_json(orjson.dumps({"model": model, **answer})))
        for answer in ANSWERS[provider]
    ]


def test_every_answer_of_every_model_costs_what_litellm_says(
    prices: PriceList, theirs: dict[str, Any]
) -> None:
    assert len(theirs["public"]) > 50
    for provider, model, costs in theirs["public"]:
        assert ours(prices, provider, model) == pytest.approx(costs, rel=1e-9), model


def test_a_region_of_openai_costs_what_litellm_says(
    prices: PriceList, theirs: dict[str, Any]
) -> None:
    models = [model for provider, model, _ in theirs["public"] if provider == "openai"]
    for model, costs in zip(models, theirs["regional"], strict=True):
        found = ours(prices, "openai", model, api_base="https://eu.api.openai.com/v1")
        assert found == pytest.approx(costs, rel=1e-9), model


def test_a_name_is_found_as_litellm_finds_it(prices: PriceList, theirs: dict[str, Any]) -> None:
    found = [ours(prices, *named)[0] for named in NAMED]
    assert found[-2:] == [None, None]
    assert found[:-2] == pytest.approx(theirs["named"][:-2], rel=1e-9)
    assert theirs["named"][-2:] == [None, None]


def test_a_deployment_with_rates_of_its_own_costs_what_litellm_says(
    prices: PriceList, theirs: dict[str, Any]
) -> None:
    for (provider, model, params), costs in zip(CUSTOM, theirs["custom"], strict=True):
        found = ours(prices, provider, model, params=params)
        assert found == pytest.approx(costs, rel=1e-9), (model, params)

"""The reckoning, with round figures. tests/integration/test_costs.py compares it to LiteLLM's."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from ccproxyd.errors import CcproxydError
from ccproxyd.telemetry.prices import NO_PRICE, Price, PriceList
from ccproxyd.telemetry.usage import Usage

OPUS = {
    "litellm_provider": "anthropic",
    "mode": "chat",
    "max_tokens": 1000,
    "input_cost_per_token": 10,
    "output_cost_per_token": 50,
    "cache_read_input_token_cost": 1,
    "cache_creation_input_token_cost": 12,
    "cache_creation_input_token_cost_above_1hr": 20,
    "input_cost_per_token_batches": 5,
    "search_context_cost_per_query": {"search_context_size_medium": 7},
    "provider_specific_entry": {"us": 1.5, "fast": 2},
}
GPT = {
    "litellm_provider": "openai",
    "mode": "chat",
    "input_cost_per_token": 10,
    "output_cost_per_token": 50,
    "cache_read_input_token_cost": 1,
    "input_cost_per_token_flex": 5,
    "output_cost_per_token_flex": 25,
    "input_cost_per_token_priority": 20,
    "output_cost_per_token_priority": 100,
    "input_cost_per_token_above_128k_tokens": 11,
    "input_cost_per_token_above_272k_tokens": 13,
    "output_cost_per_token_above_272k_tokens": 60,
    "cache_read_input_token_cost_above_272k_tokens": 2,
    "input_cost_per_token_above_272k_tokens_flex": 6,
    "regional_processing_uplift_multiplier_eu": 1.5,
}
FILE: dict[str, Any] = {
    "sample_spec": {"litellm_provider": "one of them", "mode": "chat"},
    "opus": OPUS,
    "opus-20260131": {**OPUS, "input_cost_per_token": 100},
    "gpt": GPT,
    "openai/prefixed": GPT,
    "ft:gpt": {**GPT, "input_cost_per_token": 30},
    "gemini": {**GPT, "litellm_provider": "vertex_ai"},
    "picture": {**GPT, "mode": "image_generation"},
    "fallback_generalizations": {"rules": [{"model_info": {"litellm_provider": "anthropic"}}]},
}

ONE_EACH = Usage(
    input_tokens=4,
    output_tokens=1,
    cache_read_tokens=1,
    cache_write_tokens=3,
    cache_write_1h_tokens=1,
)
"""One fresh token, two written for minutes and one for an hour, one read, one in the answer."""


@pytest.fixture(scope="module")
def prices() -> PriceList:
    return PriceList.parse(orjson.dumps(FILE))


@pytest.fixture
def opus(prices: PriceList) -> Price:
    return found(prices, "opus", "anthropic")


@pytest.fixture
def gpt(prices: PriceList) -> Price:
    return found(prices, "gpt", "openai")


def found(prices: PriceList, model: str, provider: str) -> Price:
    price = prices.find(model, provider)
    assert price is not None
    return price


# -- the file


def test_of_the_file_only_what_answers_can_meet_is_kept(opus: Price) -> None:
    assert set(opus.rates) == {
        "input_cost_per_token",
        "output_cost_per_token",
        "cache_read_input_token_cost",
        "cache_creation_input_token_cost",
        "cache_creation_input_token_cost_above_1hr",
    }


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("nobody-knows", "anthropic"),
        ("opus", "openai"),
        ("gemini", "vertex_ai"),
        ("picture", "openai"),
        ("sample_spec", "one of them"),
        ("fallback_generalizations", "anthropic"),
    ],
)
def test_other_models_have_no_price(prices: PriceList, model: str, provider: str) -> None:
    assert prices.find(model, provider) is None


@pytest.mark.parametrize(
    ("name", "provider", "meant"),
    [
        ("Opus", "anthropic", "opus"),
        ("anthropic/opus", "anthropic", "opus"),
        ("opus-20260131", "anthropic", "opus-20260131"),
        ("gpt-2031-01-31", "openai", "gpt"),
        ("prefixed", "openai", "openai/prefixed"),
        ("openai/prefixed", "openai", "openai/prefixed"),
        ("ft:gpt:us:name:id", "openai", "ft:gpt"),
        ("ft:gpt:us::id", "openai", "ft:gpt"),
    ],
)
def test_a_model_is_found_by_any_of_its_names(
    prices: PriceList, name: str, provider: str, meant: str
) -> None:
    rate = found(prices, name, provider).rates["input_cost_per_token"]
    assert rate == FILE[meant]["input_cost_per_token"]


def test_a_date_without_dashes_is_part_of_the_name(prices: PriceList) -> None:
    assert prices.find("opus-20991231", "anthropic") is None


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b'"text"'])
def test_what_is_no_price_file_is_refused(raw: bytes) -> None:
    with pytest.raises(CcproxydError, match="cannot read LiteLLM's prices: "):
        PriceList.parse(raw)


def test_an_entry_with_nonsense_in_it_is_read_as_far_as_it_goes() -> None:
    odd = {
        **GPT,
        "input_cost_per_token": True,
        "output_cost_per_token": "2.5",
        "cache_read_input_token_cost": "a tenth",
        "search_context_cost_per_query": 3,
        "provider_specific_entry": None,
    }
    price = found(PriceList.parse(orjson.dumps({"odd": odd, "text": "x"})), "odd", "openai")
    assert price.cost(Usage(input_tokens=1, output_tokens=2, cache_read_tokens=1)) == 5


# -- what is counted


def test_each_kind_of_token_has_its_rate(opus: Price) -> None:
    assert opus.cost(ONE_EACH) == 10 + 2 * 12 + 20 + 1 + 50


def test_without_rates_for_a_cache_its_tokens_pay_as_any_input() -> None:
    plain = Price({"input_cost_per_token": 10.0})
    assert plain.cost(ONE_EACH) == 5 * 10


def test_an_hour_in_the_cache_pays_as_minutes_where_nothing_else_is_said() -> None:
    price = Price({"input_cost_per_token": 10.0, "cache_creation_input_token_cost": 12.0})
    assert price.cost(ONE_EACH) == 10 + 3 * 12 + 10


def test_speech_has_rates_of_its_own() -> None:
    price = NO_PRICE.with_overrides(
        {
            "input_cost_per_token": 1,
            "output_cost_per_token": 2,
            "input_cost_per_audio_token": 10,
            "output_cost_per_audio_token": 20,
        }
    )
    spoken = Usage(input_tokens=5, output_tokens=5, audio_input_tokens=2, audio_output_tokens=3)
    assert price.cost(spoken) == 3 * 1 + 2 * 10 + 2 * 2 + 3 * 20


def test_speech_without_rates_pays_as_text(gpt: Price) -> None:
    text = Usage(input_tokens=5, output_tokens=5)
    spoken = Usage(input_tokens=5, output_tokens=5, audio_input_tokens=2, audio_output_tokens=3)
    assert gpt.cost(spoken) == gpt.cost(text)


def test_reasoning_is_output_unless_it_has_a_rate(gpt: Price) -> None:
    thought = Usage(output_tokens=5, reasoning_tokens=3)
    dear = Price({**gpt.rates, "output_cost_per_reasoning_token": 70.0})
    assert gpt.cost(thought) == 5 * 50
    assert dear.cost(thought) == 2 * 50 + 3 * 70


def test_reasoning_in_a_tier_pays_the_tiers_rate(gpt: Price) -> None:
    thought = Usage(output_tokens=5, reasoning_tokens=3, service_tier="flex")
    dear = Price({**gpt.rates, "output_cost_per_reasoning_token": 70.0})
    own = Price({**dear.rates, "output_cost_per_reasoning_token_flex": 30.0})
    assert dear.cost(thought) == 5 * 25
    assert own.cost(thought) == 2 * 25 + 3 * 30


def test_figures_that_contradict_each_other_cost_nothing_less_than_nothing(gpt: Price) -> None:
    odd = Usage(input_tokens=1, output_tokens=1, cache_write_tokens=5, reasoning_tokens=9)
    assert gpt.cost(odd) > 0


def test_each_search_costs(opus: Price) -> None:
    searched = Usage(output_tokens=1, web_searches=3)
    assert opus.cost(searched) == 50 + 3 * 7


# -- long prompts


@pytest.mark.parametrize(
    ("tokens", "rate"),
    [(128_000, 10), (128_001, 11), (272_000, 11), (272_001, 13)],
)
def test_a_long_prompt_costs_more_as_a_whole(gpt: Price, tokens: int, rate: int) -> None:
    assert gpt.cost(Usage(input_tokens=tokens)) == tokens * rate


def test_what_a_cache_had_makes_a_prompt_long_too(gpt: Price) -> None:
    usage = Usage(input_tokens=1, output_tokens=1, cache_read_tokens=272_000)
    assert gpt.cost(usage) == 13 + 60 + 2 * 272_000


# -- tiers


@pytest.mark.parametrize(
    ("served", "asked", "rate"),
    [
        (None, None, 10),
        ("default", None, 10),
        ("standard", None, 10),
        ("flex", None, 5),
        ("Priority", None, 20),
        ("fast", None, 20),
        ("balanced", None, 10),
        (None, "flex", 5),
        ("default", "flex", 10),
        ("flex", "priority", 5),
        ("scale", "flex", 5),
        (None, "auto", 10),
    ],
)
def test_the_tier_is_the_served_one_and_else_the_one_asked_for(
    gpt: Price, served: str | None, asked: str | None, rate: int
) -> None:
    usage = Usage(input_tokens=1, service_tier=served)
    assert gpt.cost(usage, service_tier=asked) == rate


def test_a_long_prompt_goes_before_a_tier(gpt: Price) -> None:
    """Only `flex` has rates of its own for them."""
    long = 300_000
    flex = Usage(input_tokens=long, service_tier="flex")
    priority = Usage(input_tokens=long, service_tier="priority")
    assert (gpt.cost(flex), gpt.cost(priority)) == (6 * long, 13 * long)


# -- places and speed


def test_a_place_multiplies_what_tokens_cost_but_not_searches(opus: Price) -> None:
    usage = Usage(output_tokens=2, web_searches=1, inference_geo="US")
    assert opus.cost(usage) == 100 * 1.5 + 7


@pytest.mark.parametrize("place", ["global", "not_available", "mars"])
def test_any_other_place_costs_the_same(opus: Price, place: str) -> None:
    assert opus.cost(Usage(output_tokens=2, inference_geo=place)) == 100


def test_speed_is_the_served_one_and_else_the_one_asked_for(opus: Price) -> None:
    assert opus.cost(Usage(output_tokens=2, speed="fast")) == 200
    assert opus.cost(Usage(output_tokens=2), speed="fast") == 200
    assert opus.cost(Usage(output_tokens=2, speed="standard"), speed="fast") == 100


# -- rates of a deployment


def test_rates_of_a_deployment_go_before_the_public_ones(gpt: Price) -> None:
    own = gpt.with_overrides({"input_cost_per_token": 1, "output_cost_per_token": "2e0"})
    assert own.cost(Usage(input_tokens=1, output_tokens=1)) == 3


def test_with_an_input_rate_the_public_cache_rates_stay(opus: Price) -> None:
    own = opus.with_overrides({"input_cost_per_token": 1000})
    assert own.cost(ONE_EACH) == 1000 + 2 * 12 + 20 + 1


def test_without_an_input_rate_input_is_free(opus: Price) -> None:
    own = opus.with_overrides({"output_cost_per_token": 1000})
    assert own.cost(ONE_EACH) == 1000


def test_the_public_tiers_stay_but_long_prompts_and_regions_do_not(gpt: Price) -> None:
    own = gpt.with_overrides({"input_cost_per_token": 1})
    long = Usage(input_tokens=200_000)
    assert own.cost(Usage(input_tokens=1, service_tier="flex")) == 5
    assert own.cost(long, region="eu") == 200_000


def test_searches_and_places_do_not_outlive_rates_of_a_deployment(opus: Price) -> None:
    own = opus.with_overrides({"output_cost_per_token": 3})
    assert own.cost(Usage(output_tokens=1, web_searches=5, inference_geo="us")) == 3


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"model": "opus"},
        {"input_cost_per_token": None},
        {"input_cost_per_token": "cheap"},
        {"cache_read_input_token_cost": 3},
    ],
)
def test_without_a_rate_for_input_or_output_the_public_price_holds(
    opus: Price, params: dict[str, Any]
) -> None:
    assert opus.with_overrides(params) is opus


# -- tariffs


def test_an_answer_is_priced_by_the_model_that_it_names(prices: PriceList) -> None:
    tariff = prices.tariff("anthropic", "opus")
    assert tariff.cost(Usage(input_tokens=1, model="opus-20260131")) == 100


@pytest.mark.parametrize("named", [None, "", "nobody-knows"])
def test_and_else_by_the_one_that_was_asked_for(prices: PriceList, named: str | None) -> None:
    tariff = prices.tariff("anthropic", "opus")
    assert tariff.cost(Usage(input_tokens=1, model=named)) == 10


def test_a_model_that_nobody_knows_has_no_cost(prices: PriceList) -> None:
    tariff = prices.tariff("openai", "my-own")
    assert tariff.cost(Usage(input_tokens=1, model="my-own")) is None


def test_an_answer_without_usage_has_no_cost(prices: PriceList) -> None:
    assert prices.tariff("anthropic", "opus").cost(Usage(model="opus")) is None


def test_a_deployments_own_rates_hold_whoever_answers(prices: PriceList) -> None:
    params = {"input_cost_per_token": 3, "output_cost_per_token": None}
    for provider, model in [("anthropic", "opus"), ("hosted_vllm", "org/name")]:
        tariff = prices.tariff(provider, model, params=params)
        assert tariff.cost(Usage(input_tokens=1, model="opus-20260131")) == 3


def test_rates_may_stand_in_model_info_and_those_of_litellm_params_go_first(
    prices: PriceList,
) -> None:
    info = {"input_cost_per_token": 3, "output_cost_per_token": 4}
    params = {"input_cost_per_token": 5, "output_cost_per_token": None}
    tariff = prices.tariff("openai", "gpt", params=params, info=info)
    assert tariff.cost(Usage(input_tokens=1, output_tokens=1)) == 5 + 4


def test_a_base_model_goes_before_the_one_that_answers(prices: PriceList) -> None:
    usage = Usage(input_tokens=1, model="gpt")
    based = prices.tariff("openai", "my-own", info={"base_model": "ft:gpt"})
    lost = prices.tariff("openai", "my-own", info={"base_model": "nobody-knows"})
    assert (based.cost(usage), lost.cost(usage)) == (30, 10)


@pytest.mark.parametrize(
    ("provider", "base", "factor"),
    [
        ("openai", "https://eu.api.openai.com/v1", 1.5),
        ("openai", "https://us.api.openai.com/v1", 1),
        ("openai", "https://api.openai.com/v1", 1),
        ("openai", "no address", 1),
        ("openai", None, 1),
        ("anthropic", "https://us.api.openai.com/v1", 1),
    ],
)
def test_an_address_in_a_region_may_cost_more(
    prices: PriceList, provider: str, base: str | None, factor: float
) -> None:
    model = "gpt" if provider == "openai" else "opus"
    tariff = prices.tariff(provider, model, api_base=base)
    assert tariff.cost(Usage(output_tokens=1)) == 50 * factor


def test_a_tariff_passes_on_what_was_asked_for(prices: PriceList) -> None:
    assert prices.tariff("openai", "gpt").cost(Usage(input_tokens=1), service_tier="flex") == 5
    assert prices.tariff("anthropic", "opus").cost(Usage(input_tokens=1), speed="fast") == 20


def test_what_is_no_conversation_is_known_by_its_mode() -> None:
    file = {
        "picture": {**GPT, "mode": "image_generation"},
        "azure/Embed-3": {"litellm_provider": "azure", "mode": "embedding"},
        "odd": {"litellm_provider": "azure", "mode": ["chat"]},
        "gpt": GPT,
    }
    prices = PriceList.parse(orjson.dumps(file))
    assert prices.mode("openai/picture", "openai") == "image_generation"
    assert prices.mode("Picture", "openai") == "image_generation"
    assert prices.mode("azure/embed-3", "azure") == "embedding"
    assert prices.mode("gpt", "openai") is None
    assert prices.mode("odd", "azure") is None
    assert prices.mode("unknown", "openai") is None


def test_an_answer_can_be_priced_as_if_another_model_had_given_it(prices: PriceList) -> None:
    """A tariff goes by the model that the answer names, unless it is told not to."""
    usage = Usage(input_tokens=1, model="opus-20260131")
    tariff = prices.tariff("anthropic", "opus")
    own = tariff.of_its_own_model()
    assert own is not None
    assert (tariff.cost(usage), own.cost(usage)) == (100, 10)
    assert own.of_its_own_model() == own
    assert prices.tariff("anthropic", "unheard-of").of_its_own_model() is None

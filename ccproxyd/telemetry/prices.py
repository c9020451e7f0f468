"""What an answer costs, by LiteLLM's own price file and its own reckoning.

LiteLLM brings a JSON file of thousands of models. Of it we keep those whose answers can come
without LiteLLM's help, and of them the rates that such an answer can meet. A rate's name says all:
what is counted, then for which prompts (`_above_200k_tokens`: longer than that, and then for the
whole request), then for which service tier (`_priority`). Where a name is missing the next simpler
one holds: a tier without a rate pays the usual one, tokens in a cache pay as other input.

Of the others it is kept what they are for, where that is no conversation: an embedding has no price
here, but a rule may have a label for it.

LiteLLM prices an answer by the model that the answer names, and where it does not know that one, by
the deployment's. Rates of a deployment's own go before both. They bring the public rates for the
cache and for service tiers along, but not those for long prompts, searches and regions.

We differ twice. A price that nobody knows is None here, and 0 there. And where an answer splits
what it wrote to the cache into minutes and an hour, and later says that it was more in all, LiteLLM
forgets the rest, which here pays for minutes.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import evolve, field, frozen

from ccproxyd.errors import CcproxydError
from ccproxyd.telemetry.usage import Usage

PRICED: Final = ("anthropic", "openai")
"""The providers whose public prices are known here."""
_MODES: Final = frozenset({"chat", "responses", "completion"})

_RATE: Final = re.compile(
    r"(?:(?:in|out)put_cost_per_token|(?:in|out)put_cost_per_audio_token"
    r"|output_cost_per_reasoning_token|cache_read_input_token_cost"
    r"|cache_creation_input_token_cost(?:_above_1hr)?)"
    r"(?:_above_(?P<threshold>\d+k?)_tokens)?"
    r"(?:_(?P<tier>flex|balanced|priority|ultrafast))?"
)
_INHERITED: Final = frozenset(
    "cache_creation_input_token_cost cache_creation_input_token_cost_above_1hr "
    "cache_creation_input_token_cost_above_200k_tokens cache_read_input_token_cost "
    "cache_read_input_token_cost_above_200k_tokens".split()
)
"""What a deployment with an input rate of its own keeps of the model's public price."""
_TIERS: Final[Mapping[str, str]] = {
    "flex": "_flex",
    "balanced": "_balanced",
    "priority": "_priority",
    "fast": "_priority",
    "ultrafast": "_ultrafast",
}
_USUAL_TIERS: Final = frozenset({"default", "standard"})
_REGIONS: Final[Mapping[str, str]] = {"eu.api.openai.com": "eu", "us.api.openai.com": "us"}
_UPLIFT: Final = "regional_processing_uplift_multiplier_"

_DATE: Final = re.compile(r"-\d{4}-\d{2}-\d{2}$")
_FINE_TUNER: Final = re.compile(r"(:[^:]*){3}$")
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})

Endings = tuple[str, ...]


@frozen
class Price:
    """The rates of a model, in USD; `NO_PRICE` has none.

    >>> price = NO_PRICE.with_overrides({"input_cost_per_token": 0.25, "output_cost_per_token": 1})
    >>> price.cost(Usage(input_tokens=4, output_tokens=2))
    3.0
    """

    rates: Mapping[str, float] = _NOTHING
    """By LiteLLM's names."""
    multipliers: Mapping[str, float] = _NOTHING
    """Of all tokens: by region, and for `fast`."""
    web_search: float = 0.0
    """For each."""

    def with_overrides(self, params: Mapping[str, Any]) -> Price:
        """The price of a deployment with these `litellm_params` (or `model_info`).

        It is this price itself unless they set a rate for input or output.
        """
        own = _price_in(params)
        if not any("_cost_per_" in name for name in own.rates):
            return self
        kept = {name: rate for name, rate in self.rates.items() if _is_kept(name, own.rates)}
        return Price({**kept, **own.rates}, own.multipliers, own.web_search)

    def cost(
        self,
        usage: Usage,
        *,
        service_tier: str | None = None,
        speed: str | None = None,
        region: str | None = None,
    ) -> float:
        """What the answer costs, in USD.

        Args:
            service_tier, speed: what the request asked for, which holds where the answer is silent.
            region: that of the provider's address, if the address has one.
        """
        tier = _tier(usage.service_tier, service_tier)
        endings = self._endings(usage.prompt_tokens, tier)
        tokens = self._input_cost(usage, endings) + self._output_cost(usage, endings, tier)
        searches = (usage.web_searches or 0) * self.web_search
        return tokens * self._multiplier(usage, speed, region) + searches

    def _input_cost(self, usage: Usage, endings: Endings) -> float:
        rate = self._rate("input_cost_per_token", endings, 0.0)
        audio = self._rate("input_cost_per_audio_token", endings, rate)
        read = self._rate("cache_read_input_token_cost", endings, rate)
        write = self._rate("cache_creation_input_token_cost", endings, rate)
        write_1h = self._rate("cache_creation_input_token_cost_above_1hr", endings, write)

        written, written_1h = usage.cache_write_tokens or 0, usage.cache_write_1h_tokens or 0
        fresh = max(0, (usage.input_tokens or 0) - written)
        heard = min(usage.audio_input_tokens or 0, fresh)
        return (
            (fresh - heard) * rate
            + heard * audio
            + (usage.cache_read_tokens or 0) * read
            + max(0, written - written_1h) * write
            + written_1h * write_1h
        )

    def _output_cost(self, usage: Usage, endings: Endings, tier: str) -> float:
        rate = self._rate("output_cost_per_token", endings, 0.0)
        audio = self._rate("output_cost_per_audio_token", endings, rate)
        spoken, reasoned = usage.audio_output_tokens or 0, usage.reasoning_tokens or 0
        written = max(0, (usage.output_tokens or 0) - spoken - reasoned)
        return written * rate + spoken * audio + reasoned * self._reasoning_rate(rate, tier)

    def _reasoning_rate(self, output_rate: float, tier: str) -> float:
        """A tier's rate for all output goes before the usual rate for reasoning."""
        name = "output_cost_per_reasoning_token"
        if name + tier not in self.rates and tier and "output_cost_per_token" + tier in self.rates:
            return output_rate
        return self._rate(name, (tier, ""), output_rate)

    def _rate(self, name: str, endings: Endings, default: float) -> float:
        for ending in endings:
            if (rate := self.rates.get(name + ending)) is not None:
                return rate
        return default

    def _endings(self, prompt_tokens: int, tier: str) -> Endings:
        """What a rate's name may end in, the most special first: the first that is there holds."""
        lengths = [
            f"_above_{name}_tokens" for name, tokens in self._thresholds if prompt_tokens > tokens
        ]
        ends = (tier, "") if tier else ("",)
        return tuple(length + end for length in (*lengths, "") for end in ends)

    @cached_property
    def _thresholds(self) -> tuple[tuple[str, int], ...]:
        """The lengths of prompts from which there are other rates, the longest first."""
        named = (_RATE.fullmatch(name) for name in self.rates)
        found = {match["threshold"] for match in named if match and match["threshold"]}
        return tuple(sorted(((one, _tokens(one)) for one in found), key=lambda one: -one[1]))

    def _multiplier(self, usage: Usage, speed: str | None, region: str | None) -> float:
        factor = self.multipliers.get("fast", 1.0) if (usage.speed or speed) == "fast" else 1.0
        place = (usage.inference_geo or region or "").lower()
        return factor * self.multipliers.get(place, 1.0)


NO_PRICE: Final = Price()


@frozen
class Tariff:
    """What the answers of one deployment cost."""

    prices: PriceList = field(repr=False)
    provider: str
    model: str
    own: Price | None = None
    """It holds whichever model answered."""
    region: str | None = None

    def cost(
        self, usage: Usage, *, service_tier: str | None = None, speed: str | None = None
    ) -> float | None:
        """In USD; None where the price or the usage is unknown. See `Price.cost`."""
        price = self.own or self._price_of(usage.model) or self._price_of(self.model)
        if price is None or not usage.counts_tokens:
            return None
        return price.cost(usage, service_tier=service_tier, speed=speed, region=self.region)

    def of_its_own_model(self) -> Tariff | None:
        """What an answer costs if this model gave it, whatever it says; None if nobody knows."""
        price = self.own or self._price_of(self.model)
        return evolve(self, own=price) if price else None

    def _price_of(self, model: str | None) -> Price | None:
        return self.prices.find(model, self.provider) if model else None


@frozen
class PriceList:
    """The prices of all models that are priced here."""

    _prices: Mapping[tuple[str, str], Price] = field(repr=False)
    """By provider and model, in small letters."""
    _modes: Mapping[str, str] = field(factory=dict, repr=False)
    """What the models are for that are not priced here, by their names in the file."""

    @classmethod
    def parse(cls, raw: bytes) -> PriceList:
        """LiteLLM's `model_prices_and_context_window` file.

        The file is large and nearly all of it is dropped: entry by entry while it is parsed, so
        that at no time there is more of it than one.

        Raises:
            CcproxydError: this is no such file.
        """
        try:
            models = json.loads(raw, object_hook=_kept)
        except ValueError as error:
            raise CcproxydError(f"cannot read LiteLLM's prices: {error}") from None
        if not isinstance(models, dict):
            raise CcproxydError("cannot read LiteLLM's prices: they are not an object")
        entries = {name: one for name, one in models.items() if isinstance(one, _Entry)}
        return cls(
            {(one.provider, name.lower()): one.price for name, one in entries.items()},
            {name.lower(): one for name, one in models.items() if isinstance(one, str)},
        )

    def find(self, model: str, provider: str) -> Price | None:
        """The public price of a model, whose name may have its provider's before it.

        LiteLLM's order: the name as it is, then without the date of a version (`-2026-01-31`), or
        for a fine-tuned model without whose it is. Anthropic's dates (`-20260131`) stay.
        """
        bare = model.lower().removeprefix(f"{provider}/")
        for name in (bare, _simpler(bare)):
            for key in (f"{provider}/{name}", name):
                if found := self._prices.get((provider, key)):
                    return found
        return None

    def mode(self, model: str, provider: str) -> str | None:
        """What a model is for (`embedding`, `rerank`), None if it is for conversations or unknown.

        The file's names have their provider's before them, or not.
        """
        bare = model.lower().removeprefix(f"{provider}/")
        return self._modes.get(f"{provider}/{bare}") or self._modes.get(bare)

    def tariff(
        self,
        provider: str,
        model: str,
        *,
        params: Mapping[str, Any] = _NOTHING,
        info: Mapping[str, Any] = _NOTHING,
        api_base: str | None = None,
    ) -> Tariff:
        """The prices of a deployment.

        Args:
            provider: `anthropic`, `openai`; others have no public price here.
            model: what the provider is asked for.
            params: its `litellm_params`, which may set rates.
            info: its `model_info`, which may set rates, or the `base_model` to price it by.
            api_base: OpenAI's addresses for a region have a surcharge.
        """
        base = info.get("base_model")
        fixed = self.find(base, provider) if base else None
        public = fixed or self.find(model, provider) or NO_PRICE
        own = public.with_overrides({**info, **_set(params)})
        return Tariff(
            prices=self,
            provider=provider,
            model=model,
            own=fixed if own is public else own,
            region=_region(provider, api_base),
        )


@frozen
class _Entry:
    """A model of the file."""

    provider: str
    price: Price


def _kept(found: dict[str, Any]) -> Any:
    """Of a model that is priced here, its price; of another its mode; what is no model stays."""
    if "litellm_provider" not in found:
        return found
    provider, mode = found["litellm_provider"], found.get("mode")
    if not isinstance(mode, str):
        return None
    if mode not in _MODES:
        return sys.intern(mode)
    if provider not in PRICED:
        return None
    return _Entry(sys.intern(provider), _price_in(found))


def _price_in(entry: Mapping[str, Any]) -> Price:
    """What an entry of the file, or a deployment, says of prices."""
    rates = {sys.intern(name): value for name, value in entry.items() if _RATE.fullmatch(name)}
    search = _mapping(entry, "search_context_cost_per_query").get("search_context_size_medium")
    return Price(_numbers(rates), _numbers(_multipliers(entry)), _number(search) or 0.0)


def _multipliers(entry: Mapping[str, Any]) -> dict[str, Any]:
    regional = {
        name.removeprefix(_UPLIFT): value
        for name, value in entry.items()
        if name.startswith(_UPLIFT)
    }
    return {**regional, **_mapping(entry, "provider_specific_entry")}


def _mapping(entry: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = entry.get(name)
    return found if isinstance(found, Mapping) else _NOTHING


def _numbers(found: Mapping[str, Any]) -> Mapping[str, float]:
    parsed = {name: _number(value) for name, value in found.items()}
    return {name: value for name, value in parsed.items() if value is not None} or _NOTHING


def _number(value: Any) -> float | None:
    """YAML reads `3e-6` as a text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _is_kept(name: str, own: Mapping[str, float]) -> bool:
    """Whether a rate of the public price holds beside a deployment's own rates."""
    if name in _INHERITED and "input_cost_per_token" in own:
        return True
    match = _RATE.fullmatch(name)
    priced = "input_cost_per_token" in own or "output_cost_per_token" in own
    return priced and match is not None and match["tier"] is not None


def _set(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _tier(served: str | None, asked: str | None) -> str:
    """The end that a rate's name has for a service tier."""
    told = (served or "").lower()
    if told in _TIERS or told in _USUAL_TIERS:
        return _TIERS.get(told, "")
    return _TIERS.get((asked or "").lower(), "")


def _tokens(threshold: str) -> int:
    """
    >>> _tokens("272k"), _tokens("128000")
    (272000, 128000)
    """
    return int(threshold.removesuffix("k")) * (1000 if threshold.endswith("k") else 1)


def _simpler(model: str) -> str:
    """
    >>> _simpler("gpt-4o-2031-01-31"), _simpler("ft:gpt-4o:us:name:id")
    ('gpt-4o', 'ft:gpt-4o')
    """
    return (_FINE_TUNER if "ft:" in model else _DATE).sub("", model)


def _region(provider: str, api_base: str | None) -> str | None:
    if provider != "openai" or not api_base:
        return None
    return _REGIONS.get(urlsplit(api_base).hostname or "")

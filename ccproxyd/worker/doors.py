"""The doors to LiteLLM: what the house uses of it, and where that is found.

LiteLLM's proxy is a program more than a library, and half of what a host needs has no public name.
So that an upgrade that moves something fails in a test, and not in somebody's requests, nothing
else in the house touches LiteLLM: each function here is one door, tests/worker/test_doors.py opens
every one of them, and what they return is plain data. What LiteLLM is made to do otherwise than it
would stands in three modules beside this one: for messages in `messages`, for the ends of streams
in `endings`, for the rest in `mended`.

Importing this module imports LiteLLM, which takes seconds; `environment.prepare` comes first.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, cast

import litellm
from attrs import evolve, frozen
from fastapi import HTTPException
from litellm import _logging, constants
from litellm.integrations.custom_logger import CustomLogger
from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER
from litellm.proxy import proxy_server
from litellm.proxy._types import LiteLLMRoutes
from litellm.types.utils import CallTypes, all_litellm_params
from starlette.routing import Match

from ccproxyd.worker import environment
from ccproxyd.worker.abandoned import ASGIApp

RELAYED: Final = "pass_through_endpoint"
"""The call type of requests that LiteLLM relays as they are: the body is the provider's own."""

METADATA: Final = ("litellm_metadata", "metadata")
"""Where LiteLLM keeps what is about a request; in the second where no API has a field so called."""

ENDS_WHEN_GONE: Final = "cancel_on_disconnect"

_OWN_FIELDS: Final = frozenset(all_litellm_params).union(
    "additional_drop_params base_url content_policy_fallback_dict context_window_fallbacks "
    "deployment_id drop_params extra_body extra_headers guardrail_config litellm_params "
    "mock_tool_calls policies timeout user_config web_search_options".split()
)

_TRUE_MODEL: Final = getattr(constants, "RETURN_RAW_MODEL_NAME_METADATA_KEY", None)
TRUE_MODEL: Final[Mapping[str, Any]] = {_TRUE_MODEL: True} if _TRUE_MODEL else {}
"""In a request's metadata: its answer names the model as the provider does, not as it was asked."""

_CALLBACK_LISTS: Final = (
    "callbacks",
    "input_callback",
    "success_callback",
    "failure_callback",
    "service_callback",
    "_async_input_callback",
    "_async_success_callback",
    "_async_failure_callback",
)
PARTIAL: Final = "combined_usage_object"
"""Where LiteLLM keeps the usage of a stream that broke."""
_WITHOUT_USAGE: Final = frozenset({CallTypes.acompletion, CallTypes.atext_completion})
_WARMED: Final = "/v1/messages"
_LOGGERS: Final = ("verbose_logger", "verbose_proxy_logger", "verbose_router_logger")

__all__ = ["CustomLogger"]


def app() -> ASGIApp:
    """LiteLLM's proxy."""
    return cast("ASGIApp", proxy_server.app)


@asynccontextmanager
async def started(config: Path) -> AsyncIterator[Mapping[str, Any]]:
    """LiteLLM started on this config, and shut down at the end; gives the requests' `state`.

    We enter its lifespan ourselves, since a server reports a failure there as text alone.

    Raises:
        ValueError: LiteLLM would overlook the file, and start without any config.
    """
    if not proxy_server.proxy_config.is_yaml(str(config)):
        raise ValueError(f"{config} is not a .yaml file")
    environment.name_config(os.environ, config)
    async with proxy_server.app.router.lifespan_context(proxy_server.app) as state:
        yield state or {}


def config_file() -> Path | None:
    """The config that LiteLLM loaded, or is loading."""
    named = proxy_server.user_config_file_path
    return Path(named) if named else None


def ends_what_nobody_awaits() -> bool:
    """Whether the config that was loaded wants a call to end when its client goes."""
    return bool(proxy_server.general_settings.get(ENDS_WHEN_GONE))


def loaded_models() -> tuple[str, ...]:
    """The `model_name`s that requests can have, without aliases, each once.

    A deployment that LiteLLM cannot make sense of (`google/...` is no provider of its) is logged
    and left out of its router, while its own list of the config goes on naming it.
    """
    router = proxy_server.llm_router
    deployments = router.get_model_list() or [] if router else []
    aliases = router.model_group_alias or {} if router else {}
    return tuple(
        dict.fromkeys(one["model_name"] for one in deployments if one["model_name"] not in aliases)
    )


def metadata_of(data: dict[str, Any]) -> dict[str, Any]:
    """The part of a request's data that comes back in the log events, made if need be.

    Where `metadata` is a field of the provider's own API, LiteLLM has `litellm_metadata` beside it.
    """
    with_its_own, usual = METADATA
    name = with_its_own if with_its_own in data else usual
    if not isinstance(data.get(name), dict):
        data[name] = {}
    return cast("dict[str, Any]", data[name])


def retries_of(data: Mapping[str, Any]) -> int:
    """How often LiteLLM's router has tried a request again; it counts in its metadata."""
    found = [(data.get(name) or {}).get("attempted_retries") for name in METADATA]
    return next((count for count in found if isinstance(count, int)), 0)


@frozen
class Event:
    """What LiteLLM says of a request that succeeded, or of what had come of it before it failed."""

    metadata: Mapping[str, Any]
    cost_usd: float | None
    """None where nobody knows it; LiteLLM itself makes 0 of that."""
    input_tokens: int
    """What was not read from a cache."""
    output_tokens: int
    cache_read_tokens: int
    is_untold: bool = False
    """It was a stream of text that told no usage: see `counted_cost`."""


def event_of(kwargs: Mapping[str, Any]) -> Event:
    """Parse the `kwargs` of a log event of what succeeded.

    After a fallback its tokens are those of what had failed before; so it has none.
    """
    return _event(kwargs, has_tokens=PARTIAL not in kwargs)


def partial_event_of(kwargs: Mapping[str, Any]) -> Event:
    """The same of what failed, with the tokens of what had come of it."""
    return _event(kwargs, has_tokens=PARTIAL in kwargs)


def _event(kwargs: Mapping[str, Any], *, has_tokens: bool) -> Event:
    payload = kwargs.get("standard_logging_object") or {}
    inputs, outputs = payload.get("prompt_tokens") or 0, payload.get("completion_tokens") or 0
    is_text = kwargs.get("call_type") in _WITHOUT_USAGE
    cached = _cached_tokens(payload)
    event = Event(
        metadata=_metadata_in(kwargs),
        cost_usd=_cost_of(kwargs, payload),
        input_tokens=max(0, int(inputs) - cached),
        output_tokens=int(outputs),
        cache_read_tokens=cached,
        is_untold=is_text and bool(kwargs.get("stream")) and not inputs and not outputs,
    )
    nothing = evolve(event, input_tokens=0, output_tokens=0, cache_read_tokens=0)
    return event if has_tokens else nothing


def _cached_tokens(payload: Mapping[str, Any]) -> int:
    """Those that were read from a cache, which LiteLLM counts among the prompt's."""
    usage = (payload.get("metadata") or {}).get("usage_object") or {}
    return int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0)


def _metadata_in(kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = kwargs.get("litellm_params") or {}
    return {
        **(parameters.get("metadata") or {}),
        **(parameters.get("litellm_metadata") or {}),
    }


def headers_of_answer(data: Mapping[str, Any]) -> Mapping[str, str]:
    """The headers that the provider's answer to this request had, if LiteLLM has kept them."""
    logged = getattr(data.get("litellm_logging_obj"), "model_call_details", {})
    return cast("Mapping[str, str]", logged.get("response_headers") or {})


def _cost_of(kwargs: Mapping[str, Any], payload: Mapping[str, Any]) -> float | None:
    """A cost of 0 is one if somebody has said so: of the deployment, or of the model."""
    cost = kwargs.get("response_cost")
    mapped = payload.get("model_map_information") or {}
    names = (payload.get("model_id"), mapped.get("model_map_key"), kwargs.get("model"))
    is_known = any(map(_has_price, names)) if not cost else True
    return float(cost) if cost is not None and is_known else None


def _has_price(model: Any) -> bool:
    found = litellm.model_cost.get(model) or {}
    return any("cost" in name and value is not None for name, value in found.items())


def counted_cost(kwargs: Mapping[str, Any], response: Any) -> float | None:
    """What a stream cost by LiteLLM's own count of it, None where there is nothing to count by.

    A stream of OpenAI's tells no usage unless it is asked to. LiteLLM asks in most chats, but not
    where one has fallen back from a provider of another kind, and never in a text completion: it
    takes the missing figures for zeros, and makes 0 its price.
    """
    payload, model = kwargs.get("standard_logging_object") or {}, kwargs.get("model")
    own = payload.get("model_id")
    try:
        cost = litellm.completion_cost(
            completion_response=_with_counts(response, str(model), kwargs.get("messages") or []),
            model=model,
            custom_llm_provider=kwargs.get("custom_llm_provider"),
            custom_pricing=_has_price(own),
            router_model_id=own,
        )
        return float(cost)
    except Exception:  # a model without a price, or what has no text
        return None


def _with_counts(response: Any, model: str, asked: list[Any]) -> Any:
    said = "".join(choice.message.content or "" for choice in response.choices)
    asked_for = litellm.token_counter(model=model, messages=asked)
    told = litellm.token_counter(model=model, text=said, count_response_tokens=True)
    usage = litellm.Usage(prompt_tokens=asked_for, completion_tokens=told)
    return response.model_copy(update={"usage": usage})


async def settle_events(seconds: float) -> None:
    """Give the log events that are still queued a chance to be reported."""
    try:
        async with asyncio.timeout(seconds):
            await GLOBAL_LOGGING_WORKER.flush()
    except TimeoutError:
        logging.getLogger(__name__).warning("cannot report every price: LiteLLM's queue is full")


def is_messages(call_type: object) -> bool:
    """Whether a call is one of `/v1/messages`."""
    return bool(call_type == CallTypes.anthropic_messages)


def is_transcription(call_type: object) -> bool:
    """Whether a call is one of `/v1/audio/transcriptions`."""
    return call_type in (CallTypes.transcription, CallTypes.atranscription)


def own_fields() -> frozenset[str]:
    """The fields by which a request's body speaks to LiteLLM, and not to a provider."""
    return _OWN_FIELDS


def has_key_for_all() -> bool:
    """Whether LiteLLM has a key for deployments without one: of the config's, or in a vault."""
    found = (litellm.api_key, litellm.openai_key, litellm.anthropic_key)
    return any(found) or litellm.secret_manager_client is not None


def callbacks() -> tuple[Any, ...]:
    """What LiteLLM calls before a request, in order."""
    return tuple(litellm.callbacks)


def discard_callbacks(unwanted: Callable[[Any], bool]) -> None:
    """Take callbacks out of every list that LiteLLM keeps of them."""
    for name in _CALLBACK_LISTS:
        registered = getattr(litellm, name)
        registered[:] = [one for one in registered if not unwanted(one)]


def refusal(message: str, code: int) -> Exception:
    """The exception by which a hook ends a request with this status."""
    return HTTPException(status_code=code, detail=message)


def loggers() -> Iterator[logging.Logger]:
    """LiteLLM's own loggers, which come with handlers of their own."""
    for name in _LOGGERS:
        yield getattr(_logging, name)


def route_table() -> Mapping[str, tuple[str, ...]]:
    """LiteLLM's paths by group: `openai_routes`, `anthropic_routes`, `google_routes` and more."""
    return {
        group.name: tuple(map(str, group.value))
        for group in LiteLLMRoutes
        if not isinstance(group.value, str)
    }


def load_what_is_shared() -> None:
    """Load what LiteLLM reads at a first request and never changes, some 40 MB and 0.3 s of CPU.

    That is the tokenizer, and the price list as it was shipped. A LiteLLM that has no way to do it
    now will do it later.
    """
    with suppress(ImportError):
        from litellm._lazy_imports import get_default_encoding
        from litellm.utils import get_bundled_model_cost_map

        get_default_encoding()
        get_bundled_model_cost_map()


def build_routes() -> None:
    """Build the routes, which otherwise happens at the first request and takes 0.7 to 1.7 s of CPU.

    Those of `/v1/messages` are even imported only then, and so stand last of nearly a hundred. Each
    request asks one after the other: to stand first spares it a tenth of its time. A LiteLLM that
    has no way to do it now will do it later.
    """
    with suppress(ImportError):
        from litellm.proxy._lazy_features import LAZY_FEATURES, register_all_features

        wanted = tuple(one for one in LAZY_FEATURES if one.matches(_WARMED))
        register_all_features(proxy_server.app, wanted)
    scope = {"type": "http", "method": "POST", "path": _WARMED, "root_path": "", "headers": []}
    routes = proxy_server.app.router.routes
    fits = [route.matches(dict(scope))[0] is Match.FULL for route in routes]
    if True in fits:
        routes.insert(0, routes.pop(fits.index(True)))

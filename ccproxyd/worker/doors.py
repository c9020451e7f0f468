"""Every door to LiteLLM: what the house uses of it, and where that is found.

LiteLLM's proxy is a program more than a library, and half of what a host needs has no public name.
So that an upgrade that moves something fails in a test, and not in somebody's requests, nothing
else in the house touches LiteLLM: each function here is one door, tests/worker/test_doors.py opens
every one of them, and what they return is plain data.

Importing this module imports LiteLLM, which takes seconds; `environment.prepare` comes first.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote

import httpx
import litellm
from attrs import field, frozen
from fastapi import HTTPException
from litellm import _logging, constants
from litellm.integrations.custom_logger import CustomLogger
from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER
from litellm.llms.anthropic.pass_through.adapters import handler as chats
from litellm.llms.anthropic.pass_through.adapters import transformation as completions
from litellm.llms.anthropic.pass_through.messages import handler as messages
from litellm.llms.anthropic.pass_through.responses_adapters import handler as responses
from litellm.llms.custom_httpx import aiohttp_transport
from litellm.llms.openai import openai as openais
from litellm.proxy import common_request_processing, proxy_server
from litellm.proxy._types import LiteLLMRoutes
from litellm.types.llms.anthropic import AnthropicMessagesRequestOptionalParams
from litellm.types.utils import CallTypes, all_litellm_params
from starlette.routing import Match

from ccproxyd.config.lanes import is_openais_own, openai_base
from ccproxyd.errors import ProxyError, proxy_error
from ccproxyd.worker import carried, environment
from ccproxyd.worker.abandoned import ASGIApp
from ccproxyd.worker.failures import UNREADABLE

RELAYED: Final = "pass_through_endpoint"
"""The call type of requests that LiteLLM relays as they are: the body is the provider's own."""

KEPT: Final = "ccproxyd_kept"
"""The parameter of a call that brings what LiteLLM would drop of a request to Anthropic."""

METADATA: Final = ("litellm_metadata", "metadata")
"""Where LiteLLM keeps what is about a request; in the second where no API has a field so called."""

ENDS_WHEN_GONE: Final = "cancel_on_disconnect"

_OWN_FIELDS: Final = frozenset(all_litellm_params).union(
    "additional_drop_params base_url content_policy_fallback_dict context_window_fallbacks "
    "deployment_id drop_params extra_body extra_headers guardrail_config litellm_params "
    "mock_tool_calls policies timeout user_config web_search_options".split()
)
_MESSAGE_FIELDS: Final = frozenset(AnthropicMessagesRequestOptionalParams.__annotations__) | {
    "messages"
}
_TRANSLATED: Final = ("thinking", "output_config", "temperature")

_TRUE_MODEL: Final = getattr(constants, "RETURN_RAW_MODEL_NAME_METADATA_KEY", None)
TRUE_MODEL: Final[Mapping[str, Any]] = {_TRUE_MODEL: True} if _TRUE_MODEL else {}
"""In a request's metadata: its answer names the model as the provider does, not as it was asked."""

_BETAS: Final = "anthropic-beta"
_BETA_DATE: Final = re.compile(r"-\d{4}-\d\d-\d\d$")

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
_WARMED: Final = "/v1/messages"
_ASCII: Final = bytes(range(128))
_STATUS_OF_CODE: Final = {"rate_limit_exceeded": 429}
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
    """What a log event says of a request that succeeded."""

    metadata: Mapping[str, Any]
    cost_usd: float | None
    """None where nobody knows it; LiteLLM itself makes 0 of that."""
    input_tokens: int
    output_tokens: int


def event_of(kwargs: Mapping[str, Any]) -> Event:
    """Parse the `kwargs` of a log event."""
    payload = kwargs.get("standard_logging_object") or {}
    parameters = kwargs.get("litellm_params") or {}
    return Event(
        metadata={
            **(parameters.get("metadata") or {}),
            **(parameters.get("litellm_metadata") or {}),
        },
        cost_usd=_cost_of(kwargs, payload),
        input_tokens=int(payload.get("prompt_tokens") or 0),
        output_tokens=int(payload.get("completion_tokens") or 0),
    )


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


def own_fields() -> frozenset[str]:
    """The fields by which a request's body speaks to LiteLLM, and not to a provider."""
    return _OWN_FIELDS


def message_fields() -> frozenset[str]:
    """The fields of Anthropic's API that LiteLLM sends on; it drops those that it does not know."""
    return _MESSAGE_FIELDS


def has_key_for_all() -> bool:
    """Whether LiteLLM has a key for deployments without one: of the config's, or in a vault."""
    found = (litellm.api_key, litellm.openai_key, litellm.anthropic_key)
    return any(found) or litellm.secret_manager_client is not None


@frozen
class Kept:
    """What LiteLLM would drop: fields of a body, and the query; and whether it may add `stream`."""

    fields: Mapping[str, Any] = field(factory=dict, repr=False)
    query: str = ""
    says_stream: bool = True
    """The client has said whether it wants a stream; LiteLLM says so where it has not."""


_NOTHING: Final = Kept()


class _WholeMessages(litellm.AnthropicMessagesConfig):  # type: ignore[misc]
    """LiteLLM's way to Anthropic's messages, with all that `Kept` brings along.

    Thinking is not translated either: LiteLLM drops it for a model that its list does not have,
    and a request that comes with `Kept` has been made fit for its model.
    """

    _workload_identity_eligible = True

    @staticmethod
    def _update_headers_with_anthropic_beta(
        headers: dict[str, Any], *rest: Any, **more: Any
    ) -> dict[str, Any]:
        """LiteLLM adds betas that a body needs, also to the client's own of another date."""
        said = _betas(headers)
        dated = {_BETA_DATE.sub("", beta) for beta in said}
        add = super(_WholeMessages, _WholeMessages)._update_headers_with_anthropic_beta
        updated: dict[str, Any] = add(headers, *rest, **more)
        betas = _betas(updated)
        kept = [beta for beta in betas if beta in said or _BETA_DATE.sub("", beta) not in dated]
        return {**updated, _BETAS: ",".join(kept)} if len(kept) < len(betas) else updated

    @property
    def _carries_thinking_block_binding(self) -> bool:
        return True

    def get_complete_url(
        self,
        api_base: str | None,
        api_key: str | None,
        model: str,
        optional_params: dict[str, Any],
        litellm_params: dict[str, Any],
        stream: bool | None = None,
    ) -> str:
        url: str = super().get_complete_url(
            api_base, api_key, model, optional_params, litellm_params, stream
        )
        kept = litellm_params.get(KEPT, _NOTHING)
        return f"{url}?{kept.query}" if kept.query and "?" not in url else url

    def transform_anthropic_messages_request(
        self,
        model: str,
        messages: list[dict[str, Any]],
        anthropic_messages_optional_request_params: dict[str, Any],
        litellm_params: Any,
        headers: dict[str, Any],
    ) -> dict[str, Any]:
        given = dict(anthropic_messages_optional_request_params)
        body: dict[str, Any] = super().transform_anthropic_messages_request(
            model, messages, anthropic_messages_optional_request_params, litellm_params, headers
        )
        kept = litellm_params.get(KEPT, None)
        if kept is None:
            return body
        untranslated = {name: given[name] for name in _TRANSLATED if name in given}
        unwanted = set(litellm_params.get("additional_drop_params", None) or ())
        unknown = {name: value for name, value in kept.fields.items() if name not in unwanted}
        whole = {**unknown, **body, **untranslated}
        if not kept.says_stream and not whole.get("stream"):
            whole.pop("stream", None)
        return whole


def _betas(headers: Mapping[str, Any]) -> list[str]:
    return [beta for beta in str(headers.get(_BETAS, "")).split(",") if beta]


def keep_messages_whole() -> None:
    """From now on LiteLLM sends what a call has as `KEPT`; to be said before the first call."""
    litellm.AnthropicMessagesConfig = _WholeMessages


def keep_counts_whole(lent: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict) -> None:
    """From now on LiteLLM asks Anthropic for a count with what the client has said beside it.

    Its counter for Anthropic, and for an address that speaks its protocol, is one object of its
    own, which no other provider's counter uses. A LiteLLM that has none asks in its own words.
    `lent` adds the client's credential to the parameters of a deployment, where that may have it.
    """
    with suppress(ImportError):
        from litellm.llms.anthropic.count_tokens import token_counter
        from litellm.llms.anthropic.count_tokens.handler import AnthropicCountTokensHandler

        class WholeCounts(AnthropicCountTokensHandler):  # type: ignore[misc]
            def get_anthropic_count_tokens_endpoint(self, api_base: str | None = None) -> str:
                url: str = super().get_anthropic_count_tokens_endpoint(api_base)
                along = carried.current.get()
                return f"{url}?{along.query}" if along and along.query else url

            def get_count_tokens_headers(self, auth_header: Mapping[str, str]) -> dict[str, str]:
                own: dict[str, str] = super().get_count_tokens_headers(auth_header)
                along = carried.current.get()
                return _with_the_clients(own, auth_header, along.headers) if along else own

        class WholeCounter(token_counter.AnthropicTokenCounter):  # type: ignore[misc]
            async def count_tokens(
                self, *asked: Any, deployment: Mapping[str, Any] | None = None, **more: Any
            ) -> Any:
                chosen = dict(deployment or {})
                chosen["litellm_params"] = lent(chosen.get("litellm_params") or {})
                return await super().count_tokens(*asked, deployment=chosen, **more)

        token_counter.anthropic_count_tokens_handler = WholeCounts()
        token_counter.AnthropicTokenCounter = WholeCounter


def _with_the_clients(
    own: Mapping[str, str], credential: Mapping[str, str], said: Mapping[str, str]
) -> dict[str, str]:
    """The headers of a count as the client has sent them; a credential may need a beta itself."""
    betas = dict.fromkeys((*_betas(said), *_betas(credential)))
    others = {name: value for name, value in {**own, **said}.items() if name != _BETAS}
    return {**others, _BETAS: ",".join(betas)} if betas else others


class _RespondingFirst(responses.AnthropicResponsesStreamWrapper):  # type: ignore[misc]
    """LiteLLM's way from OpenAI's responses to a message, which begins when the provider does."""

    _sent_message_start: bool

    async def __anext__(self) -> dict[str, object]:
        if not self._sent_message_start and hasattr(self.responses_stream, "__aiter__"):
            event = await anext(aiter(self.responses_stream), None)
            self._sent_message_start = True
            self._chunk_queue.append(self._make_message_start())
            self._process_event(event)
        return cast("dict[str, object]", await super().__anext__())


class _CompletingFirst(completions.AnthropicStreamWrapper):  # type: ignore[misc]
    """LiteLLM's way from a chat completion to a message, which begins when the provider does."""

    async def async_anthropic_sse_wrapper(self) -> AsyncGenerator[bytes, None]:
        with suppress(StopAsyncIteration):
            first = await anext(self.completion_stream)
            self.completion_stream._buffer.appendleft(first)  # noqa: SLF001 - the one place for it
        async with aclosing(super().async_anthropic_sse_wrapper()) as frames:
            async for frame in frames:
                yield frame


def let_providers_begin() -> None:
    """From now on a message that LiteLLM translates begins with the provider's first word.

    LiteLLM would make a `message_start` up before it has heard anything, and a provider that fails
    then, or never says a word, could not be told by a status any more.
    """
    responses.AnthropicResponsesStreamWrapper = _RespondingFirst
    completions.AnthropicStreamWrapper = _CompletingFirst


class _TrueResponses(responses.LiteLLMAnthropicToResponsesAPIAdapter):  # type: ignore[misc]
    """LiteLLM's way from a message to OpenAI's responses and back.

    It wants from a model what it has, and makes no empty message of a response that failed.
    """

    def translate_request(
        self, anthropic_request: Mapping[str, Any], include_encrypted_reasoning: bool = True
    ) -> dict[str, Any]:
        may_reason = _may_reason(anthropic_request["model"])
        wanted = include_encrypted_reasoning and may_reason
        asked = cast("dict[str, Any]", super().translate_request(anthropic_request, wanted))
        if not may_reason:
            asked.pop("reasoning", None)
        return asked

    def translate_response(self, response: Any) -> Any:
        """
        Raises:
            ProxyError: it is no answer; a stream has an event for that.
        """
        if response.status == "failed":
            raise _failure_of(response.error or {})
        return super().translate_response(response)


def _failure_of(error: Mapping[str, Any]) -> ProxyError:
    """What a response says of its failure, with the status that its code would have had."""
    code = str(error.get("code"))
    is_refused = code.startswith("invalid_")
    status = 400 if is_refused else _STATUS_OF_CODE.get(code, 502)
    said = error.get("message")
    return proxy_error(str(said or "the provider failed and gave no reason"), status)


def _may_reason(model: str) -> bool:
    """Of a model of OpenAI's that LiteLLM's list does not have nobody knows."""
    try:
        bare = model.removeprefix("responses/")
        found = litellm.get_model_info(bare, custom_llm_provider="openai")
    except Exception:  # what it raises for one that it does not know has no type of its own
        return True
    return bool(found.get("supports_reasoning"))


def translate_responses_truly() -> None:
    """From now on a message that goes to a model which does not reason asks it for no reasoning.

    And a response that failed is a failure: LiteLLM would make an empty message of it.

    LiteLLM asks every model of OpenAI's for its encrypted reasoning, to hand it back in the next
    turn, and OpenAI refuses the whole request where the model has none, as gpt-4o; LiteLLM itself
    refuses one that asks such a model to think, unless the config has `drop_params`.
    """
    responses._ADAPTER = _TrueResponses()  # noqa: SLF001 - the one place for it


class _RespondingOpenAI(responses.LiteLLMMessagesToResponsesAPIHandler):  # type: ignore[misc]
    """LiteLLM's way of a message to `openai/`, by the API that the server behind it has."""

    @staticmethod
    def anthropic_messages_handler(**call: Any) -> Any:
        if call.get("custom_llm_provider") == "openai" and _chats_alone(call):
            return _ChattingAlone.anthropic_messages_handler(**call)
        return super(_RespondingOpenAI, _RespondingOpenAI).anthropic_messages_handler(**call)


class _ChattingAlone(chats.LiteLLMMessagesToCompletionTransformationHandler):  # type: ignore[misc]
    """LiteLLM's way of a message to a chat, from which one that thinks would turn off."""

    @staticmethod
    def _route_openai_thinking_to_responses_api_if_needed(
        completion_kwargs: dict[str, Any], **more: Any
    ) -> None:
        if not _chats_alone(completion_kwargs):
            turn_off = super(
                _ChattingAlone, _ChattingAlone
            )._route_openai_thinking_to_responses_api_if_needed
            turn_off(completion_kwargs, **more)


def _chats_alone(call: Mapping[str, Any]) -> bool:
    """Whether a deployment `openai/` has chat alone, as far as an address can tell.

    The config's own word counts more: LiteLLM's setting, and a model `responses/NAME`.
    """
    if litellm.use_chat_completions_url_for_anthropic_messages is False:
        return False
    base = openai_base(call.get("api_base") or litellm.api_base, os.environ)
    return "responses/" not in str(call.get("model")) and not is_openais_own(base)


def chat_where_responses_are_not_openais() -> None:
    """From now on a message to `openai/` goes to a chat, where the address is not OpenAI's own.

    LiteLLM sends them all to `/v1/responses`. Small servers have none, and those that have one do
    not say there that an answer was cut at its limit. To be said before the config is loaded: what
    that has of LiteLLM's setting then is a yes or a no.
    """
    if not litellm.use_chat_completions_url_for_anthropic_messages:
        litellm.use_chat_completions_url_for_anthropic_messages = None
    messages.LiteLLMMessagesToResponsesAPIHandler = _RespondingOpenAI
    chats.LiteLLMMessagesToCompletionTransformationHandler = _ChattingAlone


class _TrueChats(completions.LiteLLMAnthropicMessagesAdapter):  # type: ignore[misc]
    """LiteLLM's way from a whole chat completion to a message.

    It leaves out texts that are empty, and makes no empty message of what is no answer.
    """

    def translate_openai_response_to_anthropic(self, response: Any, **more: Any) -> dict[str, Any]:
        """
        Raises:
            ProxyError: nothing was chosen to be said.
        """
        if not response.choices:
            raise proxy_error(UNREADABLE, 502)
        told: dict[str, Any] = super().translate_openai_response_to_anthropic(response, **more)
        said = [one for one in told["content"] if one["type"] != "text" or one["text"]]
        return {**told, "content": said or told["content"]}


def translate_chats_truly() -> None:
    """From now on a message that LiteLLM translates has no empty text beside a call of a tool.

    Servers say that they say nothing as `content: ""`. A client sends the block back in its next
    turn, and Anthropic refuses it there. And a chat completion without any choice is a failure:
    LiteLLM would make an empty message of it.
    """
    completions.LiteLLMAnthropicMessagesAdapter = _TrueChats


def allow_any_headers() -> None:
    """From now on a header may have any letters: a provider's, and those that LiteLLM adds.

    Else the provider's answer would be lost, and an answer of the model `日本` be none that can be
    sent. What LiteLLM adds is UTF-8 then.
    """
    transport = aiohttp_transport.LiteLLMAiohttpTransport
    transport._make_aiohttp_request = _in_ascii(transport._make_aiohttp_request)  # noqa: SLF001
    processing = common_request_processing.ProxyBaseLLMRequestProcessing
    processing.get_custom_headers = staticmethod(_sendable(processing.get_custom_headers))


def _in_ascii(ask: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """A way to ask a provider; other letters in its headers are percent-encoded."""

    async def asked(*request: Any, **how: Any) -> Any:
        answer = await ask(*request, **how)
        if not all(value.isascii() for _, value in answer.raw_headers):
            told = [(name, quote(value, safe=_ASCII)) for name, value in answer.raw_headers]
            answer._cache["headers"] = httpx.Headers(told)  # noqa: SLF001 - it has no setter
        return answer

    return asked


def _sendable(headers_of: Callable[..., dict[str, str]]) -> Callable[..., dict[str, str]]:
    def sendable(**asked: Any) -> dict[str, str]:
        return {name: _in_utf8(value) for name, value in headers_of(**asked).items()}

    return sendable


def _in_utf8(value: str) -> str:
    """A value whose letters are bytes, as ASGI's servers write them."""
    return value if value.isascii() else value.encode("utf-8", "surrogateescape").decode("latin-1")


class _Lessened(dict[str, Any]):
    """A request of which LiteLLM has dropped what its provider does not know."""


_drop = openais.drop_params_from_unprocessable_entity_error


def _drop_once(error: Exception, request: Mapping[str, Any]) -> dict[str, Any]:
    """The request without what a 422 names.

    Raises:
        Exception: the 422, of a request that has nothing of it, or has been lessened before.
    """
    with suppress(AttributeError):  # a message that is JSON, but no object
        less = _drop(error, request)
        if len(less) < len(request) and not isinstance(request, _Lessened):
            return _Lessened(less)
    raise error


def let_openais_refuse() -> None:
    """From now on a 422 for a chat completion is a failure, also where the config drops parameters.

    LiteLLM asks a second time then, without what the 422 names, or in the same words where it names
    nothing; and where that is refused as well, it has no answer, and takes that for a success.
    """
    openais.drop_params_from_unprocessable_entity_error = _drop_once


def take_any_metadata() -> None:
    """From now on `metadata` that is no object costs no embedding and no text completion.

    LiteLLM adds metadata of its own to the client's. In place of a chat's that is none it puts an
    empty object first; on the two other ways it raises.
    """
    proxy_server.read_request_body = _with_metadata(proxy_server.read_request_body)


def _with_metadata(
    read: Callable[..., Awaitable[dict[str, Any]]],
) -> Callable[..., Awaitable[dict[str, Any]]]:
    async def body(**asked: Any) -> dict[str, Any]:
        found = await read(**asked)
        if not isinstance(found.get("metadata"), dict | None):
            found["metadata"] = {}
        return found

    return body


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

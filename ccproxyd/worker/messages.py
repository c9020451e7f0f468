"""A message's way through LiteLLM to a provider and back, where we have it go otherwise.

Anthropic's own get it whole, with what LiteLLM would drop; so do its counts. To others LiteLLM
translates it, into a chat or into OpenAI's responses: by the API that the server behind it has,
asking for nothing that its model lacks; and what comes back begins when the provider does, and is
no message where it was a failure.

These are doors as those of `doors`; tests/worker/test_messages.py opens each.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from typing import Any, Final, cast

import litellm
from attrs import field, frozen
from litellm.llms.anthropic.count_tokens import token_counter
from litellm.llms.anthropic.count_tokens.handler import AnthropicCountTokensHandler
from litellm.llms.anthropic.pass_through.adapters import handler as chats
from litellm.llms.anthropic.pass_through.adapters import transformation as completions
from litellm.llms.anthropic.pass_through.messages import handler as messages
from litellm.llms.anthropic.pass_through.responses_adapters import handler as responses
from litellm.types.llms.anthropic import AnthropicMessagesRequestOptionalParams

from ccproxyd.config.lanes import is_openais_own, openai_base
from ccproxyd.errors import NO_REASON, UNREADABLE, ProxyError, proxy_error
from ccproxyd.worker import carried

KEPT: Final = "ccproxyd_kept"
"""The parameter of a call that brings what LiteLLM would drop of a request to Anthropic."""

_FIELDS: Final = frozenset(AnthropicMessagesRequestOptionalParams.__annotations__) | {"messages"}
_TRANSLATED: Final = ("thinking", "output_config", "temperature")
_BETAS: Final = "anthropic-beta"
_BETA_DATE: Final = re.compile(r"-\d{4}-\d\d-\d\d$")
_STATUS_OF_CODE: Final = {"rate_limit_exceeded": 429}

_Lent = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def message_fields() -> frozenset[str]:
    """The fields of Anthropic's API that LiteLLM sends on; it drops those that it does not know."""
    return _FIELDS


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


class _WholeCounts(AnthropicCountTokensHandler):  # type: ignore[misc]
    """LiteLLM's way to Anthropic's counts, with what the client has said beside the message."""

    def get_anthropic_count_tokens_endpoint(self, api_base: str | None = None) -> str:
        url: str = super().get_anthropic_count_tokens_endpoint(api_base)
        along = carried.current.get()
        return f"{url}?{along.query}" if along and along.query else url

    def get_count_tokens_headers(self, auth_header: Mapping[str, str]) -> dict[str, str]:
        own: dict[str, str] = super().get_count_tokens_headers(auth_header)
        along = carried.current.get()
        return _with_the_clients(own, auth_header, along.headers) if along else own


def keep_counts_whole(lent: _Lent = dict) -> None:
    """From now on LiteLLM asks Anthropic for a count with what the client has said beside it.

    Its counter for Anthropic, and for an address that speaks its protocol, is one object of its
    own, which no other provider's counter uses. `lent` adds the client's credential to the
    parameters of a deployment, where that may have it.
    """
    counter = token_counter.AnthropicTokenCounter
    counter.count_tokens = _with_what_is_lent(counter.count_tokens, lent)
    token_counter.anthropic_count_tokens_handler = _WholeCounts()


def _with_what_is_lent(count: Callable[..., Any], lent: _Lent) -> Callable[..., Any]:
    async def counted(
        counter: Any, *asked: Any, deployment: Mapping[str, Any] | None = None, **more: Any
    ) -> Any:
        chosen = dict(deployment or {})
        chosen["litellm_params"] = lent(chosen.get("litellm_params") or {})
        return await count(counter, *asked, deployment=chosen, **more)

    return counted


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
    return proxy_error(str(said or NO_REASON), status)


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


def mend(lent: _Lent) -> None:
    """All of these, before LiteLLM reads a config; for `lent` see `keep_counts_whole`."""
    keep_messages_whole()
    keep_counts_whole(lent)
    let_providers_begin()
    chat_where_responses_are_not_openais()
    translate_responses_truly()
    translate_chats_truly()

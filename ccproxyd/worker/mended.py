"""What else LiteLLM, and OpenAI's library below it, do in another way with us.

Streams: an error of OpenAI's responses loses its words; of several choices one alone begins and
ends; and a text completion's last piece has no text where the API has an empty one, on which
clients stumble that put the pieces together. How the others end is told in `endings`.

Asking: OpenAI's library asks again by itself where LiteLLM says nothing, for as long as a
provider's `retry-after` says, and nobody counts it; how often to ask is for the config to say, and
for clients. Both go wherever an answer sends them, with a key.

Answers: neither a refusal nor an error that comes as one is a success, and no images are none;
while letters or metadata of an unusual kind are no failure. A model that refuses says so where a
client looks for it, and not among fields that only LiteLLM has.

These are doors as those of `doors`; tests/worker/test_mended.py opens each.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote

import httpx
import litellm
from litellm.images import main as images
from litellm.litellm_core_utils import streaming_handler
from litellm.llms.custom_httpx import aiohttp_transport
from litellm.llms.custom_httpx import http_handler as handlers
from litellm.llms.openai import common_utils as openai_clients
from litellm.llms.openai import openai as openais
from litellm.llms.openai.chat import gpt_transformation as gpts
from litellm.llms.openai.fine_tuning import handler as tunings
from litellm.llms.openai.responses import transformation as responses
from litellm.proxy import common_request_processing, proxy_server
from litellm.types.utils import CallTypes, StreamingChoices
from litellm.utils import TextCompletionStreamWrapper
from openai import _base_client as openai_library

from ccproxyd.errors import proxy_error
from ccproxyd.worker.words import told_by_an_error

_ASCII: Final = bytes(range(128))
_ASKED_AGAIN: Final = frozenset({CallTypes.atranscription, CallTypes.aspeech})


def let_responses_say_why_they_fail() -> None:
    """From now on an error in a stream of OpenAI's responses has the provider's words.

    OpenAI says code and message in the event itself; LiteLLM looks for an object in it, as others
    have one, and finds no message at all.
    """
    api = responses.OpenAIResponsesAPIConfig
    api.transform_streaming_response = _with_its_error(api.transform_streaming_response)


def _with_its_error(read: Callable[..., Any]) -> Callable[..., Any]:
    def event(config: Any, model: str, parsed_chunk: dict[str, Any], **more: Any) -> Any:
        is_bare = parsed_chunk.get("type") == "error" and not parsed_chunk.get("error")
        told = {**parsed_chunk, "error": dict(parsed_chunk)} if is_bare else parsed_chunk
        return read(config, model=model, parsed_chunk=told, **more)

    return event


def let_errors_fail() -> None:
    """From now on an error that comes with 200 in place of a completion is the provider's failure.

    Where it names no status LiteLLM gives it that of what its client has got wrong, or none, and of
    an error that is a text it loses the words.
    """
    for module in (openais, gpts):
        module.convert_to_model_response_object = _with_a_status(
            module.convert_to_model_response_object
        )


def _with_a_status(convert: Callable[..., Any]) -> Callable[..., Any]:
    def converted(*asked: Any, response_object: Any = None, **more: Any) -> Any:
        try:
            return convert(*asked, response_object=response_object, **more)
        except Exception as error:
            if "status_code" in vars(error):  # it is about the answer's own error
                told = told_by_an_error(response_object)
                error.status_code, error.message = told.code, told.message  # type: ignore[attr-defined]
            raise

    return converted


def keep_refusals() -> None:
    """From now on the model's refusal stands where OpenAI has it: in the message, and in pieces.

    A client that has asked for a form looks there whether it got it. LiteLLM puts it elsewhere, and
    drops the pieces of a stream that have nothing else.
    """
    for module in (openais, gpts):
        module.convert_to_model_response_object = _with_refusals(
            module.convert_to_model_response_object
        )
    pieces = streaming_handler.CustomStreamWrapper
    pieces.is_chunk_non_empty = _also_refusals(pieces.is_chunk_non_empty)


def end_every_choice() -> None:
    """From now on each of several choices in a chat's stream begins and ends.

    LiteLLM begins and ends the stream with one of them, and takes the others' for empty pieces.
    """
    pieces = streaming_handler.CustomStreamWrapper
    pieces.return_processed_chunk_logic = _with_others(pieces.return_processed_chunk_logic)


def _with_others(process: Callable[..., Any]) -> Callable[..., Any]:
    def processed(
        stream: Any, completion_obj: Any, model_response: Any, response_obj: Mapping[str, Any]
    ) -> Any:
        told = getattr(response_obj.get("original_chunk"), "choices", None)
        if not told or not told[0].index or not _is_an_end(told[0]):
            return process(stream, completion_obj, model_response, response_obj)
        model_response.choices = [StreamingChoices(**told[0].model_dump())]
        return model_response

    return processed


def _is_an_end(choice: Any) -> bool:
    """Either one; some say with each word who speaks."""
    begins = choice.delta.role and not choice.delta.content
    return bool(choice.finish_reason or begins)


def _with_refusals(convert: Callable[..., Any]) -> Callable[..., Any]:
    def converted(*asked: Any, **how: Any) -> Any:
        found = convert(*asked, **how)
        for choice in getattr(found, "choices", None) or ():
            said = getattr(choice, "message", None)
            fields = getattr(said, "provider_specific_fields", None) or {}
            if "refusal" in fields:
                said.refusal = fields.pop("refusal")  # type: ignore[union-attr]
        return found

    return converted


def _also_refusals(has_something: Callable[..., bool]) -> Callable[..., bool]:
    def has(stream: Any, said: Any, piece: Any, *more: Any, **how: Any) -> bool:
        is_refusal = bool(getattr(piece.choices[0].delta, "refusal", None))
        return is_refusal or has_something(stream, said, piece, *more, **how)

    return has


def stay_where_asked() -> None:
    """From now on a provider that sends a request elsewhere has not answered it.

    The client below LiteLLM would follow, to whatever host, with all that the request says, and
    with a key that is not in `Authorization`. What is fetched by an address that somebody has
    named, such as an image, says for itself that it follows.
    """
    for handler in (handlers.AsyncHTTPHandler, handlers.HTTPHandler):
        handler.create_client = _staying(handler.create_client)
    for name in ("_get_async_http_client", "_get_sync_http_client"):
        made = _staying(getattr(openai_clients.BaseOpenAILLM, name))
        setattr(openai_clients.BaseOpenAILLM, name, staticmethod(made))
    for client in (openai_library.AsyncHttpxClientWrapper, openai_library.SyncHttpxClientWrapper):
        client.__init__ = _beginning_as_staying(client.__init__)  # type: ignore[method-assign]
    for shared in (litellm.module_level_aclient, litellm.module_level_client):
        shared.client.follow_redirects = False


def _staying(make: Callable[..., Any]) -> Callable[..., Any]:
    def made(*asked: Any, **how: Any) -> Any:
        client = make(*asked, **how)
        if client is not None:
            client.follow_redirects = False
        return client

    return made


def _beginning_as_staying(begin: Callable[..., None]) -> Callable[..., None]:
    def begun(client: Any, **how: Any) -> None:
        begin(client, **{**how, "follow_redirects": False})

    return begun


def ask_openais_once() -> None:
    """From now on OpenAI's library asks once for an image, and for what has no model.

    LiteLLM leaves these to its default, two more times, unless the request has `max_retries`; of an
    image's it does not read that.
    """
    chat = openais.OpenAIChatCompletion
    chat.aimage_generation = _with_max_retries(chat.aimage_generation, lambda _: 0)
    for api in (openais.OpenAIFilesAPI, openais.OpenAIBatchesAPI, tunings.OpenAIFineTuningAPI):
        api.get_openai_client = _with_max_retries(api.get_openai_client, _none_unless_said)
    threads = openais.OpenAIAssistantsAPI
    threads.async_get_openai_client = _with_max_retries(
        threads.async_get_openai_client, _none_unless_said
    )


def give_every_piece_a_text() -> None:
    """From now on a text completion's stream has a text in each piece, if an empty one."""
    pieces = TextCompletionStreamWrapper
    pieces.convert_to_text_completion_object = _with_a_text(
        pieces.convert_to_text_completion_object
    )


def _with_a_text(convert: Callable[..., Any]) -> Callable[..., Any]:
    def converted(stream: TextCompletionStreamWrapper, chunk: Any) -> Any:
        piece = convert(stream, chunk)
        for choice in piece.choices:
            choice.text = choice.text or ""
        return piece

    return converted


def _with_max_retries(
    call: Callable[..., Any], number: Callable[[int | None], int]
) -> Callable[..., Any]:
    def called(*asked: Any, max_retries: int | None = None, **how: Any) -> Any:
        return call(*asked, max_retries=number(max_retries), **how)

    return called


def _none_unless_said(max_retries: int | None) -> int:
    return 0 if max_retries is None else max_retries


def make_no_images_up() -> None:
    """From now on an image of a model whose provider has none for LiteLLM is a failure.

    It answers with an empty list of them, and asks nobody.
    """
    images.image_generation = _with_images(images.image_generation)


def _with_images(generate: Callable[..., Any]) -> Callable[..., Any]:
    def generated(*asked: Any, **how: Any) -> Any:
        found = generate(*asked, **how)
        if isinstance(found, images.ImageResponse) and not found.data:
            raise proxy_error("LiteLLM knows no images of this model's provider", 400)
        return found

    return generated


def asked_once(call: dict[str, Any], call_type: object) -> dict[str, Any]:
    """The call, for which OpenAI's library asks once where nobody has said how often it may.

    Of speech and transcriptions LiteLLM reads `max_retries`, and leaves the library its default.
    """
    if call_type not in _ASKED_AGAIN:
        return call
    return {**call, "max_retries": _none_unless_said(call.get("max_retries"))}


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


def mend() -> None:
    """All of these, before LiteLLM reads a config."""
    let_responses_say_why_they_fail()
    give_every_piece_a_text()
    ask_openais_once()
    stay_where_asked()
    let_openais_refuse()
    let_errors_fail()
    keep_refusals()
    end_every_choice()
    make_no_images_up()
    allow_any_headers()
    take_any_metadata()

"""LiteLLM's callback: gives each request the model that was decided for it.

It is called before LiteLLM does anything with a request, to set the label; before LiteLLM chooses
among the deployments of a label, to leave none where that label has spent its budget and another
one failed; and for each deployment that LiteLLM then tries, to make the request fit for that one
(`outgoing`).

Where the decision comes from is a `Policy`. In a worker it is the gateway's, which `intake` took
off the request (`GatewayPolicy`); a request without one, such as the worker's own self-test before
it is routed, keeps its model. In a plain `litellm --config` whose callbacks name
`ccproxyd.worker.handler.proxy_handler_instance` there is no gateway, and the handler decides by
the same rules (`standalone.RulePolicy`); an `x-ccproxy-*` header is then a client's invention and
is removed.

LiteLLM's rules of the game: it looks for the hook in `vars(type(callback))`, so an inherited one
is silently skipped; it calls with keyword arguments, so the parameters' names are part of the
interface; and it takes the instance by its dotted name while it loads its config, so that is when
`proxy_handler_instance` is made, and a config that cannot be used ends LiteLLM's start.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Protocol

from attrs import evolve, frozen

from ccproxyd.errors import ValidationError
from ccproxyd.worker import doors, mended, messages, outgoing, underway, verdict
from ccproxyd.worker.answering import prefixed
from ccproxyd.worker.doors import CustomLogger
from ccproxyd.worker.verdict import Verdict

HOOK: Final = "async_pre_call_hook"
REQUEST_ID: Final = "ccproxy_request_id"
LABEL: Final = "ccproxy_label"
REQUESTED: Final = "ccproxy_requested_model"
_PLAIN: Final = ("text", "srt", "vtt")


@frozen
class Price:
    """What one request cost, as LiteLLM reckons it."""

    request_id: str
    cost_usd: float | None
    """None where nobody knows it."""
    input_tokens: int
    """What was not read from a cache, as the gateway counts it."""
    output_tokens: int
    cache_read_tokens: int = 0


Report = Callable[[Price], None]


class Policy(Protocol):
    """Where a request's label comes from."""

    async def decide(self, data: Mapping[str, Any]) -> Verdict | None:
        """The verdict on a request, or None to leave it alone.

        Raises:
            HTTPException: the request ends with its status.
        """
        ...


class GatewayPolicy:
    """The gateway decided; what it decided came with the request."""

    async def decide(self, data: Mapping[str, Any]) -> Verdict | None:  # noqa: ARG002
        return verdict.current.get()


class _Applied(str):
    """What we put into a request's metadata: a client can send the text, but not this type."""

    __slots__ = ()


class CCProxyHandler(CustomLogger):  # type: ignore[misc]
    """The callback. Without a policy it takes the one that this process has."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if HOOK not in vars(cls):
            setattr(cls, HOOK, getattr(cls, HOOK))

    def __init__(self, policy: Policy | None = None, report: Report | None = None) -> None:
        super().__init__()
        self.policy: Policy = policy or _own_policy()
        self.applied = ""
        self._report = report

    async def async_pre_call_hook(
        self,
        user_api_key_dict: Any,  # noqa: ARG002 - LiteLLM passes every parameter by name
        cache: Any,  # noqa: ARG002
        data: dict[str, Any],
        call_type: str,
    ) -> dict[str, Any]:
        """Set the model; `applied` is then the id of the request.

        Raises:
            ValidationError: LiteLLM would stumble over what the client has sent.
        """
        if call_type == doors.RELAYED:
            return data
        remove_internal_headers(data)
        if not _is_applied(data) and (found := await self.policy.decide(data)):
            _check(data, call_type)
            if doors.is_transcription(call_type):
                _want_as_asked(data)
            _apply(found, data)
            self.applied = found.request_id
        return data

    async def async_filter_deployments(
        self,
        model: str,
        healthy_deployments: list[dict[str, Any]],
        messages: Any,  # noqa: ARG002
        request_kwargs: dict[str, Any] | None = None,
        parent_otel_span: Any = None,  # noqa: ARG002
    ) -> list[dict[str, Any]]:
        """Leave none of a label that may not stand in for another; LiteLLM then goes on."""
        found = verdict.current.get()
        if found is None or not found.barred:
            return healthy_deployments
        asked = {model, *_groups(request_kwargs or {})}
        if not found.barred.isdisjoint(asked):
            return []
        return [one for one in healthy_deployments if one.get("model_name") not in found.barred]

    async def async_pre_call_deployment_hook(
        self,
        kwargs: dict[str, Any],
        call_type: Any,
    ) -> dict[str, Any] | None:
        """Make a request of ours fit for the deployment that LiteLLM has chosen."""
        requested = _mark_of(kwargs, REQUESTED)
        if requested is None:
            return None
        found = verdict.current.get()
        return outgoing.fit(
            mended.asked_once(kwargs, call_type),
            doors.is_messages(call_type),
            requested,
            found.api_key if found else None,
            os.environ,
            found.patience if found else None,
        )

    async def async_post_call_response_headers_hook(
        self,
        data: dict[str, Any],
        user_api_key_dict: Any,  # noqa: ARG002
        response: Any,
        request_headers: dict[str, str] | None = None,  # noqa: ARG002
        litellm_call_info: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> dict[str, str] | None:
        """What LiteLLM hands on of other answers, but not of a message that is no stream."""
        return prefixed(doors.headers_of_answer(data)) if isinstance(response, dict) else None

    async def async_post_call_failure_hook(
        self,
        request_data: dict[str, Any],
        original_exception: Exception,
        user_api_key_dict: Any,  # noqa: ARG002
        traceback_str: str | None = None,  # noqa: ARG002
    ) -> None:
        """Keep what the provider said, which LiteLLM's answer would not."""
        streams = request_data.get("stream") is True
        underway.note(original_exception, streams=streams, retries=doors.retries_of(request_data))

    async def log_failure_fallback_event(
        self,
        original_model_group: str,  # noqa: ARG002
        kwargs: dict[str, Any],
        original_exception: Exception,  # noqa: ARG002
    ) -> None:
        """Count a fallback that has failed as well; one that is barred has not been asked."""
        found = verdict.current.get()
        if found is None or kwargs.get("model") not in found.barred:
            underway.fallback_failed()

    async def async_log_success_event(
        self,
        kwargs: dict[str, Any],
        response_obj: Any,
        start_time: Any,  # noqa: ARG002
        end_time: Any,  # noqa: ARG002
    ) -> None:
        """Report the price of a request that we applied a verdict to."""
        event = doors.event_of(kwargs)
        if event.is_untold and self._reports(event):  # counting takes long where a prompt is
            counted = await asyncio.to_thread(doors.counted_cost, kwargs, response_obj)
            event = evolve(event, cost_usd=counted)
        self._tell_price(event)

    async def async_log_failure_event(
        self,
        kwargs: dict[str, Any],
        response_obj: Any,  # noqa: ARG002
        start_time: Any,  # noqa: ARG002
        end_time: Any,  # noqa: ARG002
    ) -> None:
        """Report the price of what a stream had said before it broke.

        Where it had said nothing, another deployment may have stood in for it, or the client got
        an error in place of it, which nobody charges for.
        """
        event = doors.partial_event_of(kwargs)
        if event.output_tokens:
            self._tell_price(event)

    def _reports(self, event: doors.Event) -> bool:
        return self._report is not None and isinstance(event.metadata.get(REQUEST_ID), _Applied)

    def _tell_price(self, event: doors.Event) -> None:
        if self._report is not None and self._reports(event):
            request_id = event.metadata[REQUEST_ID]
            tokens = event.input_tokens, event.output_tokens, event.cache_read_tokens
            self._report(Price(request_id, event.cost_usd, *tokens))


def remove_internal_headers(data: Mapping[str, Any]) -> None:
    """Take every `x-ccproxy-*` out of wherever LiteLLM keeps a request's headers."""
    for headers in _header_copies(data):
        for name in [name for name in headers if str(name).lower().startswith(verdict.PREFIX)]:
            del headers[name]


def is_duplicate_of(handler: CCProxyHandler) -> Callable[[Any], bool]:
    """Whether a callback is another plain handler, such as the user's `custom_callbacks.py` makes.

    A subclass is not: it may do more.
    """
    return lambda callback: type(callback) is CCProxyHandler and callback is not handler


def _check(data: Mapping[str, Any], call_type: str) -> None:
    """Tools and turns are lists of objects in each API that has them; LiteLLM looks into them.

    No message is without a turn; to ask a provider of another kind for one LiteLLM fails.
    """
    for name in ("tools", "messages"):
        found = data.get(name)
        if found and not (isinstance(found, list) and all(isinstance(one, dict) for one in found)):
            raise ValidationError(f"{name!r} must be a list of objects")
    if doors.is_messages(call_type) and data.get("messages") == []:
        raise ValidationError("'messages' must have one at least")


def _want_as_asked(data: Mapping[str, Any]) -> None:
    """A transcription may be wanted as it is read, and not in JSON; a form has texts alone."""
    is_plain = data.get("response_format") in _PLAIN
    underway.want(text=is_plain, events=data.get("stream") == "true")


def _apply(found: Verdict, data: dict[str, Any]) -> None:
    marks = {
        REQUEST_ID: _Applied(found.request_id),
        LABEL: _Applied(found.label),
        REQUESTED: _Applied(found.requested_model or data.get("model") or ""),
    }
    doors.metadata_of(data).update({**found.metadata, **marks, **doors.TRUE_MODEL})
    data["model"] = found.label


def _is_applied(data: Mapping[str, Any]) -> bool:
    return _mark_of(data, LABEL) is not None


def _mark_of(data: Mapping[str, Any], name: str) -> str | None:
    found = (_section(data, section).get(name) for section in doors.METADATA)
    return next((mark for mark in found if isinstance(mark, _Applied)), None)


def _groups(call: Mapping[str, Any]) -> Iterator[str]:
    """The name that a call asks for, where the router has put an alias's in its place."""
    groups = (_section(call, section).get("model_group") for section in doors.METADATA)
    return (name for name in groups if isinstance(name, str))


def _header_copies(data: Mapping[str, Any]) -> Iterator[dict[Any, Any]]:
    received = _section(data, "proxy_server_request")
    places = [
        data.get("headers"),
        data.get("extra_headers"),
        received.get("headers"),
        getattr(data.get("secret_fields"), "raw_headers", None),
        _section(data, "secret_fields").get("raw_headers"),
        *_provider_headers(data.get("provider_specific_header")),
        *_metadata_headers(data),
        *_metadata_headers(_section(received, "body")),
    ]
    return (place for place in places if isinstance(place, dict))


def _metadata_headers(data: Mapping[str, Any]) -> Iterator[Any]:
    for name in doors.METADATA:
        metadata = _section(data, name)
        yield metadata.get("headers")
        yield _section(metadata, "requester_metadata").get("headers")


def _provider_headers(value: object) -> Iterator[Any]:
    """`provider_specific_header` is one mapping or a list of them."""
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, Mapping):
            yield one.get("extra_headers")


def _section(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    return value if isinstance(value, Mapping) else {}


def _own_policy() -> Policy:
    installed = globals().get("proxy_handler_instance")
    if isinstance(installed, CCProxyHandler):
        return installed.policy
    from ccproxyd.worker.standalone import RulePolicy  # a worker never needs it

    return RulePolicy.find(os.environ)


def __getattr__(name: str) -> Any:
    """`proxy_handler_instance`, made when LiteLLM asks for it; a worker has set its own before."""
    if name != "proxy_handler_instance":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    handler = CCProxyHandler()
    messages.keep_messages_whole()
    globals()[name] = handler
    return handler

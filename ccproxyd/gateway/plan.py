"""From a decision to what the lanes are asked for.

A `Plan` has the order for LiteLLM's lane, made when it is needed, and before it the errand of the
direct lane where that may do. Once something of an answer has reached the client, the plan is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, cast

from attrs import evolve, frozen

from ccproxyd.config.lanes import DIRECT, LITELLM, Endpoint, bare_model
from ccproxyd.config.settings import Timeouts
from ccproxyd.gateway.bodies import with_model, without
from ccproxyd.gateway.exchange import Exchange
from ccproxyd.gateway.hooks.draft import for_litellm
from ccproxyd.gateway.lanes.choice import Choice, choose
from ccproxyd.gateway.lanes.direct import Errand
from ccproxyd.gateway.lanes.litellm import Order
from ccproxyd.gateway.paths import counts_tokens
from ccproxyd.gateway.report import unpriced
from ccproxyd.gateway.table import Table
from ccproxyd.routing import Decision, Request
from ccproxyd.routing.adapt import Adapted, adapt, strip_for_others
from ccproxyd.routing.families import takes_anthropics
from ccproxyd.routing.kinds import kind_of
from ccproxyd.telemetry.usage import Usage

_COUNT_TOKENS: Final = "/count_tokens"
_LONGEST_NAME: Final = 512
"""Of a model that a client names; it travels in a header."""
_ENDLESS: Final = frozenset({"amoderation"})
"""LiteLLM has no timeout of ours for these."""
_MOST_ATTEMPTS: Final = 6
"""LiteLLM follows five fallbacks, and ends each attempt in time itself."""
_NO_NOTES: Final[Mapping[str, Any]] = MappingProxyType({})


@frozen
class Plan:
    """The lanes of one request."""

    order: Callable[[], Order]
    errand: Errand | None = None
    to_count: Request | None = None
    """The request whose tokens are asked for, where that is all."""

    @property
    def lane(self) -> str:
        """The one that is tried first."""
        return LITELLM if self.errand is None else DIRECT


def plan_as_it_is(exchange: Exchange, table: Table, raw: bytes) -> Plan:
    """For a request that names no model: LiteLLM answers it."""
    return Plan(lambda: order_for(exchange, table, raw))


def plan_route(
    exchange: Exchange,
    table: Table,
    request: Request,
    raw: bytes,
    decision: Decision,
    request_id: str,
    notes: Mapping[str, Any] = _NO_NOTES,
    barred: tuple[str, ...] = (),
) -> Plan:
    """For a request whose route is decided.

    Args:
        notes: what hooks have told each other.
        barred: the labels that may not stand in for the decision's.
    """

    counted = request if counts_tokens(exchange.path) else None

    def order() -> Order:
        if counted is not None:
            body, betas = _to_be_counted(table, request, raw, decision)
            order = order_for(exchange, table, body, decision, request_id, notes)
            return evolve(order, betas=betas)
        body = _body_for_litellm(request, raw)
        order = order_for(exchange, table, body, decision, request_id, notes, barred)
        if request.call_type in _ENDLESS or not table.falls_back(decision.label):
            return order
        return _with_time_to_fall_back(order, streams=request.stream)

    choice = choice_for(table, request, decision)
    if choice.endpoint is None:
        return Plan(order, to_count=counted)
    errand = _errand(table, request, raw, decision, choice.endpoint)
    return Plan(order, errand, counted)


def _body_for_litellm(request: Request, raw: bytes) -> bytes:
    """LiteLLM fails on a stream of what cannot stream, which providers just answer."""
    if request.stream and not kind_of(request.call_type).streams:
        return without(request.body, "stream")
    return raw


def choice_for(table: Table, request: Request, decision: Decision) -> Choice:
    """The lane of a request, and why."""
    lane = table.lane_of(decision.label)
    needs_token = lane.endpoint is not None and lane.endpoint.key is None
    has_token = needs_token and table.lent(decision.label, request.headers) is not None
    return choose(lane, decision, request, has_token=has_token)


def order_for(
    exchange: Exchange,
    table: Table,
    body: bytes,
    decision: Decision | None = None,
    request_id: str = "",
    notes: Mapping[str, Any] = _NO_NOTES,
    barred: tuple[str, ...] = (),
) -> Order:
    """What LiteLLM is asked for."""
    return Order(
        body=body,
        decision=_handed_over(decision, request_id, notes, barred) if decision else None,
        token=table.lent(decision.label, exchange.headers) if decision else None,
        client_keys=table.clients_belong_to_litellm,
        timeouts=table.settings.timeouts,
    )


def _with_time_to_fall_back(order: Order, *, streams: bool) -> Order:
    """Each deployment gets the time that one alone would have, and the answer that of several.

    LiteLLM's timeout goes for the beginning of a stream and for its pauses alike, so that a stream
    gets the longer of our two.
    """
    times = order.timeouts
    patience = max(times.first_byte, times.idle) if streams else times.first_byte
    return evolve(
        order,
        decision={**(order.decision or {}), "patience": patience},
        timeouts=evolve(times, first_byte=patience * _MOST_ATTEMPTS),
    )


def _to_be_counted(
    table: Table, request: Request, raw: bytes, decision: Decision
) -> tuple[bytes, tuple[str, ...] | None]:
    """LiteLLM runs no hook on a count, so that label and body must be right when it gets them.

    So must its betas; None where they stay.
    """
    body = cast("dict[str, Any]", request.body)
    if takes_anthropics(table.provider_of(decision.label), decision.model):
        adapted = _adapted_to(decision.model, request, decision)
    else:
        adapted = strip_for_others(body, decision.model)
    unchanged = adapted.body is body and decision.label == request.requested_model
    fitting = raw if unchanged else with_model(adapted.body, decision.label)
    return fitting, adapted.betas if "betas" in adapted.changes else None


def _handed_over(
    decision: Decision, request_id: str, notes: Mapping[str, Any], barred: tuple[str, ...]
) -> dict[str, Any]:
    told: dict[str, Any] = {
        "label": decision.label,
        "request_id": request_id,
        "requested_model": decision.requested_model[:_LONGEST_NAME],
        "kept": decision.kept,
    }
    more = {"metadata": for_litellm(notes), "barred": barred}
    return {**told, **{name: value for name, value in more.items() if value}}


def _errand(
    table: Table, request: Request, raw: bytes, decision: Decision, endpoint: Endpoint
) -> Errand:
    model = bare_model(decision.model)
    adapted = _adapted(request, endpoint, model, decision)
    unchanged = adapted.body is request.body and request.requested_model == model
    token = None if endpoint.key is not None else table.lent(decision.label, request.headers)
    counts = counts_tokens(request.path)
    return Errand(
        endpoint=endpoint,
        body=raw if unchanged else with_model(adapted.body, model),
        label=decision.label,
        path_end=_COUNT_TOKENS if counts else "",
        betas=adapted.betas if adapted.changes else None,
        token=token,
        timeouts=_patience(table.settings.timeouts, request, endpoint),
        falls_back=table.falls_back(decision.label) and not counts,
        cost=_cost_of(table, request, decision),
    )


def _cost_of(table: Table, request: Request, decision: Decision) -> Callable[[Usage], float | None]:
    """How to price the answer. What the request asked for counts where the answer is silent."""
    deployment = table.lane_of(decision.label).deployment
    asked = _asked(request)

    def cost(usage: Usage) -> float | None:
        if deployment is None or not usage.counts_tokens:
            return None
        tariff = table.tariff_of(deployment, bare_model(decision.model))
        return tariff.cost(usage, **asked)

    return cost


def _asked(request: Request) -> dict[str, str | None]:
    """What a price depends on besides the tokens."""
    return {name: _text(request.body.get(name)) for name in ("service_tier", "speed")}


def cost_as_asked(
    table: Table, decision: Decision, request: Request
) -> Callable[[Usage], float | None]:
    """How to price the answer as if the model that was asked for had given it."""
    if not table.settings.logging.enable_cost_tracking:
        return unpriced
    asked = _asked(request)

    def cost(usage: Usage) -> float | None:
        tariff = table.tariff_as_asked(decision.requested_model) if usage.counts_tokens else None
        return tariff.cost(usage, **asked) if tariff else None

    return cost


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _adapted(request: Request, endpoint: Endpoint, model: str, decision: Decision) -> Adapted:
    if endpoint.protocol != "anthropic":
        return Adapted(cast("dict[str, Any]", request.body))
    return _adapted_to(model, request, decision)


def _adapted_to(model: str, request: Request, decision: Decision) -> Adapted:
    """The request as a Claude takes it; it was written for the model that the client asked for."""
    body = cast("dict[str, Any]", request.body)
    betas = request.headers.get("anthropic-beta", "")
    return adapt(body, betas, requested_model=decision.requested_model, model=model)


def _patience(timeouts: Timeouts, request: Request, endpoint: Endpoint) -> Timeouts:
    """A timeout of LiteLLM's is the longest silence; whichever limit is shorter holds."""
    streams = request.body.get("stream") is True
    theirs = (endpoint.stream_timeout if streams else None) or endpoint.timeout
    if theirs is None:
        return timeouts
    return evolve(
        timeouts, first_byte=min(timeouts.first_byte, theirs), idle=min(timeouts.idle, theirs)
    )

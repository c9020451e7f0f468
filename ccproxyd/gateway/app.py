"""One request's way through the gateway.

    path -> key -> body -> facts -> hooks and decision -> moderation -> lane -> answer -> report

Everything that can go wrong on it ends in `_answer_failure`: a `ProxyError` in the client's own
shape, anything else as `Unknown` with its type and place in the log and nothing of it in the
answer. A client that goes away cancels whatever is being done for it, up to the provider.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from secrets import token_hex
from typing import Any, Final, cast
from urllib.parse import parse_qsl, urlencode

from attrs import define, field

from ccproxyd.channel import Message
from ccproxyd.config.lanes import DIRECT, LITELLM
from ccproxyd.errors import CcproxydError, ProxyError, Unknown, ValidationError
from ccproxyd.gateway.auth import credentials
from ccproxyd.gateway.bodies import (
    ClientGoneError,
    Receive,
    check_type,
    encodings_in,
    is_form,
    is_unsaid_json,
    parse_body,
    read_body,
    unpack,
)
from ccproxyd.gateway.browsers import asks_leave, permission
from ccproxyd.gateway.budgets import as_told, barred_from, check_unrouted, within_budget
from ccproxyd.gateway.counts import answer_count
from ccproxyd.gateway.estimates import IN_THREAD, estimate_for, shortfall_for
from ccproxyd.gateway.exchange import Exchange, Send, header_pairs, in_ascii
from ccproxyd.gateway.hooks.moderation import Asked
from ccproxyd.gateway.hooks.pipeline import HOOK, Passage, Ways
from ccproxyd.gateway.hooks.received import asked_in, asked_in_bytes, received
from ccproxyd.gateway.lanes.answers import KeyRefusedError
from ccproxyd.gateway.lanes.direct import DirectFailedError, DirectLane, Errand
from ccproxyd.gateway.lanes.litellm import LiteLLMLane, Log
from ccproxyd.gateway.later import SECONDS, Later
from ccproxyd.gateway.paths import Carriage, is_of_another_provider, model_in, usual_path
from ccproxyd.gateway.plan import (
    Plan,
    choice_for,
    cost_as_asked,
    order_for,
    plan_as_it_is,
    plan_route,
)
from ccproxyd.gateway.pool import Pool
from ccproxyd.gateway.probes import OPEN_PATHS, list_models, sign_of_life
from ccproxyd.gateway.replies import error_event, error_reply, presentable
from ccproxyd.gateway.report import CARRIED, FREE, Report, about
from ccproxyd.gateway.table import Table
from ccproxyd.gateway.websocket import WebSocketExchange
from ccproxyd.routing import Decision, Request, TokenCounter, Toolsets, call_type_of
from ccproxyd.telemetry.budgets import Gate

_CLIMBS: Final = frozenset({".", ".."})
_TALKS: Final = "/realtime"
"""The end of a path that is explained as what a WebSocket asks for, if it is carried at all."""


@define
class App:
    """The ASGI application; `table` is exchanged when a new config comes into force."""

    table: Table
    pool: Pool
    lane: LiteLLMLane
    direct: DirectLane
    counter: TokenCounter
    toolsets: Toolsets
    send_report: Callable[[Message], None]
    log: Log
    gate: Gate = field(factory=Gate)
    """The budgets that are used up."""
    on_idle: Callable[[], None] = lambda: None
    """Called when nothing is in flight any more."""
    in_flight: int = 0
    leaving: bool = False
    """This process is being replaced: no connection is to be kept alive."""
    unpacking: asyncio.Lock = field(factory=asyncio.Lock)
    """One body at a time: little becomes much, also for clients whose keys LiteLLM looks at."""
    last_end: float = field(factory=time.monotonic)

    @property
    def write_seconds(self) -> float:
        """How long a client may take nothing of its answer."""
        return self.table.settings.timeouts.idle

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return
        kind = WebSocketExchange if scope["type"] == "websocket" else Exchange
        exchange = kind(scope, receive, send)
        exchange.is_last = lambda: self.leaving
        self.in_flight += 1
        try:
            await self._guarded(exchange)
        finally:
            self.in_flight -= 1
            self.last_end = time.monotonic()
            if not self.in_flight:
                self.on_idle()

    def quiet_seconds(self) -> float:
        """How long nothing has been in flight."""
        return 0.0 if self.in_flight else time.monotonic() - self.last_end

    async def _guarded(self, exchange: Exchange) -> None:
        try:
            await self._serve(exchange, self.table)
        except ClientGoneError:
            return
        except ProxyError as error:
            await _answer_failure(exchange, error)
        except Exception as error:
            self._log_bug(error)
            await _answer_failure(exchange, Unknown("internal error in the gateway"))

    async def _serve(self, exchange: Exchange, table: Table) -> None:
        if asks_leave(exchange.method, exchange.headers):
            return await exchange.reply(permission(exchange.headers))
        carriage = table.paths.carriage(exchange.method, exchange.path)
        if carriage is Carriage.ANSWERED and exchange.path in OPEN_PATHS:
            ready = bool(self.pool.ready) or table.starts_litellm_late
            return await exchange.reply(sign_of_life(exchange.path, ready=ready))
        self._admit(exchange, table, carriage)
        if carriage is Carriage.ANSWERED and not table.clients_belong_to_litellm:
            agent = exchange.headers.get("user-agent", "")
            asked = exchange.path, exchange.query, exchange.dialect, agent
            return await exchange.reply(list_models(table.routing, *asked))
        return await self._carry(exchange, table, routed=carriage is Carriage.ROUTED)

    def _admit(self, exchange: Exchange, table: Table, carriage: Carriage) -> None:
        """
        Raises:
            ProxyError: the request goes no further; the records have it none the less.
        """
        try:
            _check_path(exchange.path)
            _check_key(exchange, table)
            if carriage is Carriage.CLOSED:
                raise _not_served(exchange.method, exchange.path)
            if is_of_another_provider(exchange.path, exchange.dialect):
                said = "files are OpenAI's here; Anthropic's are at /anthropic/v1/files"
                raise ProxyError(said, code=404)
        except ProxyError as error:
            report = _report_on(exchange, routed=carriage is Carriage.ROUTED)
            report.status, report.error = error.code, type(error).__name__
            self.send_report(report.finished_message())
            raise

    async def _carry(self, exchange: Exchange, table: Table, *, routed: bool) -> None:
        report = _report_on(exchange, routed=routed)
        telling: Later | None = None
        try:
            plan = await self._plan(exchange, table, report, routed=routed)
            report.lane = plan.lane
            if report.decision is not None:
                telling = Later(lambda: self.send_report(report.decided_message(plan.lane)))
            await self._unless_gone(exchange, plan, report)
        except ProxyError as error:
            report.status, report.error = report.status or error.code, type(error).__name__
            raise
        except ClientGoneError as error:
            report.left_by_client(type(error).__name__)
            raise
        except BaseException as error:
            report.cut, report.status = True, report.status or Unknown.code
            report.error = type(error).__name__
            raise
        finally:
            if telling is not None:
                telling.now()
            self.send_report(report.finished_message())

    async def _plan(
        self, exchange: Exchange, table: Table, report: Report, *, routed: bool
    ) -> Plan:
        try:
            return await self._planned(exchange, table, report, routed=routed)
        except ProxyError as error:
            raise presentable(error) from None

    async def _planned(
        self, exchange: Exchange, table: Table, report: Report, *, routed: bool
    ) -> Plan:
        if isinstance(exchange, WebSocketExchange):
            return await self._plan_to_talk(exchange, table, report)
        check_type(exchange.header_pairs)
        raw = await self._unpacked(exchange, await read_body(exchange.receive))
        plan = self._plan_to_route if routed else self._plan_to_pass_on
        return await plan(exchange, table, report, raw)

    async def _unpacked(self, exchange: Exchange, raw: bytes) -> bytes:
        """The body as it was before it was compressed, which nobody hears of any more.

        Raises:
            ProxyError: that cannot be undone.
        """
        encodings = encodings_in(exchange.header_pairs)
        if not encodings or not raw:
            return raw
        async with self.unpacking:
            found = await asyncio.to_thread(unpack, raw, encodings)
        exchange.drop_header("content-encoding")
        return found

    async def _plan_to_pass_on(
        self, exchange: Exchange, table: Table, report: Report, raw: bytes
    ) -> Plan:
        if table.paths.spends(exchange.method, exchange.path):
            check_unrouted(self.gate)
        if raw or exchange.query:
            await self._moderate(table, report, lambda: asked_in_bytes(raw, exchange))
        return plan_as_it_is(exchange, table, raw)

    async def _plan_to_route(
        self, exchange: Exchange, table: Table, report: Report, raw: bytes
    ) -> Plan:
        passage = self._passage(exchange, table, raw, report)
        _describe(passage.request, table, report)
        decision = await self._through_hooks(exchange, passage, table, report)
        self._expect_costs(report, table, decision, passage.request)
        exchange.extra += header_pairs(_plain_pairs(passage.headers))
        scope = table.settings.moderation.scope
        await self._moderate(table, report, lambda: asked_in(passage, scope, exchange.query))
        return plan_route(
            exchange,
            table,
            passage.request,
            passage.raw,
            decision,
            report.request_id,
            passage.notes,
            barred_from(decision, self.gate, table.models),
        )

    def _expect_costs(
        self, report: Report, table: Table, decision: Decision, request: Request
    ) -> None:
        """What the answer would have cost as it was asked for, and how it is counted if need be."""
        report.cost_as_asked = cost_as_asked(table, decision, request)
        report.model_of = table.models.model_of
        report.estimate = estimate_for(request, self.counter) or shortfall_for(request)

    def _passage(self, exchange: Exchange, table: Table, raw: bytes, report: Report) -> Passage:
        request = self._request(exchange, table, raw)
        report.call_type = request.call_type
        return Passage(
            request=request,
            raw=raw,
            ways=Ways(
                decide=lambda request: self._decide(request, table, report),
                redirect=lambda name, request: table.models.redirect(name, HOOK, request),
                settle=lambda found, request: within_budget(
                    found, self.gate, table.models, request
                ),
                read=lambda raw: _request_again(request, raw, self.counter),
            ),
            received=lambda: received(exchange),
            request_id=report.request_id,
            is_form=is_form(exchange.headers.get("content-type", "")),
        )

    def _request(self, exchange: Exchange, table: Table, raw: bytes) -> Request:
        """Where nobody could change it, it shares its tools with others."""
        if is_unsaid_json(raw, exchange.headers.get("content-type", "")):
            exchange.set_header("content-type", "application/json")
        kind = exchange.headers.get("content-type", "")
        if table.router.is_built_in:
            said = parse_body(raw, kind, self.toolsets.loads)
            if self.toolsets.lacks(said):
                Later(lambda: self.toolsets.learn(raw, said))
        else:
            said = parse_body(raw, kind)
        model = model_in(exchange.path)
        body = {**said, "model": model} if model else said
        return Request(
            body, headers=exchange.headers, path=exchange.path, counter=self.counter, raw=raw
        )

    async def _through_hooks(
        self, exchange: Exchange, passage: Passage, table: Table, report: Report
    ) -> Decision:
        """A request that a hook or a budget refuses has a route, too, if it came so far."""
        try:
            report.decision = await table.hooks.run(passage)
        finally:
            report.facts = passage.facts
            if report.decision is not None:
                exchange.extra += header_pairs(_told(report.decision))
        return report.decision

    async def _moderate(self, table: Table, report: Report, asked: Callable[[], Asked]) -> None:
        """
        Raises:
            ProxyError: the request may not be sent to anybody.
        """
        if table.moderator is None:
            return
        found = await table.moderator.judge(asked())
        if found.error or table.settings.logging.enable_moderation:
            level = "warning" if found.error else "info"
            self.log(level, "ccproxy_moderation", **report.whose(), outcome=found.outcome)
        if found.error:
            raise found.error

    async def _plan_to_talk(
        self, exchange: WebSocketExchange, table: Table, report: Report
    ) -> Plan:
        """A WebSocket names its model in the query, if at all; LiteLLM runs no hook on it.

        Nor do we: what it says comes later, frame by frame, and cannot be moderated. What can be
        asked for by a request, such as OpenAI's responses, is therefore not talked about: its
        client is told so by the status at which it falls back to requests.
        """
        await exchange.receive()
        if table.paths.carriage("POST", exchange.path) is Carriage.ROUTED:
            said = f"{exchange.path} takes requests, and no WebSocket: no rule would see its model"
            raise ProxyError(said, code=426)
        if table.moderator is not None:
            raise ValidationError("a WebSocket cannot be moderated; moderation is on")
        named = dict(parse_qsl(exchange.query))
        if "model" not in named:
            check_unrouted(self.gate)
            return plan_as_it_is(exchange, table, b"")
        report.call_type = "realtime"
        request = Request({"model": named["model"]}, path=exchange.path)
        decision = await self._decide(request, table, report)
        decision = within_budget(decision, self.gate, table.models, request)
        report.decision = decision
        _describe(request, table, report)
        exchange.extra += header_pairs(_told(decision))
        exchange.query = urlencode({**named, "model": decision.label})
        barred = barred_from(decision, self.gate, table.models)
        order = order_for(exchange, table, b"", decision, report.request_id, barred=barred)
        return Plan(lambda: order)

    async def _decide(self, request: Request, table: Table, report: Report) -> Decision:
        began = time.perf_counter()
        if table.router.reads_tokens:
            if request.new_characters > IN_THREAD:
                await asyncio.to_thread(_count, request)
            else:
                Later(lambda: _count(request))
        decision = table.router.decide(request, time.monotonic())
        report.decided(decision, began)
        return decision

    async def _unless_gone(self, exchange: Exchange, plan: Plan, report: Report) -> None:
        """Run the lane, but drop it at once when the client goes away."""
        if isinstance(exchange, WebSocketExchange):
            await self._travel(exchange, plan, report)
        else:
            with _cancelled_when_gone(exchange):
                await self._travel(exchange, plan, report)

    async def _travel(self, exchange: Exchange, plan: Plan, report: Report) -> None:
        if plan.to_count is None:
            await self._by_a_lane(exchange, plan, report)
            return

        async def ask(exchange: Exchange) -> None:
            await self._by_a_lane(exchange, plan, report)

        await answer_count(exchange, plan.to_count, ask, report, self.log)
        report.cost_usd = FREE

    async def _by_a_lane(self, exchange: Exchange, plan: Plan, report: Report) -> None:
        if plan.errand is None or not await self._directly(exchange, plan.errand, report):
            exchange.lane = report.lane = LITELLM
            await self.lane.carry(exchange, plan.order(), report)

    async def _directly(self, exchange: Exchange, errand: Errand, report: Report) -> bool:
        """Whether the direct lane answered; if not, LiteLLM has a fallback."""
        exchange.lane = report.lane = DIRECT
        try:
            await self.direct.carry(exchange, errand, report)
        except DirectFailedError:
            report.handed_over = True
            return False
        return True

    async def close(self) -> None:
        """Let go of every connection that was kept."""
        await self.lane.close()
        await self.direct.close()

    def explain(self, body: Message, headers: dict[str, str], path: str) -> dict[str, Any]:
        """What would be decided for a request, and what each rule measured.

        Raises:
            ProxyError: there is no route, or the path is none that is served.
        """
        path = usual_path(path.partition("?")[0])
        carriage = self.table.paths.carriage("POST", path)
        if carriage is Carriage.CLOSED:
            raise _not_served("POST", path)
        if carriage is Carriage.CARRIED and not path.endswith(_TALKS):
            return _passed_on(path)
        model = model_in(path)
        asked = {**body, "model": model} if model else body
        request = Request(asked, headers=headers, path=path, counter=self.counter)
        found = self.table.router.explain(request, time.monotonic())
        decision = as_told(found.decision, self.gate, self.table.models, request)
        choice = choice_for(self.table, request, decision) if decision.label else None
        return {
            "label": decision.label,
            "model": decision.model,
            "rule": decision.rule,
            "reason": decision.reason,
            "lane": choice.lane if choice else "",
            "lane_reason": choice.reason if choice else "",
            "token_count": found.token_count,
            "session_id": found.session_id,
            "rules": [
                {"label": o.label, "rule": o.rule, "matched": o.matched, "detail": o.detail}
                for o in found.outcomes
            ],
        }

    def _log_bug(self, error: Exception) -> None:
        """Type and place alone: the message of an unforeseen exception could hold anything."""
        frames = traceback.extract_tb(error.__traceback__)
        where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "?"
        self.log("error", "cannot serve a request", error=type(error).__name__, where=where)


def _not_served(method: str, path: str) -> ProxyError:
    return ProxyError(f"{method} {path} is not served here", code=404)


def _passed_on(path: str) -> dict[str, Any]:
    """The explanation of what no rule is asked about."""
    why = f"no rule is asked: {path} names no model, or is a provider's own"
    return {
        **dict.fromkeys(("label", "model", "rule"), ""),
        **dict.fromkeys(("token_count", "session_id")),
        "reason": why,
        "lane": LITELLM,
        "lane_reason": "LiteLLM passes it on as it is",
        "rules": [],
    }


async def _answer_failure(exchange: Exchange, error: ProxyError) -> None:
    """Once an answer has begun, a stream alone can say more; uvicorn breaks the transfer off."""
    if exchange.started:
        await _break_off(exchange, error)
        return
    headers = {}
    if error.code == 503:
        headers["retry-after"] = "5"
    if error.code == 426:
        headers |= {"upgrade": "HTTP/1.1", "connection": "upgrade, close"}  # it has to say to what
    if error.code in (401, 403, 404) or isinstance(error, KeyRefusedError):
        headers["x-should-retry"] = "false"
    await exchange.reply(error_reply(error, exchange.dialect, headers))


async def _break_off(exchange: Exchange, error: ProxyError) -> None:
    """The blank line ends a frame that was cut in its middle."""
    if exchange.streams and not exchange.ended:
        await exchange.write(b"\n\n" + error_event(error, exchange.dialect))


def _report_on(exchange: Exchange, *, routed: bool) -> Report:
    """Under an id that the client is told."""
    report = Report(token_hex(16), call_type=call_type_of(exchange.path) if routed else CARRIED)
    exchange.extra += header_pairs([("x-ccproxy-request-id", report.request_id)])
    return report


def _check_path(path: str) -> None:
    """A path that climbs could leave the prefix that it was let in by."""
    if not _CLIMBS.isdisjoint(path.split("/")):
        raise ProxyError("the path must not contain '.' or '..'", code=400)


def _check_key(exchange: Exchange, table: Table) -> None:
    if table.clients_belong_to_litellm:
        return
    offered = credentials(exchange.headers, exchange.query)
    if not table.keyring.opens_for(offered):
        what = "the key is not one of this gateway's" if offered else "a key is needed"
        raise ProxyError(f"{what}; 'ccproxyctl env' prints a client's settings", code=401)


def _describe(request: Request, table: Table, report: Report) -> None:
    """For the records, as the client sent it; it is put into words when they are written."""
    if table.is_recorded:

        def found() -> Mapping[str, Any]:
            name = table.told_name(request.requested_model)
            return about(request, name, table.session_key)

        report.find_about = found


def _count(request: Request) -> None:
    """So that the next request of the conversation finds it done."""
    with contextlib.suppress(CcproxydError):  # a rule that needs it will meet it again, and tell
        request.token_count  # noqa: B018 - it is kept


def _request_again(request: Request, raw: bytes, counter: TokenCounter) -> Request:
    """The same with the body that hooks have made of it; the model of a path is in there."""
    body = parse_body(raw, "application/json")
    return Request(body, headers=request.headers, path=request.path, counter=counter, raw=raw)


def _told(decision: Decision) -> list[tuple[str, str]]:
    """What an answer says of its route, failed ones too."""
    return [
        ("x-ccproxy-label", in_ascii(decision.label)),
        ("x-ccproxy-rule", in_ascii(decision.rule)),
        ("x-ccproxy-model", in_ascii(decision.model)),
    ]


def _plain_pairs(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, in_ascii(value)) for name, value in headers]


@contextlib.contextmanager
def _cancelled_when_gone(exchange: Exchange) -> Iterator[None]:
    """Cancel what this task does when the client has gone.

    Raises:
        ClientGoneError: that was it.
    """
    task, is_gone, is_over = cast("asyncio.Task[None]", asyncio.current_task()), False, False
    watching: asyncio.Task[None] | None = None

    def watch() -> None:
        nonlocal watching
        watching = asyncio.ensure_future(exchange.until_gone())
        watching.add_done_callback(leave)

    def leave(_: asyncio.Future[None]) -> None:
        nonlocal is_gone
        if not (exchange.ended or is_over):
            is_gone = True
            task.cancel()

    starting = asyncio.get_running_loop().call_later(SECONDS, watch)
    try:
        yield
    except asyncio.CancelledError:
        if is_gone and not task.uncancel():
            raise ClientGoneError from None
        raise
    finally:
        is_over = True  # `leave` may be among what the loop calls next
        starting.cancel()
        if watching is not None:
            watching.remove_done_callback(leave)
            watching.cancel()

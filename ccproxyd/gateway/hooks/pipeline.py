"""The hooks of a config in their order, compiled once; a request passes them as a `Passage`.

Without hooks of the user's own there is one step, which decides the route: no copy is made of
anything. With them, `rule_evaluator` and `model_router` are steps in the list's order, so that a
hook before them changes what the rules see, one between them the label, one after them the label
or model that was found. Either of the two that is not listed runs where the other does, or at the
end. What only tells of the request, `request_analyzer` and `response_enhancer`, does so when all
else is done, wherever it is listed.

A hook that fails costs nothing but itself: what it has changed is forgotten, the failure is counted
and told by its place, and the next hook runs. But one that raises a `ProxyError` means it: the
request is refused with it.

A form is no JSON: hooks see its fields, and may route or refuse it, but what they change in it
has no effect.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import define, evolve, field, frozen

from ccproxyd.config.entries import HookEntry
from ccproxyd.config.hooks import OwnHook
from ccproxyd.config.importing import place_of, place_of_function
from ccproxyd.errors import ProxyError, ValidationError
from ccproxyd.gateway.hooks import draft
from ccproxyd.gateway.hooks.built_in import (
    captured_headers,
    header_notes,
    request_facts,
    route_headers,
    session_notes,
)
from ccproxyd.gateway.hooks.calls import Caller, Failed
from ccproxyd.gateway.hooks.draft import Draft
from ccproxyd.routing import Decision, Request

HOOK: Final = "hook"
"""What stands for a rule where a hook has decided."""

OnFailure = Callable[[str, BaseException, str], None]
"""Told of a rule or a hook that failed: its place in the config, the exception, and where in the
user's own code it was raised, which may be nowhere."""


@frozen
class Ways:
    """What the pipeline asks of the gateway for one request."""

    decide: Callable[[Request], Awaitable[Decision]]
    redirect: Callable[[str, Request], Decision]
    """To a label or a model; raises NoRouteError."""
    settle: Callable[[Decision, Request], Decision]
    """What becomes of a route that all have agreed on; raises ProxyError."""
    read: Callable[[bytes], Request]
    """The request with another body."""


@define
class Passage:
    """One request on its way through the hooks, and what has come of it so far."""

    request: Request
    raw: bytes
    ways: Ways
    received: Callable[[], Mapping[str, Any]] = dict
    """What hooks find in `proxy_server_request`, but for the body."""
    request_id: str = ""
    is_form: bool = False
    decision: Decision | None = None
    facts: dict[str, Any] = field(factory=dict)
    """For the request's record in the log."""
    headers: list[tuple[str, str]] = field(factory=list)
    """For its answer."""
    original_model: str = field(init=False)
    _label: str | None = None
    """What `model_router` has found."""
    _notes: dict[str, Any] = field(factory=dict)
    _draft: Draft | None = None

    @original_model.default
    def _asked(self) -> str:
        return self.request.requested_model

    @property
    def notes(self) -> Mapping[str, Any]:
        return self._notes if self._draft is None else self._draft.notes

    @property
    def draft(self) -> Draft:
        """Made for the first hook that wants it.

        Raises:
            ValidationError: the body is such that nobody could write it again.
        """
        if self._draft is None:
            try:
                body = dict(self.request.body)
                received, label = self.received(), self._label
                self._draft = Draft(body, received, self.request_id, self._notes, label=label)
            except TypeError:
                raise ValidationError("the request body is nested too deeply") from None
        return self._draft

    def note(self, **notes: Any) -> None:
        if self._draft is None:
            self._notes.update(notes)
        else:
            self._draft.note(notes)

    def route(self, decision: Decision) -> None:
        """The request goes there, as far as we know."""
        self.decision, self._label = decision, decision.label
        self.note(
            **{draft.LABEL: decision.label, draft.MODEL: decision.model, draft.KEPT: decision.kept}
        )
        if self._draft is not None:
            self._draft.route(decision.label)

    def take(self, returned: object) -> None:
        """Take over what a hook has made of the request."""
        taken = self.draft.take(returned)
        if taken.changed and not self.is_form:
            self.raw = self.draft.json
            self.request = self.ways.read(self.raw)
        if taken.model is not None:
            self.route(self.ways.redirect(taken.model, self.request))


Step = Callable[[Passage], Awaitable[None]]


@frozen
class Pipeline:
    """All that is done to a request before it goes to a lane."""

    steps: tuple[Step, ...]
    last: tuple[Step, ...] = ()
    """They tell what has come of it all."""

    async def run(self, passage: Passage) -> Decision:
        """Everything, in its order; gives the route.

        Raises:
            ProxyError: there is none, or a rule or a hook refuses the request.
        """
        for step in self.steps:
            await step(passage)
        settled = passage.ways.settle(await _decided(passage), passage.request)
        found = _as_asked(settled, passage.original_model)
        if found is not passage.decision:
            passage.route(found)
        for step in self.last:
            await step(passage)
        return found


def compile_hooks(
    entries: Iterable[HookEntry],
    own: Mapping[str, OwnHook],
    config_dir: Path,
    on_error: OnFailure,
) -> Pipeline:
    """The pipeline of a config; `own` has the user's hooks by the paths of their entries."""
    caller = Caller()
    steps: list[Step] = []
    last: list[Step] = []
    for entry in entries:
        if entry.path in own:
            steps.append(OwnStep(own[entry.path], caller, config_dir.resolve(), on_error))
        elif entry.hook == "capture_headers":
            steps.append(Capture(entry.headers()))
        elif entry.hook in _STEPS:
            steps.append(_STEPS[entry.hook])
        elif entry.hook in _LAST_STEPS and _LAST_STEPS[entry.hook] not in last:
            last.append(_LAST_STEPS[entry.hook])
    if not any(isinstance(step, OwnStep) for step in steps):
        steps = [step for step in steps if step not in (evaluate_rules, route)]
        steps.append(find_route)
    elif route not in steps:
        steps.append(route)
    return Pipeline(tuple(steps), tuple(last))


def _as_asked(decision: Decision, original_model: str) -> Decision:
    """A hook may ask for a model in the client's place; the client has asked for its own."""
    if decision.requested_model == original_model:
        return decision
    return evolve(decision, requested_model=original_model, kept=False)


async def find_route(passage: Passage) -> None:
    """`rule_evaluator` and `model_router`, where no hook of the user's own has a say."""
    decision = await passage.ways.decide(passage.request)
    passage.note(**{draft.ALIAS: decision.requested_model})
    passage.route(decision)


async def evaluate_rules(passage: Passage) -> None:
    """`rule_evaluator`."""
    decision = await _decided(passage)
    passage.note(**{draft.ALIAS: decision.requested_model, draft.LABEL: decision.label})


async def route(passage: Passage) -> None:
    """`model_router`: a hook may have put another label into the notes."""
    if draft.ALIAS not in passage.notes:
        await evaluate_rules(passage)
    decision = await _decided(passage)
    label = passage.notes.get(draft.LABEL)
    if isinstance(label, str) and label != decision.label:
        decision = passage.ways.redirect(label, passage.request)
    passage.route(decision)


async def extract_session_id(passage: Passage) -> None:
    """Noted, not told: the log has the session's mark, which nobody can turn back."""
    passage.note(**session_notes(passage.request))


async def analyze_request(passage: Passage) -> None:
    passage.facts |= request_facts(passage.request)


async def enhance_response(passage: Passage) -> None:
    passage.headers += route_headers(passage.original_model, await _decided(passage))


@frozen
class Capture:
    """`capture_headers`."""

    wanted: tuple[str, ...]

    async def __call__(self, passage: Passage) -> None:
        found = captured_headers(passage.request, self.wanted)
        passage.facts["headers"] = found
        passage.note(**header_notes(found, passage.request))


@frozen
class OwnStep:
    """A hook of the user's own."""

    hook: OwnHook
    caller: Caller
    config_dir: Path
    on_error: OnFailure

    async def __call__(self, passage: Passage) -> None:
        """
        Raises:
            ProxyError: the hook refuses the request, or asks for a model that nobody serves.
        """
        data = passage.draft.data
        try:
            passage.take(await self.caller.call(self.hook.function, data, {}, **self.hook.params))
        except (Failed, TypeError) as failed:
            error = failed.__cause__ or failed
            if isinstance(error, ProxyError):
                raise error from None
            passage.draft.drop()
            self.on_error(self.hook.path, error, self._place(error))

    def _place(self, error: BaseException) -> str:
        return place_of(error, self.config_dir) or place_of_function(
            self.hook.function, self.config_dir
        )


_STEPS: Final[Mapping[str, Step]] = {
    "rule_evaluator": evaluate_rules,
    "model_router": route,
    "extract_session_id": extract_session_id,
}
_LAST_STEPS: Final[Mapping[str, Step]] = {
    "request_analyzer": analyze_request,
    "response_enhancer": enhance_response,
}


async def _decided(passage: Passage) -> Decision:
    if passage.decision is None:
        passage.decision = await passage.ways.decide(passage.request)
    return passage.decision

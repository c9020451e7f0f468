"""What a used-up budget means for a request: it goes on, to another label, or not at all.

A count of tokens costs nothing and is never refused; it is made for the label that the request
would go to. What is passed on as it is has no label: the budgets of everything hold for it. 403 is
what makes Claude Code stop, instead of trying again.
"""

from __future__ import annotations

from typing import Final

from attrs import evolve

from ccproxyd.errors import ProxyError
from ccproxyd.gateway.paths import counts_tokens
from ccproxyd.routing import Decision, ModelRouter, Request
from ccproxyd.telemetry.bookings import names_of
from ccproxyd.telemetry.budgets import Gate, Rejected, RouteTo

BUDGET: Final = "budget"
"""What stands in a decision in place of a rule."""


_NO_LABEL: Final = ""


class BudgetUsedUpError(ProxyError):
    """Nothing more may be spent on it."""

    code = 403


def within_budget(
    decision: Decision, gate: Gate, models: ModelRouter, request: Request
) -> Decision:
    """The decision, or the one that the budgets leave.

    Raises:
        BudgetUsedUpError: they leave none.
    """
    verdict = gate.verdict(
        decision.label, lambda label: names_of(label, models), movable=request.is_conversation
    )
    match verdict:
        case RouteTo(label, reason):
            return evolve(models.redirect(label, BUDGET, request), reason=reason)
        case Rejected(reason) if not counts_tokens(request.path):
            raise BudgetUsedUpError(reason)
    return decision


def as_told(decision: Decision, gate: Gate, models: ModelRouter, request: Request) -> Decision:
    """What the budgets leave, for who only wants to know: a refusal is a decision as well."""
    if not decision.label:
        return decision
    try:
        return within_budget(decision, gate, models, request)
    except BudgetUsedUpError as error:
        return Decision("", BUDGET, "", f"refused: {error.message}", request.requested_model)


def barred_from(decision: Decision, gate: Gate, models: ModelRouter) -> tuple[str, ...]:
    """The labels that may not answer in place of the one that was decided for."""
    return gate.barred(decision.label, lambda label: names_of(label, models))


def check_unrouted(gate: Gate) -> None:
    """Refuse what has no label, and can be given none, where a budget of everything is used up.

    Raises:
        BudgetUsedUpError: one is.
    """
    verdict = gate.verdict(_NO_LABEL, movable=False)
    if isinstance(verdict, Rejected):
        raise BudgetUsedUpError(verdict.reason)

"""What is spent, held against the budgets: the ledger, as the house uses it.

Each finished request and each price is booked. Then, and every few seconds, since a day ends
without anything happening, the budgets are looked at: what is to be told is told once, and the
gateways hear of it when another budget is used up, or one is no longer.

Only the disk is waited for, and that in a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
from attrs import define, field

from ccproxyd.channel import Message
from ccproxyd.config.budgets import Budgets
from ccproxyd.config.load import Loaded
from ccproxyd.telemetry.bookings import Account, Accounts, Bookings, Entry
from ccproxyd.telemetry.budgets import OK, Standing, alerts, evaluate, gate_message
from ccproxyd.telemetry.ledger import FLUSH_SECONDS, Ledger
from ccproxyd.telemetry.logs import Logger

FILE: Final = "usage.db"
ALERT: Final = "ccproxy_budget_alert"
_CLOSE_SECONDS: Final = 5.0
"""A disk that hangs must not keep the daemon from ending."""


def whose(cause: Account | None) -> dict[str, str]:
    """The names of the request by which a limit was reached, if it was one."""
    return {} if cause is None else {"model_name": cause.label, "routed_model": cause.model}


@define(eq=False)
class Purse:
    """`tell_gateways` is called with what they have to know, whenever that changes."""

    ledger: Ledger
    bookings: Bookings
    limits: Budgets
    log: Logger
    tell_gateways: Callable[[Message], None]
    gate: Message = field(init=False)
    """What the gateways know."""

    @classmethod
    def open(
        cls, state: Path, loaded: Loaded, log: Logger, tell_gateways: Callable[[Message], None]
    ) -> Purse:
        bookings = Bookings(Accounts.of(loaded.settings, loaded.litellm))
        ledger = Ledger.open(state / FILE, log)
        return cls(ledger, bookings, loaded.settings.budgets, log, tell_gateways)

    def __attrs_post_init__(self) -> None:
        self.gate = gate_message(self.limits, ())
        self.look()

    def take(self, loaded: Loaded) -> None:
        """Another config is in force."""
        self.bookings.accounts = Accounts.of(loaded.settings, loaded.litellm)
        self.limits = loaded.settings.budgets
        self.look()

    def finished(self, message: Message) -> None:
        self._book(self.bookings.finished(message, self.ledger.today))

    def priced(self, message: Message) -> None:
        self._book(self.bookings.priced(message))

    def _book(self, entry: Entry | None) -> None:
        if entry is not None:
            self.ledger.add(entry)
            self.look(entry.account)

    def standings(self) -> tuple[Standing, ...]:
        """Where each budget stands; without one nothing is summed up."""
        if not (self.limits.per_label or self.limits.daily_usd or self.limits.monthly_usd):
            return ()
        today = self.ledger.today
        names = self.bookings.accounts.names_of
        return evaluate(self.limits, self.ledger.spending(today), today, names)

    def look(self, cause: Account | None = None) -> None:
        """Tell what is to be told now; `cause` is whose request was booked just before."""
        standings = self.standings()
        for alert in alerts(standings, self.ledger.told):
            self.log("warning", ALERT, because=alert.event, **alert.facts, **whose(cause))
            self.ledger.tell(alert.mark)
        self._tell(gate_message(self.limits, standings))

    def _tell(self, gate: Message) -> None:
        if gate != self.gate:
            self.gate = gate
            self.tell_gateways(gate)

    def to_json(self) -> list[dict[str, Any]]:
        """For `status`."""
        return [standing.to_json() for standing in self.standings()]

    def complaints(self) -> list[str]:
        used_up = [str(standing) for standing in self.standings() if standing.level != OK]
        return [*used_up, *self.ledger.warnings]

    async def run(self) -> None:
        """Write now and then, and look whether another day has begun."""
        while True:
            await anyio.sleep(FLUSH_SECONDS)
            self.look()
            await anyio.to_thread.run_sync(self.ledger.flush)

    async def close(self) -> None:
        with anyio.move_on_after(_CLOSE_SECONDS):
            await anyio.to_thread.run_sync(self.ledger.close, abandon_on_cancel=True)

"""What has been spent, through restarts: sums by day, label and model.

    known      what the file has of the last two months
    leaving    what is being written
    new        what has come since

`add` and `spending` touch memory alone and may be called from the event loop; `flush` goes to disk
and belongs into a thread, every `FLUSH_SECONDS` and once at the end. A crash loses what came since
the last one. See `ledger_file` for the file.

Whatever is wrong with the file costs no request and stops nothing: it is logged once, stands in
`warnings`, and what would have been written stays in memory and is tried again with each flush.
A damaged file is moved aside, never deleted, and a new one gets what is known of the last two
months.
"""

from __future__ import annotations

import contextlib
import datetime
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from attrs import define, evolve, field

from ccproxyd.telemetry.bookings import Account, Amounts, Entry, Rows, Spending
from ccproxyd.telemetry.budgets import Mark
from ccproxyd.telemetry.ledger_file import Contents, DamagedError, LedgerFile, UnusableError
from ccproxyd.telemetry.stats import OTHER

FLUSH_SECONDS: Final = 5.0
KNOWN_DAYS: Final = 62
"""This month and, for a clock that is set back, the one before."""
MODELS: Final = 100
"""Models of one label and day; with a wildcard in `model_list` the clients choose them."""
_MOST_DAMAGED: Final = 3
"""A disk that spoils every file is not to be filled with them."""
_UNTIL_THEN: Final = "what is spent is kept in memory, and lost when ccproxyd ends"

Log = Callable[..., object]
Clock = Callable[[], datetime.datetime]


@define(eq=False)
class Ledger:
    """Opened by `Ledger.open`; `told` are the alerts that have been told."""

    _file: LedgerFile
    _log: Log
    _clock: Clock
    told: frozenset[Mark] = field(default=frozenset(), init=False)
    _written: frozenset[Mark] = field(default=frozenset(), init=False)
    _known: dict[Account, Amounts] = field(factory=dict, init=False)
    _leaving: dict[Account, Amounts] = field(factory=dict, init=False)
    _new: dict[Account, Amounts] = field(factory=dict, init=False)
    _damaged: list[str] = field(factory=list, init=False)
    _trouble: str | None = field(default=None, init=False)
    _memory: threading.Lock = field(factory=threading.Lock, init=False)
    """Held for microseconds."""
    _disk: threading.Lock = field(factory=threading.Lock, init=False)
    """Held as long as the disk takes."""

    @classmethod
    def open(
        cls, file: LedgerFile | Path, log: Log, clock: Clock = datetime.datetime.now
    ) -> Ledger:
        """The ledger in a file, which is made if need be; it never fails, see `warnings`."""
        ledger = cls(LedgerFile(file) if isinstance(file, Path) else file, log, clock)
        with contextlib.suppress(UnusableError):  # the first try to write meets it again
            ledger._recover()
        ledger._save()
        return ledger

    @property
    def today(self) -> datetime.date:
        """In local time."""
        return self._clock().date()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is to be said to whoever asks how the daemon is."""
        return (*self._damaged, *([self._trouble] if self._trouble else ()))

    def add(self, entry: Entry) -> None:
        with self._memory:
            account = self._folded(entry.account)
            self._new[account] = self._new.get(account, Amounts()) + entry.amounts

    def tell(self, mark: Mark) -> None:
        """Remember that something has been told."""
        with self._memory:
            self.told |= {mark}

    def spending(self, today: datetime.date) -> Spending:
        with self._memory:
            rows = [item for part in self._parts() for item in part.items()]
        return Spending.of(rows, today)

    def flush(self) -> None:
        """Write what is new, if there is anything; where it cannot be written it is kept."""
        with self._disk:
            if self._new or self.told - self._written:
                self._save()

    close = flush
    """There is nothing else to end: the file is open only while it is written."""

    def _parts(self) -> tuple[dict[Account, Amounts], ...]:
        return self._known, self._leaving, self._new

    def _folded(self, account: Account) -> Account:
        if any(account in part for part in self._parts()):
            return account
        models = {
            other.model
            for part in self._parts()
            for other in part
            if (other.day, other.label) == (account.day, account.label)
        }
        return account if len(models) < MODELS else evolve(account, model=OTHER)

    @property
    def _since(self) -> datetime.date:
        return self.today - datetime.timedelta(KNOWN_DAYS)

    def _recover(self) -> None:
        """Read what was there before this process; a file that can only be read is of use too."""
        try:
            found = self._file.read(self._since)
        except DamagedError as error:
            self._move_aside(error)
        else:
            self._known, self.told = dict(found.rows), found.told

    def _save(self) -> None:
        with self._memory:
            self._leaving, self._new = self._new, {}
            told = self.told
        try:
            found = self._exchanged(Contents(self._leaving, told - self._written))
        except UnusableError as error:
            self._keep()
            self._be_in_trouble(str(error))
        else:
            self._take_over(found, told)
            self._be_well()

    def _exchanged(self, added: Contents) -> Contents:
        try:
            return self._file.exchange(added, self._everything, self._since)
        except DamagedError as error:
            self._move_aside(error)
            return self._file.exchange(added, self._everything, self._since)

    def _everything(self) -> Contents:
        """For a file that is new."""
        return Contents(_merged(self._known, self._leaving), self.told)

    def _move_aside(self, damage: DamagedError) -> None:
        if len(self._damaged) >= _MOST_DAMAGED:
            raise UnusableError(f"it is damaged each time: {damage}") from None
        path, aside = self._file.path, self._file.move_aside(self._clock())
        self._damaged.append(
            f"{path} was damaged ({damage}) and is now {aside}; what only that file knew of this"
            " month's spending does not count"
        )
        self._log("warning", "moved a damaged ledger aside", because=str(damage), now=str(aside))

    def _take_over(self, found: Contents, told: frozenset[Mark]) -> None:
        with self._memory:
            self._known, self._leaving = dict(found.rows), {}
            self.told |= found.told
            self._written = told | found.told

    def _keep(self) -> None:
        with self._memory:
            self._new = _merged(self._leaving, self._new)
            self._leaving = {}

    def _be_in_trouble(self, because: str) -> None:
        trouble = f"cannot write {self._file.path}: {because}; {_UNTIL_THEN}"
        if trouble != self._trouble:
            self._log("warning", "cannot write the ledger", because=because, path=self._file.path)
        self._trouble = trouble

    def _be_well(self) -> None:
        if self._trouble is not None:
            self._log("info", "the ledger is written again", path=self._file.path)
        self._trouble = None


def _merged(first: Rows, second: Rows) -> dict[Account, Amounts]:
    merged = dict(first)
    for account, amounts in second.items():
        merged[account] = merged.get(account, Amounts()) + amounts
    return merged

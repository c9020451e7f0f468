"""The ledger on disk: one SQLite file of two small tables.

A line of `usage` is a day, a label and a model, with what they came to. Ten lines a day are 600 KB
a year, so none is ever deleted. `told` has the alerts of late.

Each exchange opens the file, writes in one transaction, reads back and closes it. So any thread may
call, nothing is held through a fork, a file that somebody moved away is made anew, and a second
daemon on the same file adds to it in turn instead of undoing what the first one wrote. Such a batch
every few seconds needs no WAL: the file stays one file, which can be copied and lies well on NFS.

What the file is stands in its header: `application_id` says that it is ours, `user_version` which
tables it has. Damaged is what SQLite says so of, or does not find its own tables in.
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from attrs import field, frozen

from ccproxyd.telemetry.bookings import Account, Amounts, Rows
from ccproxyd.telemetry.budgets import Mark

APPLICATION_ID: Final = 0x63637064
"""`ccpd` in ASCII."""
VERSION: Final = 1
BUSY_SECONDS: Final = 2.0
"""How long to wait for somebody else who writes."""

_TABLES: Final = (
    """CREATE TABLE usage (
        day TEXT NOT NULL,
        label TEXT NOT NULL,
        model TEXT NOT NULL,
        requests INTEGER NOT NULL,
        input_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        cache_read_tokens INTEGER NOT NULL,
        unpriced INTEGER NOT NULL,
        nano_usd INTEGER NOT NULL,
        PRIMARY KEY (day, label, model)
    ) WITHOUT ROWID""",
    """CREATE TABLE told (
        start TEXT NOT NULL,
        budget TEXT NOT NULL,
        level TEXT NOT NULL,
        PRIMARY KEY (start, budget, level)
    ) WITHOUT ROWID""",
)
_ADD: Final = """INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (day, label, model) DO UPDATE SET
        requests = requests + excluded.requests,
        input_tokens = input_tokens + excluded.input_tokens,
        output_tokens = output_tokens + excluded.output_tokens,
        cache_read_tokens = cache_read_tokens + excluded.cache_read_tokens,
        unpriced = unpriced + excluded.unpriced,
        nano_usd = nano_usd + excluded.nano_usd"""
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR})
"""SQLITE_ERROR: our statements are right, so it is the tables that are not."""
_PRIMARY: Final = 0xFF
"""The bits of an error's code without its extension."""


class UnusableError(Exception):
    """Nothing can be read or written for now, or the file is not ours to touch."""


class DamagedError(UnusableError):
    """The file is of no use to anybody as it is."""


@frozen
class Contents:
    """Lines and alerts: those to be added, or those that are there."""

    rows: Rows = field(factory=dict)
    told: frozenset[Mark] = frozenset()


def connect(path: Path) -> sqlite3.Connection:
    """A connection whose transactions are our own to begin and to end."""
    return sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)


@frozen
class LedgerFile:
    path: Path
    connect: Callable[[Path], sqlite3.Connection] = connect

    def read(self, since: datetime.date) -> Contents:
        """What is there since a day; a file that is not there is made, and empty.

        Raises:
            DamagedError: the whole file was looked through, and something is wrong with it.
            UnusableError: it is not ours, or cannot be read.
        """
        with self._open() as connection:
            if _is_new(connection):
                return Contents()
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise DamagedError(found)
            return _read(connection, since)

    def exchange(
        self, added: Contents, everything: Callable[[], Contents], since: datetime.date
    ) -> Contents:
        """Add to the file, all or nothing, and read what is there since a day.

        Args:
            everything: what a file that is new gets in place of `added`.

        Raises:
            DamagedError, UnusableError: nothing was added.
        """
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            if _is_new(connection):
                _create(connection)
                added = everything()
            _write(connection, added, since)
            found = _read(connection, since)
            connection.execute("COMMIT")  # closed without it, SQLite undoes the rest
            return found

    def move_aside(self, now: datetime.datetime) -> Path:
        """Put a damaged file where nobody uses it, with the journal that belongs to it.

        Raises:
            UnusableError: it cannot be moved.
        """
        try:
            aside = self._unused(f"{self.path.name}.damaged-{now:%Y%m%d-%H%M%S}")
            self.path.rename(aside)
            for end in ("-journal", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{self.path}{end}").rename(f"{aside}{end}")
        except OSError as error:
            raise UnusableError(f"it is damaged, and cannot be moved: {error.strerror}") from None
        return aside

    def _unused(self, name: str) -> Path:
        names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
        return next(path for each in names if not (path := self.path.with_name(each)).exists())

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection; whatever fails in its scope comes out as an error of ours."""
        try:
            self._make()
            with contextlib.closing(self.connect(self.path)) as connection:
                yield connection
        except sqlite3.Error as error:
            raise _translated(error) from None
        except OSError as error:
            raise UnusableError(error.strerror or type(error).__name__) from None
        except (TypeError, ValueError) as error:
            raise DamagedError(f"a line cannot be read: {type(error).__name__}") from None

    def _make(self) -> None:
        """For its owner alone; SQLite gives its journal the same mode."""
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            mode = self.path.stat().st_mode
            if stat.S_ISREG(mode) and mode & 0o077:
                with contextlib.suppress(PermissionError):
                    self.path.chmod(0o600)


def _translated(error: sqlite3.Error) -> UnusableError:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # Python's own complaint, which quotes the text
        return DamagedError("a text in it is not UTF-8")
    return (DamagedError if code & _PRIMARY in _DAMAGE else UnusableError)(str(error))


def _is_new(connection: sqlite3.Connection) -> bool:
    """Whether it is empty; if not, it is ours and of this version.

    Raises:
        UnusableError: it is somebody else's, or of a later version.
    """
    ours, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("application_id", "user_version")
    )
    if ours == APPLICATION_ID and version == VERSION:
        return False
    if ours == APPLICATION_ID:
        told = f"it is of version {version}, and this ccproxyd knows {VERSION}; update ccproxyd"
        raise UnusableError(told)
    if ours or version or connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise UnusableError("it is the database of another program; move it away")
    return True


def _create(connection: sqlite3.Connection) -> None:
    for table in _TABLES:
        connection.execute(table)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _write(connection: sqlite3.Connection, added: Contents, since: datetime.date) -> None:
    lines = [_line(account, amounts) for account, amounts in added.rows.items()]
    told = [(mark.start.isoformat(), mark.budget, mark.level) for mark in added.told]
    connection.executemany(_ADD, lines)
    connection.execute("DELETE FROM told WHERE start < ?", [since.isoformat()])
    connection.executemany("INSERT OR IGNORE INTO told VALUES (?, ?, ?)", told)


def _line(account: Account, amounts: Amounts) -> tuple[str | int, ...]:
    return (
        account.day.isoformat(),
        account.label,
        account.model,
        amounts.requests,
        amounts.input_tokens,
        amounts.output_tokens,
        amounts.cache_read_tokens,
        amounts.unpriced,
        amounts.nano_usd,
    )


def _read(connection: sqlite3.Connection, since: datetime.date) -> Contents:
    lines = connection.execute("SELECT * FROM usage WHERE day >= ?", [since.isoformat()])
    rows: Mapping[Account, Amounts] = {
        Account(datetime.date.fromisoformat(day), label, model): Amounts(*map(int, numbers))
        for day, label, model, *numbers in lines
    }
    marks = connection.execute("SELECT * FROM told WHERE start >= ?", [since.isoformat()])
    told = [Mark(datetime.date.fromisoformat(start), *rest) for start, *rest in marks]
    return Contents(rows, frozenset(told))

from __future__ import annotations

import datetime
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ccproxyd.telemetry.bookings import Account, Amounts
from ccproxyd.telemetry.budgets import Mark
from ccproxyd.telemetry.ledger_file import (
    APPLICATION_ID,
    VERSION,
    Contents,
    DamagedError,
    LedgerFile,
    UnusableError,
    connect,
)

TODAY = datetime.date(2026, 11, 21)
NOW = datetime.datetime(2026, 11, 21, 10, 30, 5)
LONG_AGO = datetime.date(2000, 1, 1)
THINK = Account(TODAY, "think", "anthropic/opus")
DEFAULT = Account(TODAY, "default", "anthropic/sonnet")
SOME = Amounts(1, 2, 3, 4, 5, 6)
MARK = Mark(TODAY, "the daily budget (10 USD)", "warning")


@pytest.fixture
def file(tmp_path: Path) -> LedgerFile:
    return LedgerFile(tmp_path / "usage.db")


def contents(*accounts: Account, told: frozenset[Mark] = frozenset()) -> Contents:
    return Contents(dict.fromkeys(accounts, SOME), told)


def exchange(file: LedgerFile, added: Contents, since: datetime.date = LONG_AGO) -> Contents:
    return file.exchange(added, lambda: added, since)


def execute(file: LedgerFile, *statements: str) -> None:
    connection = connect(file.path)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def but(statement: str) -> Callable[[Path], sqlite3.Connection]:
    """Connections for which SQLite itself has a limit, as a disk would."""

    def limited(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.execute(statement)
        return connection

    return limited


# What is written is read


def test_what_is_added_is_there_afterwards(file: LedgerFile) -> None:
    added = contents(THINK, DEFAULT, told=frozenset({MARK}))
    assert exchange(file, added) == added
    assert file.read(LONG_AGO) == added


def test_the_same_account_is_added_to(file: LedgerFile) -> None:
    exchange(file, contents(THINK, DEFAULT))
    found = exchange(file, contents(THINK))
    assert found.rows == {THINK: SOME + SOME, DEFAULT: SOME}


def test_amounts_may_be_taken_back(file: LedgerFile) -> None:
    exchange(file, Contents({THINK: Amounts(requests=1, unpriced=1)}))
    found = exchange(file, Contents({THINK: Amounts(unpriced=-1, nano_usd=7)}))
    assert found.rows == {THINK: Amounts(requests=1, nano_usd=7)}


def test_an_alert_that_is_told_twice_is_there_once(file: LedgerFile) -> None:
    exchange(file, contents(told=frozenset({MARK})))
    assert exchange(file, contents(told=frozenset({MARK}))).told == {MARK}


def test_only_what_is_asked_for_is_read_and_nothing_of_the_rest_is_lost(file: LedgerFile) -> None:
    before = Account(datetime.date(2025, 1, 1), "think", "m")
    exchange(file, contents(THINK, before))
    assert exchange(file, contents(DEFAULT), since=TODAY).rows.keys() == {THINK, DEFAULT}
    assert file.read(TODAY).rows.keys() == {THINK, DEFAULT}
    assert file.read(LONG_AGO).rows.keys() == {THINK, DEFAULT, before}


def test_alerts_of_long_ago_are_forgotten(file: LedgerFile) -> None:
    exchange(file, contents(told=frozenset({MARK})))
    exchange(file, contents(), since=TODAY + datetime.timedelta(1))
    assert file.read(LONG_AGO).told == frozenset()


def test_names_may_be_any_text(file: LedgerFile) -> None:
    odd = Account(TODAY, "it's; DROP TABLE usage\0--", "модель 模型 \U0001f600 \n")
    assert exchange(file, contents(odd)).rows == {odd: SOME}


def test_a_new_file_gets_everything_that_is_known(file: LedgerFile) -> None:
    found = file.exchange(contents(THINK), lambda: contents(THINK, DEFAULT), LONG_AGO)
    assert found.rows.keys() == {THINK, DEFAULT}
    found = file.exchange(contents(THINK), lambda: contents(), LONG_AGO)
    assert found.rows[THINK] == SOME + SOME


def test_a_file_that_was_taken_away_is_made_anew(file: LedgerFile) -> None:
    exchange(file, contents(THINK))
    file.path.unlink()
    assert exchange(file, contents(DEFAULT)).rows == {DEFAULT: SOME}


def test_it_is_one_file_for_its_owner_alone(file: LedgerFile) -> None:
    before = os.umask(0)
    try:
        exchange(file, contents(THINK))
    finally:
        os.umask(before)
    assert [path.name for path in file.path.parent.iterdir()] == ["usage.db"]
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_others_may_read_is_closed_to_them(file: LedgerFile) -> None:
    exchange(file, contents(THINK))
    file.path.chmod(0o644)
    file.read(TODAY)
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_a_year_of_use_is_less_than_a_megabyte(file: LedgerFile) -> None:
    names = [(f"label-{number}", f"anthropic/claude-model-{number}") for number in range(10)]
    days = [TODAY - datetime.timedelta(number) for number in range(365)]
    rows = {
        Account(day, *name): Amounts(431, 12_345_678, 234_567, 34_567_890, 2, 12_345_678_901)
        for day in days
        for name in names
    }
    exchange(file, Contents(rows))
    assert file.path.stat().st_size < 1_000_000


def test_its_header_says_whose_it_is(file: LedgerFile) -> None:
    exchange(file, contents())
    head = file.path.read_bytes()[:100]
    assert int.from_bytes(head[60:64]) == VERSION
    assert int.from_bytes(head[68:72]) == APPLICATION_ID


# What cannot be used


def untouched(file: LedgerFile) -> str:
    """What is said of a file that nothing can be added to, and that stays as it is."""
    before = file.path.read_bytes()
    with pytest.raises(UnusableError) as caught:
        exchange(file, contents(THINK))
    assert not isinstance(caught.value, DamagedError)
    assert file.path.read_bytes() == before
    return str(caught.value)


@pytest.mark.parametrize(
    "statement",
    ["CREATE TABLE theirs (x)", "PRAGMA application_id = 7", "PRAGMA user_version = 7"],
)
def test_the_database_of_another_program_is_left_alone(file: LedgerFile, statement: str) -> None:
    execute(file, statement)
    assert untouched(file) == "it is the database of another program; move it away"
    with pytest.raises(UnusableError):
        file.read(TODAY)


def test_a_file_of_a_later_version_is_left_alone(file: LedgerFile) -> None:
    exchange(file, contents(THINK))
    execute(file, f"PRAGMA user_version = {VERSION + 1}", "ALTER TABLE usage ADD lane TEXT")
    assert untouched(file) == "it is of version 2, and this ccproxyd knows 1; update ccproxyd"


def test_a_file_that_can_only_be_read_is_read(file: LedgerFile) -> None:
    exchange(file, contents(THINK))
    read_only = LedgerFile(file.path, but("PRAGMA query_only = 1"))
    assert read_only.read(TODAY).rows == {THINK: SOME}
    assert untouched(read_only) == "attempt to write a readonly database"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_without_permission_is_left_alone(file: LedgerFile) -> None:
    exchange(file, contents(THINK))
    file.path.chmod(0o400)
    assert untouched(file) == "attempt to write a readonly database"
    file.path.chmod(0o000)
    with pytest.raises(UnusableError):
        file.read(TODAY)


def test_on_a_full_disk_all_or_nothing_is_added(file: LedgerFile) -> None:
    exchange(file, contents(THINK))
    full = LedgerFile(file.path, but("PRAGMA max_page_count = 4"))
    many = contents(*(Account(TODAY, f"label {number}", "m") for number in range(500)))
    with pytest.raises(UnusableError, match="database or disk is full"):
        exchange(full, many)
    assert file.read(LONG_AGO).rows == {THINK: SOME}


def test_a_disk_that_is_full_from_the_start_leaves_an_empty_file(file: LedgerFile) -> None:
    full = LedgerFile(file.path, but("PRAGMA max_page_count = 1"))
    with pytest.raises(UnusableError, match="database or disk is full"):
        exchange(full, contents(THINK))
    assert exchange(file, contents(THINK)).rows == {THINK: SOME}


LIMITED = """
import datetime, resource, sys
from pathlib import Path
from ccproxyd.telemetry.bookings import Account, Amounts
from ccproxyd.telemetry.ledger_file import Contents, LedgerFile, UnusableError
before = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (16384, before[1]))
day = datetime.date(2026, 11, 21)
many = Contents({Account(day, f"label {n}", "m"): Amounts(1) for n in range(2000)})
try:
    LedgerFile(Path(sys.argv[1])).exchange(many, lambda: many, day)
except UnusableError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, before)
"""


def test_a_file_that_may_not_grow_is_whole_all_the_same(file: LedgerFile) -> None:
    exchange(file, contents(THINK))
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(file.path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "disk I/O error\n"
    assert file.read(LONG_AGO).rows == {THINK: SOME}


def test_a_directory_in_its_place_is_left_alone(file: LedgerFile) -> None:
    file.path.mkdir(mode=0o755)
    with pytest.raises(UnusableError, match="unable to open database file"):
        exchange(file, contents(THINK))
    assert file.path.stat().st_mode & 0o777 == 0o755


def test_without_its_directory_there_is_no_file(tmp_path: Path) -> None:
    file = LedgerFile(tmp_path / "gone" / "usage.db")
    for use in (lambda: exchange(file, contents(THINK)), lambda: file.read(TODAY)):
        with pytest.raises(UnusableError, match="No such file or directory"):
            use()


def test_while_somebody_else_writes_nothing_is_added(
    file: LedgerFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ccproxyd.telemetry.ledger_file.BUSY_SECONDS", 0.0)
    exchange(file, contents(THINK))
    other = connect(file.path)
    other.execute("BEGIN IMMEDIATE")
    assert untouched(file) == "database is locked"
    other.execute("ROLLBACK")
    other.close()
    assert exchange(file, contents(THINK)).rows == {THINK: SOME + SOME}


# What is damaged


def spoiled(path: Path, page: int) -> None:
    data = bytearray(path.read_bytes())
    data[page * 4096 : page * 4096 + 200] = b"\xa5" * 200
    path.write_bytes(data)


def test_what_is_no_database_is_damaged(file: LedgerFile) -> None:
    file.path.write_text("a text\n" * 1000)
    for use in (lambda: exchange(file, contents(THINK)), lambda: file.read(TODAY)):
        with pytest.raises(DamagedError, match="file is not a database"):
            use()


@pytest.mark.parametrize("page", [0, 1, 2])
def test_a_spoiled_page_is_found(file: LedgerFile, page: int) -> None:
    exchange(file, contents(THINK, told=frozenset({MARK})))
    spoiled(file.path, page)
    with pytest.raises(DamagedError):
        file.read(TODAY)
    with pytest.raises(DamagedError):
        exchange(file, contents(DEFAULT, told=frozenset({Mark(TODAY, "other", "warning")})))


def test_a_spoiled_page_of_long_ago_is_found_too(file: LedgerFile) -> None:
    days = [TODAY - datetime.timedelta(number) for number in range(1000)]
    exchange(file, contents(*(Account(day, "think", "m") for day in days)))
    spoiled(file.path, 5)
    assert exchange(file, contents(), since=TODAY).rows.keys() == {Account(TODAY, "think", "m")}
    with pytest.raises(DamagedError):
        file.read(TODAY)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("DROP TABLE usage", "no such table: usage"),
        ("UPDATE usage SET label = CAST(x'ff41' AS TEXT)", "a text in it is not UTF-8"),
        ("UPDATE usage SET nano_usd = 'much'", "a line cannot be read: ValueError"),
        ("UPDATE usage SET day = '2026-13-01'", "a line cannot be read: ValueError"),
        ("ALTER TABLE usage ADD lane TEXT", "a line cannot be read: TypeError"),
        ("ALTER TABLE told ADD lane TEXT", "a line cannot be read: TypeError"),
    ],
)
def test_tables_that_are_not_as_they_were_made_are_damage(
    file: LedgerFile, statement: str, message: str
) -> None:
    exchange(file, contents(THINK, told=frozenset({MARK})))
    execute(file, statement)
    with pytest.raises(DamagedError) as caught:
        file.read(TODAY)
    assert str(caught.value) == message


def test_a_damaged_file_is_moved_with_its_journal(file: LedgerFile) -> None:
    file.path.write_text("damaged")
    Path(f"{file.path}-journal").write_text("of it")
    aside = file.move_aside(NOW)
    assert aside == file.path.with_name("usage.db.damaged-20261121-103005")
    assert aside.read_text() == "damaged"
    assert Path(f"{aside}-journal").read_text() == "of it"
    assert len(list(file.path.parent.iterdir())) == 2


def test_no_damaged_file_takes_the_place_of_another(file: LedgerFile) -> None:
    moved = []
    for number in range(3):
        file.path.write_text(f"damaged {number}")
        moved.append(file.move_aside(NOW))
    assert [path.read_text() for path in moved] == ["damaged 0", "damaged 1", "damaged 2"]


def test_a_damaged_file_that_cannot_be_moved_is_left_alone(file: LedgerFile) -> None:
    with pytest.raises(UnusableError, match="cannot be moved: No such file or directory"):
        file.move_aside(NOW)


# Others on the same file

WRITER = """
import datetime, sys
from pathlib import Path
from ccproxyd.telemetry.bookings import Account, Amounts
from ccproxyd.telemetry.ledger_file import Contents, LedgerFile
day = datetime.date(2026, 11, 21)
added = Contents({Account(day, "think", "m"): Amounts(requests=1, nano_usd=3)})
for _ in range(30):
    LedgerFile(Path(sys.argv[1])).exchange(added, lambda: added, day)
"""


def test_two_processes_add_to_it_in_turn(file: LedgerFile) -> None:
    command = [sys.executable, "-c", WRITER, str(file.path)]
    writers = [subprocess.Popen(command) for _ in range(2)]
    assert [writer.wait() for writer in writers] == [0, 0]
    [found] = file.read(TODAY).rows.values()
    assert found == Amounts(requests=60, nano_usd=180)

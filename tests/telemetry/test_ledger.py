from __future__ import annotations

import datetime
import sqlite3
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import settings as running
from hypothesis import strategies as st

from ccproxyd.config.litellm import LiteLLMConfig
from ccproxyd.config.settings import Settings
from ccproxyd.telemetry import ledger as module
from ccproxyd.telemetry.bookings import Account, Accounts, Amounts, Bookings, Entry, Spent
from ccproxyd.telemetry.budgets import (
    Allowed,
    Gate,
    Mark,
    RouteTo,
    alerts,
    evaluate,
    gate_message,
)
from ccproxyd.telemetry.ledger import Ledger
from ccproxyd.telemetry.ledger_file import DamagedError, LedgerFile, connect
from ccproxyd.telemetry.stats import OTHER

TODAY = datetime.date(2026, 11, 21)
CENT = 10_000_000
MARK = Mark(TODAY, "the daily budget (10 USD)", "exceeded")


@define
class Desk:
    """A ledger's file, its clock, and what it has logged."""

    path: Path
    now: datetime.datetime = datetime.datetime(2026, 11, 21, 10, 30)
    logged: list[tuple[str, str, str]] = field(factory=list)
    limit: str = "PRAGMA query_only = 0"
    """A statement that stands for the state of the disk."""

    def log(self, level: str, event: str, **facts: Any) -> None:
        self.logged.append((level, event, str(facts.get("because", ""))))

    def connect(self, path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.execute(self.limit)
        return connection

    def open(self) -> Ledger:
        return Ledger.open(LedgerFile(self.path, self.connect), self.log, lambda: self.now)

    def spent(self) -> int:
        """In cents, as a daemon knows it that starts now."""
        return cents(self.open())


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "usage.db")


@pytest.fixture
def ledger(desk: Desk) -> Ledger:
    return desk.open()


def entry(
    amount: int = 1, label: str = "think", model: str = "m", day: datetime.date = TODAY
) -> Entry:
    """One request for some cents."""
    return Entry(Account(day, label, model), Amounts(requests=1, nano_usd=amount * CENT))


def cents(ledger: Ledger, today: datetime.date = TODAY) -> int:
    return sum(spent.nano_usd for spent in ledger.spending(today).month.values()) // CENT


# Day by day


def test_what_is_added_is_spent_at_once(ledger: Ledger) -> None:
    ledger.add(entry(3))
    ledger.add(entry(4, "default"))
    assert ledger.spending(TODAY).day == {"think": Spent(3 * CENT), "default": Spent(4 * CENT)}
    assert ledger.warnings == ()


def test_what_was_flushed_survives_a_restart_and_what_was_not_is_lost(
    desk: Desk, ledger: Ledger
) -> None:
    ledger.add(entry(3))
    ledger.flush()
    ledger.add(entry(4))
    assert cents(ledger) == 7
    assert desk.spent() == 3


def test_a_stop_loses_nothing(desk: Desk, ledger: Ledger) -> None:
    ledger.add(entry(3))
    ledger.close()
    again = desk.open()
    again.add(entry(4))
    assert cents(again) == 7
    again.close()
    assert desk.spent() == 7
    assert desk.logged == []


def test_an_alert_is_remembered_through_a_restart(desk: Desk, ledger: Ledger) -> None:
    assert MARK not in ledger.told
    ledger.tell(MARK)
    assert MARK in ledger.told
    ledger.close()
    assert MARK in desk.open().told


def test_an_idle_daemon_leaves_its_file_alone(desk: Desk, ledger: Ledger) -> None:
    ledger.add(entry())
    ledger.tell(MARK)
    ledger.flush()
    desk.path.unlink()
    ledger.flush()
    assert not desk.path.exists()


def test_at_midnight_a_day_begins_with_nothing_spent(desk: Desk, ledger: Ledger) -> None:
    ledger.add(entry(3))
    desk.now += datetime.timedelta(hours=14)
    assert ledger.today == datetime.date(2026, 11, 22)
    assert ledger.spending(ledger.today).day == {}
    ledger.add(entry(4, day=ledger.today))
    assert cents(ledger, ledger.today) == 7


def test_with_a_new_month_everything_begins_with_nothing_spent(desk: Desk, ledger: Ledger) -> None:
    ledger.add(entry(3))
    ledger.flush()
    desk.now = datetime.datetime(2026, 12, 1)
    assert cents(ledger, ledger.today) == 0
    assert cents(desk.open(), ledger.today) == 0


def test_a_clock_that_is_set_back_into_the_month_before_finds_it_there(desk: Desk) -> None:
    november, december = datetime.date(2026, 11, 1), datetime.date(2026, 12, 31)
    desk.now = datetime.datetime(2026, 12, 31)
    first = desk.open()
    first.add(entry(3, day=november))
    first.add(entry(4, day=december))
    first.close()
    assert cents(desk.open(), november) == 3


def test_a_price_may_come_for_yesterday(desk: Desk, ledger: Ledger) -> None:
    yesterday = TODAY - datetime.timedelta(1)
    ledger.add(entry(3, day=yesterday))
    ledger.flush()
    ledger.add(Entry(Account(yesterday, "think", "m"), Amounts(nano_usd=2 * CENT)))
    ledger.close()
    assert desk.open().spending(yesterday).day == {"think": Spent(5 * CENT)}


def test_models_that_clients_make_up_do_not_fill_the_file(
    desk: Desk, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MODELS", 5)
    for number in range(20):
        ledger.add(entry(1, model=f"made-up-{number}"))
        if number % 3 == 0:
            ledger.flush()
    ledger.add(entry(1, model="made-up-0"))
    ledger.add(entry(1, label="default", model="made-up-19"))
    ledger.close()
    rows = LedgerFile(desk.path).read(TODAY).rows
    assert len(rows) == 7
    assert rows[Account(TODAY, "think", OTHER)].requests == 15
    assert rows[Account(TODAY, "think", "made-up-0")].requests == 2
    assert cents(ledger) == 22


ENTRIES = st.builds(
    Entry,
    st.builds(
        Account,
        st.dates(datetime.date(2026, 10, 1), datetime.date(2026, 11, 30)),
        st.sampled_from("ab"),
        st.sampled_from("xyz"),
    ),
    st.builds(Amounts, *[st.integers(0, 1 << 40)] * 6),
)
STEPS = st.lists(ENTRIES | st.sampled_from(["flush", "restart", "full", "room", "lost"]))


@running(max_examples=40, deadline=None, database=None)
@given(STEPS)
def test_whatever_happens_the_sums_are_those_of_what_was_added(steps: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        desk = Desk(Path(directory) / "usage.db")
        ledger, added = desk.open(), dict[Account, Amounts]()
        for step in steps:
            if isinstance(step, Entry):
                ledger.add(step)
                added[step.account] = added.get(step.account, Amounts()) + step.amounts
            elif step == "full":
                desk.limit = "PRAGMA query_only = 1"
            elif step == "lost":
                desk.path.unlink(missing_ok=True)
            else:
                desk.limit = "PRAGMA query_only = 0" if step == "room" else desk.limit
                ledger.flush()
                if step == "restart" and not ledger.warnings and desk.path.exists():
                    ledger = desk.open()
            for day in (datetime.date(2026, 10, 7), TODAY):
                assert ledger.spending(day) == type(ledger.spending(day)).of(added.items(), day)


# While it is being written


def test_while_the_disk_takes_its_time_requests_are_booked_and_counted(desk: Desk) -> None:
    ledger = desk.open()
    began, may_go_on = threading.Event(), threading.Event()

    def slow(path: Path) -> sqlite3.Connection:
        began.set()
        may_go_on.wait(10)
        return connect(path)

    ledger.add(entry(3))
    ledger._file = LedgerFile(desk.path, slow)
    flushing = threading.Thread(target=ledger.flush)
    flushing.start()
    assert began.wait(10)
    ledger.add(entry(4))
    assert cents(ledger) == 7
    may_go_on.set()
    flushing.join()
    assert cents(ledger) == 7
    assert desk.spent() == 3
    ledger.close()
    assert desk.spent() == 7


def test_what_comes_while_a_disk_fails_is_kept_as_well(desk: Desk, ledger: Ledger) -> None:
    def failing(path: Path) -> sqlite3.Connection:
        ledger.add(entry(4))
        raise OSError(5, "Input/output error")

    ledger.add(entry(3))
    working, ledger._file = ledger._file, LedgerFile(desk.path, failing)
    ledger.flush()
    assert cents(ledger) == 7
    assert "Input/output error" in ledger.warnings[0]
    ledger._file = working
    ledger.flush()
    assert desk.spent() == 7


def test_many_threads_lose_nothing(desk: Desk, ledger: Ledger) -> None:
    def work() -> None:
        for number in range(100):
            ledger.add(entry())
            if number % 25 == 0:
                ledger.flush()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cents(ledger) == 400
    ledger.close()
    assert desk.spent() == 400


# When the file is of no use


def test_what_cannot_be_written_is_kept_and_told_once(desk: Desk, ledger: Ledger) -> None:
    ledger.add(entry(3))
    ledger.flush()
    desk.limit = "PRAGMA query_only = 1"
    for _ in range(3):
        ledger.add(entry(1))
        ledger.tell(MARK)
        ledger.flush()
    assert cents(ledger) == 6
    reason = "attempt to write a readonly database"
    assert desk.logged == [("warning", "cannot write the ledger", reason)]
    assert ledger.warnings == (
        f"cannot write {desk.path}: {reason}; what is spent is kept in memory, and lost when"
        " ccproxyd ends",
    )


def test_once_there_is_room_again_everything_is_written(desk: Desk, ledger: Ledger) -> None:
    desk.limit = "PRAGMA max_page_count = 1"
    ledger.add(entry(3))
    desk.path.unlink()
    ledger.flush()
    ledger.add(entry(4))
    ledger.tell(MARK)
    desk.limit = "PRAGMA max_page_count = 1000000"
    ledger.flush()
    assert ledger.warnings == ()
    assert [event for _, event, _ in desk.logged] == [
        "cannot write the ledger",
        "the ledger is written again",
    ]
    assert desk.spent() == 7
    assert MARK in desk.open().told


def test_what_can_only_be_read_counts_all_the_same(desk: Desk, ledger: Ledger) -> None:
    ledger.add(entry(3))
    ledger.tell(MARK)
    ledger.close()
    desk.limit = "PRAGMA query_only = 1"
    again = desk.open()
    again.add(entry(4))
    assert cents(again) == 7
    assert MARK in again.told
    assert len(again.warnings) == 1


def test_the_file_of_another_program_is_left_alone_until_it_is_moved(desk: Desk) -> None:
    theirs = connect(desk.path)
    theirs.execute("CREATE TABLE theirs (x)")
    theirs.close()
    ledger = desk.open()
    assert "it is the database of another program; move it away" in ledger.warnings[0]
    ledger.add(entry(3))
    ledger.flush()
    assert cents(ledger) == 3
    desk.path.rename(desk.path.with_name("theirs.db"))
    ledger.flush()
    assert ledger.warnings == ()
    assert desk.spent() == 3


def test_a_file_of_a_later_version_is_left_alone(desk: Desk, ledger: Ledger) -> None:
    ledger.add(entry(3))
    ledger.close()
    newer = connect(desk.path)
    newer.execute("PRAGMA user_version = 9")
    newer.close()
    again = desk.open()
    assert cents(again) == 0
    assert "it is of version 9, and this ccproxyd knows 1; update ccproxyd" in again.warnings[0]


def damaged_files(desk: Desk) -> list[str]:
    return sorted(path.name for path in desk.path.parent.glob("usage.db.damaged-*"))


def test_a_damaged_file_is_moved_aside_and_a_new_one_begun(desk: Desk) -> None:
    desk.path.write_text("no database at all")
    ledger = desk.open()
    assert damaged_files(desk) == ["usage.db.damaged-20261121-103000"]
    assert (desk.path.parent / damaged_files(desk)[0]).read_text() == "no database at all"
    assert desk.logged == [
        ("warning", "moved a damaged ledger aside", "file is not a database"),
    ]
    assert "was damaged (file is not a database) and is now" in ledger.warnings[0]
    ledger.add(entry(3))
    ledger.close()
    assert len(ledger.warnings) == 1
    assert desk.spent() == 3


def test_a_file_that_is_damaged_while_we_run_costs_nothing(desk: Desk, ledger: Ledger) -> None:
    ledger.add(entry(3))
    ledger.tell(MARK)
    ledger.flush()
    desk.path.write_bytes(b"\0" * 8192)
    ledger.add(entry(4))
    ledger.flush()
    assert len(damaged_files(desk)) == 1
    assert cents(ledger) == 7
    again = desk.open()
    assert cents(again) == 7
    assert MARK in again.told


def test_a_disk_that_spoils_every_file_is_not_filled_with_them(desk: Desk, ledger: Ledger) -> None:
    for _ in range(10):
        desk.path.write_bytes(b"\0" * 8192)
        ledger.add(entry())
        ledger.flush()
    assert len(damaged_files(desk)) == 3
    assert cents(ledger) == 10
    assert "it is damaged each time: file is not a database" in ledger.warnings[-1]


def test_a_damaged_file_that_cannot_be_moved_does_not_stop_a_start(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(self: Path, target: Path) -> Path:
        raise PermissionError(1, "Operation not permitted")

    desk.path.write_text("no database at all")
    monkeypatch.setattr(Path, "rename", busy)
    ledger = desk.open()
    ledger.add(entry(3))
    ledger.flush()
    assert cents(ledger) == 3
    assert "it is damaged, and cannot be moved: Operation not permitted" in ledger.warnings[0]


def test_a_new_file_that_is_damaged_as_well_does_not_stop_a_flush(
    desk: Desk, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*arguments: Any) -> None:
        raise DamagedError("as bad as before")

    ledger.add(entry(3))
    monkeypatch.setattr(LedgerFile, "exchange", damaged)
    ledger.flush()
    assert cents(ledger) == 3
    assert "as bad as before" in ledger.warnings[-1]


def test_nothing_is_there_to_be_written_to(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "gone" / "usage.db")
    ledger = desk.open()
    ledger.add(entry(3))
    ledger.close()
    assert cents(ledger) == 3
    assert "No such file or directory" in ledger.warnings[0]


# Two of them


def test_a_second_daemon_on_the_same_file_adds_to_it(desk: Desk) -> None:
    first, second = desk.open(), desk.open()
    first.add(entry(3))
    first.flush()
    second.add(entry(4))
    assert cents(second) == 4
    second.flush()
    assert cents(second) == 7
    assert cents(first) == 3
    assert desk.spent() == 7


def test_a_path_is_enough_to_open_it(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "usage.db", lambda *_, **__: None)
    ledger.add(entry(3, day=ledger.today))
    ledger.close()
    assert cents(Ledger.open(tmp_path / "usage.db", print), ledger.today) == 3


# The whole way, as the daemon goes it


CONFIG = {
    "daily_usd": 1.0,
    "per_label": {"think": {"daily_usd": 0.5}},
    "on_exceeded": "route:cheap",
}
MODELS = {
    "model_list": [
        {"model_name": name, "litellm_params": {"model": f"anthropic/{name}"}}
        for name in ("think", "cheap")
    ]
}


@define
class Treasury:
    """A daemon that lives from now on: what it hears, and what it says."""

    desk: Desk
    ledger: Ledger = field(init=False)
    bookings: Bookings = field(init=False)
    settings: Settings = field(init=False)
    told: list[tuple[Any, Any]] = field(factory=list)
    gate: Gate = field(factory=Gate)

    def __attrs_post_init__(self) -> None:
        self.settings = Settings.parse({"ccproxy": {"budgets": CONFIG}})
        litellm = LiteLLMConfig.parse(MODELS, environ={})
        self.ledger = self.desk.open()
        self.bookings = Bookings(Accounts.of(self.settings, litellm))
        self.look()

    def heard(self, message: dict[str, Any]) -> None:
        if "label" in message:
            entry = self.bookings.finished(message, self.ledger.today)
        else:
            entry = self.bookings.priced(message)
        if entry is not None:
            self.ledger.add(entry)
        self.look()

    def look(self) -> None:
        limits, today = self.settings.budgets, self.ledger.today
        names = self.bookings.accounts.names_of
        standings = evaluate(limits, self.ledger.spending(today), today, names)
        for alert in alerts(standings, self.ledger.told):
            self.told.append((alert.facts["label"], alert.mark.level))
            self.ledger.tell(alert.mark)
        self.gate = Gate.from_message(gate_message(limits, standings))


def test_from_the_price_of_a_request_to_what_becomes_of_the_next(desk: Desk) -> None:
    daemon = Treasury(desk)
    daemon.heard({"request_id": "1", "label": "think", "model": "m", "output_tokens": 9})
    assert daemon.gate.verdict("think") == Allowed()
    daemon.heard({"request_id": "1", "cost_usd": 0.6})
    assert daemon.told == [("think", "exceeded")]
    assert isinstance(daemon.gate.verdict("think"), RouteTo)
    assert daemon.gate.verdict("cheap") == Allowed()
    daemon.ledger.close()

    again = Treasury(desk)
    assert again.told == []
    assert isinstance(again.gate.verdict("think"), RouteTo)
    again.heard({"request_id": "2", "label": "cheap", "model": "m", "cost_usd": 0.3})
    assert again.told == [(None, "warning")]
    again.ledger.flush()

    desk.now += datetime.timedelta(days=1)
    again.look()
    assert again.gate.verdict("think") == Allowed()
    again.heard({"request_id": "3", "label": "think", "model": "m", "cost_usd": 0.5})
    assert again.told[1:] == [("think", "exceeded")]

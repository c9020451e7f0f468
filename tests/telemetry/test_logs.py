from __future__ import annotations

import contextlib
import datetime
import io
import json
import logging
import os
import stat
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccproxyd.errors import CcproxydError
from ccproxyd.telemetry.logs import (
    LEVELS,
    LogFile,
    Logger,
    as_json,
    as_text,
    hearing_libraries,
    logger_for,
    open_log_file,
    write_standard_error,
)

WHEN = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.UTC)

plain = st.none() | st.booleans() | st.integers() | st.floats() | st.binary() | st.text()
odd = st.builds(Path, st.just("/a/\udcff")) | st.text(st.characters(), max_size=5) | st.just({1, 2})
facts = st.dictionaries(
    st.text(max_size=5),
    plain
    | odd
    | st.lists(plain, max_size=3)
    | st.dictionaries(st.integers() | st.text(max_size=3), plain, max_size=3),
    max_size=4,
)
anything = settings(max_examples=150, deadline=None, database=None)


def recorded(level: str, event: str, /, *, machine: bool = True, **more: Any) -> str:
    stream = io.StringIO()
    Logger(stream, machine=machine, level="debug", clock=lambda: WHEN)(level, event, **more)
    return stream.getvalue()


def test_a_record_for_machines_is_one_json_object() -> None:
    assert json.loads(recorded("info", "ready", port=4000, labels=["a"], error=None)) == {
        "time": "2026-01-02T03:04:05.678Z",
        "level": "info",
        "event": "ready",
        "port": 4000,
        "labels": ["a"],
    }


def test_a_record_for_a_person_is_short() -> None:
    text = recorded("error", "cannot reload", machine=False, because="no\nport", seconds=0.5)
    assert text == "03:04:05 error   cannot reload: no port  seconds=0.5\n"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1.0, "1"), (0.0, "0"), (1234.5678, "1234.568"), (7, "7"), (True, "True"), (b"x", "b'x'")],
)
def test_a_value_for_a_person_is_short(value: Any, shown: str) -> None:
    assert as_text(WHEN, "info", "x", {"value": value}).endswith(f"  value={shown}")


def test_facts_without_a_value_are_left_out() -> None:
    assert as_text(WHEN, "info", "x", {"because": None, "a": None}) == "03:04:05 info    x"


@anything
@given(st.text(), facts)
def test_any_facts_are_one_line_of_json(event: str, facts: dict[str, Any]) -> None:
    line = as_json(WHEN, "info", event, facts)
    assert "\n" not in line
    record = json.loads(line)
    assert record["level"] == "info"
    assert record["time"].startswith("2026-01-02")
    line.encode()


@anything
@given(st.text(), facts)
def test_any_facts_are_one_line_for_a_person(event: str, facts: dict[str, Any]) -> None:
    named = {f"f{number}": value for number, value in enumerate(facts.values())}
    line = as_text(WHEN, "info", event, named)
    assert line.isprintable()
    line.encode()


@pytest.mark.parametrize("value", [2**70, "\udcff", {1: {2: 2**70}}, b"\xff", object()])
def test_what_json_cannot_hold_is_written_as_text(value: Any) -> None:
    assert json.loads(recorded("info", "x", value=value, port=1))["event"] == "x"


def test_a_value_that_holds_itself_is_written_all_the_same() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert json.loads(recorded("info", "x", value=endless))["value"] == "[[...]]"


def test_no_fact_can_pass_for_the_record() -> None:
    told = recorded("error", "cannot bind", time="never", level="debug", event="fine")
    record = json.loads(told)
    assert (record["level"], record["event"]) == ("error", "cannot bind")
    assert record["time"].startswith("2026")


def test_a_fact_may_have_any_name() -> None:
    assert json.loads(recorded("info", "x", **{"self": 1, "a b": 2})).keys() >= {"self", "a b"}


def test_a_terminal_is_not_commanded() -> None:
    text = recorded("info", "output", machine=False, line="\x1b[2J\x07 hello \x1b]0;title\x07")
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "hello" in text


@pytest.mark.parametrize(("threshold", "heard"), zip(LEVELS, range(5, 0, -1), strict=True))
def test_a_logger_speaks_from_its_level_upwards(threshold: str, heard: int) -> None:
    stream = io.StringIO()
    log = Logger(stream, machine=True, level=threshold)
    for level in LEVELS:
        log(level, "x")
    assert stream.getvalue().count("\n") == heard


def test_several_records_are_one_write_and_a_line_each() -> None:
    written: list[str] = []

    class Stream(io.StringIO):
        def write(self, text: str, /) -> int:
            written.append(text)
            return len(text)

    log = Logger(Stream(), machine=True)
    log.tell([("info", "one", {"a": 1}), ("debug", "two", {}), ("error", "three", {})])
    log.tell([("debug", "four", {})])
    [text] = written
    assert [json.loads(line)["event"] for line in text.splitlines()] == ["one", "three"]


def test_a_level_that_nobody_knows_is_like_info() -> None:
    stream = io.StringIO()
    Logger(stream, machine=True, level="warning")("notice", "x")
    assert stream.getvalue() == ""
    Logger(stream, machine=True, level="info")("notice", "x")
    assert json.loads(stream.getvalue())["level"] == "notice"


def test_the_clock_is_utc() -> None:
    stream = io.StringIO()
    Logger(stream, machine=True)("info", "x")
    stamp = json.loads(stream.getvalue())["time"]
    assert datetime.datetime.fromisoformat(stamp).utcoffset() == datetime.timedelta(0)


def test_a_stream_that_is_closed_ends_nothing() -> None:
    stream = io.StringIO()
    log = Logger(stream, machine=True)
    stream.close()
    log("info", "x")


def test_a_pipe_that_nobody_reads_ends_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w", buffering=1)
    Logger(stream, machine=True)("info", "x")
    with contextlib.suppress(BrokenPipeError):
        stream.close()


def test_a_stream_that_cannot_write_a_character_ends_nothing() -> None:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding="ascii")
    Logger(stream, machine=False)("info", "café")
    Logger(stream, machine=False)("info", "tea")
    assert b"tea" in buffer.getvalue()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "machine"), [(Terminal(), False), (io.StringIO(), True)])
def test_a_terminal_gets_text_and_everything_else_json(stream: io.StringIO, machine: bool) -> None:
    assert logger_for(stream).machine is machine


@pytest.mark.parametrize(("debug", "level"), [(True, "debug"), (False, "info")])
def test_debug_is_a_level(debug: bool, level: str) -> None:
    assert logger_for(io.StringIO(), debug=debug).level == level


# The file


def test_a_log_file_is_for_its_owner_alone_and_so_is_its_directory(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "ccproxyd.log"
    Logger(open_log_file(path), machine=True, clock=lambda: WHEN)("info", "ready", port=4000)
    assert json.loads(path.read_text())["port"] == 4000
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_directory_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    open_log_file(tmp_path / "log")
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_log_file_is_no_terminal_and_is_added_to(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    log = logger_for(open_log_file(path))
    assert log.machine
    log("info", "ready", text="a %s b \udcff")
    before, record = path.read_text().splitlines()
    assert before == "before"
    assert json.loads(record)["text"] == "a %s b ?"


def test_a_relative_path_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = open_log_file(Path("log"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    (tmp_path / "log").unlink()
    file.write("again\n")
    assert (tmp_path / "log").read_text() == "again\n"


def test_a_log_file_is_exchanged_before_it_is_too_large_and_three_old_ones_stay(
    tmp_path: Path,
) -> None:
    path = tmp_path / "log"
    file = LogFile(path, limit=100)
    for number in range(30):
        file.write(f"line {number:034}\n")
    kept = sorted(one.name for one in tmp_path.iterdir())
    assert kept == ["log", "log.1", "log.2", "log.3"]
    assert all(one.stat().st_size <= 100 for one in tmp_path.iterdir())
    assert all(stat.S_IMODE(one.stat().st_mode) == 0o600 for one in tmp_path.iterdir())
    assert path.read_text().endswith("029\n")
    assert (tmp_path / "log.3").read_text().startswith("line")


def test_the_bounds_are_ten_megabytes_and_three_old_files(tmp_path: Path) -> None:
    file = open_log_file(tmp_path / "log")
    assert (file.limit, file.old) == (10_000_000, 3)


def test_where_nothing_can_be_renamed_a_log_file_grows(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for name in ("log.2", "log.3"):
        (tmp_path / name / "not empty").mkdir(parents=True)
    file = LogFile(path, limit=10)
    for word in ("one", "two", "three", "four"):
        file.write(f"{word}\n")
    assert path.read_text() == "one\ntwo\nthree\nfour\n"


def test_a_log_file_that_was_moved_away_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = open_log_file(path)
    file.write("one\n")
    path.rename(tmp_path / "moved")
    file.write("two\n")
    assert (tmp_path / "moved").read_text() == "one\n"
    assert path.read_text() == "two\n"


def test_a_full_disk_ends_nothing_and_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this machine has no /dev/full")
    log = logger_for(open_log_file(full))
    log("info", "ready")
    log("info", "ready")
    assert capfd.readouterr().err == ""


def test_a_directory_that_is_removed_meanwhile_ends_nothing(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "log"
    log = logger_for(open_log_file(path))
    path.unlink()
    path.parent.rmdir()
    log("info", "lost")
    path.parent.mkdir()
    log("info", "found")
    assert json.loads(path.read_text())["event"] == "found"


@pytest.mark.parametrize("name", ["directory", "file/log", "file/deeper/log"])
def test_a_log_that_cannot_be_is_a_reason(tmp_path: Path, name: str) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(CcproxydError, match=r"^cannot (log to|use) .*: (Is a|Not a) directory"):
        open_log_file(tmp_path / name)


# Python's own logging


def test_what_we_say_by_way_of_logging_is_logged(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    stream = io.StringIO()
    with hearing_libraries(Logger(stream, machine=True)):
        logging.getLogger("ccproxyd.control.server").error("cannot %s: %s", "explain", "KeyError")
        logging.getLogger("ccproxyd.control.server").info("nothing of note")
    logging.getLogger("ccproxyd.control.server").error("too late")
    record = json.loads(stream.getvalue())
    assert (record["level"], record["event"]) == ("error", "cannot explain: KeyError")
    assert record["where"].startswith("test_logs.py:")
    assert capfd.readouterr().err == "too late\n"


def test_what_a_library_says_is_told_without_its_text() -> None:
    stream = io.StringIO()
    with hearing_libraries(Logger(stream, machine=True)):
        try:
            raise ValueError("what the user asked")
        except ValueError:
            logging.getLogger("asyncio").exception("what the user asked")
    record = json.loads(stream.getvalue())
    assert "what the user asked" not in stream.getvalue()
    assert (record["event"], record["error"]) == ("a library has logged something", "ValueError")
    assert record["logger"] == "asyncio"


def test_what_python_would_say_itself_is_told_by_type_and_place(
    capfd: pytest.CaptureFixture[str],
) -> None:
    class Closes:
        def __del__(self) -> None:
            raise ValueError("PRIVATE")

    def fail() -> None:
        raise KeyError("PRIVATE")

    stream = io.StringIO()
    with hearing_libraries(Logger(stream, machine=True)):
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
        closes = Closes()
        del closes
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(True)
            warnings.warn("PRIVATE", stacklevel=1)
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [one.get("error") for one in told[:2]] == ["KeyError", "ValueError"]
    assert all(one["where"].startswith("test_logs.py:") for one in told[:2])
    assert told[2]["logger"] == "py.warnings"
    assert "PRIVATE" not in stream.getvalue() + capfd.readouterr().err


def test_a_reason_that_quotes_a_key_is_told_without_it() -> None:
    where = "ccproxy.yaml: ccproxy.rules[0].params.api_key: must be a text, not"
    record = json.loads(recorded("error", "cannot reload", because=f"{where} sk-ant-api03-01"))
    assert record["because"] == f"{where} [redacted]"
    warned = json.loads(recorded("warning", f"{where} sk-ant-api03-01"))
    assert warned["event"] == record["because"]


@pytest.mark.parametrize("name", ["because", "trace", "how", "last_words"])
def test_free_text_is_told_without_what_looks_like_a_secret(name: str) -> None:
    told = recorded("error", "cannot go on", **{name: "OSError: password=hunter2"}, tries=2)
    assert json.loads(told)[name] == "OSError: password=[redacted]"
    assert json.loads(told)["tries"] == 2


def test_a_last_word_has_no_key_in_it(capfd: pytest.CaptureFixture[str]) -> None:
    write_standard_error("ccproxyd: https://me:secret@host/ refuses sk-ant-api03-0123456789")
    assert capfd.readouterr().err == "ccproxyd: https://[redacted]@host/ refuses [redacted]\n"


def test_a_last_word_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    write_standard_error("ccproxyd: cannot\nbind \udcff")
    assert capfd.readouterr().err == "ccproxyd: cannot bind\n"


def test_a_last_word_to_nobody_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: object) -> int:
        raise BrokenPipeError

    monkeypatch.setattr(os, "write", closed)
    write_standard_error("ccproxyd: cannot bind")

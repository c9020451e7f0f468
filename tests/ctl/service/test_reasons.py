import json

import pytest

from ccproxyd.ctl.service.reasons import journal_messages, reason_in


def record(level: str, event: str, **facts: str) -> str:
    return json.dumps({"time": "2026-01-02T03:04:05Z", "level": level, "event": event, **facts})


def test_the_last_complaint_counts() -> None:
    lines = [
        record("error", "cannot bind", because="in use"),
        record("error", "cannot start the workers"),
        record("info", "stopped"),
    ]
    assert reason_in(lines) == "cannot start the workers"


def test_what_is_said_without_a_log_counts_too() -> None:
    assert reason_in(["ccproxyd: config.yaml: is missing\n", ""]) == "config.yaml: is missing"


def test_without_a_complaint_the_last_line_is_better_than_nothing() -> None:
    lines = ["Traceback (most recent call last):", "ImportError: no attrs", record("info", "x")]
    assert reason_in(lines) == "ImportError: no attrs"


@pytest.mark.parametrize("lines", [[], ["", "  "], [record("warning", "slow")], ["[1]"[:0]]])
def test_nothing_said_is_no_reason(lines: list[str]) -> None:
    assert reason_in(lines) is None


def test_a_line_that_is_json_but_no_record_is_only_a_line() -> None:
    assert reason_in(["[1, 2]"]) == "[1, 2]"


def test_a_journal_has_systemds_words_and_the_units_own() -> None:
    lines = [
        json.dumps({"SYSLOG_IDENTIFIER": "systemd", "MESSAGE": "Starting"}),
        json.dumps({"SYSLOG_IDENTIFIER": "ccproxyd", "MESSAGE": "ccproxyd: no"}),
        json.dumps({"SYSLOG_IDENTIFIER": "ccproxyd", "MESSAGE": [255, 254]}),
        "-- No entries --",
    ]
    assert journal_messages(lines) == ["ccproxyd: no"]

import json
from pathlib import Path

import pytest

from ccproxyd.control.messages import Stats
from ccproxyd.ctl import main
from tests.control.fakes import STATS, FakeOperations, running_in_thread


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")


def test_it_shows_a_row_for_each_label(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running_in_thread(path, FakeOperations()):
        assert main(["stats"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "since 2026-01-02 03:04:05: 1,200 requests, 3 failed, 2 in flight; "
        "routing p50 0.24 ms, p99 0.90 ms",
        "LABEL  REQUESTS  FAILED         IN    OUT  CACHED   COST     P50    P95  FIRST BYTE",
        "think     1,200       3  7,000,000  8,000   9,000  $1.50  812 ms  4.2 s           -",
    ]


@pytest.mark.parametrize(
    ("by", "name"), [("label", "think"), ("model", "anthropic/opus"), ("rule", "ThinkingRule")]
)
def test_it_groups_by_what_is_asked_for(
    path: Path, by: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_in_thread(path, FakeOperations()):
        assert main(["stats", "--by", by]) == 0
    _, head, row = capsys.readouterr().out.splitlines()
    assert head.startswith(by.upper())
    assert row.startswith(name)


def test_a_daemon_without_requests_shows_no_table(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_in_thread(path, FakeOperations(stats=Stats(since="yesterday").to_json())):
        assert main(["stats"]) == 0
    assert capsys.readouterr().out == (
        "since yesterday: 0 requests, 0 failed, 0 in flight; routing p50 -, p99 -\n"
    )


def test_a_daemon_that_does_not_say_since_when(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_in_thread(path, FakeOperations(stats={})):
        assert main(["stats"]) == 0
    assert capsys.readouterr().out.startswith("since the start: 0 requests")


def test_json_is_the_daemons_answer_as_it_is(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_in_thread(path, FakeOperations()):
        assert main(["stats", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(STATS.to_json()))

"""A benchmark from end to end: the real ccproxyd, in the lane that needs no LiteLLM."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from scripts.bench import __main__ as command
from scripts.bench.benchmark import Benchmark, Cast
from scripts.bench.contestants import Contestant, ours
from scripts.bench.limits import Findings, Limit, Measured
from scripts.bench.plan import PLANS, Cell, Plan
from scripts.bench.results import Results
from scripts.bench.servers import CannotStartError

CELL = Cell("1 KB", True, ("provider", "direct", "friend"), clients=2)
PLAN = Plan("tiny", (CELL,), rounds=1, seconds=0.2, rate_seconds=0.0, decides=False)
DIRECT = ours("direct", "ours", lanes={"direct": "auto"}, workers={"lazy": True})
Done = tuple[Benchmark, Findings]
DYING = Contestant("friend", "a friend", lambda _: [sys.executable, "-c", "exit('too bad')"])


@pytest.fixture(scope="module")
def done() -> Done:
    benchmark = Benchmark(PLAN, Cast((DIRECT,), (DYING,)), lambda _: None)
    return benchmark, benchmark.run()


def test_everybody_in_turn_is_measured(done: Done) -> None:
    _, findings = done
    assert [run.turn.contestant for run in findings.results.runs] == ["provider", "direct"]
    assert [run.problem for run in findings.results.runs] == ["", ""]


def test_everybody_is_weighed(done: Done) -> None:
    _, findings = done
    weighed = findings.footprint
    assert weighed is not None
    assert weighed.early.keys() == weighed.late.keys() == {"provider", "direct"}
    assert weighed.lazy is not None
    assert not weighed.lazy.litellm_runs
    assert 20 < weighed.lazy.megabytes < 1000


def test_a_peer_that_does_not_start_is_left_out_with_the_reason(done: Done) -> None:
    benchmark, _ = done
    assert benchmark.absent.keys() == {"friend"}


def test_nothing_is_left_running(done: Done) -> None:
    words = [words_of(one) for one in psutil.Process().children(recursive=True)]
    assert [one for one in words if "ccproxyd" in one or "scripts.bench" in one] == []


def words_of(process: psutil.Process) -> str:
    """Nothing of one that has ended, which may be another test's."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def test_one_of_ours_that_does_not_start_ends_it() -> None:
    benchmark = Benchmark(PLAN, Cast((DYING,), ()), lambda _: None)
    with pytest.raises(CannotStartError, match="too bad"):
        benchmark.run()


# -- the command


@pytest.fixture
def played(done: Done, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The command without the wait: its benchmark finds what was found before."""
    _, findings = done
    monkeypatch.setattr(command.Benchmark, "run", lambda _: findings)
    monkeypatch.setattr(command, "_end_in_order", lambda: None)
    return monkeypatch


def run(tmp_path: Path, *words: str) -> int:
    return command.main(["--quick", "--out", str(tmp_path), "--cache", str(tmp_path), *words])


@pytest.mark.usefixtures("played")
def test_the_figures_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path) == 0
    written: dict[str, Any] = json.loads((tmp_path / "results.json").read_text())
    assert [one["contestant"] for one in written["runs"]] == ["provider", "direct"]
    assert {"date", "machine", "versions", "plan", "limits", "footprint"} <= written.keys()
    assert (tmp_path / "report.md").read_text().startswith("# ccproxyd and others")
    assert (tmp_path / "memory.svg").is_file()
    assert "| what | limit |" in capsys.readouterr().out


@pytest.mark.parametrize(("measured", "status"), [(0.0, 1), (2.0, 0)], ids=["missed", "kept"])
def test_the_gate_fails_where_a_limit_is_missed(
    played: pytest.MonkeyPatch, tmp_path: Path, measured: float, status: int
) -> None:
    limit = Limit("something", lambda _: Measured(measured), 1.0, at_least=True)
    played.setattr(command, "LIMITS", (limit,))
    assert run(tmp_path, "--gate") == status
    assert run(tmp_path) == 0


def test_one_that_cannot_start_is_told_with_another_status(
    played: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: Benchmark) -> Findings:
        raise CannotStartError("LiteLLM: it does not listen")

    played.setattr(command.Benchmark, "run", fail)
    assert run(tmp_path) == 2
    assert capsys.readouterr().err == "bench: cannot start LiteLLM: it does not listen\n"


def test_the_whole_plan_is_usual_and_there_is_one_at_a_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    parse = command._parser().parse_args
    assert parse([]).plan == "full"
    assert {parse([f"--{name}"]).plan for name in PLANS if name != "full"} == {
        "quick",
        "rates",
        "memory",
    }
    with pytest.raises(SystemExit):
        parse(["--quick", "--memory"])
    assert "not allowed with" in capsys.readouterr().err


def test_no_runs_make_a_report_all_the_same(played: pytest.MonkeyPatch, tmp_path: Path) -> None:
    played.setattr(command.Benchmark, "run", lambda _: Findings(Results()))
    assert run(tmp_path) == 0
    assert (tmp_path / "report.md").is_file()

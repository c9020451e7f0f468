"""What CI runs is what a checkout runs: its steps call targets and programs that are there."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ccproxyd.ctl.parser import parse
from ccproxyd.daemon.main import _parser as daemon_parser

ROOT = Path(__file__).resolve().parent.parent
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"


@pytest.fixture(scope="module")
def jobs() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text("utf-8"))["jobs"]
    return found


def lines_of(job: dict[str, Any]) -> list[str]:
    texts = [step["run"] for step in job["steps"] if "run" in step]
    return [line.strip() for text in texts for line in text.splitlines() if line.strip()]


def test_every_target_that_is_made_exists(jobs: dict[str, Any]) -> None:
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    lines = [line for job in jobs.values() for line in lines_of(job)]
    made = {line.split()[1] for line in lines if line.startswith("make ")}
    assert made
    assert made <= known


def test_every_program_understands_its_call(jobs: dict[str, Any]) -> None:
    lines = [line for job in jobs.values() for line in lines_of(job)]
    calls = [shlex.split(line.removesuffix("&")) for line in lines if line.startswith(".venv/bin/")]
    assert {Path(words[0]).name for words in calls} >= {"ccproxyd", "ccproxyctl"}
    for program, *words in calls:
        if program.endswith("ccproxyctl"):
            assert parse(words).verb in words
        elif program.endswith("ccproxyd"):
            daemon_parser().parse_args(words)


def test_the_whole_suite_runs_everywhere(jobs: dict[str, Any]) -> None:
    assert lines_of(jobs["check"]) == [".ci/run"]
    assert "exec make lint types test" in (ROOT / ".ci" / "run").read_text("utf-8")


@pytest.mark.parametrize(("args", "is_whole"), [("", True), ("tests/worker --no-cov", False)])
def test_the_whole_suite_covers_litellms_callback(args: str, is_whole: bool) -> None:
    command = ["make", "--dry-run", "test", f"ARGS={args}"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    bound = "coverage report --include=ccproxyd/worker/handler.py --fail-under=95"
    assert (bound in said) is is_whole


def test_the_proxy_is_tried_in_a_container(jobs: dict[str, Any]) -> None:
    job = jobs["integration-proxy"]
    assert re.fullmatch(r"python:3\.\d+", job["container"])
    lines = lines_of(job)
    assert any("ccproxyd --demo" in line for line in lines)
    assert lines[-1] == 'make test ARGS="tests/integration --no-cov"'

"""What a start builds is found out by a start, in a process that is thrown away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.worker.harness import clean_environment

REHEARSED = """
import sys, threading
from ccproxyd.worker import process, rehearsal
from ccproxyd.worker.template import why_not_fork

serve = process.load()
modules, models = set(sys.modules), rehearsal._incomplete()
rehearsal.build_what_a_start_needs(serve)
new = set(sys.modules) - modules
built = models.keys() - rehearsal._incomplete().keys()
assert new, "nothing was imported"
assert built, "no model was completed"
assert why_not_fork() is None, why_not_fork()
print("fit to fork")
"""

BROKEN = """
from ccproxyd.worker import rehearsal

async def serve(*_, **__):
    raise RuntimeError("LiteLLM has changed")

rehearsal.build_what_a_start_needs(serve)
print("went on")
"""


TOLD_TO_GO = """
import asyncio, os, signal, sys, tempfile
from pathlib import Path
from ccproxyd.worker import rehearsal

tempfile.tempdir = sys.argv[1]

async def serve(*_, **__):
    Path(sys.argv[1], "child").write_text(str(os.getpid()))
    os.kill(os.getppid(), signal.SIGTERM)
    await asyncio.Event().wait()

rehearsal.build_what_a_start_needs(serve)
"""


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=clean_environment({}),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_what_a_start_needs_is_built_and_the_process_can_still_fork() -> None:
    assert run(REHEARSED) == "fit to fork"


def test_a_rehearsal_that_fails_costs_only_time() -> None:
    assert run(BROKEN) == "went on"


def test_a_rehearsal_ends_with_the_process_that_is_told_to_go(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TOLD_TO_GO, str(tmp_path)]
    done = subprocess.run(command, check=False, env=clean_environment({}))
    assert done.returncode == 128 + signal.SIGTERM
    child = tmp_path / "child"
    with pytest.raises(ProcessLookupError):
        os.kill(int(child.read_text()), 0)
    assert list(tmp_path.iterdir()) == [child]

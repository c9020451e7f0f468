"""What a start builds is found out by a start, in a process that is thrown away."""

from __future__ import annotations

import subprocess
import sys

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

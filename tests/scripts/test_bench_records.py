"""The benchmark of the records follows the code that it measures; what it finds is not asserted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench_records.py"


def test_it_measures_both_processes_at_each_level() -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "--pairs", "1"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split()[0] for line in done.stdout.splitlines()]
    assert lines == ["level", "gateway", "daemon", "both"] * 2

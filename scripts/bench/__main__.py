"""The command: what is to be measured, and where the figures go.

    scripts/bench.sh --quick --out DIR

Writes `results.json`, `report.md` and the charts into DIR, and prints what has to hold. Exit status
1 where `--gate` finds a limit missed, 2 where one of our own contestants does not start.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import asdict

from scripts.bench import machine
from scripts.bench.benchmark import Benchmark, Cast
from scripts.bench.contestants import own_contestants
from scripts.bench.limits import LIMITS, Findings, Verdict, judged
from scripts.bench.peers import default_cache, find_peers
from scripts.bench.plan import PLANS
from scripts.bench.plots import charts
from scripts.bench.report import limits_table, markdown
from scripts.bench.servers import CannotStartError


def main(argv: Sequence[str]) -> int:
    arguments = _parser().parse_args(argv)
    _end_in_order()
    about = machine.facts(arguments.cache)
    peers, absent = find_peers(arguments.cache, install=arguments.peers)
    benchmark = Benchmark(
        PLANS[arguments.plan], Cast(own_contestants(), tuple(peers)), _say, dict(absent)
    )
    try:
        findings = benchmark.run()
    except CannotStartError as error:
        print(f"bench: cannot start {error}", file=sys.stderr)
        return 2
    verdicts = judged(findings, LIMITS)
    about |= {"plan": benchmark.plan.name, "rounds": benchmark.plan.rounds}
    _write(arguments.out, benchmark, findings, verdicts, about)
    print("\n".join(limits_table(verdicts)))
    print(f"\n{arguments.out / 'report.md'}")
    return 1 if arguments.gate and any(one.missed for one in verdicts) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench.sh", description="ccproxyd beside LiteLLM and other routers."
    )
    plans = parser.add_mutually_exclusive_group()
    for name, said in (
        ("quick", "a few minutes: what a regression would show in"),
        ("rates", "a hundred requests a second, three times; ten minutes"),
        ("memory", "memory and starts alone"),
    ):
        plans.add_argument(
            f"--{name}", dest="plan", action="store_const", const=name, default="full", help=said
        )
    parser.add_argument("--gate", action="store_true", help="exit 1 where a limit is missed")
    parser.add_argument(
        "--peers", action="store_true", help="install the other routers that are not there yet"
    )
    parser.add_argument(
        "--cache", type=Path, default=default_cache(os.environ), help="where they are installed"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("build/bench"), help="(default: %(default)s)"
    )
    return parser


def _end_in_order() -> None:
    """A first ^C or SIGTERM unwinds everything; a second one must not cut that short."""

    def stop(number: int, _frame: Any) -> None:
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, signal.SIG_IGN)
        sys.exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def _write(
    directory: Path,
    benchmark: Benchmark,
    findings: Findings,
    verdicts: Sequence[Verdict],
    about: dict[str, Any],
) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    document = {
        **about,
        "absent": benchmark.absent,
        "limits": [one.to_json() for one in verdicts],
        "footprint": findings.footprint and findings.footprint.to_json(),
        "deciding": [asdict(one) for one in findings.deciding],
        "plan_details": asdict(benchmark.plan),
        "runs": [run.to_json() for run in findings.results.runs],
    }
    text = markdown(findings, verdicts, benchmark.titles, about, benchmark.absent)
    _store(directory / "results.json", json.dumps(document, indent=1))
    _store(directory / "report.md", text)
    for name, drawn in charts(findings, benchmark.titles).items():
        _store(directory / name, drawn)


def _store(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

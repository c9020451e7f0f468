"""make claude: the cases in their worlds, and the table.

The client is `$CLAUDE_BIN`, else what npm has put into `.cache/claude`. The accounts of all worlds
stay in `build/claude`, so that `--again` compares them once more without running anything.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, get_args

from scripts.claude.cases import CASES, Case, World
from scripts.claude.compare import Finding, find
from scripts.claude.report import lines
from scripts.claude.worlds import ROOT, enter

_ROOT: Final = Path(__file__).parents[2]
_PLACE: Final = _ROOT / ".cache" / "claude"
_OUT: Final = _ROOT / "build" / "claude"
_PACKAGE: Final = "@anthropic-ai/claude-code"
_WORLDS: Final[tuple[World, ...]] = get_args(World)


def main(words: Sequence[str]) -> int:
    args = _parse(words)
    cases = [case for case in CASES if not args.cases or case.name in args.cases]
    if args.list:
        print("\n".join(case.name for case in cases))
        return 0
    if not args.again:
        _run(find_client(), cases, args.worlds)
    findings = list(_findings(cases, args.worlds))
    print("\n".join(lines(findings)))
    return 0 if all(finding.is_good for finding in findings) else 1


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make claude", description=__doc__.partition("\n")[0])
    known = [case.name for case in CASES]
    parser.add_argument("cases", nargs="*", metavar="CASE", choices=[[], *known], default=[])
    parser.add_argument("--list", action="store_true", help="which cases there are")
    parser.add_argument("--again", action="store_true", help="compare what was seen last time")
    parser.add_argument("--worlds", nargs="+", choices=_WORLDS, default=list(_WORLDS))
    return parser.parse_args(words)


def find_client() -> Path:
    """The client's program, installed if need be."""
    named = os.environ.get("CLAUDE_BIN")
    if named:
        return Path(named).absolute()
    if not (found := list(_programs())):
        npm = shutil.which("npm")
        if npm is None:
            sys.exit("make claude: cannot find npm; install it, or name the client: CLAUDE_BIN=...")
        _PLACE.mkdir(parents=True, exist_ok=True)
        subprocess.run([npm, "install", "--prefix", str(_PLACE), _PACKAGE], check=True)
        found = list(_programs())
    if not found:
        sys.exit(f"make claude: cannot find the client in {_PLACE}; CLAUDE_BIN=... names another")
    return found[0]


def _programs() -> Iterator[Path]:
    """The package of this platform has the program itself; that of all has only a link to it."""
    scope = _PLACE / "node_modules" / _PACKAGE.partition("/")[0]
    return (file for file in scope.glob("claude-code-*/claude") if os.access(file, os.X_OK))


def _run(client: Path, cases: Sequence[Case], worlds: Sequence[World]) -> None:
    """All worlds at the same time; none of them sees another."""
    running = []
    for world in worlds:
        out = _OUT / world
        out.mkdir(parents=True, exist_ok=True)
        command = enter(world, client, out, [case.name for case in cases])
        running.append(subprocess.Popen(command, cwd=_ROOT))
    codes = [process.wait() for process in running]
    ROOT.rmdir()  # each world had one of its own upon it
    if any(codes):
        sys.exit("make claude: cannot run in namespaces of its own; see above. It needs Linux")


def _findings(cases: Sequence[Case], worlds: Sequence[World]) -> Iterator[Finding]:
    for case in cases:
        for world in worlds:
            if world != "alone":
                told = [
                    json.loads((_OUT / place / f"{case.name}.json").read_text())
                    for place in ("alone", world)
                ]
                yield find(case, world, *told)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

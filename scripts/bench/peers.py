"""Other people's routers, each installed apart, in a cache directory outside of the tree.

A peer takes part when it is there. `install` fetches those that are not, by npm and uv; what cannot
be had is left out, with the reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from attrs import frozen

from scripts.bench.contestants import Contestant, ancestor, code_router

INSTALL_SECONDS: Final = 600


class CannotInstallError(Exception):
    """Its text is the reason."""


@frozen
class Peer:
    """A router of others: where its program is once it is installed, and how to get it there."""

    name: str
    program: str
    installer: str
    commands: Callable[[Path], list[list[str]]]
    contestant: Callable[[Path], Contestant]
    runs_on: str | None = None
    """A program without which it does not run."""

    def find(self, cache: Path) -> Contestant | None:
        """The contestant, if it is installed and can run."""
        program = cache / self.name / self.program
        runs = self.runs_on is None or _which(self.runs_on)
        return self.contestant(program) if program.exists() and runs else None

    def install(self, cache: Path) -> None:
        """Fetch it.

        Raises:
            CannotInstallError: something that it needs is not there, or the installer failed.
        """
        for name in (self.runs_on, self.installer):
            if name and not _which(name):
                raise CannotInstallError(f"{name} is not installed")
        place = cache / self.name
        place.mkdir(parents=True, exist_ok=True)
        for command in self.commands(place):
            _run([_which(command[0]) or command[0], *command[1:]], place)


def _by_npm(place: Path) -> list[list[str]]:
    wanted = "@musistudio/claude-code-router@^2"
    return [["npm", "install", "--prefix", str(place), "--no-audit", "--no-fund", wanted]]


def _by_uv(place: Path) -> list[list[str]]:
    python = str(place / "bin" / "python")
    options = ["--quiet", "--compile-bytecode", "--python", python]
    return [
        ["uv", "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(place)],
        ["uv", "pip", "install", *options, "claude-ccproxy"],
    ]


PEERS: Final = (
    Peer(
        "claude-code-router",
        "node_modules/@musistudio/claude-code-router/dist/cli.js",
        installer="npm",
        commands=_by_npm,
        contestant=code_router,
        runs_on="node",
    ),
    Peer(
        "claude-ccproxy",
        "bin/ccproxy",
        installer="uv",
        commands=_by_uv,
        contestant=ancestor,
    ),
)


def default_cache(environ: Mapping[str, str]) -> Path:
    base = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME", "~")).expanduser() / ".cache"
    return Path(base) / "ccproxyd" / "bench"


def find_peers(cache: Path, *, install: bool) -> tuple[list[Contestant], dict[str, str]]:
    """Those that can take part, and why the others cannot."""
    found: list[Contestant] = []
    absent: dict[str, str] = {}
    for peer in PEERS:
        try:
            if install and peer.find(cache) is None:
                peer.install(cache)
        except CannotInstallError as error:
            absent[peer.name] = str(error)
            continue
        if contestant := peer.find(cache):
            found.append(contestant)
        else:
            absent[peer.name] = "it is not installed: make bench ARGS=--peers"
    return found, absent


def _run(command: list[str], place: Path) -> None:
    try:
        done = subprocess.run(
            command, cwd=place, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotInstallError(f"{command[0]}: {type(error).__name__}") from None
    if done.returncode:
        raise CannotInstallError(f"{Path(command[0]).name}: {done.stderr.strip()[-300:]}")


def _which(name: str) -> str | None:
    """Beside this interpreter, where .venv has uv, or on the PATH."""
    beside = str(Path(sys.executable).parent)
    return shutil.which(name, path=os.pathsep.join((beside, os.environ.get("PATH", ""))))

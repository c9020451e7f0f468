"""Which commands a service has to run, and whether it will see them.

An installation has a script `ccproxyd` beside its interpreter, or beside the script that runs. A
service inherits no shell, and so neither PATH nor PYTHONPATH: without a script it is the
interpreter that runs, if it finds ccproxyd by itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

from ccproxyd.ctl.commands import Commands
from ccproxyd.errors import CcproxydError

_UNSEEN: Final = "/home /root /run/user /tmp /var/tmp".split()
"""ProtectHome=yes and PrivateTmp=yes hide them from the system's service."""


@frozen
class Executables:
    """The words that begin a command line."""

    daemon: tuple[str, ...]
    ctl: tuple[str, ...]


def find_executables(
    commands: Commands | None = None,
    *,
    python: Path | None = None,
    script: Path | None = None,
) -> Executables:
    """Those of the installation that this command belongs to.

    Raises:
        CcproxydError: it is none, but a checkout that only PYTHONPATH or a directory makes run.
    """
    python = python or Path(sys.executable)
    for directory in (python.parent, (script or Path(sys.argv[0])).absolute().parent):
        daemon, ctl = directory / "ccproxyd", directory / "ccproxyctl"
        if os.access(daemon, os.X_OK) and os.access(ctl, os.X_OK) and daemon.is_file():
            return Executables((str(daemon),), (str(ctl),))
    if _is_found_by(python, commands or Commands({})):
        module = (str(python), "-P", "-m")
        return Executables((*module, "ccproxyd"), (*module, "ccproxyd.ctl"))
    raise CcproxydError(
        f"cannot find the command ccproxyd: neither beside {python} nor beside this command; "
        f"install ccproxyd first: {python} -m pip install"
    )


def hidden_from_system(executables: Executables, python: Path | None = None) -> Path | None:
    """What the system's service could not see: a command, or the interpreter that is behind it."""
    python = python or Path(sys.executable)
    needed = [Path(executables.daemon[0]), python, python.resolve()]
    return next((path for path in needed if _is_below(path, _UNSEEN)), None)


def _is_found_by(python: Path, commands: Commands) -> bool:
    return commands.run([str(python), "-P", "-c", "import ccproxyd"]).code == 0


def _is_below(path: Path, directories: Sequence[str]) -> bool:
    return any(path.is_relative_to(directory) for directory in directories)

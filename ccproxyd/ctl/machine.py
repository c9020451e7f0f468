"""What a verb must know of this machine, and of who uses it, to change something on it.

It is looked up once, at the edge, and handed on: what is told `macos=True` behaves as on a Mac, and
what is given another `root` sees and writes below that one only.
"""

from __future__ import annotations

import os
import pwd
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from ccproxyd.ctl.reach import home
from ccproxyd.paths import Directories, find_directories


@frozen
class Machine:
    environ: Mapping[str, str]
    home: Path
    user_id: int
    user: str
    macos: bool = False
    root: Path = Path("/")

    def at(self, path: str) -> Path:
        """An absolute path of the system."""
        return self.root / path.lstrip("/")

    def directories(self, args: Namespace) -> Directories:
        """Those of a daemon that this user would start by hand."""
        return find_directories(
            self.environ,
            home=self.home,
            user_id=self.user_id,
            macos=self.macos,
            config=args.config_dir,
        )

    @property
    def user_runtime(self) -> Path:
        """`$XDG_RUNTIME_DIR`, also for a shell that was not told, such as that of su or cron."""
        named = self.environ.get("XDG_RUNTIME_DIR")
        return Path(named) if named else self.at(f"/run/user/{self.user_id}")


def this_machine() -> Machine:
    user_id = os.getuid()
    return Machine(os.environ, home(), user_id, _name(user_id), macos=sys.platform == "darwin")


def _name(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return str(user_id)

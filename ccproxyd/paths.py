"""Where the files are: config, state, runtime and log directories, for a user and for the system.

systemd names the directories that it made for a service in `$RUNTIME_DIRECTORY` and its like; else
the XDG base directories hold on Linux and `~/Library` on macOS. `find_directories` only computes;
making a directory, and refusing one that is not ours alone, is `make_private`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from attrs import frozen

from ccproxyd.errors import CcproxydError

SYSTEM_RUNTIME: Final = Path("/run/ccproxyd")


@frozen
class Directories:
    """The four places of one instance."""

    config: Path
    runtime: Path
    state: Path
    logs: Path

    @property
    def control_socket(self) -> Path:
        return self.runtime / "control.sock"

    @property
    def lock(self) -> Path:
        return self.runtime / "lock"

    @property
    def client_key(self) -> Path:
        return self.state / "key"


def find_directories(
    environ: Mapping[str, str],
    *,
    home: Path,
    user_id: int,
    macos: bool = False,
    config: Path | None = None,
) -> Directories:
    """The directories of an instance that runs in this environment.

    >>> environ = {"XDG_RUNTIME_DIR": "/run/user/7"}
    >>> found = find_directories(environ, home=Path("/home/a"), user_id=7)
    >>> found.runtime.as_posix(), found.config.as_posix(), found.state.as_posix()
    ('/run/user/7/ccproxyd', '/home/a/.ccproxy', '/home/a/.local/state/ccproxyd')
    """
    state = _state(environ, home, macos)
    return Directories(
        config=config or _config(environ, home),
        runtime=_runtime(environ, user_id, state, macos),
        state=state,
        logs=_from_systemd(environ, "LOGS_DIRECTORY") or _logs(home, state, macos),
    )


def control_sockets(
    environ: Mapping[str, str], *, home: Path, user_id: int, macos: bool = False
) -> list[Path]:
    """Where a client looks for the daemon: first the user's own, then the system's."""
    if named := environ.get("CCPROXYD_SOCKET"):
        return [Path(named)]
    own = find_directories(environ, home=home, user_id=user_id, macos=macos).control_socket
    return [own, SYSTEM_RUNTIME / "control.sock"]


def litellm_directory(purpose: str) -> Path:
    """Where LiteLLM is installed, found without importing it.

    Raises:
        CcproxydError: it is not; `purpose` says what then cannot be done.
    """
    import importlib.util  # the command line has no use for it, and is to start at once

    found = importlib.util.find_spec("litellm")
    if found is None or not found.submodule_search_locations:
        raise CcproxydError(f"cannot {purpose}: LiteLLM is not installed; install ccproxyd anew")
    return Path(found.submodule_search_locations[0])


def make_private(directory: Path) -> Path:
    """A directory that nobody else can read, made if need be.

    Raises:
        CcproxydError: it cannot be made, or what is there belongs to someone else.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise CcproxydError(f"cannot use {directory}: it is not a directory of our own")
        if found.st_mode & 0o077:
            directory.chmod(0o700)
    except OSError as error:
        raise CcproxydError(f"cannot use {directory}: {error.strerror}") from error
    return directory


def _from_systemd(environ: Mapping[str, str], name: str) -> Path | None:
    """The first of the colon-separated list that systemd.exec(5) describes."""
    first = environ.get(name, "").split(":")[0]
    return Path(first) if first else None


def _config(environ: Mapping[str, str], home: Path) -> Path:
    named = environ.get("CCPROXY_CONFIG_DIR")
    return Path(named).expanduser() if named else home / ".ccproxy"


def _runtime(environ: Mapping[str, str], user_id: int, state: Path, macos: bool) -> Path:
    if given := _from_systemd(environ, "RUNTIME_DIRECTORY"):
        return given
    if base := environ.get("XDG_RUNTIME_DIR"):
        return Path(base) / "ccproxyd"
    if user_id == 0 and not macos and "XDG_STATE_HOME" not in environ:
        return SYSTEM_RUNTIME
    return _short(state / "run", user_id)


def _short(wanted: Path, user_id: int) -> Path:
    """A socket's path has room for about 100 bytes (unix(7)); a deep home has not."""
    if len(os.fsencode(wanted)) <= 60:
        return wanted
    import tempfile  # takes 20 ms of the command line's start, for a case that is rare

    return Path(tempfile.gettempdir()) / f"ccproxyd-{user_id}"


def _state(environ: Mapping[str, str], home: Path, macos: bool) -> Path:
    if given := _from_systemd(environ, "STATE_DIRECTORY"):
        return given
    if base := environ.get("XDG_STATE_HOME"):
        return Path(base) / "ccproxyd"
    if macos:
        return home / "Library" / "Application Support" / "ccproxyd"
    return home / ".local" / "state" / "ccproxyd"


def _logs(home: Path, state: Path, macos: bool) -> Path:
    return home / "Library" / "Logs" / "ccproxyd" if macos else state / "log"

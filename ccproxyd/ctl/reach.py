"""Finding the daemon and asking it."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ccproxyd import __version__
from ccproxyd.control.client import Client
from ccproxyd.control.status import Status
from ccproxyd.ctl.printing import plural, print_error
from ccproxyd.ctl.waiting import Waiting
from ccproxyd.errors import CcproxydError
from ccproxyd.paths import Directories, control_sockets, find_directories


def directories(args: Namespace, config: Path | None = None) -> Directories:
    """Those of a daemon that this user would start; `config` is what a running one has said."""
    return find_directories(
        os.environ,
        home=home(),
        user_id=os.getuid(),
        macos=sys.platform == "darwin",
        config=args.config_dir or config,
    )


def client_of(args: Namespace) -> Client:
    """The named socket's, else that of the user's own or the system's daemon."""
    return Client(*_sockets(args))


def own_client(args: Namespace) -> Client:
    """The named socket's, else that of a daemon that this user would start."""
    return Client(_sockets(args)[0])


def _sockets(args: Namespace) -> list[Path]:
    if args.socket:
        return [args.socket]
    macos = sys.platform == "darwin"
    found = control_sockets(os.environ, home=home(), user_id=os.getuid(), macos=macos)
    own, *others = dict.fromkeys(found)
    return [own, *_untold_sockets(), *others]


def _untold_sockets() -> list[Path]:
    """The user's service has a runtime directory, also for the shells of su and cron."""
    told = {"XDG_RUNTIME_DIR", "RUNTIME_DIRECTORY", "CCPROXYD_SOCKET"} & os.environ.keys()
    own = Path(f"/run/user/{os.getuid()}/ccproxyd/control.sock")
    return [own] if os.getuid() and not told and own.exists() else []


def ask(
    args: Namespace,
    verb: str,
    payload: Mapping[str, Any] | None = None,
    *,
    doing: str = "",
    client: Client | None = None,
) -> dict[str, Any]:
    """The daemon's answer; `doing` is shown on a terminal meanwhile, with what it waits for."""
    client = client or client_of(args)
    try:
        with Waiting(doing, detail=lambda: progress(client_of(args))):
            return client.call(verb, payload, wait_seconds=args.wait)
    finally:
        _name_skew(client.daemon_version)


def progress(client: Client) -> str:
    """What the daemon is waiting for, by its own word; nothing when it does not say."""
    try:
        found = Status.from_json(client.call("status"))
    except CcproxydError:
        return ""
    newest = [one for one in found.workers if one.generation > found.generation]
    if not newest:
        return ""
    ready = sum(one.state == "ready" for one in newest)
    return f"generation {newest[0].generation}: {ready} of {plural(len(newest), 'worker')} ready"


def _name_skew(daemon_version: str | None) -> None:
    if daemon_version not in (None, __version__):
        print_error(
            f"note: this is ccproxyctl {__version__}, the daemon is {daemon_version}; "
            "it runs the installed version once it is restarted by its service manager"
        )


def home() -> Path:
    return Path(os.environ.get("HOME") or "~").expanduser()

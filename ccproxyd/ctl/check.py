"""check: whether a config directory is good, without a daemon.

It does what the daemon does before it takes a config: reads and parses both files, loads the
modules of rules and hooks, and builds the table.
"""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path
from typing import Any

from ccproxyd.control.status import Status
from ccproxyd.ctl.printing import clean, print_error, print_json, print_warnings, visible
from ccproxyd.ctl.routes import print_labels
from ccproxyd.ctl.service.find import config_dir_for
from ccproxyd.errors import EXIT_FAILED, ConfigError


def check(args: Namespace) -> int:
    config_dir = config_dir_for(args)
    try:
        found = examine(config_dir)
    except ConfigError as error:
        if args.json:
            print_json({"ok": False, "config_dir": str(config_dir), "error": _error(error)})
        print_error(str(error))
        return EXIT_FAILED
    if args.json:
        print_json(found)
    else:
        _print(found)
    return 0


def examine(config_dir: Path) -> dict[str, Any]:
    """What a good config says, JSON-able; ConfigError for one that is not."""
    from ccproxyd.config.imports import build_parts
    from ccproxyd.config.load import load

    loaded = load(config_dir, os.environ)
    table = build_parts(loaded, config_dir).routing
    return {
        "ok": True,
        "config_dir": str(config_dir),
        "rules": [{"label": rule.label, "rule": rule.name} for rule in table.rules],
        "labels": {target.name: list(target.models) for target in table.targets},
        "aliases": dict(table.aliases),
        "warnings": list(loaded.warnings),
    }


def examine_for(running: Status | None, processes: Path = Path("/proc")) -> None:
    """Whether a daemon that runs could start with what its files now say.

    It is asked with the daemon's own environment, and not at all where that cannot be seen. The
    rules' modules are not loaded: they may belong to somebody else than who asks.

    Raises:
        ConfigError: it could not.
    """
    from ccproxyd.config.load import load

    environ = _environment_of(running.pid, processes) if running else None
    if running and environ is not None:
        load(Path(running.config_dir), environ)


def _environment_of(pid: int, processes: Path) -> dict[str, str] | None:
    """None where it is not for us to see, or its credentials are not."""
    try:
        given = (processes / str(pid) / "environ").read_bytes()
    except OSError:
        return None
    entries = (os.fsdecode(entry).partition("=") for entry in given.split(b"\0") if entry)
    environ = {name: value for name, _, value in entries}
    credentials = environ.get("CREDENTIALS_DIRECTORY")
    is_seen = not credentials or os.access(credentials, os.R_OK | os.X_OK)
    return environ if is_seen else None


def _error(error: ConfigError) -> dict[str, str | None]:
    return {"path": error.path, "reason": clean(error.reason), "hint": error.hint}


def _print(found: dict[str, Any]) -> None:
    print(f"the config in {visible(found['config_dir'])} is good")
    print_labels(
        {name: tuple(models) for name, models in found["labels"].items()}, found["aliases"]
    )
    print_warnings(found["warnings"])

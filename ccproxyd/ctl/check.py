"""check: whether a config directory is good, without a daemon.

It does what the daemon does before it takes a config: reads and parses both files, loads the rule
modules and builds the table.
"""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path
from typing import Any

from ccproxyd.ctl.printing import print_error, print_json, print_warnings, visible
from ccproxyd.ctl.reach import directories
from ccproxyd.ctl.routes import print_labels
from ccproxyd.errors import EXIT_FAILED, ConfigError


def check(args: Namespace) -> int:
    config_dir = directories(args).config
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
    from ccproxyd.config.imports import build_table
    from ccproxyd.config.load import load

    loaded = load(config_dir, os.environ)
    table = build_table(loaded, config_dir)
    return {
        "ok": True,
        "config_dir": str(config_dir),
        "rules": [{"label": rule.label, "rule": rule.name} for rule in table.rules],
        "labels": {target.name: list(target.models) for target in table.targets},
        "aliases": dict(table.aliases),
        "warnings": list(loaded.warnings),
    }


def _error(error: ConfigError) -> dict[str, str | None]:
    return {"path": error.path, "reason": error.reason, "hint": error.hint}


def _print(found: dict[str, Any]) -> None:
    print(f"the config in {visible(found['config_dir'])} is good")
    print_labels(
        {name: tuple(models) for name, models in found["labels"].items()}, found["aliases"]
    )
    print_warnings(found["warnings"])

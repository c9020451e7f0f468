"""launchd's property list for this installation. Pure.

What is shipped says what every installation needs; the paths in it are put in here, where launchd
would expand nothing.
"""

from __future__ import annotations

import plistlib
from pathlib import Path
from typing import Any, Final

from ccproxyd.ctl.setup.executables import Executables

HEAD: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN"'
    ' "http://www.apple.com/DTDs/PropertyList-1.0.dtd">\n'
)
_HOME: Final = "/Users/you"


def render(text: str, executables: Executables, home: Path, config_dir: Path | None = None) -> str:
    """An agent that runs these executables, with this config if it is not the usual one."""
    agent = _at_home(plistlib.loads(text.encode()), home)
    agent["ProgramArguments"][:1] = executables.daemon
    if config_dir is not None:
        agent["EnvironmentVariables"]["CCPROXY_CONFIG_DIR"] = str(config_dir)
    return plistlib.dumps(agent, sort_keys=False).decode()


def _at_home(value: Any, home: Path) -> Any:
    if isinstance(value, dict):
        return {key: _at_home(item, home) for key, item in value.items()}
    if isinstance(value, list):
        return [_at_home(item, home) for item in value]
    if isinstance(value, str) and value.startswith(f"{_HOME}/"):
        return str(home / value.removeprefix(f"{_HOME}/"))
    return value

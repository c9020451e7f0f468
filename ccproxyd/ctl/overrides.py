"""What stands before the environment that Claude Code is started in: its own settings.

The `env` of a settings file is set over what the client's process has. An address in there, left
from another gateway or an earlier try, takes every request past the daemon, and nobody would know;
a key has the daemon refuse them. The files are the user's, the project's and the administrator's;
what is in them is not repeated, since it may be a key.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ccproxyd.ctl.env import LOGINS, Variables

CLIENT: Final = "claude"
WATCHED: Final = ("ANTHROPIC_BASE_URL", *LOGINS, "ANTHROPIC_CUSTOM_HEADERS")
"""Where a request goes, and what lets it in."""
ELSEWHERE: Final = (
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CODE_USE_FOUNDRY",
)
"""Any of these has Claude Code speak to somebody else, whatever its address is."""
_NO: Final = (None, "", "0", "false")

_MANAGED: Final = (
    Path("/etc/claude-code/managed-settings.json"),
    Path("/Library/Application Support/ClaudeCode/managed-settings.json"),
)


def settings_files(environ: Mapping[str, str], home: Path, directory: Path) -> tuple[Path, ...]:
    """Where Claude Code looks for settings when it is started in a directory."""
    own = Path(environ.get("CLAUDE_CONFIG_DIR") or home / ".claude")
    project = directory / ".claude"
    return (
        own / "settings.json",
        project / "settings.json",
        project / "settings.local.json",
        *_MANAGED,
    )


def overridden(variables: Mapping[str, str | None], files: tuple[Path, ...]) -> Iterator[str]:
    """For each watched variable that a file has another value for, what to do about it.

    Args:
        variables: what the client gets; None for one that it must not have.
    """
    for file in dict.fromkeys(files):
        said = _env_of(file)
        for name in (*WATCHED, *ELSEWHERE):
            if name in said and _is_other(name, said[name], variables):
                yield (
                    f"{file} sets {name}, which stands before what Claude Code is given here; "
                    'take it out of "env" in there, or requests may not reach ccproxyd'
                )


def unwanted(*, oauth: bool) -> Variables:
    """What must not be set beside the variables of `client_variables`: a login of another kind."""
    return dict.fromkeys(LOGINS) if oauth else {}


def _is_other(name: str, value: Any, variables: Mapping[str, str | None]) -> bool:
    if name in ELSEWHERE:
        return value not in _NO
    return name in variables and _plain(value) != _plain(variables[name])


def _plain(value: Any) -> Any:
    """An address in one of its spellings."""
    if not isinstance(value, str):
        return value
    return value.rstrip("/").replace("//localhost:", "//127.0.0.1:")


def _env_of(file: Path) -> dict[str, Any]:
    """Nothing where it cannot be read: Claude Code itself says what is wrong with it."""
    try:
        settings = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    found = settings.get("env") if isinstance(settings, dict) else None
    return found if isinstance(found, dict) else {}

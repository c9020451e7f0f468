r"""systemd's unit files for this installation. Pure.

What is shipped names `/usr/bin/ccproxyd` and the default port, and is a good unit as it is; here
both become what they are on this machine.

>>> render("ExecStart=/usr/bin/ccproxyd\n", Executables(("/opt/a b/ccproxyd",), ("/c",)))
'ExecStart="/opt/a b/ccproxyd"\n'
>>> listen_on("ListenStream=127.0.0.1:4000\n", "[::1]:4001")
'ListenStream=[::1]:4001\n'
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from ccproxyd.ctl.setup.executables import Executables

_COMMAND: Final = re.compile(r"^(Exec\w+=)/usr/bin/(ccproxyd|ccproxyctl)(?=\s|$)", re.MULTILINE)
_LISTENS: Final = re.compile(r"^ListenStream=.*$", re.MULTILINE)
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./+:@,=-]+")


def render(text: str, executables: Executables, config_dir: Path | None = None) -> str:
    """A service that runs these executables, with this config if it is not the usual one."""
    words = {"ccproxyd": executables.daemon, "ccproxyctl": executables.ctl}
    rendered = _COMMAND.sub(
        lambda found: found[1] + " ".join(quote(word) for word in words[found[2]]), text
    )
    if config_dir is None:
        return rendered
    variable = quote(f"CCPROXY_CONFIG_DIR={config_dir}")
    return rendered.replace("[Service]\n", f"[Service]\nEnvironment={variable}\n", 1)


def listen_on(text: str, address: str) -> str:
    return _LISTENS.sub(lambda _: f"ListenStream={address}", text, count=1)


def quote(word: str) -> str:
    r"""A word as systemd.syntax(7) reads it back; `%` begins a specifier.

    >>> print(quote("/opt/ccproxyd"), quote('/a b/50%"'))
    /opt/ccproxyd "/a b/50%%\""
    """
    escaped = word.replace("%", "%%")
    if _PLAIN.fullmatch(word):
        return escaped
    return '"' + escaped.replace("\\", "\\\\").replace('"', '\\"') + '"'

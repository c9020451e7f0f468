"""How each process of the house is started, and in which environment.

A child inherits the daemon's environment with what the `env` file adds, less what a service manager
meant for the daemon alone: a child that spoke on `$NOTIFY_SOCKET` would speak for the daemon.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from ccproxyd.notify import SERVICE_VARIABLES
from ccproxyd.supervision.process import Command


def child_environment(
    environ: Mapping[str, str], added: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The environment of a process of ours.

    >>> child_environment({"HOME": "/h", "NOTIFY_SOCKET": "/run/n"}, {"KEY": "k"})
    {'HOME': '/h', 'KEY': 'k', 'PYTHONUNBUFFERED': '1'}
    """
    kept = {name: value for name, value in environ.items() if name not in SERVICE_VARIABLES}
    return {**kept, **(added or {}), "PYTHONUNBUFFERED": "1"}


def gateway_command(environ: Mapping[str, str], listener: int) -> Command:
    return Command(_module("gateway", "--listener", str(listener)), environ, [listener])


def worker_command(environ: Mapping[str, str]) -> Command:
    return Command(_module("worker"), environ)


def template_command(environ: Mapping[str, str]) -> Command:
    return Command(_module("worker", "--template"), environ)


def demo_command(environ: Mapping[str, str], listener: int) -> Command:
    return Command(_module("demo", "--listener", str(listener)), environ, [listener])


def _module(name: str, *words: str) -> list[str]:
    # -P: a module in the directory that we happen to be in must not shadow ours.
    return [sys.executable, "-P", "-m", f"ccproxyd.{name}", *words]

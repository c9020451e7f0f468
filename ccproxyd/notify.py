"""The service manager's side of a daemon: readiness, status, watchdog, sockets handed over.

The protocol is sd_notify(3) and sd_listen_fds(3): datagrams to `$NOTIFY_SOCKET`, and descriptors
from 3 upwards that `$LISTEN_FDS` counts, for the process whose number is `$LISTEN_PID`. Without a
service manager all of it does nothing.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from typing import Final

import sdnotify
from attrs import field, frozen

_FIRST_PASSED_FD: Final = 3

SERVICE_VARIABLES: Final = (
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
)
"""Meant for this process alone; its children must not see them."""


@frozen
class Notifier:
    """Tells the service manager how this process is."""

    _systemd: sdnotify.SystemdNotifier = field(factory=sdnotify.SystemdNotifier)

    def starting(self, status: str, *, seconds: float) -> None:
        """Still starting, and to be given this much longer."""
        microseconds = int(seconds * 1_000_000)
        self._say(f"EXTEND_TIMEOUT_USEC={microseconds}", f"STATUS={status}")

    def ready(self, status: str) -> None:
        self._say("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """In one datagram with the time, as systemd wants it; `ready` ends it."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._say("RELOADING=1", f"MONOTONIC_USEC={now}", "STATUS=reloading")

    def status(self, status: str) -> None:
        self._say(f"STATUS={status}")

    def stopping(self, *, seconds: float = 0.0) -> None:
        """On the way out, and to be given this much time for it, if that is more than usual."""
        microseconds = int(seconds * 1_000_000)
        more = [f"EXTEND_TIMEOUT_USEC={microseconds}"] if microseconds else []
        self._say("STOPPING=1", *more, "STATUS=stopping")

    def alive(self) -> None:
        self._say("WATCHDOG=1")

    def _say(self, *lines: str) -> None:
        text = "\n".join(line.replace("\n", " ") for line in lines)
        # The library sends Latin-1, and nothing at all for what is not; systemd wants UTF-8.
        self._systemd.notify(text.encode("utf-8", "replace").decode("latin-1"))


def watchdog_seconds(environ: Mapping[str, str], pid: int) -> float | None:
    """How often at least the service manager wants to hear from this process.

    >>> watchdog_seconds({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 7)
    30.0
    >>> watchdog_seconds({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 8) is None
    True
    """
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    microseconds = environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1_000_000 if microseconds.isdecimal() else None


def passed_descriptors(environ: Mapping[str, str], pid: int) -> dict[str, int]:
    """The descriptors that were handed over, by their names; unnamed ones are `unknown`.

    >>> passed_descriptors({"LISTEN_PID": "7", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "http"}, 7)
    {'http': 3}
    """
    if environ.get("LISTEN_PID") != str(pid) or not environ.get("LISTEN_FDS", "").isdecimal():
        return {}
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    count = int(environ["LISTEN_FDS"])
    return {
        (names[index] if index < len(names) and names[index] else "unknown"): (
            _FIRST_PASSED_FD + index
        )
        for index in range(count)
    }


def adopt(descriptor: int) -> socket.socket:
    """A listening socket that was handed over, no longer inherited by what we start."""
    os.set_inheritable(descriptor, False)
    return socket.socket(fileno=descriptor)

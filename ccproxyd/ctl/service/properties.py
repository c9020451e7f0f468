"""What `systemctl show` prints, as the facts of a service. Pure."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Final

from ccproxyd.ctl.service.manager import Scope, Service, Socket
from ccproxyd.errors import EXIT_CONFIG, EXIT_TEMPORARY

ASKED: Final = (
    *("Id", "LoadState", "ActiveState", "SubState", "Result", "UnitFileState", "MainPID"),
    *("ExecMainStatus", "Listen"),
)

Properties = Mapping[str, str]


def parse_units(text: str) -> dict[str, dict[str, str]]:
    r"""The properties of each unit, by its name; values of a name that repeats stand in lines.

    >>> parse_units("Id=a.socket\nListen=[::1]:1 (Stream)\nListen=[::1]:2 (Stream)\n")["a.socket"]
    {'Id': 'a.socket', 'Listen': '[::1]:1 (Stream)\n[::1]:2 (Stream)'}
    """
    units = (_parse_unit(block) for block in text.split("\n\n"))
    return {unit["Id"]: unit for unit in units if "Id" in unit}


def _parse_unit(block: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in block.splitlines():
        name, _, value = line.partition("=")
        found[name] = f"{found[name]}\n{value}" if name in found else value
    return found


def service_of(
    unit: Properties, socket: Properties, scope: Scope, *, linger: bool | None
) -> Service:
    return Service(
        manager="systemd",
        unit=unit.get("Id", ""),
        scope=scope,
        active=unit.get("ActiveState", "unknown"),
        sub=unit.get("SubState", ""),
        enabled=_is_enabled(unit),
        linger=linger,
        pid=int(unit.get("MainPID", "0")),
        failure=failure(unit),
        socket=_socket(socket) if socket.get("LoadState") == "loaded" else None,
    )


def failure(unit: Properties) -> str | None:
    """How it ended last, in words; None for a good end, and for one that never ran.

    >>> failure({"Result": "exit-code", "ExecMainStatus": "78"})
    'exit status 78, the config is wrong'
    >>> failure({"Result": "success"}) is None
    True
    """
    result, status = unit.get("Result", "success"), int(unit.get("ExecMainStatus") or 0)
    if result == "success":
        return None
    if result == "exit-code":
        return f"exit status {status}{_EXITS.get(status, '')}"
    if result in {"signal", "core-dump"}:
        return f"killed by {_signal_name(status)}"
    return _RESULTS.get(result, result)


_EXITS: Final = {
    EXIT_CONFIG: ", the config is wrong",
    EXIT_TEMPORARY: ", the port or the lock is somebody else's",
    203: ", its executable cannot be run",
}
_RESULTS: Final = {
    "timeout": "it took too long to start or to stop",
    "watchdog": "it hung, and the watchdog ended it",
    "oom-kill": "the machine ran out of memory",
    "start-limit-hit": "it failed too often in a short time",
    "resources": "systemd could not set it up",
}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _is_enabled(unit: Properties) -> bool:
    return unit.get("UnitFileState", "").startswith("enabled")


def _socket(unit: Properties) -> Socket:
    """An address is followed by its kind in parentheses."""
    listens = (line.partition(" ")[0] for line in unit.get("Listen", "").splitlines())
    active = unit.get("ActiveState") == "active"
    return Socket(unit.get("Id", ""), active, _is_enabled(unit), tuple(listens))

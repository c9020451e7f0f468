"""A service's state for a person: rows of `status`, and what to do next. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ccproxyd.control.status import Status
from ccproxyd.ctl.service.manager import Service

Row = tuple[str, str]


def rows(service: Service, running: Status | None) -> Iterator[Row]:
    yield "service", ", ".join(_service(service, running))
    if service.socket:
        yield "port", _port(service, running)


def heading(service: Service) -> str:
    """What can be said of a daemon that does not answer."""
    if service.active == "activating":
        return (
            f"ccproxyd {'has failed, and is started again' if service.failure else 'is starting'}"
        )
    return "ccproxyd has failed" if service.active == "failed" else "ccproxyd is not running"


def next_command(service: Service) -> str:
    if service.active == "activating":
        return "ccproxyctl logs -f"
    if not service.failure:
        return "ccproxyctl start"
    look = "check" if "config" in service.failure else "logs"
    return f"ccproxyctl {look}, then ccproxyctl start"


def _service(service: Service, running: Status | None) -> Iterator[str]:
    yield f"{service.unit} ({service.scope})"
    yield f"{service.active} ({service.failure})" if service.failure else service.active
    yield _enabled(service)
    if service.linger is not None:
        yield "lingers" if service.linger else "ends at logout (loginctl enable-linger keeps it)"
    if running and running.pid and not service.is_up:
        yield "and not what runs: that was started by hand"


def _enabled(service: Service) -> str:
    if service.enabled:
        return "enabled"
    return "enabled by its port" if service.socket and service.socket.enabled else "not enabled"


def _port(service: Service, running: Status | None) -> str:
    socket = service.socket
    if socket is None or not socket.active:
        return "opened by the daemon itself" if running and running.listen.port else "closed"
    where = " and ".join(socket.listens)
    if running or service.is_up:
        return f"{where}, held by {socket.unit}"
    starts = "a request starts it again" if service.failure else "the first request starts it"
    return f"{where}, held by {socket.unit}: {starts}"

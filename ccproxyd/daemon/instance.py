"""What only one process may own: the lock, the listener, the clients' key.

Everything is taken before the first child starts, so that a second daemon, a busy port or an
unreadable key ends this one at once, with the reason.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psutil

from ccproxyd.config.litellm import MASTER_KEY_NAME
from ccproxyd.errors import AddressInUseError, CcproxydError
from ccproxyd.paths import Directories, make_private

BACKLOG: Final = 2048
ORPHAN_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = 0.1


def take_lock(path: Path) -> int:
    """Be the only instance; the descriptor holds the lock for as long as it is open.

    The kernel lets go of it with the process, however that ends, so a stale file means nothing.

    Raises:
        AddressInUseError: another daemon holds it.
        CcproxydError: there can be no lock at all.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CcproxydError(f"cannot lock {path}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
        os.close(descriptor)
        who = f" (pid {holder})" if holder else ""
        raise AddressInUseError(
            f"ccproxyd is already running{who}; see: ccproxyctl status"
        ) from None
    except OSError as error:
        os.close(descriptor)
        raise CcproxydError(f"cannot lock {path}: {error.strerror}") from None
    _say_who(descriptor, path)
    return descriptor


def _say_who(descriptor: int, path: Path) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    except OSError as error:  # as on a full disk, where no key could be made either
        os.close(descriptor)
        raise CcproxydError(f"cannot write {path}: {error.strerror}") from None


def bind_listener(host: str, port: int) -> socket.socket:
    """The port that clients connect to.

    No SO_REUSEPORT: with it, a connection that waits in a process that goes away is lost. The
    gateway of a daemon that was killed lets go of the port as soon as it notices, so that one is
    waited for.

    Raises:
        AddressInUseError: the port is taken; by whom, where that can be seen.
        CcproxydError: there is no such address here.
    """
    deadline = time.monotonic() + ORPHAN_SECONDS
    while True:
        try:
            return _bind(host, port)
        except AddressInUseError:
            owner = _listening_process(port)
            if owner is None or not _is_our_orphan(owner) or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_SECONDS)


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "there can be no such name"
        raise CcproxydError(f"cannot listen on {host}: {why}") from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted connections inherit it on Linux; a small frame must not wait for the next.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _cannot_bind(host, port, error) from None
    return listener


def _cannot_bind(host: str, port: int, error: OSError) -> CcproxydError:
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if error.errno == errno.EADDRINUSE:
        return AddressInUseError(
            f"cannot listen on {where}: {_owner_of(port)}; stop it, or choose another port: "
            "ccproxy.port, or ccproxyd --port"
        )
    return CcproxydError(f"cannot listen on {where}: {error.strerror}")


def _owner_of(port: int) -> str:
    """Who listens there, as far as this user may see it."""
    process = _listening_process(port)
    if process is None:
        return "the port is in use, by a process that this user may not see"
    with contextlib.suppress(psutil.Error):
        return f"{process.name()} (pid {process.pid}) has the port"
    return f"pid {process.pid} has the port"


def _listening_process(port: int) -> psutil.Process | None:
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(kind="tcp"):
            local = connection.laddr
            listens = connection.status == psutil.CONN_LISTEN and local and local.port == port
            if listens and connection.pid is not None:
                return psutil.Process(connection.pid)
    return None


def _is_our_orphan(process: psutil.Process) -> bool:
    """A gateway whose daemon is gone."""
    with contextlib.suppress(psutil.Error):
        parent = process.parent()
        has_daemon = parent is not None and any("ccproxyd" in word for word in parent.cmdline())
        return "ccproxyd.gateway" in process.cmdline() and not has_daemon
    return False


def client_keys(
    directories: Directories, environ: Mapping[str, str], configured: str | None
) -> list[str]:
    """The keys that open the port: what the config or the environment says, else one of our own.

    Raises:
        CcproxydError: the kept key cannot be read or written.
    """
    if configured:
        return [configured]
    if named := environ.get(MASTER_KEY_NAME):
        return [named]
    return [_kept_key(directories.client_key)]


def _kept_key(path: Path) -> str:
    try:
        if path.exists():
            key = path.read_text("utf-8").strip()
            if key:
                return key
        make_private(path.parent)
        return _new_key(path)
    except (OSError, UnicodeDecodeError) as error:
        raise CcproxydError(f"cannot keep the clients' key in {path}: {error}") from None


def _new_key(path: Path) -> str:
    """Written beside and then moved, so that nobody ever reads half a key."""
    key = f"sk-ccproxy-{secrets.token_hex(24)}"
    fresh = path.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(key + "\n")
    fresh.replace(path)
    return key

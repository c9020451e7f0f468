"""A client of the control API that starts fast: a socket and JSON, nothing else.

One request goes over one connection, which the daemon closes after its answer, so that an HTTP
library has nothing left to do; the standard one costs a quarter of the time that the whole command
may take to start.

A daemon that refuses a request before it has read all of it closes early: a write then fails while
the answer is already there, so what was sent is no matter, and only the answer counts.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from attrs import frozen

from ccproxyd.control.errors import ControlError
from ccproxyd.control.verbs import Verb, find_verb
from ccproxyd.errors import EXIT_FAILED, EXIT_NOT_RUNNING, EXIT_PERMISSION, CcproxydError

RETRY_SECONDS: Final = 0.25

_CHUNK_BYTES: Final = 65536
_IS_IT_RUNNING: Final = "; is it running? start it with: ccproxyctl start"


class NotRunningError(CcproxydError):
    """Nobody listens at the socket."""

    exit_code: ClassVar[int] = EXIT_NOT_RUNNING


class NotPermittedError(CcproxydError):
    """The socket belongs to somebody else."""

    exit_code: ClassVar[int] = EXIT_PERMISSION


class FailedError(CcproxydError):
    """The daemon said no, with its reason in `error`; or it gave no answer that can be used."""

    exit_code: ClassVar[int] = EXIT_FAILED

    def __init__(self, message: str, error: ControlError | None = None) -> None:
        super().__init__(message)
        self.error = error


@frozen
class _Answer:
    code: int
    headers: Mapping[str, str]
    body: bytes


class Client:
    """Speaks to the daemon at the first of some sockets that has one.

    After a call `path` is the socket that was tried last, and `daemon_version` the version of
    whoever answered there.
    """

    def __init__(
        self,
        path: Path,
        *others: Path,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._paths = (path, *others)
        self._clock = clock
        self._sleep = sleep
        self.path = path
        self.daemon_version: str | None = None

    def call(
        self, verb: str, payload: Mapping[str, Any] | None = None, *, wait_seconds: float = 0.0
    ) -> dict[str, Any]:
        """The answer to a verb.

        Args:
            verb: its name, as in `verbs.VERBS`.
            payload: what it takes.
            wait_seconds: how long to try to reach a daemon that may be starting.

        Raises:
            NotRunningError: nobody listens.
            NotPermittedError: the socket is not ours, or the daemon says so.
            FailedError: anything else.
        """
        row = find_verb(verb)
        deadline = self._clock() + wait_seconds
        while True:
            try:
                return self._understand(row, self._reach(row, payload))
            except NotRunningError:
                if self._clock() + RETRY_SECONDS > deadline:
                    raise
            self._sleep(RETRY_SECONDS)

    def _reach(self, verb: Verb, payload: Mapping[str, Any] | None) -> bytes:
        """The raw answer of the first daemon found; the error of the first socket if none is."""
        request = _format(verb, payload)
        errors: list[NotRunningError] = []
        for path in self._paths:
            self.path = path
            try:
                return _exchange(path, request, verb.patience)
            except NotRunningError as error:
                errors.append(error)
        self.path = self._paths[0]
        raise errors[0]

    def _understand(self, verb: Verb, raw: bytes) -> dict[str, Any]:
        answer = _parse(raw)
        name, _, version = (answer.headers if answer else {}).get("server", "").partition("/")
        if answer is None or name != "ccproxyd":
            raise FailedError(f"cannot {verb.name}: {_no_daemon(self.path, raw)}")
        self.daemon_version = version
        value = _load(answer.body)
        if answer.code != 200:
            raise _refusal(verb, ControlError.from_json(value, answer.code), version)
        if not isinstance(value, dict):
            raise FailedError(f"cannot {verb.name}: the answer of {self.path} was cut short")
        return value


def _format(verb: Verb, payload: Mapping[str, Any] | None) -> bytes:
    body = _dump(payload) if payload else b""
    head = (
        f"{verb.method} {verb.path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _dump(payload: Mapping[str, Any]) -> bytes:
    """Without escapes, which would make some scripts larger than the daemon takes."""
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="replace")  # half a surrogate pair is no UTF-8


def _exchange(path: Path, request: bytes, patience: float) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(patience)
        try:
            _connect(connection, path)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(request)
            return _receive(connection)
        except TimeoutError:
            silent = f"ccproxyd at {path} does not answer ({patience:g} s); its log may say why"
            raise FailedError(silent) from None


def _connect(connection: socket.socket, path: Path) -> None:
    unreachable = f"cannot reach ccproxyd at {path}"
    try:
        connection.connect(os.fspath(path))
    except (FileNotFoundError, NotADirectoryError):
        raise NotRunningError(f"{unreachable}: no such file{_IS_IT_RUNNING}") from None
    except ConnectionRefusedError:
        raise NotRunningError(f"{unreachable}: nobody listens{_IS_IT_RUNNING}") from None
    except PermissionError:
        whose = "permission denied; only the daemon's own user and root may: try it with sudo"
        raise NotPermittedError(f"{unreachable}: {whose}") from None
    except BlockingIOError:
        raise FailedError(f"{unreachable}: it takes no more connections; it may hang") from None
    except OSError as error:
        raise FailedError(f"{unreachable}: {error.strerror or error}") from error


def _receive(connection: socket.socket) -> bytes:
    data = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(_CHUNK_BYTES):
            data += piece
    return bytes(data)


def _parse(raw: bytes) -> _Answer | None:
    """An HTTP answer with its body as far as it came; None if it is not one."""
    head, _, body = raw.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    protocol, _, rest = status.partition(" ")
    code = rest[:3]
    if not protocol.startswith("HTTP/1.") or not code.isdecimal():
        return None
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return _Answer(int(code), headers, body)


def _load(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _no_daemon(path: Path, raw: bytes) -> str:
    if not raw:
        return f"ccproxyd at {path} ended without an answer"
    return f"what answers at {path} is not ccproxyd"


def _refusal(verb: Verb, error: ControlError, version: str) -> CcproxydError:
    if error.code == 403:
        return NotPermittedError(f"cannot {verb.name}: {error.message}")
    if error.type == "UnknownPath":
        return FailedError(f"cannot {verb.name}: ccproxyd {version} does not know the verb", error)
    if error.message.startswith("cannot "):
        return FailedError(error.message, error)
    return FailedError(f"cannot {verb.name}: {error.message}", error)

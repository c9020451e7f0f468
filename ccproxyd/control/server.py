"""The control API's own end: HTTP and JSON on a Unix socket.

    listener = bind_control_socket(path)
    await serve(listener, operations)

The socket's file is made with mode 0600, so only its owner and root reach it. A browser could be
talked into reaching it through some forwarder, so whatever carries an `Origin`, a `Referer` or a
`Host` that is not ours is refused. What one connection may cost is in `guard.py`.

`serve` knows nothing about the daemon: it finds the verb in `verbs.py` and calls the method of
`Operations` that has its name. A failure is answered as `{"error": {"type", "message", "code"}}`.
Of a bug a client learns the exception's name only, and the log the place, since the text of an
exception may hold a piece of a request. An expected one has a message, which may quote what a
module of the user's has said: what is free text in an answer goes through `clean` on its way out.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import stat
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import anyio
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ccproxyd import __version__
from ccproxyd.control.errors import ControlError
from ccproxyd.control.guard import PEER, SERVER, GuardedProtocol, Limits
from ccproxyd.control.messages import API_VERSIONS, Ping
from ccproxyd.control.verbs import RESTARTABLE, VERBS, Verb
from ccproxyd.errors import (
    AddressInUseError,
    CcproxydError,
    ConfigError,
    ProxyError,
    did_you_mean,
)

Answer = Mapping[str, Any]
Payload = Mapping[str, Any]
Clean = Callable[[str], str]
"""A text without what must not leave."""

HOSTS: Final = ("localhost", "ccproxyd", "")

_PROBE_SECONDS: Final = 2.0
_BACKLOG: Final = 128
_LAST_SECONDS: Final = 1.0
_FREE_TEXTS: Final = frozenset({"detail", "last_exit", "lane_reason", "reason", "warnings"})
"""The fields of answers that hold sentences."""
"""For a cancelled request to answer that it was."""

_log = logging.getLogger(__name__)


class Operations(Protocol):
    """What the daemon does for each verb.

    The answers are JSON-able, as in `messages.py`. A `ControlError`, `CcproxydError` or
    `ProxyError` says why not; anything else is a bug.
    """

    async def status(self) -> Answer: ...
    async def stats(self) -> Answer: ...
    async def routes(self) -> Answer: ...
    async def reload(self) -> Answer: ...
    async def restart(self, what: str) -> Answer: ...
    async def stop(self) -> Answer: ...
    async def explain(self, payload: Payload) -> Answer: ...


# The socket


def bind_control_socket(path: Path) -> socket.socket:
    """A listening Unix socket with mode 0600, in place of a dead one if need be.

    The caller holds the instance's lock, so that nobody else binds at the same time.

    Raises:
        AddressInUseError: somebody answers there.
        CcproxydError: it cannot be bound, or what stands there is no socket.
    """
    _remove_dead(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _umask(0o177):
            listener.bind(os.fspath(path))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise CcproxydError(f"cannot bind {path}: {error.strerror or error}") from error
    return listener


def _remove_dead(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise CcproxydError(f"cannot bind {path}: a file is in the way that is no socket")
        if _is_live(path):
            raise AddressInUseError(f"cannot bind {path}: another ccproxyd answers there")
        path.unlink(missing_ok=True)
    except FileNotFoundError:
        return
    except OSError as error:
        raise CcproxydError(f"cannot bind {path}: {error.strerror or error}") from error


def _is_live(path: Path) -> bool:
    """Whether anybody listens; a full queue and a slow one are signs of life."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_SECONDS)
        result = probe.connect_ex(os.fspath(path))
    return result not in (errno.ECONNREFUSED, errno.ENOENT)


@contextlib.contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


# The server


async def serve(
    listener: socket.socket,
    operations: Operations,
    *,
    clean: Clean = str,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    owners: frozenset[int] | None = None,
) -> None:
    """Answer until cancelled; then let go out what is in flight, and remove the socket's file.

    Args:
        listener: from `bind_control_socket`; closed at the end.
        operations: what the daemon does for each verb.
        clean: takes out of the free texts of all answers what is secret.
        limits: what a connection may cost.
        owners: the uids that may use the verbs; by default our own and root.
    """
    path: str = listener.getsockname()
    permitted = frozenset({os.getuid(), 0}) if owners is None else owners
    app = control_app(operations, limits, permitted, clean)
    server = _Server(_settings(app, limits))
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(_run, server, listener)
            try:
                await anyio.sleep_forever()
            finally:
                server.end()
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108 - ASYNC240 wants a thread for Path.unlink


async def _run(server: _Server, listener: socket.socket) -> None:
    with anyio.CancelScope(shield=True):
        await server.serve(sockets=[listener])


def _settings(app: ASGIApp, limits: Limits) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=partial(GuardedProtocol, limits=limits),  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        headers=[("server", SERVER)],
        backlog=_BACKLOG,
        timeout_graceful_shutdown=limits.farewell_seconds,  # type: ignore[arg-type]
    )


class _Server(uvicorn.Server):
    """uvicorn, without a hand on the daemon's signals, asleep while nothing happens, and ending
    for certain.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ended = anyio.Event()

    def end(self) -> None:
        self.should_exit = True
        self._ended.set()

    async def main_loop(self) -> None:
        """uvicorn's wakes ten times a second, mostly for a date header that we do not send."""
        await self.on_tick(0)
        await self._ended.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if tasks := set(self.server_state.tasks):
            await asyncio.wait(tasks, timeout=_LAST_SECONDS)
        for connection in list(self.server_state.connections):
            connection.transport.abort()


# The application


def control_app(
    operations: Operations, limits: Limits, owners: frozenset[int], clean: Clean = str
) -> ASGIApp:
    """The ASGI application: one route for each row of `verbs.VERBS`."""
    app = Starlette(
        routes=[
            Route(
                verb.path,
                _endpoint(verb, operations, limits, owners, clean),
                methods=[verb.method],
            )
            for verb in VERBS
        ],
        middleware=[Middleware(_RefuseForeigners)],
        exception_handlers={HTTPException: _no_such_route},
    )
    app.router.redirect_slashes = False
    return app


def _endpoint(
    verb: Verb, operations: Operations, limits: Limits, owners: frozenset[int], clean: Clean
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            _admit(verb, request, owners)
            payload = _parse(verb, await _read_body(request, limits))
            return _encode(_cleaned(await _carry_out(verb, operations, payload), clean))
        except ClientDisconnect:
            return Response()
        except anyio.get_cancelled_exc_class():
            # uvicorn cancels what outlives its grace, and then only waits for the answer.
            return _refuse(ControlError("Stopping", "ccproxyd is stopping", 503))
        except Exception as error:
            found = _as_control_error(verb, error)
            return _refuse(ControlError(found.type, clean(found.message), found.code))

    return endpoint


async def _carry_out(verb: Verb, operations: Operations, payload: Payload) -> Answer:
    match verb.name:
        case "ping":
            return Ping("ccproxyd", __version__, API_VERSIONS).to_json()
        case "restart":
            return await operations.restart(_what(payload))
        case "explain":
            return await operations.explain(_request_to_explain(payload))
    operation: Callable[[], Awaitable[Answer]] = getattr(operations, verb.name)
    return await operation()


def _cleaned(value: Any, clean: Clean, *, is_free: bool = False) -> Any:
    """A JSON value with its free texts cleaned; a path or a label is somebody's to act on."""
    if isinstance(value, str):
        return clean(value) if is_free else value
    if isinstance(value, Mapping):
        return {
            name: _cleaned(item, clean, is_free=name in _FREE_TEXTS) for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_cleaned(item, clean, is_free=is_free) for item in value]
    return value


def _encode(answer: Answer, code: int = 200) -> Response:
    body = orjson.dumps(answer, default=str, option=orjson.OPT_APPEND_NEWLINE)
    return Response(body, code, media_type="application/json")


def _refuse(error: ControlError, headers: Mapping[str, str] | None = None) -> Response:
    """An error closes the connection: its request may not have been read to the end."""
    response = _encode(error.to_json(), error.code)
    response.headers.update({"connection": "close", **(headers or {})})
    return response


# What a client sends


class _RefuseForeigners:
    """The gate before every path, known or not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reason = _foreign(Request(scope))
        refusal = _refuse(ControlError("NotPermitted", reason, 403)) if reason else None
        await (refusal or self._app)(scope, receive, send)


def _foreign(request: Request) -> str | None:
    for name in ("Origin", "Referer"):
        if name in request.headers:
            return f"the control API is not for web pages: the request has the header {name}"
    host = request.headers.get("host", "").partition(":")[0].lower()
    if host not in HOSTS:
        return f"the Host header must be 'localhost', not {host!r}"
    return None


def _admit(verb: Verb, request: Request, owners: frozenset[int]) -> None:
    uid = request.scope["extensions"][PEER]["uid"]
    if verb.access == "owner" and uid is not None and uid not in owners:
        raise ControlError("NotPermitted", f"user {uid} is neither the owner nor root", 403)


async def _read_body(request: Request, limits: Limits) -> bytes:
    too_large = ControlError("TooLarge", f"more than {limits.body_bytes} bytes of body", 413)
    if int(request.headers.get("content-length", 0)) > limits.body_bytes:
        raise too_large
    body = bytearray()
    try:
        with anyio.fail_after(limits.body_seconds):
            async for piece in request.stream():
                body += piece
                if len(body) > limits.body_bytes:
                    raise too_large
    except TimeoutError:
        late = f"no whole body within {limits.body_seconds:g} seconds"
        raise ControlError("RequestTimeout", late, 408) from None
    return bytes(body)


def _parse(verb: Verb, body: bytes) -> Payload:
    try:
        payload = orjson.loads(body) if body.strip() else {}
    except orjson.JSONDecodeError as error:
        raise _bad_request(f"the body is not JSON: {error}") from None
    if not isinstance(payload, dict):
        raise _bad_request("the body must be a JSON object")
    for key in payload.keys() - set(verb.payload):
        raise _bad_request(_unknown(f"{verb.name} takes no", key, verb.payload))
    return payload


def _what(payload: Payload) -> str:
    what = payload.get("what", "all")
    if what not in RESTARTABLE:
        raise _bad_request(_unknown("there is no part", what, RESTARTABLE))
    return str(what)


def _request_to_explain(payload: Payload) -> Payload:
    body, headers = payload.get("body"), payload.get("headers") or {}
    path = payload.get("path") or "/v1/messages"
    if not isinstance(body, dict):
        raise _bad_request("body: must be the JSON object of a request")
    if not isinstance(headers, dict) or not all(isinstance(v, str) for v in headers.values()):
        raise _bad_request("headers: must be an object of strings")
    if not isinstance(path, str):
        raise _bad_request("path: must be a string")
    return {"body": body, "headers": headers, "path": path}


def _bad_request(message: str) -> ControlError:
    return ControlError("BadRequest", message, 400)


def _unknown(what: str, word: object, known: tuple[str, ...]) -> str:
    near = did_you_mean(str(word), known)
    return f"{what} {word!r}" + (f"; did you mean {near!r}?" if near else "")


# What went wrong


def _no_such_route(request: Request, error: Exception) -> Response:
    """Starlette's 404 and 405, in our shape."""
    if isinstance(error, HTTPException) and error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        message = f"{request.url.path} takes {allowed}, not {request.method}"
        return _refuse(ControlError("WrongMethod", message, 405), {"allow": allowed})
    paths = tuple(verb.path for verb in VERBS)
    message = _unknown("there is no", request.url.path, paths)
    return _refuse(ControlError("UnknownPath", message, 404))


def _as_control_error(verb: Verb, error: Exception) -> ControlError:
    match error:
        case ControlError():
            return error
        case ConfigError():
            return ControlError("ConfigError", str(error), 422)
        case CcproxydError():
            return ControlError(type(error).__name__, str(error), 409)
        case ProxyError():
            return ControlError(error.type, error.message, error.code)
        case ExceptionGroup(exceptions=[Exception() as only]):
            return _as_control_error(verb, only)
    return _bug(verb, error)


def _bug(verb: Verb, error: Exception) -> ControlError:
    name = type(error).__name__
    place = traceback.extract_tb(error.__traceback__)[-1]
    _log.error("cannot %s: %s at %s:%d", verb.name, name, Path(place.filename).name, place.lineno)
    return ControlError("Bug", f"cannot {verb.name}: {name}; the daemon's log says where", 500)

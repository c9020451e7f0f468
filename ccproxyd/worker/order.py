"""What the daemon says to a worker: first what to serve, some day to stop."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from ccproxyd.channel import Message
from ccproxyd.errors import CcproxydError
from ccproxyd.telemetry.redact import redact

GRACE_SECONDS: Final = 30.0
"""For the requests that are under way, when nobody says how long."""

_REASON_CHARACTERS: Final = 400


class StartError(CcproxydError):
    """The worker cannot serve; the text is the reason that a failed reload gives."""


@frozen
class Order:
    """What one worker is to serve: a rendered config, on a Unix socket."""

    config: Path
    socket: Path
    config_dir: Path
    secret: str = field(repr=False)
    key: str = field(repr=False)
    selftest: str

    @classmethod
    def from_message(cls, message: Message) -> Order:
        """Parse a `serve` message.

        Raises:
            StartError: something is missing from it.
        """
        try:
            return cls(
                config=Path(message["config"]),
                socket=Path(message["socket"]),
                config_dir=Path(message["config_dir"]),
                secret=str(message["secret"]),
                key=str(message["key"]),
                selftest=str(message["selftest"]),
            )
        except (KeyError, TypeError) as error:
            raise StartError(f"cannot use the order to serve: {error!r}") from None


class Orders:
    """The daemon's commands as they come; made in the loop that waits for them."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.serve: asyncio.Future[Message] = loop.create_future()
        self.stop: asyncio.Future[float] = loop.create_future()

    async def first(self) -> Message | None:
        """What to serve, or None if it is to stop before it began."""
        waiting: list[asyncio.Future[Any]] = [self.serve, self.stop]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        return self.serve.result() if self.serve.done() else None

    def receive(self, message: Message) -> None:
        if message["kind"] == "serve" and not self.serve.done():
            self.serve.set_result(message)
        elif message["kind"] == "stop":
            self.stop_within(float(message.get("seconds", GRACE_SECONDS)))

    def stop_within(self, seconds: float = GRACE_SECONDS) -> None:
        """Stop, and give the requests under way this long."""
        if not self.stop.done():
            self.stop.set_result(seconds)


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Turn whatever goes wrong inside into a `StartError` of one line, with the place."""
    try:
        yield
    except StartError:
        raise
    except CcproxydError as error:
        raise StartError(_short(f"{what}: {error}")) from error
    except (Exception, SystemExit) as error:
        raise StartError(_short(f"{what}: {_told(error)}")) from error


def _told(error: BaseException) -> str:
    """The exception, what it was raised from, and where the trouble began."""
    cause = error.__cause__
    because = f" ({type(cause).__name__}: {cause})" if cause else ""
    frames = traceback.extract_tb((cause or error).__traceback__)
    place = f", at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}: {error}{because}{place}"


def _short(reason: str) -> str:
    line = " ".join(redact(reason).split())
    return line if len(line) <= _REASON_CHARACTERS else f"{line[:_REASON_CHARACTERS]}..."

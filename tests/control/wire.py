"""HTTP by hand, for requests that no library would send."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import anyio
from attrs import frozen


@frozen
class Reply:
    code: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[str, int]:
        """Type and code; the shape of an error is proved on the way."""
        [(key, error)] = self.json.items()
        assert key == "error"
        assert set(error) == {"type", "message", "code"}
        assert error["code"] == self.code
        return error["type"], error["code"]

    @property
    def message(self) -> str:
        return str(self.json["error"]["message"])


def request(method: str, target: str, body: bytes = b"", **headers: str) -> bytes:
    """A whole request whose connection closes after the answer; `_` in a name stands for `-`."""
    fields = {"Host": "localhost", "Connection": "close", "Content-Length": str(len(body))}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode() + body


async def ask(path: Path, data: bytes) -> Reply:
    """Send, and read to the end of the connection."""
    async with await anyio.connect_unix(path) as connection:
        with contextlib.suppress(anyio.BrokenResourceError):
            await connection.send(data)
        return parse(await read_all(connection))


async def read_all(connection: anyio.abc.ByteReceiveStream) -> bytes:
    pieces = bytearray()
    with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError):
        while True:
            pieces += await connection.receive()
    return bytes(pieces)


def parse(raw: bytes) -> Reply:
    head, _, body = raw.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    pairs = (line.partition(": ") for line in lines)
    return Reply(int(status.split()[1]), {name: value for name, _, value in pairs}, body)

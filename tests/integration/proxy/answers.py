"""Requests sent to the proxy, and their answers as they came, byte for byte."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import httpx
import orjson
from attrs import frozen

from tests.integration.proxy.rows import CANARY, PATHS, Row, body_of, headers_of

PATIENCE: Final = 60.0
AT_ONCE: Final = 8


@frozen
class Answer:
    """`is_whole` is false where the transfer broke off."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_whole: bool = True

    @property
    def json(self) -> dict[str, Any]:
        found = orjson.loads(self.body)
        assert isinstance(found, dict)
        return found

    @property
    def events(self) -> list[dict[str, Any]]:
        """The data of a stream, frame by frame, without the mark at its end."""
        return [orjson.loads(data) for data in self._data() if data != "[DONE]"]

    @property
    def is_ended(self) -> bool:
        """Whether a stream says that it is complete."""
        last = [*self._data()][-1]
        return last == "[DONE]" or '"message_stop"' in last

    def _data(self) -> Iterator[str]:
        for line in self.body.decode().splitlines():
            if line.startswith("data:"):
                yield line.removeprefix("data:").strip()

    @property
    def is_stream(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/event-stream")

    @property
    def text(self) -> str:
        """What the model said, in any dialect."""
        if self.is_stream:
            return "".join(map(_said_in_event, self.events))
        return _said(self.json)


def ask(client: httpx.Client, path: str, **request: Any) -> Answer:
    """One request and all of its answer, also where that breaks off."""
    pieces: list[bytes] = []
    with client.stream("POST", path, **request) as response:
        try:
            pieces.extend(response.iter_raw())
            is_whole = True
        except httpx.RemoteProtocolError:
            is_whole = False
        return Answer(response.status_code, response.headers, b"".join(pieces), is_whole)


def ask_row(client: httpx.Client, row: Row, keys: Mapping[str, str]) -> Answer:
    key = {"x-api-key": keys[row.auth]} if row.auth in keys else {}
    path = f"{PATHS[row.call]}?beta=true&canary={CANARY}-query"
    return ask(client, path, json=body_of(row), headers={**headers_of(row), **key})


def ask_all(
    client: httpx.Client, rows: Iterable[Row], keys: Mapping[str, str]
) -> dict[Row, Answer]:
    """Several at a time: nobody waits for the one that hangs, and nothing may get mixed up."""
    rows = list(rows)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(rows, pool.map(lambda row: ask_row(client, row, keys), rows), strict=True))


def _said(body: Mapping[str, Any]) -> str:
    if "choices" in body:
        return "".join(choice["message"]["content"] or "" for choice in body["choices"])
    return "".join(block.get("text", "") for block in body.get("content", ()))


def _said_in_event(event: Mapping[str, Any]) -> str:
    if "choices" in event:
        return "".join(choice["delta"].get("content") or "" for choice in event["choices"])
    delta = event.get("delta")
    return delta.get("text", "") if isinstance(delta, dict) else ""

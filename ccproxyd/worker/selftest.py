"""The proof that LiteLLM calls our handler, made before a worker is called ready.

LiteLLM skips a callback that it does not like without a word, and then every request would go where
its client asked. So one request is sent through the whole app, inside this process: it asks for a
model that nothing serves, sealed with a verdict for a deployment whose answer LiteLLM makes up
(`mock_response`). It can only succeed if the handler applied this very verdict; no provider is
called.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Final

import anyio
import orjson

from ccproxyd.errors import CcproxydError
from ccproxyd.worker import verdict
from ccproxyd.worker.abandoned import ASGIApp, Scope
from ccproxyd.worker.answering import Message
from ccproxyd.worker.verdict import Verdict

ASKED: Final = "ccproxyd-selftest-not-served"
ID_PREFIX: Final = "selftest-"


class SelfTestError(CcproxydError):
    """The handler is not called, or LiteLLM does not answer."""


async def probe(app: ASGIApp, *, key: str, secret: str, label: str) -> str:
    """Send the request; the id of its verdict.

    Raises:
        SelfTestError: it was not answered with 200.
    """
    asked = Verdict(label, ID_PREFIX + uuid.uuid4().hex)
    message = {"role": "user", "content": "ping"}
    body = {"model": ASKED, "max_tokens": 16, "messages": [message]}
    headers = {"authorization": f"Bearer {key}", verdict.HEADER: verdict.seal(asked, secret)}
    status, answer = await post(app, "/v1/messages", orjson.dumps(body), headers)
    if status != 200:
        raise SelfTestError(f"the self-test was answered with {status}: {answer[:300].decode()}")
    return asked.request_id


async def post(
    app: ASGIApp, path: str, body: bytes, headers: Mapping[str, str]
) -> tuple[int, bytes]:
    """One request to an ASGI app, without a server; its status and body."""
    answer = _Answer(body)
    await app(_scope(path, len(body), headers), answer.receive, answer.send)
    return answer.status, b"".join(answer.pieces)


def _scope(path: str, length: int, headers: Mapping[str, str]) -> Scope:
    own = {"content-type": "application/json", "content-length": str(length), "host": "worker"}
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), text.encode()) for name, text in {**own, **headers}.items()],
        "client": None,
        "server": None,
    }


class _Answer:
    """The far end of one ASGI request."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self.status = 0
        self.pieces: list[bytes] = []

    async def receive(self) -> Message:
        if self._body is None:
            await anyio.sleep_forever()  # a client that stays: LiteLLM cancels when one leaves
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.pieces.append(message.get("body", b""))

"""What is done with the client, and what may differ behind the daemon.

A case is a few runs of the client in one home, one after the other or at once. It holds if both
worlds come to the same results by the same requests. What may differ stands with the case, with the
reason, and nowhere else.
"""

from __future__ import annotations

import base64
import json
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from attrs import evolve, frozen

Auth = Literal["token", "key", "both", "login"]
World = Literal["alone", "direct", "litellm"]

LABEL_HEADER: Final = "x-label"
"""By which a case asks for a label."""
UNKNOWN: Final = "of-my-own"
"""A model that the client does not know; it goes to the label `default`."""


@frozen
class Run:
    """One run of the client. On a terminal it ends when it has nothing more to do."""

    prompt: str
    options: tuple[str, ...] = ()
    terminal: bool = False
    stdin: str | None = None


@frozen
class Case:
    """`differs` is why the results have to differ, and `difference` how each begins that does;
    `swaps` is why the bodies may."""

    name: str
    runs: tuple[Run, ...]
    auth: Auth = "token"
    environ: Mapping[str, str] = {}
    at_once: bool = False
    swaps: str = ""
    differs: str = ""
    difference: tuple[str, ...] = ()


def _run(prompt: str, *options: str) -> Run:
    return Run(prompt, options)


def _play(name: str, *options: str, **more: str) -> Case:
    """A case of the play's name, of one run."""
    prompt = f"Do as you are told. [[play:{name}]]"
    return Case(name.replace(" ", "-"), (Run(prompt, options),), environ=more)


def _failing(name: str) -> Case:
    return _play(name, CLAUDE_CODE_MAX_RETRIES="2")


def _named(name: str, case: Case, **changes: Any) -> Case:
    return evolve(case, name=name, **changes)


def _attached() -> str:
    """A prompt with a picture, as the client takes it on its standard input."""
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(PNG).decode()}
    blocks = [
        {"type": "text", "text": "What is this? [[play:plain]]"},
        {"type": "image", "source": source},
    ]
    return json.dumps({"type": "user", "message": {"role": "user", "content": blocks}}) + "\n"


def _chunk(kind: bytes, data: bytes) -> bytes:
    checked = kind + data
    return len(data).to_bytes(4, "big") + checked + zlib.crc32(checked).to_bytes(4, "big")


PNG: Final = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", b"\0\0\0\x08\0\0\0\x08\x08\x02\0\0\0")
    + _chunk(b"IDAT", zlib.compress((b"\0" + b"\xff\0\0" * 8) * 8))
    + _chunk(b"IEND", b"")
)
PDF: Final = b"""%PDF-1.1
1 0 obj <</Type /Catalog /Pages 2 0 R>> endobj
2 0 obj <</Type /Pages /Kids [3 0 R] /Count 1>> endobj
3 0 obj <</Type /Page /Parent 2 0 R /MediaBox [0 0 72 72]>> endobj
trailer <</Root 1 0 R /Size 4>>
%%EOF
"""
FILES: Final[Mapping[str, bytes]] = {
    "sum.py": b"def add(a, b):\n    return a - b\n",
    "notes.md": b"# Notes\n\nadd() is to add.\n",
    "long.txt": b"".join(b"%d: a line of a long file\n" % number for number in range(1500)),
    "picture.png": PNG,
    "document.pdf": PDF,
}
"""What the client finds where it works."""

_SERVER: Final = {"command": sys.executable, "args": [str(Path(__file__).with_name("sums.py"))]}
_MCP: Final = ("--mcp-config", json.dumps({"mcpServers": {"sums": _SERVER}}))
_GO_ON: Final = "--continue"
_WINDOW: Final = "CLAUDE_CODE_AUTO_COMPACT_WINDOW"
_PERCENT: Final = "CLAUDE_AUTOCOMPACT_PCT_OVERRIDE"
_AS_502: Final = (
    'result "Not logged in',
    "api_error_status 401 became 502",
    "/v1/messages for claude-opus-4-8: 3 requests became 1",
)
_OUR_KEY: Final = "a provider's 401 for a key of ours is a 502, which the client is not to repeat"
_FILLING: Final = Case(
    "filling", (Run("", stdin="Read this. [[play:filling]]\n" + "It is long. " * 20_000),)
)

CASES: Final = (
    _play("plain"),
    _named("key", _play("plain"), auth="key"),
    _named("token-and-key", _play("plain"), auth="both"),
    _named("tools-opus", _play("tools", "--model", "opus")),
    _named("tools-sonnet", _play("tools", "--model", "sonnet")),
    _named("tools-haiku", _play("tools", "--model", "haiku")),
    _named(
        "tools-unknown",
        _play("tools", "--model", UNKNOWN),
        swaps="a model that nobody serves goes to the label default",
    ),
    _named(
        "tools-swapped",
        _play("tools", ANTHROPIC_CUSTOM_HEADERS=f"{LABEL_HEADER}: small"),
        swaps="a rule sends it to the label small, which is a haiku",
    ),
    _named("all-tools", _play("tools"), environ={"ENABLE_TOOL_SEARCH": "false"}),
    _named("low-effort", _play("tools", "--effort", "low")),
    _named("high-effort", _play("tools", "--effort", "xhigh")),
    _named("no-thinking", _play("tools"), environ={"MAX_THINKING_TOKENS": "0"}),
    _named("explorer", _play("explore")),
    _named("subagent", _play("delegate")),
    _play("websearch"),
    Case("titles", (Run("Say something. [[play:plain]]", terminal=True),)),
    _named("plan", _play("plan", "--permission-mode", "plan")),
    _named("auto-mode", _play("judged", "--permission-mode", "auto")),
    Case(
        "compact",
        (
            # The files that it has seen come back in the order of their times, to a millisecond.
            _run("Begin. [[play:one-file]]"),
            _run("/compact", _GO_ON),
            _run("And now? [[play:plain]]", _GO_ON),
        ),
    ),
    Case("context", (_run("Begin. [[play:plain]]"), _run("/context", _GO_ON))),
    _FILLING,
    _named("compacts-early", _FILLING, environ={_WINDOW: "100000"}),
    _named("compacts-earlier", _FILLING, environ={_WINDOW: "120000", _PERCENT: "60"}),
    _play("long"),
    _play("image"),
    _play("pdf"),
    Case(
        "attached",
        (Run("", ("--input-format", "stream-json"), stdin=_attached()),),
    ),
    _named("mcp", _play("add", *_MCP), environ={"ENABLE_TOOL_SEARCH": "false"}),
    _named("tool-search", _play("find", *_MCP)),
    _named("login", _play("tools", "--model", "sonnet"), auth="login"),
    Case(
        "login-context",
        (_run("Begin. [[play:plain]]"), _run("/context", _GO_ON)),
        auth="login",
    ),
    _play("wrong"),
    _play("short"),
    _play("refused"),
    _play("paused"),
    _failing("400"),
    _named("401", _failing("401"), differs=_OUR_KEY, difference=_AS_502),
    _failing("403"),
    _failing("404"),
    _failing("413"),
    _failing("429"),
    _failing("429 for good"),
    _failing("500"),
    _failing("500 for good"),
    _failing("529"),
    _failing("529 for good"),
    _failing("too long"),
    _failing("cut"),
    _failing("breaks"),
    _failing("cut-at-once"),
    _failing("breaks-at-once"),
    _named("fallback-model", _play("529 but haiku", "--fallback-model", "haiku")),
    Case(
        "two-at-once",
        (_run("One. [[play:tools]]"), _run("Two. [[play:command]]")),
        at_once=True,
    ),
)

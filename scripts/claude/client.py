"""One run of the client, in a home of its own that knows nobody.

With a pipe it prints one JSON object, which is its result. On a terminal it is watched until its
provider has had nothing to do for a while, and then ended: what it has asked is all that is told.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import termios
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import anyio
from anyio.abc import Process
from attrs import frozen

from scripts.claude.cases import FILES, Auth, Run

PATIENCE: Final = 240.0
_QUIET_SECONDS: Final = 6.0
_SIZE: Final = struct.pack("HHHH", 40, 120, 0, 0)
LOGIN_TOKEN: Final = "sk-ant-oat01-of-a-subscription"  # noqa: S105
OWN_KEY: Final = "sk-ant-api03-of-a-user"
_QUIET: Final = (
    "DISABLE_AUTOUPDATER",
    "DISABLE_ERROR_REPORTING",
    "DISABLE_TELEMETRY",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
    "IS_SANDBOX",
)


@frozen
class Home:
    """Where a client lives and works while a case lasts."""

    directory: Path

    @property
    def work(self) -> Path:
        return self.directory / "work"

    def make(self) -> None:
        for place in (self.work, self.directory / "tmp", self.directory / ".claude"):
            place.mkdir(parents=True)
        for name, content in FILES.items():
            (self.work / name).write_bytes(content)
        trusted = {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}
        known = {
            "hasCompletedOnboarding": True,
            "bypassPermissionsModeAccepted": True,
            "theme": "dark",
            "userID": "0" * 64,
            "customApiKeyResponses": {"approved": [OWN_KEY[-20:]], "rejected": []},
            "projects": {str(self.work): trusted},
        }
        (self.directory / ".claude.json").write_text(json.dumps(known))

    def environ(self, auth: Auth, more: Mapping[str, str]) -> dict[str, str]:
        """Nothing of the tester's own."""
        return {
            "HOME": str(self.directory),
            "PATH": os.environ["PATH"],
            "USER": "nobody",
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "SHELL": "/bin/bash",
            "TMPDIR": str(self.directory / "tmp"),
            "CLAUDE_CODE_TMPDIR": str(self.directory / "tmp"),
            **dict.fromkeys(_QUIET, "1"),
            **_credentials(auth),
            **more,
        }


def _credentials(auth: Auth) -> dict[str, str]:
    """What the client has besides our key."""
    if auth == "login":
        return {"CLAUDE_CODE_OAUTH_TOKEN": LOGIN_TOKEN}
    return {"ANTHROPIC_API_KEY": OWN_KEY} if auth in ("key", "both") else {}


@frozen
class Ended:
    """How a run has ended; `told` is the client's own account of it."""

    code: int | None
    told: dict[str, Any]
    stderr: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"code": self.code, "told": self.told, "stderr": self.stderr}


async def run_client(
    command: Sequence[str],
    run: Run,
    home: Home,
    environ: Mapping[str, str],
    busy: Callable[[], int],
) -> Ended:
    """
    Args:
        command: the client, with what has to stand before it.
        busy: counts what the provider has been asked; -1 while it answers.
    """
    words = [*command, *run.options]
    if "--permission-mode" not in run.options:
        words.append("--dangerously-skip-permissions")
    if run.terminal:
        return await _on_a_terminal([*words, run.prompt], home, environ, busy)
    streams = "--input-format" in run.options
    output = ["stream-json", "--verbose"] if streams else ["json"]
    return await _with_a_pipe(
        [*words, "-p", *([run.prompt] if run.prompt else []), "--output-format", *output],
        run.stdin or "",
        home,
        environ,
    )


async def _with_a_pipe(
    words: Sequence[str], stdin: str, home: Home, environ: Mapping[str, str]
) -> Ended:
    with anyio.move_on_after(PATIENCE):
        done = await anyio.run_process(
            words, input=stdin.encode(), cwd=home.work, env=environ, check=False
        )
        return Ended(done.returncode, _result(done.stdout), done.stderr.decode()[-2000:])
    return Ended(None, {}, f"it has not ended in {PATIENCE:.0f} s")


def _result(stdout: bytes) -> dict[str, Any]:
    """The last object that it printed."""
    lines = stdout.decode("utf-8", "replace").strip().splitlines()
    try:
        found = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {"said": stdout.decode("utf-8", "replace")[-500:]}
    return found if isinstance(found, dict) else {"said": str(found)}


async def _on_a_terminal(
    words: Sequence[str], home: Home, environ: Mapping[str, str], busy: Callable[[], int]
) -> Ended:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, _SIZE)
    try:
        async with await anyio.open_process(
            words,
            cwd=home.work,
            env=environ,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        ) as process:
            os.close(theirs)
            await _watch(ours, process, busy)
    finally:
        os.close(ours)
    return Ended(0, {})


async def _watch(terminal: int, process: Process, busy: Callable[[], int]) -> None:
    """Until the provider is idle, though it was asked; the screen is read and thrown away."""
    async with anyio.create_task_group() as group:
        group.start_soon(_read_away, terminal)
        with anyio.move_on_after(PATIENCE):
            seen = 0
            while True:
                await anyio.sleep(_QUIET_SECONDS)
                now = busy()
                if now > 0 and now == seen:
                    break
                seen = now
        group.cancel_scope.cancel()
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


async def _read_away(terminal: int) -> None:
    while True:
        await anyio.wait_readable(terminal)
        try:
            os.read(terminal, 65536)
        except OSError:  # the other side is closed
            return

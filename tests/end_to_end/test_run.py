"""`ccproxyctl run` on a machine where nothing runs yet: what it starts stays, and serves others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import orjson
import pytest

from tests.support.daemon import PATIENCE, Setup, environment, short_directory
from tests.support.provider import RunningProvider

CLIENT: Final = """
import os, httpx
answer = httpx.post(
    os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages",
    headers={"authorization": "Bearer " + os.environ["ANTHROPIC_AUTH_TOKEN"]},
    json={"model": "default", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]},
)
print(answer.json()["content"][0]["text"])
raise SystemExit(5)
"""


def ctl(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {**environment(root), "LOGS_DIRECTORY": str(root / "logs")}
    command = [sys.executable, "-m", "ccproxyd.ctl", *words]
    return subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


@pytest.fixture
def root(provider: RunningProvider) -> Iterator[Path]:
    """A config that needs no LiteLLM, so that the daemon is there at once."""
    ours = {"lanes": {"direct": "auto"}, "workers": {"lazy": True}}
    with short_directory() as directory:
        Setup(ours=ours).write(directory / "config", provider.url)
        yield directory
        ctl(directory, "stop")


def test_a_client_finds_a_daemon_that_outlives_it(root: Path) -> None:
    assert ctl(root, "status").returncode == 3
    first = ctl(root, "run", "--", sys.executable, "-c", CLIENT)
    assert (first.returncode, first.stdout) == (5, "mock: ok\n"), first.stderr
    daemon = orjson.loads(ctl(root, "status", "--json").stdout)["pid"]
    assert ctl(root, "run", "--", sys.executable, "-c", CLIENT).stdout == "mock: ok\n"
    assert orjson.loads(ctl(root, "status", "--json").stdout)["pid"] == daemon
    assert ctl(root, "stop").returncode == 0

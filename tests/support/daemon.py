"""A real `ccproxyd` for a test: started, awaited by its log, asked, and seen to be gone.

    with running_daemon(Setup(rules=..., models=...), provider.url) as daemon:
        answer = daemon.client.post("/v1/messages", json=...)

Everything it writes lies in a directory of its own below the system's temporary one, whose path is
short: a Unix socket's must be. Nothing waits by the clock: the log says what has happened.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import orjson
import psutil
import yaml
from attrs import define, field, frozen

PATIENCE: Final = 120.0
_NOT_INHERITED: Final = (
    "ANTHROPIC",
    "CCPROXY",
    "COVERAGE",
    "COV_CORE",
    "LITELLM",
    "NOTIFY",
    "OPENAI",
    "XDG_",
)
LABELS: Final = ("default", "token_count", "background", "think", "web_search")
RULES: Final = (
    {"label": "token_count", "rule": "TokenCountRule", "params": [{"threshold": 60000}]},
    {"label": "background", "rule": "MatchModelRule", "params": [{"model_name": "haiku"}]},
    {"label": "think", "rule": "ThinkingRule", "params": [{"min_effort": "xhigh"}]},
    {"label": "web_search", "rule": "MatchToolRule", "params": [{"tool_name": "WebSearch"}]},
)


def without_litellm(**workers: Any) -> dict[str, Any]:
    """For a test that LiteLLM has no part in: it is never started, which spares seconds of CPU."""
    return {"lanes": {"direct": "auto"}, "workers": {"lazy": True, **workers}}


def anthropic_model(name: str, url: str, **more: Any) -> dict[str, Any]:
    """An entry of `model_list` that the mock provider serves."""
    params = {"model": f"anthropic/mock-{name}", "api_base": url, "api_key": "sk-provider", **more}
    return {"model_name": name, "litellm_params": params}


@frozen
class Setup:
    """What stands in the two files. LiteLLM serves all of it, unless `ours` says otherwise."""

    rules: Sequence[Mapping[str, Any]] = RULES
    models: Callable[[str], list[dict[str, Any]]] = lambda url: [
        anthropic_model(label, url) for label in LABELS
    ]
    ours: Mapping[str, Any] = field(factory=dict)
    litellm: Mapping[str, Any] = field(factory=dict)
    files: Mapping[str, str] = field(factory=dict)

    def write(self, directory: Path, url: str) -> None:
        ours = {"port": 0, "lanes": {"direct": "off"}, "rules": list(self.rules), **self.ours}
        directory.mkdir(exist_ok=True)
        (directory / "ccproxy.yaml").write_text(yaml.safe_dump({"ccproxy": ours}))
        theirs = {"model_list": self.models(url), **self.litellm}
        (directory / "config.yaml").write_text(yaml.safe_dump(theirs))
        for name, text in self.files.items():
            (directory / name).write_text(text)


@define(eq=False)
class Daemon:
    """A started daemon."""

    root: Path
    process: subprocess.Popen[bytes]
    records: list[dict[str, Any]] = field(factory=list)
    text: list[str] = field(factory=list)
    _news: threading.Condition = field(factory=threading.Condition)
    _client: httpx.Client | None = None

    @property
    def config_dir(self) -> Path:
        return self.root / "config"

    @property
    def socket(self) -> Path:
        return self.root / "run" / "control.sock"

    @property
    def key(self) -> str:
        return (self.root / "state" / "key").read_text().strip()

    @property
    def port(self) -> int:
        return int(self.happened("ready")["listen"].rpartition(":")[2])

    @property
    def client(self) -> httpx.Client:
        if self._client is None:
            self._client = httpx.Client(
                base_url=f"http://127.0.0.1:{self.port}",
                headers={"x-api-key": self.key},
                timeout=PATIENCE,
            )
        return self._client

    def listen_to_its_log(self) -> None:
        stream = self.process.stderr
        assert stream is not None
        for line in stream:
            with self._news:
                self._take(line.decode())
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def _take(self, line: str) -> None:
        self.text.append(line)
        if line.startswith("{"):
            self.records.append(orjson.loads(line))

    def happened(self, event: str, count: int = 1, **facts: Any) -> dict[str, Any]:
        """Wait until the log has such a record for the `count`-th time, and return that one."""

        def found() -> list[dict[str, Any]]:
            return [
                one
                for one in self.records
                if one["event"] == event and facts.items() <= one.items()
            ]

        with self._news:
            self._news.wait_for(
                lambda: len(found()) >= count or self.process.poll() is not None, PATIENCE
            )
        assert len(found()) >= count, f"no {event!r} {facts}:\n{''.join(self.text)}"
        return found()[count - 1]

    def ctl(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "ccproxyd.ctl", "--socket", str(self.socket), *words],
            env=environment(self.root),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if check:
            assert done.returncode == 0, done.stderr
        return done

    def ask(self, *words: str) -> dict[str, Any]:
        answer: dict[str, Any] = orjson.loads(self.ctl("--json", *words).stdout)
        return answer

    def children(self) -> dict[str, psutil.Process]:
        """The processes of the house by their room: gateway, worker, demo, template."""
        found = psutil.Process(self.process.pid).children(recursive=True)
        return {_room(one): one for one in found if _room(one)}

    def edit(self, name: str, change: Callable[[str], str]) -> None:
        file = self.config_dir / name
        file.write_text(change(file.read_text()))

    def message(self, text: str = "hello", **more: Any) -> httpx.Response:
        """A plain request, for the default label unless `more` says otherwise."""
        return self.client.post("/v1/messages", json=message_body(text, **more))

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


def message_body(text: str = "hello", **more: Any) -> dict[str, Any]:
    return {
        "model": "claude-opus-4-8",
        "max_tokens": 64,
        "messages": [{"role": "user", "content": text}],
        **more,
    }


def environment(root: Path) -> dict[str, str]:
    """Nothing of the tester's own set-up reaches the daemon.

    Nor does coverage: tracing doubles the time that LiteLLM takes to start, and the rooms' own
    tests reach every line.
    """
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)
    }
    return {
        **kept,
        "HOME": str(root),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "CCPROXY_CONFIG_DIR": str(root / "config"),
        "RUNTIME_DIRECTORY": str(root / "run"),
        "STATE_DIRECTORY": str(root / "state"),
        "NO_COLOR": "1",
    }


@contextmanager
def short_directory() -> Iterator[Path]:
    root = Path(tempfile.mkdtemp(prefix="ccp-"))
    try:
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


HAND_OVER: Final = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="http")
os.execv(sys.executable, [sys.executable, "-m", "ccproxyd", *sys.argv[2:]])
"""
"""What a service manager does that holds the port: sd_listen_fds(3)."""


@contextmanager
def started(root: Path, *words: str, listener: socket.socket | None = None) -> Iterator[Daemon]:
    """A daemon process, whatever becomes of it; at the end everything of it is gone.

    With a `listener` it finds its port open, as below a service manager that holds it.
    """
    held = [listener.fileno()] if listener else []
    command = ["-c", HAND_OVER, str(held[0])] if held else ["-m", "ccproxyd"]
    process = subprocess.Popen(
        [sys.executable, *command, *words],
        env=environment(root),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=held,
    )
    daemon = Daemon(root, process)
    listening = threading.Thread(target=daemon.listen_to_its_log)
    listening.start()
    try:
        yield daemon
    finally:
        family = _family(process.pid)
        daemon.stop()
        listening.join()
        if daemon._client is not None:
            daemon._client.close()
        assert process.stderr is not None
        process.stderr.close()
        _, alive = psutil.wait_procs(family, timeout=PATIENCE)
        assert not alive, f"left running: {alive}"


@contextmanager
def running_daemon(setup: Setup, url: str, *words: str) -> Iterator[Daemon]:
    """A daemon that is ready."""
    with short_directory() as root:
        setup.write(root / "config", url)
        with started(root, *words) as daemon:
            daemon.happened("ready")
            yield daemon


def _family(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _room(process: psutil.Process) -> str:
    try:
        words = process.cmdline()
    except psutil.Error:
        return ""
    named = [word.removeprefix("ccproxyd.") for word in words if word.startswith("ccproxyd.")]
    return named[0] if named else ""

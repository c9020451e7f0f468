"""What the port promises, under load: nothing refused, reset, cut short or failed.

    make soak                  all of it, 50,000 requests and more
    scripts/reload_under_load.py --requests 5000

A real daemon in front of a provider of the suite's own. Fresh clients connect for each request,
keep-alive clients keep theirs, long streams run through everything. Meanwhile the config changes
under them, by rules and by what LiteLLM sees, once to a broken one; gateways are replaced; and at
the end workers are killed with -9, where only streams that had begun may be cut. Every body is
verified. Prints a JSON summary, and exits 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import psutil
from attrs import define, field

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.daemon import LABELS, Daemon, Setup, message_body, running_daemon
from tests.support.provider import running_provider

FRESH: Final = 40
KEPT: Final = 40
STREAMS: Final = 5
STREAM_EVENTS: Final = 80


@define
class Tally:
    """What came of the requests."""

    done: int = 0
    lost: Counter[str] = field(factory=Counter)
    streams: int = 0
    cut: int = 0
    latencies: list[float] = field(factory=list)

    def failed(self, kind: str) -> None:
        self.lost[kind] += 1


@define
class Load:
    """The clients of one daemon."""

    url: str
    key: str
    tally: Tally = field(factory=Tally)
    over: asyncio.Event = field(factory=asyncio.Event)
    may_cut_streams: bool = False

    @property
    def headers(self) -> dict[str, str]:
        return {"x-api-key": self.key}

    async def fresh_client(self) -> None:
        """A connection for each request."""
        while not self.over.is_set():
            async with self._session(force_close=True) as session:
                await self.one(session)

    async def kept_client(self) -> None:
        """One connection, kept alive between requests, with pauses that cross a replacement."""
        async with self._session() as session:
            while not self.over.is_set():
                await self.one(session)
                if random.random() < 0.05:  # noqa: S311
                    await asyncio.sleep(random.uniform(0.5, 3.0))  # noqa: S311

    def _session(self, **options: Any) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=1, **options)
        timeout = aiohttp.ClientTimeout(total=120)
        return aiohttp.ClientSession(connector=connector, timeout=timeout, headers=self.headers)

    async def one(self, session: aiohttp.ClientSession) -> None:
        """A cheap request, whose answer can be told from any other's."""
        began = time.perf_counter()
        try:
            async with session.get(f"{self.url}/v1/models") as answer:
                body = await answer.json()
                good = [model["id"] for model in body["data"]] == list(LABELS)
                if answer.status != 200 or not good:
                    self.tally.failed(f"status {answer.status}")
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            self.tally.failed(type(error).__name__)
        self.tally.done += 1
        self.tally.latencies.append(time.perf_counter() - began)

    async def routed_client(self, number: int) -> None:
        """Through LiteLLM: the answer must be whole, and from the model of its label."""
        async with self._session() as session:
            for turn in itertools.count():
                if self.over.is_set():
                    return
                label = LABELS[(number + turn) % len(LABELS)]
                await self.routed(session, label)

    async def routed(self, session: aiohttp.ClientSession, label: str) -> None:
        body = message_body(model=label)
        try:
            async with session.post(f"{self.url}/v1/messages", json=body) as answer:
                said = await answer.json()
                if answer.status != 200 or answer.headers.get("x-ccproxy-label") != label:
                    self.tally.failed(f"routed: status {answer.status}")
                elif said["content"][0]["text"] != "mock: ok":
                    self.tally.failed("routed: another body")
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            self.tally.failed(f"routed: {type(error).__name__}")
        self.tally.done += 1

    async def streaming_client(self) -> None:
        async with self._session() as session:
            while not self.over.is_set():
                await self.stream(session)

    async def stream(self, session: aiohttp.ClientSession) -> None:
        body = message_body(f"@@events={STREAM_EVENTS};gap=0.05@@", stream=True)
        received = b""
        try:
            async with session.post(f"{self.url}/v1/messages", json=body) as answer:
                async for piece in answer.content.iter_any():
                    received += piece
        except aiohttp.ClientError:
            self.tally.cut += 1
        else:
            if b"event: message_stop" not in received or b"event: error" in received:
                self.tally.cut += 1
        self.tally.streams += 1

    async def run(self, script: Callable[[], None], requests: int) -> None:
        """All clients, while the script runs in a thread, and until there were enough requests."""
        async with asyncio.TaskGroup() as group:
            for _ in range(FRESH):
                group.create_task(self.fresh_client())
            for _ in range(KEPT - 4):
                group.create_task(self.kept_client())
            for number in range(4):
                group.create_task(self.routed_client(number))
            for _ in range(STREAMS):
                group.create_task(self.streaming_client())
            await asyncio.to_thread(script)
            while self.tally.done < requests:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            self.over.set()


@define
class Changes:
    """What happens to the daemon while it is under load."""

    daemon: Daemon
    times: dict[str, list[float]] = field(factory=dict)

    def rules(self) -> None:
        number = random.randrange(10**9)  # noqa: S311
        self.edit_rules(f"model_name: haiku-{number}")
        self.timed("rules", "rules")

    def edit_rules(self, text: str) -> None:
        def change(old: str) -> str:
            lines = [
                line if "model_name:" not in line else line.split("model_name:")[0] + text
                for line in old.splitlines()
            ]
            return "\n".join(lines) + "\n"

        self.daemon.edit("ccproxy.yaml", change)

    def litellm(self) -> None:
        number = random.randrange(10**9)  # noqa: S311
        self.daemon.edit(
            "config.yaml", lambda old: old.replace("sk-provider", f"sk-provider-{number}"[:60], 1)
        )
        self.timed("workers", "workers")

    def timed(self, kind: str, expected: str) -> None:
        answer = self.daemon.ask("reload")
        if answer["changed"] != expected:
            raise SystemExit(f"a reload changed {answer['changed']!r}, not {expected!r}")
        self.times.setdefault(kind, []).append(answer["seconds"])

    def broken(self) -> None:
        good = (self.daemon.config_dir / "ccproxy.yaml").read_text()
        self.edit_rules("model_nome: x")
        if self.daemon.ctl("reload", check=False).returncode != 1:
            raise SystemExit("a broken config was taken")
        (self.daemon.config_dir / "ccproxy.yaml").write_text(good)

    def gateway(self) -> None:
        answer = self.daemon.ask("restart", "--gateway")
        self.times.setdefault("gateway", []).append(answer["seconds"])

    def kill_worker(self) -> None:
        psutil.Process(random.choice(self.ready())).send_signal(signal.SIGKILL)  # noqa: S311
        time.sleep(2.0)

    def ready(self) -> list[int]:
        """The workers that serve, once there is one."""
        while True:
            workers = self.daemon.ask("status")["workers"]
            if found := [one["pid"] for one in workers if one["state"] == "ready"]:
                return found
            time.sleep(0.1)

    def recycle(self) -> None:
        self.daemon.ask("restart", "--workers")
        time.sleep(5.0)


@contextmanager
def under_load(count: int) -> Iterator[tuple[Daemon, Load, Changes]]:
    logging = {"enable_post_api_call": False}
    workers = {"count": count, "max_generations": 20}
    with running_provider() as provider:
        setup = Setup(ours={"workers": workers, "logging": logging})
        with running_daemon(setup, provider.url) as daemon:
            load = Load(f"http://127.0.0.1:{daemon.port}", daemon.key)
            yield daemon, load, Changes(daemon)


def reloads(arguments: argparse.Namespace) -> dict[str, Any]:
    """The main act: nothing at all may be lost."""
    with under_load(2) as (_, load, changes):

        def script() -> None:
            for turn in range(20):
                changes.rules()
                changes.litellm()
                if turn == 10:
                    changes.broken()
                if turn % 4 == 3:
                    changes.gateway()

        asyncio.run(load.run(script, arguments.requests))
        return summary(load.tally, changes)


def kills(_: argparse.Namespace) -> dict[str, Any]:
    """Workers killed with -9: streams that had begun are cut, everything else is answered."""
    with under_load(2) as (_daemon, load, changes):

        def script() -> None:
            for _ in range(10):
                changes.kill_worker()

        asyncio.run(load.run(script, 0))
        found = summary(load.tally, changes)
        return {**found, "ok": not load.tally.lost}


def recycling(arguments: argparse.Namespace) -> dict[str, Any]:
    """Two workers under a mixed streaming load, replaced every five seconds for a minute."""
    with under_load(2) as (_, load, changes):

        def script() -> None:
            deadline = time.monotonic() + arguments.seconds
            while time.monotonic() < deadline:
                changes.recycle()

        asyncio.run(load.run(script, 0))
        return summary(load.tally, changes)


def leaks(_arguments: argparse.Namespace) -> dict[str, Any]:
    """Fifty reloads leave no process, no descriptor and no memory behind."""
    with under_load(1) as (daemon, _, changes):
        for _ in range(5):
            changes.litellm()
            daemon.message()
        time.sleep(3)
        before = footprint(daemon)
        for _ in range(50):
            changes.litellm()
            daemon.message()
        time.sleep(3)
        after = footprint(daemon)
    return {"before": before, "after": after, "ok": flat(before, after)}


def footprint(daemon: Daemon) -> dict[str, dict[str, int]]:
    """RSS in KiB and descriptors of each process that stays."""
    status = daemon.ask("status")
    pids = {
        "daemon": status["pid"],
        "gateway": status["gateway"]["pid"],
        "template": status["template"]["pid"],
    }
    found = {name: _size(psutil.Process(pid)) for name, pid in pids.items()}
    family = psutil.Process(status["pid"]).children(recursive=True)
    return {**found, "house": {"processes": 1 + len(family)}}


def _size(process: psutil.Process) -> dict[str, int]:
    return {"rss": process.memory_info().rss // 1024, "descriptors": process.num_fds()}


def flat(before: dict[str, dict[str, int]], after: dict[str, dict[str, int]]) -> bool:
    rss = all(
        after[name]["rss"] <= 1.05 * before[name]["rss"] for name in before if name != "house"
    )
    counts = all(
        after[name][kind] <= before[name][kind]
        for name in before
        for kind in before[name]
        if kind != "rss"
    )
    return rss and counts


def methods(_: argparse.Namespace) -> dict[str, Any]:
    """The same reload by fork and by spawn, and one of rules alone, in one run."""
    medians = {}
    for method, times in (("fork", 9), ("spawn", 3)):
        workers = {"start_method": method, "max_generations": 20}
        with (
            running_provider() as provider,
            running_daemon(Setup(ours={"workers": workers}), provider.url) as daemon,
        ):
            changes = Changes(daemon)
            for _ in range(times):
                changes.litellm()
                changes.rules()
            medians[method] = statistics.median(changes.times["workers"])
            medians[f"rules_{method}"] = statistics.median(changes.times["rules"])
    ratio = medians["spawn"] / medians["fork"]
    good = ratio >= 5 and medians["fork"] < 1.5 and medians["rules_fork"] < 0.05
    return {**medians, "ratio": round(ratio, 1), "ok": good}


def summary(tally: Tally, changes: Changes) -> dict[str, Any]:
    milliseconds = sorted(1000 * one for one in tally.latencies)
    times = {kind: round(statistics.median(found), 3) for kind, found in changes.times.items()}
    return {
        "requests": tally.done,
        "lost": dict(tally.lost),
        "streams": tally.streams,
        "streams_cut": tally.cut,
        "p50_ms": round(statistics.median(milliseconds), 1) if milliseconds else None,
        "max_ms": round(milliseconds[-1], 1) if milliseconds else None,
        "median_seconds": times,
        "ok": not tally.lost and not tally.cut,
    }


ACTS: Final = {
    "reloads": reloads,
    "kills": kills,
    "recycling": recycling,
    "leaks": leaks,
    "methods": methods,
}


def main() -> int:
    parser = argparse.ArgumentParser(description="What the port promises, under load.")
    parser.add_argument("acts", nargs="*", choices=[*ACTS, []], help="(default: all)")
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--seconds", type=int, default=60)
    arguments = parser.parse_args()
    good = True
    for name in arguments.acts or ACTS:
        found = ACTS[name](arguments)
        good = good and found["ok"]
        print(json.dumps({name: found}), flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

"""What the records of a request's life cost, and whether that is little enough.

    python scripts/bench_records.py [--check] [--pairs N]

Each number is the processor time of a request with every switch of `ccproxy.logging` on, less that
of the same request with every switch off. The two take turns, a few requests each, so that whatever
the machine does meanwhile happens to both; the number is the median of the differences, and what is
shown is the best of three runs, since other processes can only add to it.

    gateway   what its event loop does: it finds out what is told, and writes both messages. Only
              the first of them is before the answer, none is waited for
    daemon    what it does with them: reads them, makes records, writes them to a file; with `debug`
              there are four or five of them a request instead of two

With --check the exit code is 1 when both together are above the limit, without `debug`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, cast

import orjson
import yaml
from attrs import frozen

sys.path.insert(0, str(Path(__file__).parents[1]))

from ccproxyd.channel import Decoder, encode
from ccproxyd.config.load import Loaded, load
from ccproxyd.daemon.hearing import Hearing
from ccproxyd.daemon.purse import Purse
from ccproxyd.gateway.plan import cost_as_asked
from ccproxyd.gateway.prices import load_prices
from ccproxyd.gateway.report import Report, about
from ccproxyd.gateway.table import Table
from ccproxyd.routing import Request, StickyTable
from ccproxyd.telemetry.logs import LogFile, Logger
from ccproxyd.telemetry.prices import PriceList
from ccproxyd.telemetry.stats import Stats
from ccproxyd.telemetry.usage import Usage
from scripts.bench.contestants import switched
from tests.support.shapes import headers, long_conversation, main_body

LIMIT_MS: Final = 0.1
RUNS: Final = 3
AT_ONCE: Final = 10
"""Requests before it is the others' turn."""
MODELS: Final = [
    {
        "model_name": "default",
        "litellm_params": {"model": "anthropic/claude-haiku-4-5", "api_key": "k"},
    }
]
USAGE: Final = Usage(1200, 210, 18000, model="claude-haiku-4-5-20251001")


@frozen
class Way:
    """A request's way through both processes, with the switches on or off."""

    table: Table
    hearing: Hearing

    @classmethod
    def open(cls, directory: Path, prices: PriceList, level: str, *, on: bool) -> Way:
        loaded = config(directory, on=on)
        order = {
            "config": loaded.to_message(),
            "config_dir": str(directory),
            "keys": ["sk-ours"],
            "session_key": bytes(32).hex(),
        }
        log = Logger(LogFile(directory / "log"), machine=True, level=level)
        purse = Purse.open(directory, loaded, log, lambda _: None)
        return cls(
            Table.build(order, StickyTable(), lambda *_: None, prices),
            Hearing(log, Stats(""), purse, lambda: loaded.settings),
        )

    def gateway(self, request: Request) -> bytes:
        """As in `gateway.app`, from the parsed body to what goes onto the wire."""
        table, report = self.table, Report(f"{id(request):032x}", lane="direct")
        report.decision = table.router.decide(request)
        if table.is_recorded:
            name = table.told_name(request.requested_model)
            report.find_about = lambda: about(request, name, table.session_key)
        report.cost_as_asked = cost_as_asked(table, report.decision, request)
        first = encode(report.decided_message("direct"))
        report.answering(200)
        report.usage, report.cost_usd = USAGE, 0.004
        return first + encode(report.finished_message())

    def daemon(self, told: bytes) -> None:
        for message in Decoder().feed(told):
            getattr(self.hearing, message["kind"])(message)


def config(directory: Path, *, on: bool) -> Loaded:
    directory.mkdir()
    ours = {"ccproxy": {"logging": switched(on)}}
    (directory / "ccproxy.yaml").write_text(yaml.safe_dump(ours))
    (directory / "config.yaml").write_text(yaml.safe_dump({"model_list": MODELS}))
    return load(directory, {})


@frozen
class Found:
    """Milliseconds of processor time, of one request."""

    on: float
    off: float
    difference: float

    @classmethod
    def of(cls, pairs: list[tuple[float, float]]) -> Found:
        ons, offs = zip(*pairs, strict=True)
        differences = [on - off for on, off in pairs]
        return cls(*map(statistics.median, (ons, offs, differences)))


def measure(on: Way, off: Way, raw: bytes, pairs: int) -> dict[str, Found]:
    found: dict[str, list[tuple[float, float]]] = {"gateway": [], "daemon": []}
    for _ in range(pairs):
        first, told_on = timed(on.gateway, list(requests(raw)))
        second, told_off = timed(off.gateway, list(requests(raw)))
        found["gateway"].append((first, second))
        found["daemon"].append((timed(on.daemon, told_on)[0], timed(off.daemon, told_off)[0]))
    return {process: Found.of(times) for process, times in found.items()}


def requests(raw: bytes) -> Iterator[Request]:
    """Fresh ones: a request keeps what has been found out about it."""
    for _ in range(AT_ONCE):
        body = cast("dict[str, Any]", orjson.loads(raw))
        yield Request({**body, "model": "claude-opus-4-8", "stream": True}, headers=headers(1))


def timed(work: Callable[[Any], Any], given: list[Any]) -> tuple[float, list[Any]]:
    """Of the processor's time: what other processes take meanwhile is not counted."""
    start = time.thread_time()
    results = [work(one) for one in given]
    return 1000 * (time.thread_time() - start) / len(given), results


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="exit 1 if the limit is not held")
    parser.add_argument("--pairs", type=int, default=200, help="turns of each (200)")
    given = parser.parse_args()
    raw = orjson.dumps(main_body(*long_conversation(100_000, 40)))
    usual, _ = [show(level, at_level(level, raw, given.pairs)) for level in ("info", "debug")]
    return int(given.check and usual > LIMIT_MS)


def at_level(level: str, raw: bytes, pairs: int) -> dict[str, Found]:
    with tempfile.TemporaryDirectory() as directory:
        prices = load_prices()
        ways = [Way.open(Path(directory, str(on)), prices, level, on=on) for on in (True, False)]
        runs = [measure(*ways, raw, pairs) for _ in range(RUNS)]
    return min(runs, key=total)


def total(found: dict[str, Found]) -> float:
    return sum(one.difference for one in found.values())


def show(level: str, found: dict[str, Found]) -> float:
    title = f"level {level}, ms of processor time a request"
    print(f"{title:44} {'on':>8} {'off':>8} {'records':>8}")
    for process, one in found.items():
        print(f"    {process:40} {one.on:8.4f} {one.off:8.4f} {one.difference:8.4f}")
    both = total(found)
    verdict = "  TOO MUCH" if both > LIMIT_MS else ""
    print(f"    {'both':58} {both:8.4f}  {both / LIMIT_MS:.0%} of {LIMIT_MS} ms{verdict}")
    return both


if __name__ == "__main__":
    sys.exit(main())

"""What it costs to decide a turn of a long conversation, and whether that is little enough.

    python scripts/bench_decide.py [--check] [--rounds N]

"Decide" is all that the gateway does between the parsed body and the label: the facts, the sample
rules, the count of what is new. Conversations are of about 500 KB, in few large turns, in many, and
in a great many small blocks. Each grows, as in life, by turns of 1,000 characters; each request is
parsed from its own bytes, so no hash that Python keeps with a string is a help.

    next turn     from the parsed body to the label, all earlier turns being known
    first turn    what the event loop does of it, before a thread encodes what is new
    loop's lag    how late a timer comes at worst, while a thread counts the first turn and the loop
                  decides others; beside it the same without the thread, which is the machine's own

All but the lag is processor time, and what is shown is the best of three runs, or of up to nine
while a number is above its limit, since other processes can only add to it. What a slower machine
takes longer shows in the time that orjson needs to parse the same bytes: where that is more than it
was on the machine that the limits are for, they are as much higher. With --check the exit code is 1
when a number stays above its limit.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson
from attrs import frozen

sys.path.insert(0, str(Path(__file__).parents[1]))

from ccproxyd.gateway.counts import IN_THREAD
from ccproxyd.routing import (
    MatchModelRule,
    MatchToolRule,
    Request,
    Router,
    RoutingTable,
    Rule,
    Target,
    ThinkingRule,
    TokenCounter,
    TokenCountRule,
)
from tests.support.shapes import (
    Message,
    assistant,
    headers,
    long_conversation,
    main_body,
    text,
    user,
)

RUNS, MOST_RUNS = 3, 9
CHARACTERS: Final = 330_000
"""Of a conversation as it begins; its growth, the system prompt and the tools make 500 KB."""

MEDIAN_MS, P99_MS, BLOCK_MS, LAG_MS = 0.5, 1.0, 5.0, 5.0

TABLE = RoutingTable(
    rules=(
        Rule("token_count", TokenCountRule(10**9), "TokenCountRule"),
        Rule("background", MatchModelRule("haiku"), "MatchModelRule"),
        Rule("think", ThinkingRule(min_effort="xhigh"), "ThinkingRule"),
        Rule("web_search", MatchToolRule("WebSearch"), "MatchToolRule"),
    ),
    targets=(Target("default", ("anthropic/claude-opus-4-8",)),),
)
ROUTER = Router(TABLE)
HEADERS = headers(1)


@frozen
class Measured:
    """One number, in milliseconds."""

    what: str
    found: float
    limit: float | None = None

    @property
    def too_much(self) -> bool:
        return self.limit is not None and self.found > self.limit

    def __str__(self) -> str:
        shown = f"    {self.what:34} {self.found:8.3f} ms"
        if self.limit is None:
            return shown
        verdict = "  TOO MUCH" if self.too_much else ""
        return f"{shown}  {self.found / self.limit:6.0%} of {self.limit:.3g} ms{verdict}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="exit 1 if a limit is not held")
    parser.add_argument("--rounds", type=int, default=100, help="turns in a run (100)")
    given = parser.parse_args()
    TokenCounter().count_text("load the encoding")
    found = [measured for part in parts(given.rounds) for measured in shown(*part)]
    return int(given.check and any(measured.too_much for measured in found))


def shown(title: str, measured: list[Measured]) -> list[Measured]:
    print(title, *measured, sep="\n", flush=True)
    return measured


def parts(rounds: int) -> Iterator[tuple[str, list[Measured]]]:
    for count, parsing_ms in ((4, 0.48), (40, 0.58), (150, 0.79)):
        yield conversation(long_conversation(CHARACTERS, count), rounds, parsing_ms)
    yield conversation(many_blocks(CHARACTERS), rounds, 0.91)
    for size in (500_000, 5_000_000):
        yield first_turn(long_conversation(size, 40))


def many_blocks(characters: int) -> list[Message]:
    """Ten blocks of 200 characters in each message."""
    speakers = (user, assistant)
    return [
        speakers[number % 2](
            *({"type": "text", "text": text(200, f"{number}.{block}")} for block in range(10))
        )
        for number in range(characters // 2000)
    ]


def conversation(
    messages: list[Message], rounds: int, parsing_ms: float
) -> tuple[str, list[Measured]]:
    """`parsing_ms` is what parsing takes on the machine that the limits are for."""
    following = list(grown(messages, rounds))
    return title_of(messages, following), best_of(lambda: turns(following, parsing_ms))


def best_of(measure: Callable[[], list[Measured]]) -> list[Measured]:
    """The run with the best of its worst numbers."""
    runs = [measure() for _ in range(RUNS)]
    while len(runs) < MOST_RUNS and min(map(worst, runs)) > 1:
        runs.append(measure())
    return min(runs, key=worst)


def worst(run: list[Measured]) -> float:
    """How near a run came to a limit, which is at 1."""
    return max(measured.found / measured.limit for measured in run if measured.limit)


def title_of(messages: list[Message], following: list[bytes]) -> str:
    blocks = sum(isinstance(m["content"], str) or len(m["content"]) for m in messages)
    first, last = (len(raw) // 1000 for raw in (following[0], following[-1]))
    return f"{len(messages)} messages of {blocks} blocks, {first} to {last} KB"


def grown(messages: list[Message], rounds: int) -> Iterator[bytes]:
    """The requests of a conversation that grows, the first with it as it is."""
    new = long_conversation(1_000 * rounds, rounds)[2:]
    for end in range(0, len(new) + 1, 2):
        yield orjson.dumps(main_body(*messages, *new[:end]))


def turns(requests: list[bytes], parsing_ms: float) -> list[Measured]:
    """Decide each, and measure all but the first."""
    counter = TokenCounter()
    decide(counter, requests[0], orjson.loads(requests[0]))
    parsing, deciding = [], []
    for raw in requests[1:]:
        parsing.append(milliseconds(partial(orjson.loads, raw)))
        body = orjson.loads(raw)
        deciding.append(milliseconds(partial(decide, counter, raw, body)))
    slower = max(1.0, part_of(parsing, 50) / parsing_ms)
    return [
        Measured("next turn, median", part_of(deciding, 50), MEDIAN_MS * slower),
        Measured("next turn, p99", part_of(deciding, 99), P99_MS * slower),
        Measured("to compare: parsing it, median", part_of(parsing, 50)),
    ]


def part_of(times: list[float], percent: int) -> float:
    return sorted(times)[len(times) * percent // 100]


def decide(counter: TokenCounter, raw: bytes, body: Any) -> None:
    request = Request(body, headers=HEADERS, counter=counter, raw=raw)
    assert ROUTER.decide(request).label == "default"
    assert request.token_count


def first_turn(messages: list[Message]) -> tuple[str, list[Measured]]:
    raw = orjson.dumps(main_body(*messages))
    return f"the first turn of {len(raw) // 1000} KB", best_of(lambda: count_in_thread(raw))


def count_in_thread(raw: bytes) -> list[Measured]:
    request = Request(orjson.loads(raw), headers=HEADERS, counter=TokenCounter(), raw=raw)
    block = milliseconds(lambda: request.new_characters > IN_THREAD)
    began = time.perf_counter()
    lag = asyncio.run(worst_lag(lambda: request.token_count))
    seconds = time.perf_counter() - began
    return [
        Measured("on the loop", block, BLOCK_MS),
        Measured("in a thread", 1000 * seconds),
        Measured("the loop's lag meanwhile", lag, LAG_MS),
        Measured("the loop's lag otherwise", asyncio.run(worst_lag(lambda: time.sleep(seconds)))),
    ]


async def worst_lag(work: Callable[[], object]) -> float:
    """How late a timer comes, while a thread works and the loop decides another request."""
    lags: list[float] = []
    ticking = asyncio.create_task(tick(lags))
    await asyncio.sleep(0.01)
    lags.clear()
    await asyncio.to_thread(work)
    ticking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await ticking
    return max(lags, default=0.0)


async def tick(lags: list[float]) -> None:
    counter, raw = TokenCounter(), orjson.dumps(main_body(*long_conversation(50_000, 10)))
    while True:
        decide(counter, raw, orjson.loads(raw))
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        lags.append(1000 * (time.perf_counter() - began) - 1)


def milliseconds(work: Callable[[], object]) -> float:
    """Of the processor's time: what other processes take meanwhile is not counted."""
    start = time.thread_time()
    work()
    return 1000 * (time.thread_time() - start)


if __name__ == "__main__":
    sys.exit(main())

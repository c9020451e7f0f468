"""What it costs to decide a turn of a long conversation.

    python scripts/bench_decide.py [rounds]

For conversations of 500 KB in few large turns and in many small ones, prints in milliseconds what
it takes to decide the first request, when nothing of it is known, and the next one, when it has
grown by a turn of 1,000 characters. "Decide" is all that the gateway does between the parsed body
and the label: the facts, the sample rules, the count of what is new. Each request is parsed from
its own bytes, as in life, so no hash that Python keeps with a string is a help.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import orjson

sys.path.insert(0, str(Path(__file__).parents[1]))

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
from tests.support.shapes import headers, long_conversation, main_body

CHARACTERS = 415_000
"""Of the conversation; system prompt and tools make it 500 KB."""

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

Body = dict[str, Any]


def main(rounds: int = 200) -> None:
    for turns in (4, 40, 150):
        bench(turns, rounds)


def bench(turns: int, rounds: int) -> None:
    messages = long_conversation(CHARACTERS, turns)
    first = orjson.dumps(main_body(*messages))
    new_turns = long_conversation(1_000 * (turns + rounds), turns + rounds)[2 + 2 * turns :]
    pairs = zip(new_turns[::2], new_turns[1::2], strict=True)
    following = [orjson.dumps(main_body(*messages, *pair)) for pair in pairs]
    print(f"{len(first) // 1000} KB, {len(messages)} messages, {len(following)} rounds")

    knowing = TokenCounter()
    knowing.count_text("load the encoding")
    report("first decision", measure(lambda body: decide(TokenCounter(), body), [first] * 10))
    decide(knowing, orjson.loads(first))
    half = len(following) // 2
    report("next turn", measure(lambda body: decide(knowing, body), following[:half]))
    report("next turn, with parsing", measure_parsing(knowing, following[half:]))
    report("pending alone", measure(knowing.pending, following[:half]))


def decide(counter: TokenCounter, body: Body) -> None:
    request = Request(body, headers=HEADERS, counter=counter)
    request.counts_within(sys.maxsize)
    decision = ROUTER.decide(request)
    assert decision.label == "default"


def measure(work: Callable[[Body], object], requests: Iterable[bytes]) -> list[float]:
    times = []
    for raw in requests:
        body = orjson.loads(raw)
        start = time.perf_counter()
        work(body)
        times.append(time.perf_counter() - start)
    return times


def measure_parsing(counter: TokenCounter, requests: Iterable[bytes]) -> list[float]:
    times = []
    for raw in requests:
        start = time.perf_counter()
        decide(counter, orjson.loads(raw))
        times.append(time.perf_counter() - start)
    return times


def report(what: str, seconds: list[float]) -> None:
    ordered = sorted(1000 * second for second in seconds)
    median, late = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    print(f"    {what:24} median {median:7.3f} ms   p99 {late:7.3f} ms")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

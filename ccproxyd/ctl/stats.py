"""stats: what was asked for, what it cost, and how long it took."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import Final

from ccproxyd.control.messages import Stats, Totals
from ccproxyd.ctl.printing import (
    Column,
    dollars,
    milliseconds,
    number,
    plural,
    print_json,
    print_table,
)
from ccproxyd.ctl.reach import ask


def stats(args: Namespace) -> int:
    answer = ask(args, "stats")
    if args.json:
        print_json(answer)
    else:
        _print_stats(Stats.from_json(answer), args.by)
    return 0


def _print_stats(found: Stats, by: str) -> None:
    print(_summary(found))
    groups: Mapping[str, Totals] = getattr(found, f"by_{by}")
    if groups:
        rows = (_totals_row(name, totals) for name, totals in groups.items())
        print_table([Column(by), *_TOTALS], rows)


def _summary(found: Stats) -> str:
    routing = found.routing_ms
    return (
        f"since {_local_time(found.since)}: {plural(found.requests_total, 'request')}, "
        f"{number(found.failed_total)} failed, {number(found.in_flight)} in flight; "
        f"routing p50 {milliseconds(routing.p50)}, p99 {milliseconds(routing.p99)}"
    )


def _local_time(since: str) -> str:
    from datetime import datetime

    try:
        return datetime.fromisoformat(since).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return since or "the start"


_TOTALS: Final = tuple(
    Column(title, figures=True)
    for title in (
        "requests",
        "failed",
        "in",
        "out",
        "cached",
        "cost",
        "p50",
        "p95",
        "first byte",
    )
)


def _totals_row(name: str, totals: Totals) -> list[str]:
    return [
        name,
        number(totals.requests),
        number(totals.failed),
        number(totals.input_tokens),
        number(totals.output_tokens),
        number(totals.cache_read_tokens),
        dollars(totals.cost_usd),
        milliseconds(totals.latency_ms.p50),
        milliseconds(totals.latency_ms.p95),
        milliseconds(totals.first_byte_ms.p50),
    ]

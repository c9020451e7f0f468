"""Thirty-two requests at the same time, each of them its own."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import httpx

from tests.integration.proxy.answers import Answer, ask_row
from tests.integration.proxy.expected import expected
from tests.integration.proxy.house import NEW_KEY
from tests.integration.proxy.rows import LABELS, LANES, PROTOCOLS, Row
from tests.support.daemon import Daemon
from tests.support.provider import Recorded, RunningProvider

AT_ONCE = 32


def rows() -> list[Row]:
    """Both dialects, whole and streamed, on both lanes."""
    every = [
        Row(call, stream, "valid", label, "none", lane)
        for label, stream, call, lane in product(LABELS, (False, True), PROTOCOLS, LANES)
    ]
    return [row for row in every if row.is_possible][:AT_ONCE]


def test_no_request_gets_anything_of_another(
    client: httpx.Client, daemon: Daemon, provider: RunningProvider
) -> None:
    asked = rows()
    assert len(asked) == AT_ONCE
    before = len(provider.requests)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(lambda row: ask_row(client, row, {"valid": NEW_KEY}), asked))
    for row, answer in zip(asked, found, strict=True):
        check(row, answer, daemon)
        check_what_was_asked(row, provider.requests[before:])
    assert len({answer.headers["x-ccproxy-request-id"] for answer in found}) == AT_ONCE


def check(row: Row, answer: Answer, daemon: Daemon) -> None:
    wanted = expected(row)
    assert answer.status == 200, answer.body
    assert answer.text == wanted.text
    record = daemon.happened(
        "ccproxy_post_api_call", request_id=answer.headers["x-ccproxy-request-id"]
    )
    for name in ("label", "rule", "model", "lane"):
        told = f"x-ccproxy-{name}"
        assert answer.headers[told] == wanted.headers[told] == record[name]


def check_what_was_asked(row: Row, requests: Sequence[Recorded]) -> None:
    """What the gateway tells is its own decision; which one a worker has heeded, the provider."""
    heard = [one.model for one in requests if f"row({row.name})" in one.prompt]
    assert heard == list(expected(row).asked)

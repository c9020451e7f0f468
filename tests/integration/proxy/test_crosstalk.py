"""Thirty-two requests at the same time, each of them its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import product

import httpx

from tests.integration.proxy.answers import Answer, ask_row
from tests.integration.proxy.expected import expected
from tests.integration.proxy.house import NEW_KEY
from tests.integration.proxy.rows import LABELS, LANES, PROTOCOLS, Row
from tests.support.daemon import Daemon

AT_ONCE = 32


def rows() -> list[Row]:
    """Both dialects, whole and streamed, on both lanes."""
    every = [
        Row(call, stream, "valid", label, "none", lane)
        for label, stream, call, lane in product(LABELS, (False, True), PROTOCOLS, LANES)
    ]
    return [row for row in every if row.is_possible][:AT_ONCE]


def test_no_request_gets_anything_of_another(client: httpx.Client, daemon: Daemon) -> None:
    asked = rows()
    assert len(asked) == AT_ONCE
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(lambda row: ask_row(client, row, {"valid": NEW_KEY}), asked))
    for row, answer in zip(asked, found, strict=True):
        check(row, answer, daemon)
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

"""A client that leaves takes its request back: nobody goes on with what it has asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any, Final

import httpx
import pytest
from attrs import evolve

from tests.integration.proxy.house import NEW_KEY
from tests.integration.proxy.rows import NEEDS_LITELLM
from tests.integration.proxy.test_call_types import CASES, ROWS, Case
from tests.support.daemon import Daemon
from tests.support.provider import RunningProvider

KEY: Final = {"x-api-key": NEW_KEY}
HELD: Final = "@@hold=0@@"
SPOKEN: Final[dict[str, Any]] = {
    "messages": [{"role": "user", "content": HELD}],
    "document": {"type": "document_url", "document_url": f"https://example.com/{HELD}"},
    **dict.fromkeys(("input", "prompt", "query"), HELD),
}
"""By the field in which a call's text is; a transcription has one beside its sound."""

each_case = pytest.mark.parametrize("path", CASES)
each_stream = pytest.mark.parametrize("path", [path for path in CASES if ROWS[path][3] == "yes"])


def held(path: str) -> Case:
    """What a provider does not answer."""
    case = CASES[path]
    spoken = {name: said for name, said in SPOKEN.items() if name in case.fields}
    return evolve(case, fields={**case.fields, **(spoken or {"prompt": HELD})})


@contextmanager
def asking(daemon: Daemon, path: str, **request: Any) -> Iterator[None]:
    """A client that has asked, and leaves at the end."""
    asked = httpx.Request("POST", f"http://127.0.0.1:{daemon.port}{path}", **request)
    connection = HTTPConnection("127.0.0.1", daemon.port)
    connection.request("POST", path, asked.read(), dict(asked.headers))
    try:
        yield
    finally:
        connection.close()


def check(provider: RunningProvider, daemon: Daemon, path: str, **request: Any) -> None:
    """The mock waits with its answer for as long as its client does."""
    with asking(daemon, path, **request):
        provider.holding(1)
        asked = len(provider.requests)
    last = provider.settled(asked)[-1]
    assert (last.path, last.outcome) == (CASES[path].asked, "abandoned")
    assert len(provider.requests) == asked


@each_case
def test_litellm_ends_what_it_has_asked_of_a_provider(
    daemon: Daemon, provider: RunningProvider, path: str
) -> None:
    headers = {**KEY, **NEEDS_LITELLM}
    check(provider, daemon, path, headers=headers, **held(path).request())


@each_stream
def test_so_it_does_where_a_stream_has_not_begun(
    daemon: Daemon, provider: RunningProvider, path: str
) -> None:
    headers = {**KEY, **NEEDS_LITELLM}
    check(provider, daemon, path, headers=headers, **held(path).request(stream=True))


@pytest.mark.parametrize("path", [path for path, row in ROWS.items() if row[2] == "both"])
def test_the_direct_lane_does(daemon: Daemon, provider: RunningProvider, path: str) -> None:
    check(provider, daemon, path, headers=KEY, **held(path).request())

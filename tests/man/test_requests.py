"""The table of calls in ccproxyd-requests(7), held against the paths, the lanes and the kinds.

tests/integration/proxy/test_call_types.py asks for each row of it.
"""

from __future__ import annotations

import re

import pytest

from ccproxyd import errors
from ccproxyd.config.lanes import DIRECT
from ccproxyd.errors import ProxyError
from ccproxyd.gateway import paths
from ccproxyd.gateway.budgets import BudgetUsedUpError
from ccproxyd.gateway.lanes import choice
from ccproxyd.gateway.lanes.answers import KeyRefusedError
from ccproxyd.gateway.paths import Carriage, Dialect, PathTable, counts_tokens
from ccproxyd.gateway.replies import error_body
from ccproxyd.routing import NoRouteError, Request
from ccproxyd.routing.kinds import kind_of
from tests.man.mdoc import Page

REALTIME = "/v1/realtime"
ROUTED = (*paths._CHAT, *paths._OTHER_MODEL_CALLS)
TABLE = PathTable.build()


def rows(page: Page) -> dict[str, tuple[str, ...]]:
    """By path: the call type, where the label comes from, the lanes, and whether it streams."""
    found: dict[str, tuple[str, ...]] = {}
    for item in page.items("DESCRIPTION", "Pa", "Calls"):
        if item.more:
            [path] = item.names
            words = [word.text for word in page.words if word.is_head and item in word.items]
            found[path] = tuple(word for word in words if word != path)
    return found


def row_of(path: str) -> tuple[str, ...]:
    """What the code has for such a row."""
    request = Request({}, path=path)
    call_type = "realtime" if path == REALTIME else request.call_type
    streams = kind_of(request.call_type).streams and not counts_tokens(path)
    return (
        call_type,
        "rules" if request.is_conversation else "kept",
        "both" if path in choice._PROTOCOLS else "litellm",
        "yes" if streams else "no",
    )


def test_every_row_is_as_the_code_has_it(requests: Page) -> None:
    told = rows(requests)
    assert told == {path: row_of(path) for path in told}
    for path in told.keys() - {REALTIME}:
        assert TABLE.carriage("POST", path) is Carriage.ROUTED


def test_every_path_that_is_routed_has_its_row(requests: Page) -> None:
    """Whatever stands before it: `/engines/{model}`, `/openai/v1`, or no `/v1`."""
    ends = [path.removeprefix("/v1") for path in rows(requests)]
    assert [path for path in ROUTED if not path.endswith(tuple(ends))] == []


def test_every_family_of_what_is_passed_on_is_named(requests: Page) -> None:
    named = {
        word.text for word in requests.words if word.macro == "Pa" and word.text.startswith("/")
    }
    aliases = {path.removeprefix("/v1beta").removeprefix("/v1") for path in named}
    families = {family(path) for path in paths._THINGS}
    assert {one for one in families if one not in named | aliases} == set()


def family(path: str) -> str:
    """
    >>> family("/v1/files/{id}"), family("/openai/v1/responses/{id}")
    ('/v1/files', '/v1/responses')
    """
    found = re.match(r"(/v1|/v1beta)?/[a-z0-9_-]+", path.removeprefix("/openai"))
    return found.group(0) if found else path


@pytest.mark.parametrize("path", ["/files", "/v1/batches", "/mcp/x", "/anthropic/x", "/gemini/x"])
def test_what_is_passed_on_is_carried(path: str) -> None:
    assert TABLE.carriage("POST", path) is Carriage.CARRIED


def test_what_is_answered_here_is_named(requests: Page) -> None:
    named = {
        word.text
        for word in requests.words
        if word.macro == "Pa" and word.subsection == "Answered without LiteLLM"
    }
    unlisted = {"/models", "/v1/models/{name:path}"}
    assert named == set(paths._ANSWERED) - unlisted


def test_the_types_of_errors_are_those_of_the_code(requests: Page) -> None:
    ours = (errors.ValidationError, errors.UpstreamTimeout, errors.Unknown, NoRouteError)
    known: dict[int, type[ProxyError]] = {
        one.code: one for one in (*ours, BudgetUsedUpError, KeyRefusedError)
    }
    table = requests_table(requests)
    assert set(table) >= known.keys()
    for status, (anthropic, name) in table.items():
        error = known.get(status, ProxyError)("x", code=status)
        assert error_body(error, Dialect.ANTHROPIC)["error"]["type"] == anthropic
        assert error_body(error, Dialect.OPENAI)["error"]["type"] == name


def requests_table(page: Page) -> dict[int, tuple[str, str]]:
    items = [one.items[-1] for one in page.words if one.subsection == "Errors" and one.is_head]
    found = [item.names for item in items if item.names[0].isdigit()]
    return {int(status): (anthropic, name) for status, anthropic, name in dict.fromkeys(found)}


def test_the_lane_past_litellm_is_that_of_both(requests: Page) -> None:
    both = {path for path, row in rows(requests).items() if row[2] == "both"}
    assert both == set(choice._PROTOCOLS) - {"/chat/completions"}
    assert DIRECT == "direct"

"""Lives of conversations, told with a clock of their own."""

import pytest

from ccproxyd.routing.request import Request
from ccproxyd.routing.sticky import StickyTable
from tests.support.shapes import shape

TOOLS = [{"name": "Read", "input_schema": {}}]


def talk(
    length: int, session: str | None = "one", agent: str | None = None, opening: str = "Hello"
) -> Request:
    headers = {"x-claude-code-session-id": session, "x-claude-code-agent-id": agent}
    messages = [opening, *(f"message {number}" for number in range(1, length))]
    given = {name: value for name, value in headers.items() if value}
    return Request({"messages": messages, "tools": TOOLS}, headers=given)


@pytest.fixture
def table() -> StickyTable:
    return StickyTable(idle_seconds=60)


def test_a_conversation_is_held_once_it_matched(table: StickyTable) -> None:
    assert not table.holds(talk(2), "think", now=0)
    table.remember(talk(2), "think", now=0)
    assert table.holds(talk(4), "think", now=10)


def test_a_resent_turn_is_held(table: StickyTable) -> None:
    table.remember(talk(4), "think", now=0)
    assert table.holds(talk(4), "think", now=10)


def test_an_idle_conversation_is_let_go(table: StickyTable) -> None:
    table.remember(talk(2), "think", now=0)
    assert table.holds(talk(4), "think", now=60)
    assert not table.holds(talk(4), "think", now=60.1)


def test_a_conversation_that_goes_on_is_held_on(table: StickyTable) -> None:
    for turn in range(1, 20):
        table.remember(talk(2 * turn), "think", now=50 * turn)
        assert table.holds(talk(2 * turn + 2), "think", now=50 * turn + 50)


def test_a_compacted_conversation_is_let_go(table: StickyTable) -> None:
    table.remember(talk(40), "think", now=0)
    assert not table.holds(talk(3), "think", now=10)


def test_a_label_is_held_for_itself(table: StickyTable) -> None:
    table.remember(talk(2), "think", now=0)
    assert not table.holds(talk(4), "token_count", now=10)


def test_sessions_and_subagents_are_held_apart(table: StickyTable) -> None:
    table.remember(talk(2), "think", now=0)
    assert not table.holds(talk(4, session="two"), "think", now=10)
    assert not table.holds(talk(4, agent="a"), "think", now=10)


def test_without_a_session_nothing_is_held(table: StickyTable) -> None:
    table.remember(talk(2, session=None), "think", now=0)
    assert not table.holds(talk(4, session=None), "think", now=10)
    table.forget(talk(4, session=None), "think")
    assert len(table) == 0


def test_what_is_forgotten_is_not_held(table: StickyTable) -> None:
    table.remember(talk(2), "think", now=0)
    table.forget(talk(4), "think")
    table.forget(talk(4), "think")
    assert not table.holds(talk(4), "think", now=10)


def test_asking_changes_nothing(table: StickyTable) -> None:
    table.remember(talk(40), "think", now=0)
    assert not table.holds(talk(3), "think", now=10)
    assert table.holds(talk(42), "think", now=20)


def test_side_requests_are_not_held_with_their_conversation(table: StickyTable) -> None:
    """A web search runs in the session that needs it, and must reach a model that can search."""
    main, search = shape("websearch-03"), shape("websearch-02")
    table.remember(Request(main.body, headers=main.headers), "think", now=0)
    side = Request(search.body, headers=search.headers)
    assert not table.holds(side, "think", now=1)
    table.forget(side, "think")
    assert table.holds(Request(main.body, headers=main.headers), "think", now=2)


def test_one_side_request_is_not_another(table: StickyTable) -> None:
    title, summary = shape("tty-plan-01"), shape("webfetch-smallfast-02")
    headers = title.headers
    table.remember(Request(title.body, headers=headers), "background", now=0)
    assert table.holds(Request(title.body, headers=headers), "background", now=1)
    assert not table.holds(Request(summary.body, headers=headers), "background", now=1)


def test_the_oldest_conversation_makes_room(table: StickyTable) -> None:
    table = StickyTable(capacity=2)
    for session in ("one", "two", "one", "three"):
        table.remember(talk(2, session=session), "think", now=0)
    held = [
        name for name in ("one", "two", "three") if table.holds(talk(2, session=name), "think", 1)
    ]
    assert (held, len(table)) == (["one", "three"], 2)

"""What is sent: requests of the right size and form, of which no two are alike."""

from __future__ import annotations

import doctest
import itertools
import json
from typing import Any

import pytest

from scripts.bench import bodies
from scripts.bench.bodies import MODEL, SWAPPED, TURNS, Address, Kind, kinds

ADDRESS = Address("127.0.0.1", 4711, "sk-test")


def requests(kind: Kind, count: int, *, stream: bool = True) -> list[tuple[bytes, dict[str, Any]]]:
    """The first requests of a feed, each as its head and its body."""
    whole = itertools.islice(kind.feed(ADDRESS, stream=stream), count)
    found = []
    for pieces in whole:
        head, _, body = b"".join(pieces).partition(b"\r\n\r\n")
        assert f"content-length: {len(body)}" in head.decode().lower().splitlines()
        found.append((head, json.loads(body)))
    return found


def newest_text(body: dict[str, Any]) -> str:
    [*_, newest] = [one for one in body["messages"] if one["role"] == "user"]
    return json.dumps(newest["content"][-1])


def test_the_examples_hold() -> None:
    assert doctest.testmod(bodies).failed == 0


@pytest.mark.parametrize("kind", kinds().values(), ids=kinds())
@pytest.mark.parametrize("stream", [True, False])
def test_a_request_says_who_asks_and_how_the_answer_is_to_come(kind: Kind, stream: bool) -> None:
    [(head, body)] = requests(kind, 1, stream=stream)
    assert b"Authorization: Bearer sk-test" in head
    assert b"Host: 127.0.0.1:4711" in head
    assert body["stream"] is stream


@pytest.mark.parametrize("kind", kinds().values(), ids=kinds())
def test_no_two_requests_are_alike(kind: Kind) -> None:
    found = [newest_text(body) for _, body in requests(kind, 2 * TURNS)]
    assert len(set(found)) == len(found)


def test_a_usual_turn_has_the_tools_of_a_coding_client() -> None:
    [(_, body)] = requests(kinds()["116 KB"], 1)
    assert len(body["tools"]) == 24
    assert [one["role"] for one in body["messages"]] == ["user", "system"]


def test_a_swapped_request_asks_for_another_model() -> None:
    models = {name: requests(kind, 1)[0][1]["model"] for name, kind in kinds().items()}
    assert models.pop("116 KB swapped") == SWAPPED
    assert set(models.values()) == {MODEL}


def without_marks(messages: list[dict[str, Any]]) -> list[Any]:
    """Messages without the marks of the cache, which move on with a conversation."""
    return json.loads(json.dumps(messages), object_hook=lambda one: {**one, "cache_control": None})


def test_a_growing_conversation_has_a_turn_more_each_time() -> None:
    found = [body["messages"] for _, body in requests(kinds()["116 KB growing"], TURNS)]
    for earlier, later in itertools.pairwise(found):
        assert len(later) == len(earlier) + 2
        assert without_marks(later)[: len(earlier)] == without_marks(earlier)


def test_the_newest_turn_of_a_growing_conversation_has_the_mark() -> None:
    *_, (_, body) = requests(kinds()["116 KB growing"], 3)
    turns = body["messages"][2:]
    assert ["cache_control" in json.dumps(one) for one in turns] == [False] * 5 + [True]


def test_after_its_last_turn_another_conversation_begins() -> None:
    found = [body["messages"] for _, body in requests(kinds()["116 KB growing"], TURNS + 1)]
    assert len(found[-1]) == len(found[0])
    assert found[-1][0] != found[0][0]

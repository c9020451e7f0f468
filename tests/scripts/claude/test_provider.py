import json

from scripts.claude.plays import PLAYS, Part
from scripts.claude.provider import answer, filled_in, frames, special

BODY = {"model": "m", "system": "working directory: /a", "messages": []}
THINKS = {**BODY, "thinking": {"type": "adaptive"}}


def part(play: str, step: int = 0) -> Part:
    return Part(play, step, PLAYS[play][step])


def test_a_message_says_what_the_play_has() -> None:
    message = answer(part("tools"), THINKS)
    assert [block["type"] for block in message["content"]] == ["thinking", "text", "tool_use"]
    assert message["stop_reason"] == "tool_use"
    assert message["model"] == "m"


def test_who_does_not_ask_for_thinking_gets_none() -> None:
    types = [block["type"] for block in answer(part("tools"), BODY)["content"]]
    assert types == ["text", "tool_use"]


def test_the_same_question_has_the_same_answer() -> None:
    assert answer(part("tools", 1), BODY) == answer(part("tools", 1), BODY)
    [first, second] = [block["id"] for block in answer(part("tools", 1), BODY)["content"]]
    assert first != second


def test_a_stream_says_the_same() -> None:
    message = answer(part("tools"), THINKS)
    events = [json.loads(frame.split(b"data: ")[1]) for frame in frames(message)]
    assert [events[0]["type"], events[-1]["type"]] == ["message_start", "message_stop"]
    thought, said, given = ("", "", "")
    for event in events:
        delta = event.get("delta", {})
        thought += delta.get("thinking", "")
        said += delta.get("text", "")
        given += delta.get("partial_json", "")
    blocks = message["content"]
    assert (thought, said) == (blocks[0]["thinking"], blocks[1]["text"])
    assert json.loads(given) == blocks[2]["input"]


def test_a_form_is_filled_in_whatever_the_play() -> None:
    form = {"type": "object", "properties": {"title": {"type": "string"}, "n": {"enum": [7]}}}
    found = special({"output_config": {"format": {"schema": form}}})
    assert found is not None
    assert (
        json.loads(found.turn.blocks[0]["text"]) == filled_in(form) == {"title": "A title", "n": 7}
    )


def test_the_classifier_of_commands_lets_them_pass() -> None:
    asked = {"system": "You are a security monitor for agents.", "stop_sequences": ["</block>"]}
    found = special(asked)
    assert found is not None
    assert found.turn.stop == "stop_sequence"
    assert special(BODY) is None

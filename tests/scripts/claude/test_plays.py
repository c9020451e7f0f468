from typing import Any

from scripts.claude.cases import CASES
from scripts.claude.plays import PLAYS, directory_of, part_of, placed


def asked(content: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": content}


def said(content: str) -> dict[str, Any]:
    return asked(content, "assistant")


def test_the_newest_name_counts_and_the_answers_since() -> None:
    messages = [asked("[[play:plain]]"), said("one"), asked("[[play:tools]]"), said("two")]
    part = part_of({"messages": [*messages, asked("go on"), said("three"), asked("go on")]})
    assert (part.play, part.step) == ("tools", 2)
    assert part.turn is PLAYS["tools"][2]


def test_what_a_tool_has_said_names_no_play() -> None:
    result = {"type": "tool_result", "content": [{"type": "text", "text": "[[play:tools]]"}]}
    part = part_of({"messages": [asked("[[play:plain]]"), said("x"), asked([result])]})
    assert (part.play, part.step) == ("plain", 1)


def test_nothing_is_played_to_the_end_and_beyond() -> None:
    over = part_of({"messages": [asked("[[play:pdf]]"), *[said("x")] * 3]})
    assert over.turn.blocks[0]["text"] == "The play is over."
    assert part_of({"messages": [asked("hello")]}).play == ""
    assert part_of({}).turn.blocks[0]["text"] == "mock: ok"


def test_a_tool_is_given_the_clients_own_directory() -> None:
    body = {"system": [{"type": "text", "text": "Primary working directory: /a/b\nOther: x"}]}
    assert directory_of(body) == "/a/b"
    assert placed({"file_path": ["{HERE}/c"], "n": 1}, "/a/b") == {"file_path": ["/a/b/c"], "n": 1}


def test_the_directory_may_be_told_in_the_conversation() -> None:
    reminder = [{"type": "text", "text": "working directory: /a/b"}]
    assert directory_of({"messages": [asked(reminder)]}) == "/a/b"
    assert directory_of({}) == "/"


def test_every_play_that_is_named_is_there() -> None:
    prompts = [run.prompt + (run.stdin or "") for case in CASES for run in case.runs]
    named = [part_of({"messages": [asked(prompt)]}).play for prompt in prompts]
    assert {name for name in named if name} <= PLAYS.keys()


def test_no_two_cases_have_one_name() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)

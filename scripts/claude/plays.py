"""What the provider plays: the answers that a conversation gets, turn by turn.

A prompt names its play, `[[play:tools]]`, and so does the prompt of a subagent that a play starts,
so that the provider needs no memory and conversations at the same time do not disturb each other.
The turn that is played is the number of answers since the newest name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

Block = Mapping[str, Any]


@frozen
class Failure:
    """An error in place of the answer, for the first `times` requests of the turn, or for all."""

    status: int
    type: str
    message: str
    times: int | None = None
    headers: Mapping[str, str] = {}
    spares: str = ""
    """A part of the names of models that answer all the same."""


@frozen
class Turn:
    """One answer. `cut` is the event of a stream at which the connection breaks, `breaks` the one
    that an error stands for; `at_once` is that they come together with what was said before."""

    blocks: tuple[Block, ...] = ()
    stop: str = ""
    failure: Failure | None = None
    cut: int | None = None
    breaks: int | None = None
    at_once: bool = False
    input_tokens: int = 1000


@frozen
class Part:
    """The turn of a play that a request has come to."""

    play: str
    step: int
    turn: Turn


def text(said: str) -> Block:
    return {"type": "text", "text": said}


def thinking(thought: str) -> Block:
    return {"type": "thinking", "thinking": thought, "signature": "c2lnbmVk"}


def tool(name: str, **given: Any) -> Block:
    return {"type": "tool_use", "name": name, "input": given}


def _says(*said: str) -> tuple[Turn, ...]:
    return tuple(Turn((text(one),)) for one in said)


def _uses(name: str, said: str, **given: Any) -> tuple[Turn, ...]:
    return (Turn((tool(name, **given),)), *_says(said))


def _fails(status: int, type_: str, message: str, **more: Any) -> tuple[Turn, ...]:
    failure = Failure(status, type_, message, **more)
    return (Turn((text(f"Well again after {status}."),), failure=failure),)


LONG: Final = " ".join(f"word{number}" for number in range(400))
_HERE: Final = "{HERE}"
_SEARCH: Final = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search"}
_FOUND: Final = {
    "type": "web_search_result",
    "title": "A page",
    "url": "https://example.org/a",
    "encrypted_content": "ZW5j",
    "page_age": None,
}

PLAYS: Final[Mapping[str, tuple[Turn, ...]]] = {
    "plain": _says("A plain answer.", "Another plain answer.", "A third one."),
    "tools": (
        Turn(
            (
                thinking("First the files."),
                text("I look at the files."),
                tool("Bash", command="ls", description="List the files"),
            )
        ),
        Turn(
            (
                tool("Read", file_path=f"{_HERE}/sum.py"),
                tool("Write", file_path=f"{_HERE}/more.md", content="# More\n"),
            )
        ),
        Turn(
            (
                thinking("It subtracts."),
                tool(
                    "Edit",
                    file_path=f"{_HERE}/sum.py",
                    old_string="a - b",
                    new_string="a + b",
                ),
            )
        ),
        Turn((tool("Bash", command="cat sum.py", description="Look at the result"),)),
        Turn((text("It adds now."),)),
    ),
    "one-file": (
        Turn((tool("Read", file_path=f"{_HERE}/sum.py"),)),
        Turn((tool("Bash", command="ls", description="List the files"),)),
        Turn((text("It subtracts."),)),
    ),
    "command": _uses("Bash", "It said hello.", command="echo hello", description="Say hello"),
    "judged": _uses(
        "Bash",
        "It has run.",
        command="python3 sum.py > out.txt && rm -f out.txt",
        description="Run it",
    ),
    "long": _uses("Read", "It is long.", file_path=f"{_HERE}/long.txt"),
    "image": _uses("Read", "A picture.", file_path=f"{_HERE}/picture.png"),
    "pdf": _uses("Read", "A document.", file_path=f"{_HERE}/document.pdf"),
    "filling": (
        *(Turn((tool("Bash", command="echo more", description="Say more"),)) for _ in range(3)),
        Turn((tool("Bash", command="echo much", description="Say much"),), input_tokens=70_000),
        *_says("That was much.", "That was all."),
    ),
    "explore": _uses(
        "Agent",
        "The explorer has told me.",
        description="Count the files",
        subagent_type="Explore",
        prompt="Count the files. [[play:command]]",
    ),
    "delegate": _uses(
        "Agent",
        "The other one has told me.",
        description="Count the files",
        subagent_type="general-purpose",
        prompt="Count the files. [[play:command]]",
    ),
    "websearch": _uses("WebSearch", "I have searched.", query="a query [[play:search]]"),
    "search": (
        Turn(
            (
                {**_SEARCH, "input": {"query": "a query"}},
                {
                    "type": "web_search_tool_result",
                    "tool_use_id": _SEARCH["id"],
                    "content": [_FOUND],
                },
                text("There is a page."),
            )
        ),
    ),
    "plan": _uses("ExitPlanMode", "So be it.", plan="1. Do it."),
    "find": (
        Turn((tool("ToolSearch", query="select:mcp__sums__add", max_results=3),)),
        Turn((tool("mcp__sums__add", a=2, b=3),)),
        *_says("It is five."),
    ),
    "add": _uses("mcp__sums__add", "It is five.", a=2, b=3),
    "wrong": _uses("NoSuchTool", "There is no such tool.", x=1),
    "short": (Turn((text("cut off by"),), stop="max_tokens"), *_says("the limit.")),
    "refused": (Turn((text("No."),), stop="refusal"),),
    "paused": (Turn((text("A pause."),), stop="pause_turn"), *_says("And on.")),
    "400": _fails(400, "invalid_request_error", "this cannot be read"),
    "401": _fails(401, "authentication_error", "invalid x-api-key"),
    "403": _fails(403, "permission_error", "not for you"),
    "404": _fails(404, "not_found_error", "model: nobody"),
    "413": _fails(413, "request_too_large", "Request exceeds the maximum size"),
    "429": _fails(429, "rate_limit_error", "slow down", times=2, headers={"retry-after": "1"}),
    "429 for good": _fails(
        429,
        "rate_limit_error",
        "slow down",
        headers={"retry-after": "1", "anthropic-ratelimit-unified-status": "rejected"},
    ),
    "500": _fails(500, "api_error", "Internal server error", times=1),
    "500 for good": _fails(
        500, "api_error", "Internal server error", headers={"x-should-retry": "false"}
    ),
    "529": _fails(529, "overloaded_error", "Overloaded", times=2),
    "529 for good": _fails(529, "overloaded_error", "Overloaded"),
    "529 but haiku": _fails(529, "overloaded_error", "Overloaded", spares="haiku"),
    "too long": _fails(
        400,
        "invalid_request_error",
        "prompt is too long: 250000 tokens > 200000 maximum",
        times=1,
    ),
    "cut": (Turn((text(LONG),), cut=8),),
    "breaks": (Turn((text(LONG),), breaks=8),),
    "cut-at-once": (Turn((text(LONG),), cut=8, at_once=True),),
    "breaks-at-once": (Turn((text(LONG),), breaks=8, at_once=True),),
}

_NAME: Final = re.compile(r"\[\[play:([^\]]+)\]\]")
_DIRECTORY: Final = re.compile(r"[Ww]orking directory: (/[^\s\"\\<]+)")
_NOBODY: Final = Part("", 0, Turn((text("mock: ok"),)))


def part_of(body: Mapping[str, Any]) -> Part:
    """What is to be played for this request.

    >>> asked = {"role": "user", "content": "Hello [[play:plain]]"}
    >>> answered = {"role": "assistant", "content": "A plain answer."}
    >>> part_of({"messages": [asked, answered, {"role": "user", "content": "go on"}]}).step
    1
    """
    answers = 0
    for message in reversed(body.get("messages") or []):
        if message.get("role") == "assistant":
            answers += 1
        named = _NAME.findall(told(message.get("content")))
        if named and message.get("role") == "user":
            return _part(named[-1], answers)
    return _NOBODY


def _part(name: str, step: int) -> Part:
    turns = PLAYS.get(name, ())
    turn = turns[step] if step < len(turns) else Turn((text("The play is over."),))
    return Part(name, step, turn)


def told(content: Any) -> str:
    """The text of a message or a system prompt; what tools have said is not of it."""
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    return "\n".join(str(one.get("text", "")) for one in blocks if one.get("type") == "text")


def directory_of(body: Mapping[str, Any]) -> str:
    """Where the client works, as it says in its system prompt or its first messages."""
    places = [body.get("system"), *(one.get("content") for one in body.get("messages") or [])]
    found = (_DIRECTORY.search(told(place)) for place in places)
    return next((match[1] for match in found if match), "/")


def placed(value: Any, directory: str) -> Any:
    """The value with the client's directory in it."""
    if isinstance(value, str):
        return value.replace(_HERE, directory)
    if isinstance(value, Mapping):
        return {key: placed(item, directory) for key, item in value.items()}
    return [placed(item, directory) for item in value] if isinstance(value, list) else value

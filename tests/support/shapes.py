"""Requests shaped like those of a real Claude Code, with filler for every word.

`shape(name)` makes one of `NAMES`: what a recorded session of Claude Code 2.1.197 sent, as to
structure, roles, model ids, tools, betas, cache marks, thinking and sizes. A number among the
builders' arguments is a length in characters; text of the same length is the same text, so that
every turn of a conversation begins with the one before. `long_conversation` makes one of any size.
"""

from __future__ import annotations

import base64
import functools
import json
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson
from attrs import field, frozen

Body = dict[str, Any]
Message = dict[str, Any]
Block = dict[str, Any]

EPHEMERAL = {"type": "ephemeral"}
EPHEMERAL_HOUR = {"type": "ephemeral", "ttl": "1h"}
ADAPTIVE = {"type": "adaptive"}
DISABLED = {"type": "disabled"}

OPUS, SONNET, HAIKU = "claude-opus-4-8", "claude-sonnet-5", "claude-haiku-4-5-20251001"
OLD_SONNET, SMALL, CUSTOM = "claude-sonnet-4-20250514", "small-x", "my-router-auto"

_WORDS = (
    "backoff batch body buffer cache chunk client code config count delay event file frame header "
    "import index label limit line list lock match message model parse path process proxy query "
    "queue reload request retry return route rule score server session signal socket state status "
    "stream system token unit window worker"
).split()
_ENDINGS = (" ", " ", " ", ", ", ".\n", "(", ") ", ": ", "\n    ")

# name: characters of the description, of the description for models that need it longer, of the
# input schema as JSON
_TOOLS: Mapping[str, tuple[int, int, int]] = {
    "Agent": (1233, 5470, 1273),
    "AskUserQuestion": (1790, 1790, 3190),
    "Bash": (1223, 10416, 1435),
    "CronCreate": (2948, 2948, 996),
    "CronDelete": (167, 167, 219),
    "CronList": (106, 106, 126),
    "Edit": (362, 1094, 593),
    "EnterPlanMode": (4030, 4030, 126),
    "EnterWorktree": (3041, 3041, 635),
    "ExitPlanMode": (1849, 1849, 634),
    "ExitWorktree": (1929, 1929, 500),
    "NotebookEdit": (623, 623, 993),
    "Read": (842, 1832, 781),
    "ReportFindings": (574, 574, 1290),
    "ScheduleWakeup": (2833, 2833, 833),
    "SendMessage": (659, 659, 454),
    "Skill": (1713, 1713, 351),
    "TaskCreate": (2146, 2146, 608),
    "TaskGet": (732, 732, 227),
    "TaskList": (998, 998, 126),
    "TaskOutput": (1055, 1055, 466),
    "TaskStop": (203, 203, 297),
    "TaskUpdate": (2247, 2247, 1174),
    "ToolSearch": (963, 963, 433),
    "WebFetch": (376, 1479, 337),
    "WebSearch": (313, 1321, 505),
    "Workflow": (18961, 18961, 1865),
    "Write": (240, 620, 370),
    "mcp__demo__lookup": (15, 15, 150),
    "mcp__demo__noargs": (14, 14, 126),
}
_INTERACTIVE = ("AskUserQuestion", "EnterPlanMode", "ExitPlanMode")
_MCP = ("mcp__demo__lookup", "mcp__demo__noargs")
_TERMINAL = tuple(name for name in _TOOLS if name != "ToolSearch" and name not in _MCP)
STANDARD = tuple(name for name in _TERMINAL if name not in _INTERACTIVE)
"""The 24 tools that the main conversation declares."""
_GENERAL_PURPOSE = tuple(
    name for name in STANDARD if name not in ("ScheduleWakeup", "TaskOutput", "Workflow")
)
_EXPLORE = tuple(
    name for name in _GENERAL_PURPOSE if name not in ("Agent", "Edit", "NotebookEdit", "Write")
)
_SEARCHABLE = (
    "Agent", "Bash", "Edit", "Read", "ReportFindings", "Skill", "ToolSearch", "Workflow", "Write",
)  # fmt: skip


@frozen
class Shape:
    """One HTTP request of the client."""

    name: str
    body: Body
    headers: Mapping[str, str] = field(factory=dict)
    path: str = "/v1/messages"
    query: str = "beta=true"

    @property
    def raw(self) -> bytes:
        return orjson.dumps(self.body)


@functools.cache
def text(length: int, salt: str = "") -> str:
    """Filler of that many characters; the same for the same arguments."""
    state = zlib.crc32(f"{salt}{length}".encode())
    parts: list[str] = []
    size = 0
    while size < length:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        part = _WORDS[(state >> 33) % len(_WORDS)] + _ENDINGS[(state >> 20) % len(_ENDINGS)]
        parts.append(part)
        size += len(part)
    return "".join(parts)[:length]


def jpeg(width: int, height: int, size: int) -> str:
    """The base64 of a JPEG of so many pixels and bytes, as far as its headers go."""
    start = b"\xff\xd8\xff\xe0" + struct.pack(">H", 16) + b"JFIF\0" + bytes(9)
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 17, 8, height, width, 3) + bytes(9)
    return base64.b64encode((start + frame).ljust(size, b"\x55")).decode()


def tool(name: str, *, verbose: bool = False, deferred: bool = False) -> Block:
    short, long, schema = _TOOLS[name]
    made: Block = {
        "name": name,
        "description": text(long if verbose else short, name),
        "input_schema": _schema(schema, name),
    }
    return {**made, "defer_loading": True} if deferred else made


def said(length: int) -> Block:
    return {"type": "text", "text": text(length)}


def thought(length: int, signature: int) -> Block:
    return {"type": "thinking", "thinking": text(length), "signature": text(signature, "signed")}


def call(number: int, name: str, **inputs: Any) -> Block:
    """A tool's call; an input that is a tuple is a length."""
    given = {
        key: text(*value) if isinstance(value, tuple) else value for key, value in inputs.items()
    }
    return {"type": "tool_use", "id": _call_id(number), "name": name, "input": given}


def result(number: int, content: int | list[Block], **more: bool) -> Block:
    said = text(content, "result") if isinstance(content, int) else content
    return {"tool_use_id": _call_id(number), "type": "tool_result", "content": said, **more}


def assistant(*blocks: Block) -> Message:
    return {"role": "assistant", "content": list(blocks)}


def user(*blocks: Block) -> Message:
    return {"role": "user", "content": list(blocks)}


def notes(length: int) -> Message:
    """The system message that newer models get in mid-conversation."""
    return {"role": "system", "content": text(length, "notes")}


def long_conversation(characters: int, turns: int) -> list[Message]:
    """An opening and so many turns of a tool's call and its result, of that size in all."""
    size = characters // max(1, turns)
    messages = [user(said(658), said(120)), notes(6082)]
    for number in range(turns):
        lines = [{"type": "text", "text": text(size, f"turn {number}")}]
        messages.append(assistant(said(60), call(number, "Read", file_path=(24, str(number)))))
        messages.append(user(result(number, lines)))
    return messages


def main_body(
    *messages: Message,
    session: int = 0,
    model: str = OPUS,
    system: int = 6001,
    thinking: Mapping[str, Any] | None = None,
    effort: str | None = "high",
    tools: Iterable[Block] | None = None,
    cache: Mapping[str, str] | None = None,
) -> Body:
    """A turn of a main conversation."""
    mark = dict(cache or EPHEMERAL)
    declared = [tool(name) for name in STANDARD] if tools is None else list(tools)
    body: Body = {
        "model": model,
        "messages": _marked(list(messages), mark),
        "system": [
            billing(),
            {**said(62), "cache_control": mark},
            {**said(system), "cache_control": mark},
        ],
        "tools": declared,
        "metadata": metadata(session),
        "max_tokens": 64000 if model in (OPUS, SONNET) else 32000,
        "thinking": dict(ADAPTIVE if thinking is None else thinking),
    }
    if body["thinking"] != DISABLED:
        keep = {"type": "clear_thinking_20251015", "keep": "all"}
        body["context_management"] = {"edits": [keep]}
    if effort:
        body["output_config"] = {"effort": effort}
    return {**body, "stream": True}


def billing(*, subagent: bool = False, interactive: bool = False) -> Block:
    entrypoint = "cli" if interactive else "sdk-cli"
    mark = " cc_is_subagent=true;" if subagent else ""
    said = f"x-anthropic-billing-header: cc_version=2.1.197.5ea; cc_entrypoint={entrypoint};{mark}"
    return {"type": "text", "text": said}


def metadata(session: int) -> Body:
    user_id = {"device_id": "2" * 64, "account_uuid": "", "session_id": session_id(session)}
    return {"user_id": json.dumps(user_id, separators=(",", ":"))}


def session_id(session: int) -> str:
    return f"00000000-0000-4000-8000-{session:012}"


def headers(
    session: int,
    *betas: str,
    agent: str | None = None,
    auth: str = "bearer",
    interactive: bool = False,
) -> dict[str, str]:
    found = {
        "Accept": "application/json",
        "Content-Type": "application/json",
        "User-Agent": f"claude-cli/2.1.197 (external, {'cli' if interactive else 'sdk-cli'})",
        "X-Claude-Code-Session-Id": session_id(session),
        "X-Stainless-Lang": "js",
        "X-Stainless-Retry-Count": "0",
        "anthropic-beta": ",".join(("claude-code-20250219", *betas)),
        "anthropic-dangerous-direct-browser-access": "true",
        "anthropic-version": "2023-06-01",
        "x-app": "cli",
    }
    if "bearer" in auth:
        found["Authorization"] = "Bearer sk-test-0000"
    if "key" in auth:
        found["x-api-key"] = "sk-test-0000"
    return {**found, "x-claude-code-agent-id": agent} if agent else found


def shape(name: str) -> Shape:
    """The request of that name, made afresh."""
    return _BUILDERS[name](name)


def _call_id(number: int) -> str:
    return f"toolu_{number:022}"


def _schema(length: int, salt: str) -> Body:
    """A JSON schema of about that length, of one described property for each 250 characters."""
    schema: Body = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {},
        "additionalProperties": False,
    }
    spare = length - len(json.dumps(schema))
    count = -(-spare // 250)
    for number in range(count):
        described = text(max(1, spare // count - 50), f"{salt}{number}")
        schema["properties"][f"field_{number}"] = {"description": described, "type": "string"}
    return schema


def _marked(messages: list[Message], mark: dict[str, str]) -> list[Message]:
    """With the cache mark on the last block of the last message that is not a system's."""
    last = max(i for i, message in enumerate(messages) if message["role"] != "system")
    *blocks, final = messages[last]["content"]
    marked = {**messages[last], "content": [*blocks, {**final, "cache_control": mark}]}
    return [*messages[:last], marked, *messages[last + 1 :]]


_MAIN_BETAS = ("context-1m-2025-08-07", "interleaved-thinking-2025-05-14", "effort-2025-11-24")
_PLAIN_BETAS = ("interleaved-thinking-2025-05-14", "prompt-caching-scope-2026-01-05")
_Builder = Callable[[str], Shape]


def _opening(prompt: int, noted: int = 6082) -> list[Message]:
    return [user(said(658), said(prompt)), notes(noted)]


def _old_opening() -> list[Message]:
    """For models that take no system messages in mid-conversation."""
    return [user(said(1788), said(4574), said(658), said(24))]


def _main(session: int, *messages: Message, auth: str = "bearer", **changes: Any) -> _Builder:
    def build(name: str) -> Shape:
        body = main_body(*messages, session=session, **changes)
        return Shape(name, body, headers(session, *_MAIN_BETAS, auth=auth))

    return build


def _subagent(session: int, agent: str, body: Callable[[], Body]) -> _Builder:
    def build(name: str) -> Shape:
        found = body()
        found["system"][0] = billing(subagent=True)
        return Shape(name, found, headers(session, *_PLAIN_BETAS, agent=agent))

    return build


def _explore(*messages: Message) -> _Builder:
    def body() -> Body:
        tools = [tool(name, verbose=True) for name in _EXPLORE]
        found = main_body(
            *messages,
            session=40,
            model=HAIKU,
            system=3226,
            thinking=DISABLED,
            effort=None,
            tools=tools,
        )
        return {**found, "temperature": 1}

    return _subagent(40, "a9c544ffd8566cfd6", body)


def _general_purpose(*messages: Message) -> _Builder:
    def body() -> Body:
        tools = [tool(name) for name in _GENERAL_PURPOSE]
        return main_body(*messages, session=41, system=2839, thinking=DISABLED, tools=tools)

    return _subagent(41, "a7d83d29394f4807d", body)


def _terminal(session: int, *messages: Message) -> _Builder:
    def build(name: str) -> Shape:
        tools = [tool(name) for name in _TERMINAL]
        body = main_body(*messages, session=session, system=6262, tools=tools)
        body["system"][:2] = [billing(interactive=True), {**said(57), "cache_control": EPHEMERAL}]
        return Shape(name, body, headers(session, *_MAIN_BETAS, interactive=True))

    return build


def _side(
    session: int,
    model: str,
    system: Iterable[int],
    prompt: int,
    interactive: bool = False,
    **more: Any,
) -> _Builder:
    """A small request beside the conversation: no cache marks, no tools of the client."""

    def build(name: str) -> Shape:
        body = {
            "model": model,
            "messages": [user(said(prompt))],
            "system": [billing(interactive=interactive), *map(said, system)],
            "tools": [],
            "metadata": metadata(session),
            "max_tokens": 64000 if model == OPUS else 32000,
            "output_config": {"effort": "high"},
            "stream": True,
            **more,
        }
        return Shape(name, body, headers(session, *_PLAIN_BETAS, interactive=interactive))

    return build


def _title(session: int, model: str, prompt: int, **more: Any) -> _Builder:
    schema = {
        "type": "object",
        "properties": {"title": {"type": "string"}},
        "required": ["title"],
        "additionalProperties": False,
    }
    output = {"effort": "high", "format": {"type": "json_schema", "schema": schema}}
    return _side(session, model, (57, 1208), prompt, True, output_config=output, **more)


def _classifier(name: str) -> Shape:
    """Auto mode asks whether a command is safe: long instructions, a very short answer."""
    cached = {"cache_control": EPHEMERAL}
    body = {
        "model": OPUS,
        "max_tokens": 64,
        "stop_sequences": ["</block>"],
        "system": [billing(), {**said(70106), **cached}, said(240)],
        "thinking": DISABLED,
        "messages": [
            user({**said(777), **cached}),
            user(said(13), said(33), {**said(45), **cached}, said(14), said(276)),
        ],
        "metadata": metadata(74),
    }
    return Shape(name, body, headers(74, *_PLAIN_BETAS))


def _counting(session: int, prompt: int) -> _Builder:
    def build(name: str) -> Shape:
        body = {
            "model": OPUS,
            "messages": [{"role": "user", "content": text(prompt, "result")}],
            "tools": [],
        }
        found = headers(session, "token-counting-2024-11-01")
        return Shape(name, body, found, path="/v1/messages/count_tokens")

    return build


def _without_stream(build: _Builder) -> _Builder:
    def built(name: str) -> Shape:
        made = build(name)
        made.body.pop("stream")
        return made

    return built


def _search_call() -> Body:
    return {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}


_TOOL_LOOP = [
    *_opening(38),
    assistant(thought(33, 56), said(8), call(1, "Bash", command=(2,), description=(10,))),
    user(result(1, 48, is_error=False)),
    assistant(
        thought(14, 32),
        call(2, "Read", file_path=(20,)),
        call(3, "Read", file_path=(25,)),
    ),
    user(result(2, 60), result(3, 38)),
    assistant(
        said(9),
        call(
            4, "Edit", replace_all=False, file_path=(20,), old_string=(12,), new_string=(12, "new")
        ),
    ),
    user(result(4, 128)),
    assistant(call(5, "Bash", command=(12,), description=(6,))),
    user(result(5, 1, is_error=False)),
]


def _read_big() -> list[Message]:
    messages = [
        *_opening(30),
        assistant(call(1, "Bash", command=(27,), description=(3,))),
        user(result(1, 2163, is_error=False)),
    ]
    for number, size in enumerate((97782, 99999, 99999, 99999), start=2):
        offset = {} if number == 2 else {"offset": (number - 2) * 1000 + 1}
        messages.append(assistant(call(number, "Read", file_path=(23,), **offset, limit=1000)))
        messages.append(user(result(number, size)))
    return messages


def _one_turn(prompt: int, noted: int, *blocks: Block, answer: Block) -> list[Message]:
    return [*_opening(prompt, noted), assistant(*blocks), user(answer)]


_VERBOSE = [tool(name, verbose=True) for name in STANDARD]
_SUBAGENT_PROMPT = said(30)
_SUBAGENT_TURN = [
    assistant(said(12), call(1, "Bash", command=(7,), description=(6,))),
    user(result(1, 2, is_error=False)),
]
_IMAGE = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/jpeg", "data": jpeg(1600, 1200, 103_776)},
}
_SEARCHED = [
    tool(name, deferred=name.startswith("Web"))
    for name in sorted((*_SEARCHABLE, "WebFetch", "WebSearch"))
]
_REFERENCES: list[Block] = [
    {"type": "tool_reference", "tool_name": name} for name in ("WebFetch", "WebSearch")
]
_COMPACTED = [*_TOOL_LOOP, assistant(said(22)), user(said(21), said(5982))]
_APPROVAL = assistant(said(17), call(1, "ExitPlanMode"))

_BUILDERS: Mapping[str, _Builder] = {
    "apikey-01": _main(2, *_opening(24), auth="key"),
    "auth-both-01": _main(3, *_opening(24), auth="bearer and key"),
    "auto-01": _main(74, *_opening(26)),
    "auto-02": _classifier,
    "auto-03": _main(
        74,
        *_one_turn(
            26,
            6082,
            call(1, "Bash", command=(39,), description=(3,)),
            answer=result(1, 31, is_error=False),
        ),
    ),
    "compact-01": _main(56, *_COMPACTED, system=5983),
    "context-01": _counting(59, 3),
    "context-02": _counting(59, 1156),
    "context-03": _counting(59, 94),
    "context-04": _counting(59, 635),
    "effort-low-01": _main(34, *_opening(24), effort="low"),
    "effort-xhigh-01": _main(37, *_opening(24), effort="xhigh"),
    "err-cut-01": _main(89, *_opening(16)),
    "err-cut-02": _without_stream(_main(89, *_opening(16))),
    "image-attach-01": _main(52, user(said(657), _IMAGE, said(27)), notes(6082)),
    "mcp-01": _main(68, *_opening(24), tools=[tool(name) for name in (*STANDARD, *_MCP)]),
    "model-custom-01": _main(13, *_opening(24), model=CUSTOM, system=5898),
    "model-haiku-01": _main(
        7,
        *_old_opening(),
        model=HAIKU,
        system=26779,
        thinking={"budget_tokens": 31999, "type": "enabled"},
        effort=None,
        tools=_VERBOSE,
    ),
    "model-sonnet-01": _main(5, *_opening(24, 6289), model=SONNET, system=26767, tools=_VERBOSE),
    "oauth-01": _main(
        4, *_opening(24, 6289), model=SONNET, system=26767, tools=_VERBOSE, cache=EPHEMERAL_HOUR
    ),
    "plan-01": _main(54, *_opening(22, 10981)),
    "plan-02": _main(
        54,
        *_one_turn(
            22,
            10981,
            said(17),
            call(1, "ExitPlanMode", plan=(9,)),
            answer=result(1, 173, is_error=True),
        ),
    ),
    "readbig-01": _main(63, *_opening(30)),
    "readbig-05": _counting(63, 94999),
    "readbig-10": _main(63, *_read_big()),
    "simple-01": _main(0, *_opening(24)),
    "task-explore-01": _main(40, *_opening(42)),
    "task-explore-02": _explore(user(said(4574), said(306), _SUBAGENT_PROMPT)),
    "task-explore-03": _explore(user(said(4574), said(306), _SUBAGENT_PROMPT), *_SUBAGENT_TURN),
    "task-explore-04": _main(
        40,
        *_one_turn(
            42,
            6082,
            said(11),
            call(1, "Agent", description=(11,), subagent_type=(7,), prompt=(30,)),
            answer=result(1, [said(26)]),
        ),
    ),
    "task-gp-01": _main(41, *_opening(44)),
    "task-gp-02": _general_purpose(user(said(658), _SUBAGENT_PROMPT), notes(4536)),
    "task-gp-03": _general_purpose(
        user(said(658), _SUBAGENT_PROMPT), notes(4536), *_SUBAGENT_TURN, notes(1544)
    ),
    "task-gp-04": _main(
        41,
        *_one_turn(
            44,
            6082,
            call(1, "Agent", description=(11,), subagent_type=(15,), prompt=(30,)),
            answer=result(1, [said(26), said(193)]),
        ),
    ),
    "think-0-01": _main(28, *_opening(24), thinking=DISABLED),
    "think-10000-01": _main(27, *_opening(24)),
    "think-old-01": _main(
        32,
        *_old_opening(),
        model=OLD_SONNET,
        system=26776,
        thinking={"budget_tokens": 10000, "type": "enabled"},
        effort=None,
        tools=_VERBOSE,
    ),
    "toolloop-01": _main(15, *_TOOL_LOOP[:2]),
    "toolloop-02": _main(15, *_TOOL_LOOP[:4]),
    "toolloop-03": _main(15, *_TOOL_LOOP[:6]),
    "toolloop-04": _main(15, *_TOOL_LOOP[:8]),
    "toolloop-05": _main(15, *_TOOL_LOOP),
    "toolsearch-01": _main(69, *_opening(31, 6960), tools=[tool(name) for name in _SEARCHABLE]),
    "toolsearch-02": _main(
        69,
        *_opening(31, 6960),
        assistant(call(1, "ToolSearch", query=(25,), max_results=5)),
        user(result(1, _REFERENCES), said(12)),
        tools=_SEARCHED,
    ),
    "tty-plan-01": _title(103, OPUS, 155, thinking=DISABLED),
    "tty-plan-02": _terminal(103, *_opening(32, 11565)),
    "tty-plan-03": _terminal(
        103, *_opening(32, 11565), _APPROVAL, user(result(1, 295)), notes(215)
    ),
    "tty-smallfast-01": _title(105, SMALL, 197),
    "tty-smallfast-02": _terminal(105, *_opening(74, 6669)),
    "webfetch-smallfast-01": _main(49, *_opening(31)),
    "webfetch-smallfast-02": _side(49, SMALL, (62,), 570),
    "webfetch-smallfast-03": _main(
        49,
        *_one_turn(31, 6082, call(1, "WebFetch", url=(35,), prompt=(23,)), answer=result(1, 68)),
    ),
    "websearch-01": _main(45, *_opening(34)),
    "websearch-02": _side(
        45,
        OPUS,
        (62, 57),
        80,
        tools=[_search_call()],
        tool_choice={"type": "tool", "name": "web_search"},
        thinking=DISABLED,
    ),
    "websearch-03": _main(
        45, *_one_turn(34, 6082, call(1, "WebSearch", query=(44,)), answer=result(1, 253))
    ),
}

NAMES = tuple(_BUILDERS)
"""Every request there is."""

CONVERSING = tuple(
    name for name in NAMES if not name.startswith("context") and name != "readbig-05"
)
"""Those that ask for an answer, not for a count."""

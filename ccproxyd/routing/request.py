"""A request as the rules see it: the body, read-only, with its facts beside it.

A fact is worked out when a rule first asks for it, and then kept. Bodies come from anywhere, so a
fact never raises: a field of a wrong type is an absent one.

Two facts need a word. *Thinking* is present on nearly every request of Claude Code, `disabled`
included, so it is the type that tells. A tool is *declared* by nearly every request, all of them at
once; it is *used* when the last turn of the assistant called it and the last turn of the user
answers; it is *forced* when `tool_choice` leaves the model nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from itertools import takewhile
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import orjson
from attrs import frozen

from ccproxyd.errors import CcproxydError
from ccproxyd.routing.content import count_images, texts
from ccproxyd.routing.tokens import Tally, TokenCounter

EFFORTS: Final = ("minimal", "low", "medium", "high", "xhigh", "max")
"""In ascending order; `minimal` is OpenAI's, `max` Anthropic's."""

THINKING_TYPES: Final = ("disabled", "enabled", "adaptive")

CONVERSATIONS: Final = frozenset(
    {
        "anthropic_messages", "acompletion", "completion", "atext_completion", "text_completion",
        "aresponses", "responses",
    }
)  # fmt: skip
"""The call types that any rule is for; for others see `kinds`."""

_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
_MAX_USER_ID: Final = 4096
_LONG_CONTEXT = re.compile(r"\[1m\]$", re.IGNORECASE)
_OLD_USER_ID = re.compile(r"_session_([0-9a-fA-F-]{36})$")
_SUBAGENT_MARK: Final = "cc_is_subagent=true"
_CHOICE_MODES: Final = frozenset({"auto", "any", "none", "required", "allowed_tools", "tool"})
_CALL_ITEMS: Final = ("function_call", "custom_tool_call")
_ASSISTANTS_ITEMS: Final = (*_CALL_ITEMS, "reasoning")
_CLIENT_TYPES: Final = frozenset({"custom", "function"})

_CALL_TYPES: Final = (
    ("/v1/messages", "anthropic_messages"),
    ("/v1/messages/count_tokens", "anthropic_messages"),
    ("/chat/completions", "acompletion"),
    ("/completions", "atext_completion"),
    ("/responses", "aresponses"),
    ("/embeddings", "aembedding"),
    ("/moderations", "amoderation"),
    ("/images/generations", "aimage_generation"),
    ("/images/edits", "aimage_edit"),
    ("/audio/transcriptions", "atranscription"),
    ("/audio/speech", "aspeech"),
    ("/rerank", "arerank"),
    ("/ocr", "aocr"),
    ("/videos", "avideo_generation"),
    ("/realtime", "arealtime"),
)
_USUAL_CALLS: Final = {
    path: name for ending, name in _CALL_TYPES for path in (ending, f"/v1{ending}")
}
"""By the whole path."""


@frozen
class Thinking:
    """What a request asks of the model's thinking; OpenAI's `reasoning` reads the same way.

    `budget` is in tokens. `effort` may be there while thinking is off.
    """

    type: str | None = None
    budget: int | None = None
    effort: str | None = None

    @property
    def on(self) -> bool:
        return self.type in ("enabled", "adaptive")


class Tool(NamedTuple):
    """A declared tool. `type` is that of a provider's own tool, "" for one of the client's."""

    name: str
    type: str = ""


class Request(Mapping[str, Any]):
    """A read-only view of a request body, with facts.

    >>> body = {"model": "claude-opus-4-8[1m]", "thinking": {"type": "adaptive"}}
    >>> request = Request(body, headers={"X-Claude-Code-Session-Id": "42"})
    >>> request.model, request.thinking.on, request.session_id, request["model"]
    ('claude-opus-4-8', True, '42', 'claude-opus-4-8[1m]')
    """

    def __init__(
        self,
        body: Any,
        *,
        headers: Mapping[str, str] = _NO_HEADERS,
        path: str = "/v1/messages",
        counter: TokenCounter | None = None,
        call_type: str | None = None,
        raw: bytes = b"",
    ) -> None:
        self.body: Mapping[str, Any] = body if isinstance(body, Mapping) else {}
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in headers.items()}
        self.path = path
        self.call_type = call_type_of(path) if call_type is None else call_type
        self._counter = TokenCounter() if counter is None else counter
        self._raw = raw

    def __getitem__(self, key: str) -> Any:
        return self.body[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.body)

    def __len__(self) -> int:
        return len(self.body)

    def __repr__(self) -> str:
        """Without a word of the body: a repr ends up in logs."""
        return f"<Request {self.call_type} {self.message_count} messages>"

    @property
    def is_conversation(self) -> bool:
        return self.call_type in CONVERSATIONS

    @cached_property
    def requested_model(self) -> str:
        """The model as the client named it, "" if it did not."""
        return _text(self.body.get("model")) or ""

    @cached_property
    def model(self) -> str:
        """The requested model without the client's own mark for a long context."""
        return _LONG_CONTEXT.sub("", self.requested_model)

    @cached_property
    def token_count(self) -> int:
        """Of the input. Without a counter given, nothing is remembered of the last request."""
        return self._counter.finish(self._tally)

    @property
    def new_characters(self) -> int:
        """So many are to be encoded for a count, which takes about 0.1 ms for a thousand.

        `token_count` goes on from here, in whatever thread.
        """
        return 0 if "token_count" in self.__dict__ else self._tally.new_characters

    def has_more_tokens_than(self, limit: int) -> bool:
        """What is new is only encoded where it matters."""
        if "token_count" not in self.__dict__:
            if self._tally.least > limit:
                return True
            if self._tally.most <= limit:
                return False
        return self.token_count > limit

    @property
    def asked_token_count(self) -> int | None:
        """The same, if somebody has asked how many they are, and they could be counted."""
        with suppress(CcproxydError):
            return self.token_count if "_tally" in self.__dict__ else None
        return None

    @cached_property
    def _tally(self) -> Tally:
        return self._counter.begin(self.body, self._raw)

    @cached_property
    def session_id(self) -> str | None:
        """The client's session, by its header or else by the body's metadata."""
        header = self.headers.get("x-claude-code-session-id")
        return header or _session_of(_section(self.body.get("metadata")).get("user_id"))

    @property
    def agent_id(self) -> str | None:
        """The subagent that asks, None for the main conversation."""
        return self.headers.get("x-claude-code-agent-id") or None

    @cached_property
    def is_subagent(self) -> bool:
        return self.agent_id is not None or _SUBAGENT_MARK in self._billing_header

    @cached_property
    def thinking(self) -> Thinking:
        return _thinking(self.body)

    @cached_property
    def tools(self) -> tuple[Tool, ...]:
        """The declared tools, in order, those without a name left out."""
        return tuple(each_tool(self.body))

    @cached_property
    def tools_declared(self) -> tuple[str, ...]:
        return tuple(tool.name for tool in self.tools)

    @cached_property
    def tools_used(self) -> tuple[str, ...]:
        """Called in the assistant's last turn, and answered in the user's last."""
        return _tools_used(self.messages)

    @cached_property
    def tool_forced(self) -> str | None:
        """The one tool that `tool_choice` allows, by name, or by type if it has no name."""
        return _tool_forced(self.body.get("tool_choice"))

    @property
    def server_tools(self) -> tuple[str, ...]:
        """The types of declared tools that are the provider's: `web_search_20250305`."""
        return tuple(tool.type for tool in self.tools if tool.type)

    @property
    def has_tools(self) -> bool:
        return bool(self.tools)

    @cached_property
    def image_count(self) -> int:
        return count_images(self.messages)

    @property
    def has_images(self) -> bool:
        return self.image_count > 0

    @property
    def stream(self) -> bool:
        return self.body.get("stream") is True

    @property
    def messages(self) -> list[Any]:
        """Messages, or the items of a response; a plain input or prompt is a list of one."""
        for field in ("messages", "input", "prompt"):
            value = self.body.get(field)
            if isinstance(value, list):
                return value
            if isinstance(value, str):
                return [value]
        return []

    @property
    def message_count(self) -> int:
        return len(self.messages)

    @cached_property
    def system_text(self) -> str:
        """All instructions, wherever they stand, a line break between them."""
        parts = [self.body.get("system"), self.body.get("instructions")]
        parts.extend(item for item in self.messages if _role(item) in ("system", "developer"))
        return "\n".join(text for part in parts for text in texts(part))

    @property
    def _billing_header(self) -> str:
        """Claude Code's first system block."""
        return next(iter(texts(self.body.get("system"))), "")


def call_type_of(path: str) -> str:
    """LiteLLM's name for what is asked at a path, "" if it is none that we know.

    >>> call_type_of("/v1/messages?beta=true"), call_type_of("/openai/v1/embeddings")
    ('anthropic_messages', 'aembedding')
    """
    if (usual := _USUAL_CALLS.get(path)) is not None:
        return usual
    plain = path.partition("?")[0].rstrip("/")
    fitting = [(ending, name) for ending, name in _CALL_TYPES if plain.endswith(ending)]
    return max(fitting, key=lambda pair: len(pair[0]), default=("", ""))[1]


def each_tool(body: Mapping[str, Any]) -> Iterator[Tool]:
    """The same one by one, since the first often tells enough, and there may be a hundred."""
    for field in ("tools", "functions"):
        yield from (tool for tool in map(_tool, _list(body.get(field))) if tool.name)
    if isinstance(body.get("web_search_options"), dict):
        yield Tool("web_search", "web_search")


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _section(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _role(item: Any) -> Any:
    return _section(item).get("role")


def _session_of(user_id: Any) -> str | None:
    """Claude Code writes JSON into the user's id; before 2.1 it joined the parts by `_`."""
    if not isinstance(user_id, str) or len(user_id) > _MAX_USER_ID:
        return None
    if old := _OLD_USER_ID.search(user_id):
        return old[1]
    try:
        return _text(_section(orjson.loads(user_id)).get("session_id")) or None
    except orjson.JSONDecodeError:
        return None


def _thinking(body: Mapping[str, Any]) -> Thinking:
    given = _section(body.get("thinking"))
    kind = _one_of(THINKING_TYPES, given.get("type"))
    budget = given.get("budget_tokens")
    reasoning = body.get("reasoning_effort") or _section(body.get("reasoning")).get("effort")
    effort = _section(body.get("output_config")).get("effort") or reasoning
    return Thinking(
        type=kind or _type_of_reasoning(reasoning),
        budget=budget if type(budget) is int else None,
        effort=_one_of(EFFORTS, effort),
    )


def _type_of_reasoning(effort: Any) -> str | None:
    """OpenAI has no switch beside the effort."""
    if effort == "none":
        return "disabled"
    return "enabled" if _one_of(EFFORTS, effort) else None


def _one_of(known: tuple[str, ...], value: Any) -> str | None:
    return value if isinstance(value, str) and value in known else None


def _tool(declared: Any) -> Tool:
    """A hosted tool of OpenAI has a type for a name."""
    section = _section(declared)
    kind = _text(section.get("type")) or ""
    kind = "" if kind in _CLIENT_TYPES else kind
    return Tool(_text(_name_in(section)) or kind, kind)


def _name_in(section: dict[str, Any]) -> Any:
    """Anthropic's name, or that of OpenAI's function."""
    return section.get("name") or _section(section.get("function")).get("name")


def _tool_forced(choice: Any) -> str | None:
    section = _section(choice)
    if name := _name_in(section):
        return _text(name)
    kind = _text(section.get("type"))
    return None if kind in _CHOICE_MODES | _CLIENT_TYPES else kind


def _tools_used(items: list[Any]) -> tuple[str, ...]:
    backwards = reversed(items)
    answers: list[Any] = []
    turn: list[Any] = []
    for item in backwards:
        if _is_assistants(item):
            turn = [item, *takewhile(_is_assistants, backwards)]
            break
        answers.append(item)
    answered = {call for item in answers for call in _answered(item)}
    calls = (call for item in reversed(turn) for call in _calls(item))
    return tuple(name for call, name in calls if call in answered)


def _is_assistants(item: Any) -> bool:
    section = _section(item)
    return section.get("role") == "assistant" or section.get("type") in _ASSISTANTS_ITEMS


def _answered(item: Any) -> Iterator[str]:
    """The ids of the calls that a message answers, in any of the three shapes."""
    section = _section(item)
    blocks = [section, *_list(section.get("content"))]
    for block in map(_section, blocks):
        for field in ("tool_use_id", "tool_call_id", "call_id"):
            if call := _text(block.get(field)):
                yield call


def _calls(item: Any) -> Iterator[tuple[str, str]]:
    """The calls that a message makes, each an id and a tool's name."""
    section = _section(item)
    yield from _pairs([section], "call_id", _CALL_ITEMS)
    yield from _pairs(_list(section.get("content")), "id", ("tool_use",))
    for call in map(_section, _list(section.get("tool_calls"))):
        yield from _pair(call.get("id"), _section(call.get("function")).get("name"))


def _pairs(blocks: Iterable[Any], field: str, kinds: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for block in map(_section, blocks):
        if block.get("type") in kinds:
            yield from _pair(block.get(field), block.get("name"))


def _pair(call: Any, name: Any) -> Iterator[tuple[str, str]]:
    if isinstance(call, str) and isinstance(name, str):
        yield call, name

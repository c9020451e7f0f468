"""The rows of the matrix: what is asked, by whom, for which label, and what goes wrong.

A row becomes a request that a client of that kind would send. Its text names the row, so that the
provider's records can be told apart, and tells the mock provider what to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Any, Final

from attrs import asdict, frozen

from tests.integration.proxy.pairwise import Pair, cover, pairs

CALLS: Final = ("messages", "chat", "embeddings", "moderation")
AUTHS: Final = ("valid", "missing", "wrong", "revoked")
LABELS: Final = ("default", "small", "large", "tools", "think", "fallback")
FAILURES: Final = (
    *("none", "400", "401", "429", "500", "529"),
    *("timeout", "token limit", "cut"),
)
LANES: Final = ("direct", "litellm")

PATHS: Final = {
    "messages": "/v1/messages",
    "chat": "/v1/chat/completions",
    "embeddings": "/v1/embeddings",
    "moderation": "/v1/moderations",
}
PROTOCOLS: Final = {"messages": "anthropic", "chat": "openai"}
PROTOCOL_OF_LABEL: Final = {
    "default": "anthropic",
    "small": "openai",
    "large": "openai",
    "tools": "openai",
    "think": "anthropic",
    "fallback": "anthropic",
}
MODELS: Final = {"embeddings": "embedder", "moderation": "moderator"}
"""What is asked for where no label makes sense."""

CANARY: Final = "canary-7f3a"
TOO_LONG: Final = "prompt is too long: 210000 tokens > 200000 maximum"
RETRY_AFTER: Final = "7"
LARGE_TOKENS: Final = 1500
MAX_TOKENS: Final = 8192
"""More than the 4096 that LiteLLM lets a Claude think for at `high`, else Anthropic refuses it."""
NEEDS_LITELLM: Final = {"x-litellm-tags": f"{CANARY}-tag"}
TOOL: Final = "Lookup"
SCHEMA: Final = {"type": "object", "properties": {"word": {"type": "string"}}}
"""With a parameter: how a tool without any is to be declared, providers do not agree on."""


@frozen
class Row:
    call: str
    stream: bool
    auth: str
    label: str
    failure: str
    lane: str

    @property
    def name(self) -> str:
        how = "streamed" if self.stream else "whole"
        words = (self.call, how, self.auth, self.label, self.failure, self.lane)
        return "-".join(words).replace(" ", "-")

    @property
    def is_conversation(self) -> bool:
        return self.call in PROTOCOLS

    @property
    def streams(self) -> bool:
        """Whether the answer is a stream; an embedding is none, whatever it was asked for."""
        return self.stream and self.is_conversation

    @property
    def is_possible(self) -> bool:
        """Past LiteLLM goes what its provider understands as it is."""
        return self.lane == "litellm" or PROTOCOLS.get(self.call) == PROTOCOL_OF_LABEL[self.label]


@cache
def matrix() -> tuple[Row, ...]:
    """The rows with every pair of values, and every failure in all ways that it can be told."""
    every = [
        Row(*values) for values in product(CALLS, (False, True), AUTHS, LABELS, FAILURES, LANES)
    ]
    return tuple(cover([row for row in every if row.is_possible], proven_by))


def proven_by(row: Row) -> Iterator[Pair]:
    """Behind a key that is refused nothing happens, so nothing is proven.

    What is no conversation has no stream, and keeps its model: of a label and of `stream` it shows
    that they change nothing, and not how a stream or a label's deployment fails.
    """
    values = asdict(row)
    if row.auth != "valid":
        yield from (pair for pair in pairs(values) if ("auth", row.auth) in pair)
        return
    idle = () if row.is_conversation else ("label", "stream")
    for pair in pairs(values):
        names = {name for name, _ in pair}
        if names.isdisjoint(idle) or not names.isdisjoint(("call", "auth")):
            yield pair
    for third in {"call", "stream"}.difference(idle):
        yield frozenset((name, values[name]) for name in ("failure", "lane", third))


# The request of a row


def text_of(row: Row) -> str:
    return f"{CANARY}-prompt row({row.name}) @@{script_of(row)}@@{padding_of(row)}"


def padding_of(row: Row) -> str:
    """What makes it long enough for `large`."""
    return " word" * (LARGE_TOKENS + 100) if row.label == "large" else ""


def said_by(row: Row) -> str:
    """What the provider answers."""
    return f"{CANARY}-completion {row.name}"


def message_of(row: Row) -> str:
    """What the provider says of its failure."""
    return TOO_LONG if row.failure == "token limit" else f"{CANARY}-error {row.failure}"


def script_of(row: Row) -> str:
    """What the mock provider is told to do; only a label's own deployment fails."""
    own = f";for=mock-{row.label}" if row.label == "fallback" and row.is_conversation else ""
    match row.failure:
        case "none":
            return f"say={said_by(row)}"
        case "timeout":
            return f"hold=0;say={said_by(row)}{own}"
        case "token limit":
            return f"status=400;message={message_of(row)}{own}"
        case "cut":
            # What comes together with the end is lost on LiteLLM's way, and the stream not begun.
            return f"events=8;{'gap=0.02;cut=6' if row.streams else 'cut=10'}{own}"
        case status:
            after = f";retry-after={RETRY_AFTER}" if status == "429" else ""
            return f"status={status};message={message_of(row)}{after}{own}"


def body_of(row: Row, text: str | None = None) -> dict[str, Any]:
    """With another text than the one for the mock provider, if one is given."""
    said = text_of(row) if text is None else text
    if not row.is_conversation:
        return {"model": MODELS[row.call], "input": said, **_streaming(row)}
    body = {
        "model": _model_of(row),
        "max_tokens": MAX_TOKENS,
        "messages": [{"role": "user", "content": said}],
        **_streaming(row),
    }
    return body | _asking_for(row)


def headers_of(row: Row) -> dict[str, str]:
    """Without those of the key."""
    lane = NEEDS_LITELLM if row.lane == "litellm" else {}
    wished = {} if row.is_conversation else {"x-wished-label": row.label}
    return {**lane, **wished, "x-canary": f"{CANARY}-header"}


def _streaming(row: Row) -> dict[str, Any]:
    return {"stream": True} if row.stream else {}


def _model_of(row: Row) -> str:
    return {"small": "claude-haiku-4-5", "fallback": "fallback"}.get(row.label, "claude-opus-4-8")


def _asking_for(row: Row) -> dict[str, Any]:
    """What makes the rules see the label."""
    match row.call, row.label:
        case "messages", "think":
            return {"thinking": {"type": "enabled", "budget_tokens": 1024}}
        case "chat", "think":
            return {"reasoning_effort": "high"}
        case "messages", "tools":
            tool = {"name": TOOL, "description": CANARY, "input_schema": SCHEMA}
            return {"tools": [tool], "tool_choice": {"type": "tool", "name": TOOL}}
        case "chat", "tools":
            function = {"name": TOOL, "parameters": SCHEMA}
            choice = {"type": "function", "function": {"name": TOOL}}
            return {"tools": [{"type": "function", "function": function}], "tool_choice": choice}
    return {}

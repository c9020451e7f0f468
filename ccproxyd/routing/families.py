"""What each of Anthropic's models takes of a request: one table, a row for a model.

A family is one model under all its ids: with a date or without, with a provider before it or the
client's mark for a long context behind it. `adapt` fits bodies by these rows.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal

from attrs import frozen

LEVELS: Final = ("low", "medium", "high", "xhigh", "max")
"""Of `output_config.effort`, in ascending order."""

FEATURES: Final = {
    "system_messages": "messages of the role `system` in mid-conversation",
    "interleaved_thinking": "the betas about thinking between tool calls",
    "context_management": "`context_management`",
    "compaction": "its edits of type `compact_*`",
    "structured_output": "`output_config.format`, `output_format`, strict tools",
    "tool_search": "deferred tools and references to them, examples and allowed callers of tools",
    "forced_tools": "`tool_choice` of type `any` or `tool`, while thinking is not asked for",
    "off_at_any_effort": "thinking turned off at an effort above high",
    "long_context": "the beta for a context of a million tokens",
    "fast_mode": "`speed`",
}
"""What some families take and others refuse, in words for people."""


@frozen
class Family:
    """A row of the table.

    `window` and `output` are limits in tokens, None where not known. `thinking` is the shape that
    asks for it, `off` the type that turns it off, "" if nothing does; `unasked` tells whether the
    model thinks when the field is left out. `efforts` are the levels of effort. Of `sampling`,
    "one" is either `temperature` or `top_p`. `takes` are words of `FEATURES`.
    """

    name: str
    window: int | None
    output: int | None
    thinking: Literal["adaptive", "enabled", "none", "any"]
    off: Literal["disabled", "between_tools", ""]
    unasked: bool | None
    efforts: tuple[str, ...]
    sampling: Literal["none", "one", "both", "any"]
    takes: frozenset[str]


_1M: Final = 1_000_000
_200K: Final = 200_000
_128K: Final = 128_000
_64K: Final = 64_000
_32K: Final = 32_000

_TO_HIGH: Final = ("low", "medium", "high")
_NO_XHIGH: Final = ("low", "medium", "high", "max")

_3: Final = frozenset({"forced_tools", "off_at_any_effort"})
_4: Final = _3 | {"interleaved_thinking", "context_management"}
_4_1: Final = _4 | {"structured_output"}
_4_5: Final = _4_1 | {"tool_search"}
_4_6: Final = _4_5 | {"compaction", "long_context"}
_4_8: Final = _4_6 | {"system_messages"}
_5: Final = _4_8 - {"off_at_any_effort"}
_5_5: Final = _5 - {"forced_tools"}
_PLAIN: Final = frozenset(FEATURES) - {"system_messages"}
_LONG: Final = {"long_context"}
_FAST: Final = {"fast_mode"}

# Where the cells come from. Seen in Claude Code 2.1.197, on the wire or in its code, for the models
# that it knows: system messages, the shape of thinking, who rejects `disabled`, effort and its
# levels, formats, context management, the long context, temperature, the limits of output.
# Documented by the provider or told by LiteLLM's map of models: all about models that the client
# does not know (5.1, 5.2, 5.5, opus-5), and `unasked`, `forced_tools`, `off_at_any_effort`,
# `compaction`, `fast_mode`. Where sources differ, the narrower stands: tool search from 4.5 on (the
# client says 4.0), 200,000 tokens for 4.6, no fast mode before 4.8. Inferred: that `sampling` of
# all models from 4.1 to 4.6 is alike, that 3.7 takes none of the fours' features, that the fives
# take the beta for a long context, and the last two rows. A Claude that is not listed is taken for
# one of the newest, as the client takes it; of what is no Claude nothing is known, but that plain
# turns of users and assistants are understood everywhere.
FAMILIES: Final = (
    # name, window, output, thinking, off, unasked, efforts, sampling, takes
    Family("claude-fable-5-2", _1M, _128K, "adaptive", "", True, LEVELS, "none", _5_5),
    Family("claude-fable-5-1", _1M, _128K, "adaptive", "", True, LEVELS, "none", _5_5),
    Family("claude-fable-5", _1M, _128K, "adaptive", "", True, LEVELS, "none", _5_5),
    Family("claude-mythos-5-2", _1M, _128K, "adaptive", "", True, LEVELS, "none", _5_5),
    Family("claude-mythos-5-1", _1M, _128K, "adaptive", "", True, LEVELS, "none", _5_5),
    Family("claude-mythos-5", _1M, _128K, "adaptive", "", True, LEVELS, "none", _5_5),
    Family("claude-opus-5-5", _1M, _128K, "adaptive", "", True, LEVELS, "none", _5_5 | _FAST),
    Family(
        "claude-sonnet-5-5", _1M, _128K, "adaptive", "between_tools", True, LEVELS, "none", _5_5
    ),
    Family("claude-haiku-5-5", _1M, _128K, "adaptive", "disabled", True, LEVELS, "none", _5),
    Family("claude-opus-5", _1M, _128K, "adaptive", "disabled", True, LEVELS, "none", _5 | _FAST),
    Family("claude-sonnet-5", _1M, _128K, "adaptive", "disabled", True, LEVELS, "none", _4_8),
    Family(
        "claude-opus-4-8", _1M, _128K, "adaptive", "disabled", False, LEVELS, "none", _4_8 | _FAST
    ),
    Family("claude-opus-4-7", _1M, _128K, "adaptive", "disabled", False, LEVELS, "none", _4_6),
    Family("claude-opus-4-6", _200K, _128K, "adaptive", "disabled", False, _NO_XHIGH, "one", _4_6),
    Family(
        "claude-sonnet-4-6", _200K, _128K, "adaptive", "disabled", False, _NO_XHIGH, "one", _4_6
    ),
    Family("claude-opus-4-5", _200K, _64K, "enabled", "disabled", False, _TO_HIGH, "one", _4_5),
    Family("claude-sonnet-4-5", _200K, _64K, "enabled", "disabled", False, (), "one", _4_5 | _LONG),
    Family("claude-haiku-4-5", _200K, _64K, "enabled", "disabled", False, (), "one", _4_5),
    Family("claude-opus-4-1", _200K, _32K, "enabled", "disabled", False, (), "one", _4_1),
    Family("claude-opus-4", _200K, _32K, "enabled", "disabled", False, (), "both", _4),
    Family("claude-sonnet-4", _200K, _64K, "enabled", "disabled", False, (), "both", _4 | _LONG),
    Family("claude-3-7", _200K, _64K, "enabled", "disabled", False, (), "both", _3),
    Family("claude-3-5", _200K, 8192, "none", "", False, (), "both", _3),
    Family("claude-3", _200K, 4096, "none", "", False, (), "both", _3),
    Family("newer", _200K, _128K, "adaptive", "", None, LEVELS, "none", _5_5),
    Family("other", None, None, "any", "disabled", None, LEVELS, "any", _PLAIN),
)

OTHER: Final = FAMILIES[-1]
"""Whatever is not Anthropic's."""

_NEWER: Final = FAMILIES[-2]
_OLDEST: Final = FAMILIES[-3]

_BETAS: Final = {
    "mid-conversation-system": "system_messages",
    "interleaved-thinking": "interleaved_thinking",
    "redact-thinking": "interleaved_thinking",
    "thinking-token-count": "interleaved_thinking",
    "context-management": "context_management",
    "compact": "compaction",
    "structured-outputs": "structured_output",
    "advanced-tool-use": "tool_search",
    "tool-search-tool": "tool_search",
    "context-1m": "long_context",
    "fast-mode": "fast_mode",
}
"""Which feature a beta is about, by its name without the date. The others all models take."""

_CLOUDS: Final = ("azure_ai", "bedrock", "bedrock_mantle", "vertex_ai")

_LETTERS_FIRST: Final = re.compile(r"(?:^|[/.])claude-([a-z]+)-(\d)(?:[-._](\d{1,2}))?(?!\d)")
_NUMBERS_FIRST: Final = re.compile(r"(?:^|[/.])claude-(\d)(?:[-._](\d{1,2}))?(?!\d)(?:-([a-z]+))?")
_EDITION: Final = re.compile(r"(?:\[1m\]|-latest|[-@]\d{8}|-v\d+(?::\d+)?)+$")
_DATE: Final = re.compile(r"-\d{4}-\d\d-\d\d$")

_ROWS: Final = {family.name: family for family in FAMILIES}


@lru_cache(maxsize=256)
def family_of(model: str) -> Family:
    """The row for a model's id, with or without a date, a provider or the mark `[1m]`.

    >>> [family_of(model).name for model in ("anthropic/claude-haiku-4-5-20251001", "gpt-5")]
    ['claude-haiku-4-5', 'other']
    """
    name = model.lower()
    if found := _LETTERS_FIRST.search(name):
        kind, major, minor = found.groups()
    elif found := _NUMBERS_FIRST.search(name):
        major, minor, kind = found.groups()
    else:
        return OTHER
    version = major if minor in (None, "0") else f"{major}-{minor}"
    if int(major) <= 3:
        return _ROWS.get(f"claude-{version}", _OLDEST)
    return _ROWS.get(f"claude-{kind}-{version}", _NEWER)


@lru_cache(maxsize=256)
def is_same_model(one: str, other: str) -> bool:
    """Whether two ids name one model, as far as `adapt` cares.

    >>> is_same_model("claude-opus-4-8[1m]", "anthropic/claude-opus-4-8")
    True
    """
    family = family_of(one)
    if family is not family_of(other):
        return False
    return family not in (_NEWER, OTHER) or _plain_id(one) == _plain_id(other)


def takes_anthropics(provider: str | None, model: str) -> bool:
    """Whether a provider, as LiteLLM calls it, gets a model's requests in Anthropic's own form.

    Whoever is reached as `anthropic` speaks its protocol; the clouds do it for a Claude.

    >>> takes_anthropics("bedrock", "us.anthropic.claude-opus-4-6-v1")
    True
    >>> takes_anthropics("openai", "gpt-5"), takes_anthropics("openrouter", "anthropic/claude-3")
    (False, False)
    """
    if provider in _CLOUDS:
        return family_of(model) is not OTHER
    return provider == "anthropic"


def context_window(model: str) -> int | None:
    """How many tokens a request and its answer may have together, None if not known.

    >>> context_window("claude-sonnet-4-5"), context_window("claude-sonnet-4-5[1m]")
    (200000, 1000000)
    """
    family = family_of(model)
    marked = model.lower().endswith("[1m]")
    longer = marked and family is not OTHER and "long_context" in family.takes
    return _1M if longer else family.window


def takes_beta(family: Family, beta: str) -> bool:
    """Whether a beta of the header, with its date, is one that the family takes.

    >>> takes_beta(family_of("claude-haiku-4-5"), "effort-2025-11-24")
    False
    """
    name = _DATE.sub("", beta)
    if name == "effort":
        return bool(family.efforts)
    return name not in _BETAS or _BETAS[name] in family.takes


def _plain_id(model: str) -> str:
    """Without the provider before it and the edition behind it."""
    name = model.lower().rpartition("/")[2]
    return _EDITION.sub("", name[max(name.find("claude"), 0) :])

"""What a swap of models asks of a request's body.

Claude Code shapes a request for the model that it asks for. When a rule sends it to another one,
the body has to become what the client would have sent to that one: `adapt` does this between
Anthropic's models, by one row of `FAMILIES` for each, and `strip_for_others` takes away what is
Anthropic's own business before a body goes anywhere else. Nothing is mutated; a body that can stay
as it is comes back as the same object, and a changed one shares every part that did not change. A
message becomes what it becomes by itself and its neighbours alone, so that each turn of an adapted
conversation still begins with the one before, as prompt caches need.

**Thinking** comes in two shapes: `adaptive`, with an effort beside it, and `enabled`, with a budget
of tokens; no family past 4.6 takes the second, none before 4.6 the first. It is turned off by
`disabled`, by `between_tools`, or by nothing, and where nothing does, it gets room beside a short
answer. A request without the field means what the requested family does unasked.

**Signatures.** A thinking block is signed by the model that wrote it. Other models refuse it, or
read it as nothing; newer ones also bind it to all that stands before it. Whose signature a block
bears, no body tells. But Claude Code sends back only thinking from turns whose `message.model` is
the model that it asks for: as long as answers name the model that gave them, every block in a
request is the *requested* model's, and none is of use to another. Hence a swap drops all of them,
never some, even if the session may have been on the target before, and a request that keeps its
model keeps them all. What no Claude ever signed (an answer that was translated for the client)
goes in either case.

A model with a budget wants the assistant's last turn to open with thinking for as long as its tool
calls are being answered. That thinking is gone, so until the user speaks again, thinking is off.
Adaptive models do not mind.

**System messages** in mid-conversation become `<system-reminder>`s of the user's turn that they
stand beside, as in Claude Code: before its words, but after the results of tools, and inside the
last result if that is plain text.

Not everything can be adapted honestly. An assistant's turn at the end, to be continued, stays, and
so do the provider's tools: if the target refuses these, its own words reach the client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from operator import is_
from typing import Any, Final

from attrs import frozen

from ccproxyd.routing.content import texts
from ccproxyd.routing.families import (
    LEVELS,
    OTHER,
    Family,
    family_of,
    is_same_model,
    takes_beta,
)

Body = Mapping[str, Any]

_MIN_BUDGET: Final = 1024
_BUDGETS: Final = {"low": 4000, "medium": 10000}
_BUDGET: Final = 31999
"""What Claude Code gives a model with a budget; less for an effort below high."""
_ROOM: Final = 2048
_SHORT: Final = 8192
"""Claude Code gives that much room to answers up to that limit where thinking stays on."""

_ON: Final = ("enabled", "adaptive")
_OFF: Final = ("disabled", "between_tools")
_THOUGHTS: Final = ("thinking", "redacted_thinking")
_BORROWED: Final = "litellm_encrypted_reasoning:"
"""How a signature begins in which LiteLLM carries the reasoning of another provider."""
_BILLING: Final = "x-anthropic-billing-header:"
_MAX_DEPTH: Final = 16


@frozen
class Adapted:
    """`body` is the given object if it could stay as it is; `changes` says what could not.

    `betas` are those of the header that the target takes. The words of `changes` are of a fixed
    few, fit for logs.
    """

    body: Body
    betas: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()


def adapt(
    body: Body, betas: str | Iterable[str] = (), *, requested_model: str, model: str
) -> Adapted:
    """The body and the betas, meant for `requested_model`, as `model` takes them.

    The field `model` is left alone. So is everything if the two are one model, but for thinking
    that no Claude signed. The betas may come as the header's value.

    >>> body = {"thinking": {"type": "adaptive"}, "max_tokens": 64000}
    >>> adapt(body, requested_model="claude-opus-4-8", model="claude-haiku-4-5").body["thinking"]
    {'type': 'enabled', 'budget_tokens': 31999}
    """
    given = split_betas(betas) if isinstance(betas, str) else tuple(betas)
    target = family_of(model)
    if is_same_model(requested_model, model):
        return _mended(body, given, target)
    adapted, changes = _walk(_steps(family_of(requested_model), target), body, target)
    taken = tuple(beta for beta in given if takes_beta(target, beta))
    return Adapted(adapted, taken, changes if taken == given else (*changes, "betas"))


def strip_for_others(body: Body, model: str = "") -> Adapted:
    """Without what means nothing, or too much, to a provider that is not Anthropic.

    That is the client's billing header, the user's id and the cache marks; the marks stay for a
    Claude that somebody else serves, which caches nothing without them. References to tools that
    a search has found become words, since in translation nothing would be left of them. A tool
    without parameters gets an empty list of them, which says the same: OpenAI refuses the request
    where it is missing. Thinking stays as it is, signatures too: LiteLLM drops foreign ones on its
    way, and in some it has put away the provider's own reasoning, which that provider wants back.

    >>> strip_for_others({"system": "Be brief.", "metadata": {"user_id": "me"}}).body
    {'system': 'Be brief.'}
    """
    stripped, changes = _walk(_STRIPPING, body, family_of(model))
    return Adapted(stripped, (), changes)


def split_betas(header: str | None) -> tuple[str, ...]:
    """The betas of an `anthropic-beta` header.

    >>> split_betas("claude-code-20250219, effort-2025-11-24,")
    ('claude-code-20250219', 'effort-2025-11-24')
    """
    return tuple(beta for part in (header or "").split(",") if (beta := part.strip()))


_Step = Callable[[Body, Family], Body]
_Steps = tuple[tuple[str, _Step], ...]


def _steps(requested: Family, target: Family) -> _Steps:
    if target is OTHER:
        return _UNKNOWN
    return (("thinking", partial(_spell_out, requested=requested)), *_STEPS)


def _walk(steps: _Steps, body: Body, family: Family) -> tuple[Body, tuple[str, ...]]:
    """The body after all steps, and the names of those that changed it."""
    changes: dict[str, None] = {}
    for name, step in steps:
        stepped = step(body, family)
        if stepped is not body:
            changes[name] = None
            body = stepped
    return body, tuple(changes)


def _mended(body: Body, betas: tuple[str, ...], family: Family) -> Adapted:
    """The body for the model that was asked for, without thinking that no Claude signed."""
    if family is OTHER:
        return Adapted(body, betas)
    mended = _each_thinking(body, _is_unsigned)
    if mended is body:
        return Adapted(body, betas)
    fitting, changes = _walk(_AFTER_MENDING, mended, family)
    return Adapted(fitting, betas, ("signatures", *changes))


# Bodies: a change is a new dict, no change the same one.


def _with(body: Body, key: str, value: Any) -> Body:
    """With the field so, or without it if the value is None."""
    if value is not None:
        return body if body.get(key) == value else {**body, key: value}
    return _without(body, key)


def _without(section: Body, *keys: str) -> Body:
    if section.keys().isdisjoint(keys):
        return section
    return {key: value for key, value in section.items() if key not in keys}


def _with_output_config(body: Body, key: str, value: Any) -> Body:
    config = _with(_section(body.get("output_config")), key, value)
    return _with(body, "output_config", config or None)


def _each(items: list[Any], change: Callable[[Any], Any]) -> list[Any]:
    """Each item changed, in the same list if none was."""
    changed = [change(item) for item in items]
    return items if all(map(is_, changed, items)) else changed


def _each_of(body: Body, key: str, change: Callable[[Any], Any]) -> Body:
    items = body.get(key)
    if not isinstance(items, list):
        return body
    changed = _each(items, change)
    return body if changed is items else {**body, key: changed}


def _section(value: Any) -> Body:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _type_of(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else None
    return kind if isinstance(kind, str) else ""


def _role_of(message: Any) -> Any:
    return message.get("role") if isinstance(message, dict) else None


def _blocks(message: Any) -> list[Any]:
    return _list(_section(message).get("content"))


# Thinking


def _spell_out(body: Body, family: Family, *, requested: Family) -> Body:
    """Say in the body what it says by silence, where silence says something else to the target."""
    silent = "thinking" not in body and "max_tokens" in body
    meant, understood = requested.unasked, family.unasked
    if not silent or family.thinking == "none" or None in (meant, understood):
        return body
    kind = "adaptive" if meant else "disabled"
    return body if meant == understood else {**body, "thinking": {"type": kind}}


def _fit_thinking(body: Body, family: Family) -> Body:
    given = _section(body.get("thinking"))
    kind = _type_of(given)
    if kind not in _ON and kind not in _OFF:
        return body
    if family.thinking == "none":
        return _without(body, "thinking")
    fitted = _fitted(given, body, family) if kind in _ON else None
    if fitted is not None:
        return _with(body, "thinking", fitted)
    return _with_thinking_off(body, family, kind)


def _fitted(given: Body, body: Body, family: Family) -> Body | None:
    """Thinking in the family's shape, None if it cannot be had."""
    if family.thinking == "adaptive":
        return {**_without(given, "budget_tokens", "block_binding"), "type": "adaptive"}
    budget = _budget(given, body)
    if budget < _MIN_BUDGET or _in_tool_loop(_list(body.get("messages"))):
        return None
    return {**_without(given, "block_binding"), "type": "enabled", "budget_tokens": budget}


def _budget(given: Body, body: Body) -> int:
    budget, limit = given.get("budget_tokens"), body.get("max_tokens")
    if type(budget) is not int:
        effort = _section(body.get("output_config")).get("effort")
        budget = _BUDGETS.get(effort, _BUDGET) if isinstance(effort, str) else _BUDGET
    return min(budget, limit - 1) if type(limit) is int else budget


def _with_thinking_off(body: Body, family: Family, kind: str) -> Body:
    """Off, or as the family's least: then with room for it."""
    if family.off:
        return body if kind == family.off else {**body, "thinking": {"type": family.off}}
    limit = body.get("max_tokens")
    if type(limit) is int and limit <= _SHORT:
        body = {**body, "max_tokens": limit + _ROOM}
    return {**body, "thinking": {"type": "adaptive"}}


def _thinks(body: Body) -> bool:
    return _type_of(body.get("thinking")) in _ON


def _in_tool_loop(messages: list[Any]) -> bool:
    """Whether the assistant's last turn called tools, and did not open with thinking."""
    turns = (_blocks(turn) for turn in reversed(messages) if _role_of(turn) == "assistant")
    kinds = [_type_of(block) for block in next(turns, [])]
    return "tool_use" in kinds and kinds[0] not in _THOUGHTS


def _drop_thoughts(body: Body, _family: Family) -> Body:
    return _each_thinking(body, _is_thought)


def _each_thinking(body: Body, unwanted: Callable[[Any], bool]) -> Body:
    """The conversation without unwanted thinking; most have none at all, so that is seen first."""
    if not any(map(_has_thoughts, _list(body.get("messages")))):
        return body
    return _each_of(body, "messages", partial(_without_blocks, unwanted=unwanted))


def _has_thoughts(message: Any) -> bool:
    if not isinstance(message, dict) or message.get("role") != "assistant":
        return False
    content = message.get("content")
    if isinstance(content, list):
        for block in content:
            if isinstance(block, dict) and block.get("type") in _THOUGHTS:
                return True
    return False


def _is_thought(block: Any) -> bool:
    return _type_of(block) in _THOUGHTS


def _is_unsigned(block: Any) -> bool:
    """Whether thinking bears no signature, or none of a Claude."""
    kind = _type_of(block)
    if kind == "thinking":
        signature = block.get("signature")
        return not signature or not isinstance(signature, str) or signature.startswith(_BORROWED)
    return kind == "redacted_thinking" and str(block.get("data")).startswith(_BORROWED)


def _without_blocks(message: Any, *, unwanted: Callable[[Any], bool]) -> Any:
    """An assistant's message without them, nor the blank texts that only they made acceptable."""
    blocks = _blocks(message)
    if not _has_thoughts(message) or not any(map(unwanted, blocks)):
        return message
    kept = [block for block in blocks if not unwanted(block) and not _is_blank(block)]
    return {**message, "content": kept or [_text_block("[Thinking removed]")]}


def _is_blank(block: Any) -> bool:
    return _type_of(block) == "text" and not str(block.get("text", "")).strip()


def _drop_blanks(body: Body, _family: Family) -> Body:
    """Other providers put an empty text beside a call of a tool; a Claude refuses to read one."""
    if not any(map(_has_blanks, _list(body.get("messages")))):
        return body
    return _each_of(body, "messages", _without_blanks)


def _has_blanks(message: Any) -> bool:
    return _role_of(message) == "assistant" and any(map(_is_blank, _blocks(message)))


def _without_blanks(message: Any) -> Any:
    """A message that says nothing else stays."""
    if not _has_blanks(message):
        return message
    kept = [block for block in _blocks(message) if not _is_blank(block)]
    return {**message, "content": kept} if kept else message


def _text_block(text: str) -> Body:
    return {"type": "text", "text": text}


# System messages


def _fold_system_messages(body: Body, family: Family) -> Body:
    messages = body.get("messages")
    if "system_messages" in family.takes or not isinstance(messages, list):
        return body
    if not any(_role_of(message) == "system" for message in messages):
        return body
    return {**body, "messages": _folded(messages)}


def _folded(messages: list[Any]) -> list[Any]:
    """Each run of system messages in the user's turn before it, or else in the one behind it."""
    folded: list[Any] = []
    waiting: list[str] = []
    for message in messages:
        if _role_of(message) == "system":
            waiting.extend(text for text in texts(message.get("content")) if text.strip())
            continue
        folded.append(_settle(folded, waiting, message))
    if waiting:
        reminder = _settle(folded, waiting, {"role": "user", "content": []})
        folded.extend([reminder] if reminder["content"] else [])
    return folded


def _settle(folded: list[Any], waiting: list[str], message: Any) -> Any:
    """Put what waits where it belongs; the message, changed if that is where."""
    if not waiting:
        return message
    said = "\n\n".join(waiting)
    waiting.clear()
    if folded and _role_of(folded[-1]) == "user":
        folded[-1] = _reminded(folded[-1], said)
    elif _role_of(message) == "user":
        return _reminded(message, said)
    else:
        folded.append(_reminded({"role": "user"}, said))
    return message


def _reminded(message: Body, said: str) -> Body:
    """The user's message with a reminder behind its tool results, before all else."""
    reminder = f"<system-reminder>\n{said}\n</system-reminder>"
    content = message.get("content")
    blocks = [_text_block(content)] if content and isinstance(content, str) else _list(content)
    ends = [at for at, block in enumerate(blocks, 1) if _type_of(block) == "tool_result"]
    end = ends[-1] if ends else 0
    result = blocks[end - 1] if end else {}
    if isinstance(answer := result.get("content"), str):
        joined = f"{answer}\n\n{reminder}" if answer else reminder
        blocks = [*blocks[: end - 1], {**result, "content": joined}, *blocks[end:]]
    else:
        blocks = [*blocks[:end], _text_block(reminder), *blocks[end:]]
    return {**message, "content": blocks}


# Tools


def _fit_tools(body: Body, family: Family) -> Body:
    refused: list[str] = []
    if "structured_output" not in family.takes:
        refused.append("strict")
    if "tool_search" not in family.takes:
        refused.extend(("defer_loading", "input_examples", "allowed_callers"))
        body = _each_of(body, "messages", _without_references)
    return _each_of(body, "tools", partial(_without_fields, keys=refused)) if refused else body


def _strip_references(body: Body, family: Family) -> Body:
    return _each_of(body, "messages", _without_references) if family is OTHER else body


def _without_fields(tool: Any, keys: list[str]) -> Any:
    return _without(tool, *keys) if isinstance(tool, dict) else tool


def _without_references(message: Any) -> Any:
    """The tools that a search found are declared in full now: a word about them is enough."""
    return _each_of(message, "content", _plain_block) if isinstance(message, dict) else message


def _plain_block(block: Any) -> Any:
    kind = _type_of(block)
    if kind == "tool_use" and "caller" in block:
        return _without(block, "caller")
    return _each_of(block, "content", _plain_reference) if kind == "tool_result" else block


def _plain_reference(block: Any) -> Any:
    if _type_of(block) != "tool_reference":
        return block
    return _text_block(f"Tool loaded: {block.get('tool_name')}")


def _fit_tool_choice(body: Body, family: Family) -> Body:
    """No tool can be forced on a model that thinks first: Claude Code, too, lets it choose then."""
    choice = body.get("tool_choice")
    if _type_of(choice) not in ("any", "tool"):
        return body
    if "forced_tools" in family.takes and not _thinks(body):
        return body
    return {**body, "tool_choice": {**_without(_section(choice), "name"), "type": "auto"}}


# The rest, field by field


def _fit_max_tokens(body: Body, family: Family) -> Body:
    limit = body.get("max_tokens")
    if family.output is None or type(limit) is not int:
        return body
    return _with(body, "max_tokens", min(limit, family.output))


def _fit_context_management(body: Body, family: Family) -> Body:
    given = body.get("context_management")
    if given is None or "context_management" not in family.takes:
        return _without(body, "context_management")
    edits = _section(given).get("edits")
    if not isinstance(edits, list):
        return body
    thinks = _thinks(body)
    kept = [edit for edit in edits if _takes_edit(family, thinks, _type_of(edit))]
    if len(kept) == len(edits):
        return body
    return _with(body, "context_management", {**given, "edits": kept} if kept else None)


def _takes_edit(family: Family, thinks: bool, kind: str) -> bool:
    """There is nothing to clear of thinking that is off: that is refused."""
    if kind.startswith("compact_"):
        return "compaction" in family.takes
    return thinks or not kind.startswith("clear_thinking_")


def _fit_effort(body: Body, family: Family) -> Body:
    level = _section(body.get("output_config")).get("effort")
    if level is None:
        return body
    return _with_output_config(body, "effort", _fit_level(level, body, family))


def _fit_level(level: Any, body: Body, family: Family) -> Any:
    """Levels that the family does not know become `high`, the provider's own default."""
    if not family.efforts:
        return None
    if level not in LEVELS:
        return level
    off = _type_of(body.get("thinking")) in _OFF
    if off and "off_at_any_effort" not in family.takes:
        return "high" if level in ("xhigh", "max") else level
    return level if level in family.efforts else "high"


def _fit_format(body: Body, family: Family) -> Body:
    if "structured_output" in family.takes:
        return body
    body = _without(body, "output_format")
    if "format" not in _section(body.get("output_config")):
        return body
    return _with_output_config(body, "format", None)


def _fit_sampling(body: Body, family: Family) -> Body:
    if family.sampling == "none":
        return _without(body, "temperature", "top_p", "top_k")
    if _thinks(body):
        body = _without(body, *_unthinking(body))
    if family.sampling == "one" and "temperature" in body:
        body = _without(body, "top_p")
    return body


def _unthinking(body: Body) -> list[str]:
    """The settings that cannot be had together with thinking."""
    share = body.get("top_p")
    low = not isinstance(share, (int, float)) or share < 0.95
    warm = body.get("temperature") != 1
    return ["top_k", *["temperature"] * warm, *["top_p"] * low]


def _fit_speed(body: Body, family: Family) -> Body:
    return body if "fast_mode" in family.takes else _without(body, "speed")


_STEPS: Final[_Steps] = (
    ("max_tokens", _fit_max_tokens),
    ("signatures", _drop_thoughts),
    ("empty_texts", _drop_blanks),
    ("system_messages", _fold_system_messages),
    ("tools", _fit_tools),
    ("thinking", _fit_thinking),
    ("context_management", _fit_context_management),
    ("effort", _fit_effort),
    ("format", _fit_format),
    ("sampling", _fit_sampling),
    ("tool_choice", _fit_tool_choice),
    ("speed", _fit_speed),
)
"""In an order that matters: a budget fits into the limit; what goes with thinking follows it."""

_AFTER_MENDING: Final[_Steps] = (
    ("thinking", _fit_thinking),
    ("context_management", _fit_context_management),
)

_UNKNOWN: Final[_Steps] = (("system_messages", _fold_system_messages),)
"""Where nothing is known: thinking is unsigned there, and wanted back."""


# For other providers


def _strip_billing(body: Body, _family: Family) -> Body:
    given = body.get("system")
    if isinstance(given, str) and given.startswith(_BILLING):
        return _with(body, "system", given.partition("\n")[2].lstrip("\n") or None)
    kept = [block for block in _list(given) if not _is_billing(block)]
    return body if len(kept) == len(_list(given)) else _with(body, "system", kept or None)


def _is_billing(block: Any) -> bool:
    return _type_of(block) == "text" and str(block.get("text")).startswith(_BILLING)


def _strip_user_id(body: Body, _family: Family) -> Body:
    given = body.get("metadata")
    if not isinstance(given, dict) or "user_id" not in given:
        return body
    return _with(body, "metadata", _without(given, "user_id") or None)


def _strip_cache_marks(body: Body, family: Family) -> Body:
    if family is not OTHER:
        return body
    body = _without(body, "cache_control")
    for key in ("system", "tools", "messages"):
        body = _each_of(body, key, _unmarked)
    return body


def _unmarked(item: Any, depth: int = 0) -> Any:
    """Without the mark, here and in what it contains; a tool's input is the user's own."""
    if not isinstance(item, dict) or depth > _MAX_DEPTH:
        return item
    if isinstance(item.get("content"), list):
        item = _each_of(item, "content", partial(_unmarked, depth=depth + 1))
    return _without(item, "cache_control") if "cache_control" in item else item


def _complete_schemas(body: Body, family: Family) -> Body:
    return _each_of(body, "tools", _with_properties) if family is OTHER else body


def _with_properties(tool: Any) -> Any:
    schema = _section(_section(tool).get("input_schema"))
    if schema.get("type") != "object" or "properties" in schema:
        return tool
    return {**tool, "input_schema": {**schema, "properties": {}}}


_STRIPPING: Final[_Steps] = (
    ("billing", _strip_billing),
    ("user_id", _strip_user_id),
    ("cache_control", _strip_cache_marks),
    ("references", _strip_references),
    ("schemas", _complete_schemas),
)

"""The rules that a request can be matched against.

A rule is given its parameters when the config is read, and then asked once for each request. All
parameters of one rule must hold; a parameter that is not given does not matter. Constructors check
what they are given: a TypeError or ValueError names the parameter, and becomes a config error with
the place in the file.

A rule of a user's own is a class like these:

    from ccproxyd.routing import ClassificationRule

    class LongAnswerRule(ClassificationRule):
        def __init__(self, max_tokens):
            self.max_tokens = max_tokens

        def evaluate(self, request, config):
            return request.get("max_tokens", 0) > self.max_tokens

`detail` says what was measured, for `ccproxyctl explain`. It goes to terminals and logs, so it may
hold numbers and names, never a word of what somebody wrote.
"""

# ruff: noqa: ARG002 - few rules look at the config, or at the request to tell what they measured

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Coroutine, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, Final

from ccproxyd.routing.request import EFFORTS, THINKING_TYPES, Request, Tool, each_tool

WHERE: Final = ("request", "used", "declared")


class ClassificationRule(ABC):
    """What matches a request, or does not."""

    reads_tokens: bool = True
    """Whether `evaluate` may ask for `request.token_count`, which can cost milliseconds.

    The gateway then counts in a thread. Of a rule that does not say, it has to be assumed.
    """

    @abstractmethod
    def evaluate(self, request: Request, config: Any) -> bool: ...

    def detail(self, request: Request) -> str:
        return ""


def matches(rule: ClassificationRule, request: Request, config: Any) -> bool:
    """What a rule says, whoever wrote it.

    Raises:
        TypeError: it says something to be awaited; see `truth_of`.
    """
    return truth_of(rule.evaluate(request, config))


def truth_of(said: Any) -> bool:
    """Python's truth of what a rule has returned.

    Raises:
        TypeError: it is a coroutine or the like, which has not said anything and is always true.
    """
    if not isinstance(said, bool) and isinstance(said, Awaitable):
        if isinstance(said, Coroutine):
            said.close()  # else Python would warn that nobody has awaited it
        raise TypeError("evaluate must return what it found, not something to be awaited")
    return bool(said)


class DefaultRule(ClassificationRule):
    """Matches whatever reaches it; of use as the last rule."""

    reads_tokens = False

    def evaluate(self, request: Request, config: Any) -> bool:
        return True

    def detail(self, request: Request) -> str:
        return "always"


class TokenCountRule(ClassificationRule):
    """The input has more tokens than the threshold.

    >>> TokenCountRule(2).detail(Request({"system": "Hello, world"}))
    '3 tokens > 2'
    """

    reads_tokens = True

    def __init__(self, threshold: int) -> None:
        self.threshold = _whole_number("threshold", threshold)

    def evaluate(self, request: Request, config: Any) -> bool:
        return request.has_more_tokens_than(self.threshold)

    def detail(self, request: Request) -> str:
        sign = ">" if request.token_count > self.threshold else "<="
        return f"{request.token_count} tokens {sign} {self.threshold}"


class MatchModelRule(ClassificationRule):
    """The requested model contains the name, in whatever case."""

    reads_tokens = False

    def __init__(self, model_name: str) -> None:
        given = _text("model_name", model_name).casefold().removesuffix("[1m]")
        self.model_name = _text("model_name", given)

    def evaluate(self, request: Request, config: Any) -> bool:
        return self.model_name in request.model.casefold()

    def detail(self, request: Request) -> str:
        verb = "contains" if self.evaluate(request, None) else "does not contain"
        return f"{_short(request.model)} {verb} {self.model_name}"


class ThinkingRule(ClassificationRule):
    """Thinking is on: of one of these types, with at least this budget and this effort.

    A request that states no budget, or no effort, does not reach a least one.

    >>> high = Request({"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}})
    >>> ThinkingRule().evaluate(high, None), ThinkingRule(min_effort="xhigh").evaluate(high, None)
    (True, False)
    """

    reads_tokens = False

    def __init__(
        self,
        types: str | Sequence[str] | None = None,
        min_budget: int | None = None,
        min_effort: str | None = None,
    ) -> None:
        self.types = ("enabled", "adaptive") if types is None else _types(types)
        self.min_budget = None if min_budget is None else _whole_number("min_budget", min_budget)
        self.min_effort = None if min_effort is None else _one_of("min_effort", min_effort, EFFORTS)

    def evaluate(self, request: Request, config: Any) -> bool:
        thinking = request.thinking
        return (
            thinking.type in self.types
            and _reaches(thinking.budget, self.min_budget)
            and _reaches(_rank(thinking.effort), _rank(self.min_effort))
        )

    def detail(self, request: Request) -> str:
        thinking = request.thinking
        budget = "" if thinking.budget is None else f", budget {thinking.budget}"
        effort = f", effort {thinking.effort}" if thinking.effort else ""
        return f"thinking {thinking.type or 'absent'}{budget}{effort}"


class MatchToolRule(ClassificationRule):
    """The request has to do with a tool.

    With `where: request`, it is *about* the tool: `tool_choice` forces it, or it is the
    provider's own and there are none of the client's, as in the small request by which Claude
    Code searches the web. The main conversation declares all tools in every turn and is about
    none; `where: declared` and `where: used` match it all the same.

    Names are compared without case and without the difference of `WebSearch` and `web_search`; a
    provider's dated type counts as the name before the date; `*` stands for anything.

    >>> search = {"type": "web_search_20250305", "name": "web_search"}
    >>> MatchToolRule("WebSearch").evaluate(Request({"tools": [search]}), None)
    True
    >>> MatchToolRule("WebSearch").evaluate(Request({"tools": [{"name": "WebSearch"}]}), None)
    False
    """

    reads_tokens = False

    def __init__(self, tool_name: str, where: str = "request") -> None:
        self.tool_name = _text("tool_name", tool_name)
        self.where = _one_of("where", where, WHERE)
        self._kind = _kind(self.tool_name)

    def evaluate(self, request: Request, config: Any) -> bool:
        return any(fnmatchcase(kind, self._kind) for kind in self._kinds(request))

    def detail(self, request: Request) -> str:
        place = {"request": "what the request is about", "used": "tools just used"}
        verb = "is" if self.evaluate(request, None) else "is not"
        return f"{self.tool_name} {verb} among {place.get(self.where, 'declared tools')}"

    def _kinds(self, request: Request) -> Iterator[str]:
        if self.where == "used":
            return map(_kind, request.tools_used)
        if self.where == "declared":
            return _kinds_of(request.tools)
        return _kinds_about(request)


class ImageRule(ClassificationRule):
    """There are images in the conversation, this many at least."""

    reads_tokens = False

    def __init__(self, min_count: int = 1) -> None:
        self.min_count = _whole_number("min_count", min_count, least=1)

    def evaluate(self, request: Request, config: Any) -> bool:
        return request.image_count >= self.min_count

    def detail(self, request: Request) -> str:
        sign = ">=" if request.image_count >= self.min_count else "<"
        return f"{request.image_count} images {sign} {self.min_count}"


class SubagentRule(ClassificationRule):
    """The request is a subagent's, by its header or by the mark in the first system block."""

    reads_tokens = False

    def evaluate(self, request: Request, config: Any) -> bool:
        return request.is_subagent

    def detail(self, request: Request) -> str:
        return "a subagent" if request.is_subagent else "not a subagent"


class MatchHeaderRule(ClassificationRule):
    """A header is there; if given, its value contains `value` and `pattern` is found in it."""

    reads_tokens = False

    def __init__(self, name: str, value: str | None = None, pattern: str | None = None) -> None:
        self.name = _text("name", name).lower()
        self.value = None if value is None else _text("value", value)
        self.pattern = None if pattern is None else _pattern("pattern", pattern)

    def evaluate(self, request: Request, config: Any) -> bool:
        return _holds(request.headers.get(self.name), self.value, self.pattern)

    def detail(self, request: Request) -> str:
        """The value may be a key, so it is not shown."""
        if self.name not in request.headers:
            return f"no header {self.name}"
        verb = "matches" if self.evaluate(request, None) else "does not match"
        return f"header {self.name} {verb}"


class MatchSystemRule(ClassificationRule):
    """The system prompt contains `text`, and `pattern` is found in it."""

    reads_tokens = False

    def __init__(self, text: str | None = None, pattern: str | None = None) -> None:
        if text is None and pattern is None:
            raise ValueError("text or pattern must be given")
        self.text = None if text is None else _text("text", text)
        self.pattern = None if pattern is None else _pattern("pattern", pattern)

    def evaluate(self, request: Request, config: Any) -> bool:
        return _holds(request.system_text, self.text, self.pattern)

    def detail(self, request: Request) -> str:
        verb = "matches" if self.evaluate(request, None) else "does not match"
        return f"system prompt {verb}, {len(request.system_text)} characters"


class _Combination(ClassificationRule):
    """Rules in a rule, given one by one or as a list."""

    joint = ""

    def __init__(
        self,
        *nested: ClassificationRule | Sequence[ClassificationRule],
        rules: Sequence[ClassificationRule] = (),
    ) -> None:
        self.rules = tuple(_flatten([*nested, *rules]))
        if not self.rules:
            raise ValueError("rules must hold at least one rule")
        self.reads_tokens = any(rule.reads_tokens for rule in self.rules)

    def detail(self, request: Request) -> str:
        return self.joint.join(rule.detail(request) or type(rule).__name__ for rule in self.rules)


class AllOf(_Combination):
    """Every one of the rules matches."""

    joint = " and "

    def evaluate(self, request: Request, config: Any) -> bool:
        return all(matches(rule, request, config) for rule in self.rules)


class AnyOf(_Combination):
    """One of the rules matches, or several."""

    joint = " or "

    def evaluate(self, request: Request, config: Any) -> bool:
        return any(matches(rule, request, config) for rule in self.rules)


class Not(ClassificationRule):
    """The rule does not match."""

    def __init__(self, rule: ClassificationRule) -> None:
        self.rule = _rule("rule", rule)
        self.reads_tokens = self.rule.reads_tokens

    def evaluate(self, request: Request, config: Any) -> bool:
        return not matches(self.rule, request, config)

    def detail(self, request: Request) -> str:
        return f"not ({self.rule.detail(request) or type(self.rule).__name__})"


BUILT_IN: Final[Mapping[str, type[ClassificationRule]]] = MappingProxyType(
    {
        rule.__name__: rule
        for rule in (
            TokenCountRule,
            MatchModelRule,
            ThinkingRule,
            MatchToolRule,
            ImageRule,
            SubagentRule,
            MatchHeaderRule,
            MatchSystemRule,
            AllOf,
            AnyOf,
            Not,
            DefaultRule,
        )
    }
)


def is_built_in(rule: ClassificationRule) -> bool:
    """Whether it is one of these all through. Ours read a request, and change nothing in it.

    >>> is_built_in(Not(AnyOf(ThinkingRule(), ImageRule())))
    True
    """
    nested = rule.rules if isinstance(rule, _Combination) else ()
    nested = (rule.rule,) if isinstance(rule, Not) else nested
    return type(rule) in BUILT_IN.values() and all(map(is_built_in, nested))


_CLIENT_KINDS: Final = frozenset(
    {"apply_patch", "bash", "computer", "local_shell", "memory", "shell", "text_editor"}
)
"""Provider's types that the client itself carries out: declared by agents in every turn."""

_SAME_KINDS: Final = {"code_interpreter": "code_execution", "computer_use": "computer"}

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_RELEASE = re.compile(r"(_preview)?(_\d{8}|_\d{4}_\d\d_\d\d)?$")


def _kind(name: str) -> str:
    """One spelling of a tool's name or type.

    >>> _kind("WebSearch"), _kind("web_search_20250305"), _kind("web_search_preview_2025_03_11")
    ('web_search', 'web_search', 'web_search')
    """
    plain = _RELEASE.sub("", _HUMP.sub("_", name).lower(), count=1)
    return _SAME_KINDS.get(plain, plain)


def _kinds_of(tools: Sequence[Tool]) -> Iterator[str]:
    for tool in tools:
        yield _kind(tool.name)
        if tool.type:
            yield _kind(tool.type)


def _kinds_about(request: Request) -> Iterator[str]:
    forced = request.tool_forced
    if forced is not None:
        named = [tool for tool in request.tools if tool.name == forced]
        return _kinds_of(named or [Tool(forced)])
    if _may_call(request) and all(map(_is_providers, each_tool(request))):
        return _kinds_of(request.tools)
    return iter(())


def _may_call(request: Request) -> bool:
    choice = request.body.get("tool_choice")
    return choice != "none" and not (isinstance(choice, dict) and choice.get("type") == "none")


def _is_providers(tool: Tool) -> bool:
    return bool(tool.type) and _kind(tool.type) not in _CLIENT_KINDS


def _reaches(value: int | None, least: int | None) -> bool:
    return least is None or (value is not None and value >= least)


def _rank(effort: str | None) -> int | None:
    return None if effort is None else EFFORTS.index(effort)


def _holds(found: str | None, part: str | None, pattern: re.Pattern[str] | None) -> bool:
    if found is None or (part is not None and part not in found):
        return False
    return pattern is None or pattern.search(found) is not None


def _short(name: str) -> str:
    return f"{name[:80]!r}"


def _flatten(nested: Sequence[Any]) -> Iterator[ClassificationRule]:
    for item in nested:
        for rule in item if isinstance(item, list | tuple) else [item]:
            yield _rule("rules", rule)


def _rule(parameter: str, value: Any) -> ClassificationRule:
    if not isinstance(value, ClassificationRule):
        raise TypeError(f"{parameter} must be a rule, not {value!r}")
    return value


def _text(parameter: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{parameter} must be a text, not {value!r}")
    if not value.strip():
        raise ValueError(f"{parameter} must not be empty")
    return value


def _whole_number(parameter: str, value: Any, *, least: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{parameter} must be a whole number, not {value!r}")
    if value < least:
        raise ValueError(f"{parameter} must be {least} or more, not {value}")
    return value


def _one_of(parameter: str, value: Any, known: Sequence[str]) -> str:
    if _text(parameter, value) not in known:
        raise ValueError(f"{parameter} must be one of {', '.join(known)}, not {value!r}")
    return str(value)


def _types(value: Any) -> tuple[str, ...]:
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list | tuple):
        raise TypeError(f"types must be a list of texts, not {value!r}")
    if not given:
        raise ValueError("types must not be empty")
    return tuple(_one_of("types", item, THINKING_TYPES) for item in given)


def _pattern(parameter: str, value: Any) -> re.Pattern[str]:
    try:
        return re.compile(_text(parameter, value))
    except re.error as error:
        raise ValueError(f"{parameter} must be a regular expression: {error}") from None

"""Two worlds' accounts of a case, held against each other.

A world tells what each run of the client has come to and what the provider was asked. Results must
be the same, and so must the requests: how many, with which headers and bodies. What is random with
the client, its ids, is not compared. Requests of subagents and sessions come in any order, so they
are paired by what they say.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from scripts.claude.cases import Case

Told = Mapping[str, Any]

RESULTS: Final = (
    "type",
    "subtype",
    "is_error",
    "result",
    "num_turns",
    "stop_reason",
    "permission_denials",
    "api_error_status",
    "errors",
    "said",
)
HEADERS: Final = (
    "anthropic-beta",
    "anthropic-version",
    "anthropic-dangerous-direct-browser-access",
    "content-type",
    "user-agent",
    "x-app",
    "x-claude-code-session-id",
    "x-claude-code-agent-id",
    "x-stainless-retry-count",
    "x-stainless-timeout",
)
"""What a provider may look at; `accept-encoding`, `host` and the like are each hop's own."""

_WIDTH: Final = 90
_LEAD: Final = 30
_RANDOM: Final = (
    (re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"), "UUID"),
    (re.compile(r"\ba[0-9a-f]{16}\b"), "AGENT"),
    (re.compile(r"(?<=/plans/)[a-z-]+(?=\.md)"), "PLAN"),
    (re.compile(r"duration_ms: \d+"), "TIME"),
)


@frozen
class Finding:
    """How a case went in one world, beside the world in which the client is alone."""

    case: Case
    world: str
    alone: int
    here: int
    differences: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        """All that differs is meant to, and all that is meant to does."""
        meant = self.case.difference
        return all(one.startswith(meant) for one in self.differences) and all(
            any(one.startswith(how) for one in self.differences) for how in meant
        )


def find(case: Case, world: str, alone: Told, here: Told) -> Finding:
    """What differs, each in one line."""
    ours, theirs = asked(alone), asked(here)
    found = [] if ours else ["nothing was asked of the provider"]
    found += [*_results(alone, here), *_counts(ours, theirs, case.swaps)]
    if not case.swaps:
        found += _requests(ours, theirs)
    return Finding(case, world, len(ours), len(theirs), tuple(dict.fromkeys(found)))


def asked(told: Told) -> list[Told]:
    """What only a provider can answer; a gateway answers signs of life itself."""
    return [one for one in told["asked"] if one["path"].startswith("/v1/messages")]


def _results(alone: Told, here: Told) -> Iterator[str]:
    for index, (one, other) in enumerate(zip(alone["ended"], here["ended"], strict=True)):
        run = f"run {index + 1}: " if len(alone["ended"]) > 1 else ""
        if one["code"] != other["code"]:
            yield f"{run}exit code {one['code']} became {other['code']}"
        for name in RESULTS:
            ours, theirs = (plain(ended["told"].get(name)) for ended in (one, other))
            if ours != theirs:
                yield f"{run}{name} {_became(ours, theirs)}"
        yield from _models(run, one["told"], other["told"])


def _models(run: str, one: Told, other: Told) -> Iterator[str]:
    """What the client thinks it has used: tokens by model."""
    ours, theirs = one.get("modelUsage") or {}, other.get("modelUsage") or {}
    for model in sorted({*ours, *theirs}):
        if ours.get(model) != theirs.get(model):
            yield f"{run}usage of {model} {_became(ours.get(model), theirs.get(model))}"


def _counts(ours: Sequence[Told], theirs: Sequence[Told], swaps: str) -> Iterator[str]:
    one, other = (Counter(_kind(told, swaps) for told in side) for side in (ours, theirs))
    for kind in sorted({*one, *other}):
        if one[kind] != other[kind]:
            yield f"{kind}: {one[kind]} requests became {other[kind]}"


def _kind(told: Told, swaps: str) -> str:
    return str(told["path"]) if swaps else f"{told['path']} for {told['body'].get('model')}"


def _requests(ours: Sequence[Told], theirs: Sequence[Told]) -> Iterator[str]:
    """Alike ones are paired first, then those with one body, and what is left over in its order."""
    left, over = [comparable(one) for one in ours], [comparable(one) for one in theirs]
    for key in (_whole, _body, _nothing):
        pairs, left, over = _paired(left, over, key)
        for one, other in pairs:
            for place, before, after in differences(one, other):
                yield f"{place}: {_became(before, after)}"


def _whole(one: Told) -> str:
    return json.dumps(one, sort_keys=True)


def _body(one: Told) -> str:
    return json.dumps(one["body"], sort_keys=True)


def _nothing(_: Told) -> str:
    return ""


def _paired(
    ours: Sequence[Told], theirs: Sequence[Told], key: Callable[[Told], str]
) -> tuple[list[tuple[Told, Told]], list[Told], list[Told]]:
    """Those with one key, and who is left over on either side."""
    pairs, left, over = [], [], list(theirs)
    for one in ours:
        other = next((found for found in over if key(found) == key(one)), None)
        if other is None:
            left.append(one)
        else:
            over.remove(other)
            pairs.append((one, other))
    return pairs, left, over


def comparable(told: Told) -> Told:
    """A request without what is random."""
    headers = {name: told["headers"][name] for name in HEADERS if name in told["headers"]}
    if "anthropic-beta" in headers:
        headers["anthropic-beta"] = sorted(headers["anthropic-beta"].split(","))
    found: Told = plain({"query": told["query"], "headers": headers, "body": told["body"]})
    return found


def plain(value: Any) -> Any:
    """The value without its random ids and times.

    >>> plain({"session": "00000000-0000-4000-8000-000000000000", "took": ["duration_ms: 12"]})
    {'session': 'UUID', 'took': ['TIME']}
    """
    if isinstance(value, str):
        for pattern, name in _RANDOM:
            value = pattern.sub(name, value)
        return value
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def differences(one: Any, other: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two JSON values differ, as deep as they can be told apart.

    >>> list(differences({"a": [1, {"b": 2}]}, {"a": [1, {"c": 2}]}))
    [('a.1.b', 2, None), ('a.1.c', None, 2)]
    """
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted({*one, *other}):
            yield from differences(one.get(name), other.get(name), _under(place, name))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from differences(left, right, _under(place, str(index)))
    elif one != other:
        yield place, one, other


def _under(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _became(one: Any, other: Any) -> str:
    """Both, from a little before they part."""
    before, after = json.dumps(one), json.dumps(other)
    pairs = enumerate(zip(before, after, strict=False))
    alike = next((index for index, (left, right) in pairs if left != right), 0)
    return f"{_short(before, alike)} became {_short(after, alike)}"


def _short(text: str, alike: int) -> str:
    if len(text) <= _WIDTH:
        return text
    begin = max(min(alike - _LEAD, len(text) - _WIDTH), 0)
    shown = text[begin : begin + _WIDTH]
    return f"{'...' if begin else ''}{shown}{'...' if begin + _WIDTH < len(text) else ''}"

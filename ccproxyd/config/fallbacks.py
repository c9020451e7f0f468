"""`ccproxy.fallbacks`: where a request goes when its label fails.

    fallbacks:
      think: [default, long]      # in this order
      long: default

LiteLLM does the falling back, so these are put into its `router_settings`, before what config.yaml
itself says there for other labels. They hold for a provider that cannot be reached, does not answer
in time or answers with an error, while nothing of an answer has reached the client.

LiteLLM looks them up by the name that a request was sent under. So those of a `model_name` are
written down for each of its aliases, too, and a wildcard has none: nothing is ever sent under it.
Nor can it stand in for anything, since it names no model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from ccproxyd.config.fields import Fields, join, kind_of

PATH: Final = "ccproxy.yaml: ccproxy.fallbacks"

Fallbacks = Mapping[str, tuple[str, ...]]
Document = Mapping[str, Any]
_NO_ALIASES: Final[Mapping[str, str]] = MappingProxyType({})
_ALL: Final = "*"
"""LiteLLM's word for every label that has none of its own, and a `model_name` like any other."""


def parse_fallbacks(fields: Fields, key: str, _default: object) -> Fallbacks:
    """Labels, each with those that stand in for it.

    Raises:
        ConfigError: it is no such mapping, or a label stands in for itself.
    """
    section, found = fields.section(key), fields.value(key) or {}
    return {str(label): _others(section, str(label)) for label in found}


def _others(section: Fields, label: str) -> tuple[str, ...]:
    _check_no_wildcard(section, label, label, besides=_ALL)
    value = section.value(label)
    others = [value] if isinstance(value, str) else value
    if not isinstance(others, list):
        raise section.error(label, f"must be a label or a list of them, not {kind_of(value)}")
    if not others:
        raise section.error(label, "names no label; leave it out, or say which stands in")
    for other in others:
        if not isinstance(other, str):
            raise section.error(label, f"must hold labels, not {kind_of(other)}")
        if other == label:
            raise section.error(label, "cannot stand in for itself")
        _check_no_wildcard(section, label, other)
    return tuple(others)


def _check_no_wildcard(section: Fields, label: str, named: str, besides: str = "") -> None:
    if "*" in named and named != besides:
        raise section.error(label, f"{named!r} is a wildcard; name one model of it")


def labels_of(fallbacks: Fallbacks) -> Iterator[tuple[str, str]]:
    """Each label that is named, with the path of the field."""
    for label, others in fallbacks.items():
        path = join(PATH, label)
        yield path, label
        for other in others:
            yield path, other


def with_fallbacks(
    document: Document, fallbacks: Fallbacks, aliases: Mapping[str, str] = _NO_ALIASES
) -> dict[str, Any]:
    """config.yaml with these, too; LiteLLM heeds one list alone, so what it has elsewhere moves.

    Args:
        aliases: of config.yaml, each with its `model_name`; what it says of one itself stays.

    >>> with_fallbacks({}, {"think": ("default",)})["router_settings"]
    {'fallbacks': [{'think': ['default']}]}
    """
    if not fallbacks:
        return dict(document)
    router, general = (document.get(name) or {} for name in ("router_settings", "litellm_settings"))
    ours = [{label: list(others)} for label, others in fallbacks.items()]
    theirs = [*_entries(router), *_entries(general)]
    kept = [entry for entry in theirs if not fallbacks.keys() & entry.keys()]
    said = {label for entry in (*ours, *kept) for label in entry}
    of_aliases = [
        {alias: others}
        for alias, label in aliases.items()
        if alias not in said and (others := _besides(alias, fallbacks.get(label, ())))
    ]
    all_of_them = [*ours, *of_aliases, *kept]
    return {**document, "router_settings": {**router, "fallbacks": all_of_them}}


def _besides(label: str, others: Iterable[str]) -> list[str]:
    return [other for other in others if other != label]


def _entries(section: Document) -> list[dict[str, Any]]:
    found = section.get("fallbacks")
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []

"""`ccproxy.fallbacks`: where a request goes when its label fails.

    fallbacks:
      think: [default, long]      # in this order
      long: default

LiteLLM does the falling back, so these are put into its `router_settings`, before what config.yaml
itself says there for other labels. They hold for a provider that cannot be reached, does not answer
in time or answers with an error, while nothing of an answer has reached the client.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ccproxyd.config.fields import Fields, join, kind_of

PATH: Final = "ccproxy.yaml: ccproxy.fallbacks"

Fallbacks = Mapping[str, tuple[str, ...]]
Document = Mapping[str, Any]


def parse_fallbacks(fields: Fields, key: str, _default: object) -> Fallbacks:
    """Labels, each with those that stand in for it.

    Raises:
        ConfigError: it is no such mapping, or a label stands in for itself.
    """
    section, found = fields.section(key), fields.value(key) or {}
    return {str(label): _others(section, str(label)) for label in found}


def _others(section: Fields, label: str) -> tuple[str, ...]:
    value = section.value(label)
    others = [value] if isinstance(value, str) else value
    if not isinstance(others, list) or not others:
        raise section.error(label, f"must be a label or a list of them, not {kind_of(value)}")
    for other in others:
        if not isinstance(other, str):
            raise section.error(label, f"must hold labels, not {kind_of(other)}")
        if other == label:
            raise section.error(label, "cannot stand in for itself")
    return tuple(others)


def labels_of(fallbacks: Fallbacks) -> Iterator[tuple[str, str]]:
    """Each label that is named, with the path of the field."""
    for label, others in fallbacks.items():
        path = join(PATH, label)
        yield path, label
        for other in others:
            yield path, other


def with_fallbacks(document: Document, fallbacks: Fallbacks) -> dict[str, Any]:
    """config.yaml with these, too; LiteLLM heeds one list alone, so what it has elsewhere moves.

    >>> with_fallbacks({}, {"think": ("default",)})["router_settings"]
    {'fallbacks': [{'think': ['default']}]}
    """
    if not fallbacks:
        return dict(document)
    router, general = (document.get(name) or {} for name in ("router_settings", "litellm_settings"))
    ours = [{label: list(others)} for label, others in fallbacks.items()]
    theirs = [*_entries(router), *_entries(general)]
    kept = [entry for entry in theirs if not fallbacks.keys() & entry.keys()]
    return {**document, "router_settings": {**router, "fallbacks": [*ours, *kept]}}


def _entries(section: Document) -> list[dict[str, Any]]:
    found = section.get("fallbacks")
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []

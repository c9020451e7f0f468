"""The table of model swaps in ccproxyd-clients(7): the families as the code has them."""

from __future__ import annotations

import re

from ccproxyd.routing.families import FAMILIES, FEATURES, LEVELS, Family
from tests.man.mdoc import MAN, Page
from tests.routing.test_adapt import MAIN

LETTERS = "SICEFTROLQ"
EFFORTS = {
    (): "none",
    LEVELS: "all",
    LEVELS[:3]: "to high",
    tuple(level for level in LEVELS if level != "xhigh"): "no xhigh",
}
SWAPS = "MODEL SWAPS"


def row(family: Family) -> tuple[str, ...]:
    """A family in the page's words."""
    taken = zip(LETTERS, FEATURES, strict=True)
    return (
        family.name,
        str(family.output or "any"),
        family.thinking,
        family.off or "none",
        EFFORTS[family.efforts],
        family.sampling,
        "".join(letter for letter, feature in taken if feature in family.takes),
    )


def test_each_family_is_a_row_and_each_row_a_family(clients: Page) -> None:
    rows = [item.names for item in clients.items(SWAPS, "Li") if len(item.names) > 1]
    assert rows == [row(family) for family in FAMILIES]


def test_each_letter_of_the_table_is_explained_once(clients: Page) -> None:
    explained = [item.names[0] for item in clients.items(SWAPS, "Li") if len(item.names) == 1]
    assert "".join(explained) == LETTERS


def test_each_row_has_a_request_that_shows_what_becomes_of_it(clients: Page) -> None:
    rows = [item.names[0] for item in clients.items(SWAPS, "Li") if len(item.names) > 1]
    assert rows == list(MAIN)


def test_each_field_that_a_swap_changes_is_told(clients: Page) -> None:
    """The fields as `adapt` writes them, whose names stand in its source as they are."""
    source = (MAN.parent / "ccproxyd" / "routing" / "adapt.py").read_text("utf-8")
    changed = set(re.findall(r'_with(?:out)?\(body, ((?:"\w+"(?:, )?)+)', source))
    named = {name for names in changed for name in re.findall(r"\w+", names)}
    others = {"system", "metadata", "cache_control"}
    told = {name for item in clients.items(SWAPS, "Va") for name in item.names}
    assert named - others <= told
    assert {"messages", "tools"} <= told

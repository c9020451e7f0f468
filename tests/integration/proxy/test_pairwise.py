"""The generator: it leaves no pair out, and does not take everything."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from tests.integration.proxy.pairwise import cover, pairs

Values = dict[str, int]


def product_of(sizes: list[int]) -> list[Values]:
    names = [f"factor {number}" for number in range(len(sizes))]
    return [dict(zip(names, row, strict=True)) for row in product(*map(range, sizes))]


sizes = st.lists(st.integers(1, 4), min_size=2, max_size=5)


@given(sizes=sizes)
def test_every_pair_of_values_is_in_some_row(sizes: list[int]) -> None:
    rows = product_of(sizes)
    found = {pair for row in cover(rows, pairs) for pair in pairs(row)}
    assert found == {pair for row in rows for pair in pairs(row)}


@given(sizes=sizes)
def test_no_row_is_there_for_nothing(sizes: list[int]) -> None:
    seen: set[object] = set()
    for row in cover(product_of(sizes), pairs):
        assert not pairs(row) <= seen
        seen |= pairs(row)


def test_a_pair_that_no_row_can_have_is_not_looked_for() -> None:
    rows = [row for row in product_of([2, 2, 2]) if row["factor 0"] != row["factor 1"]]
    assert all(row in rows for row in cover(rows, pairs))


def test_rows_that_prove_less_are_taken_for_what_they_prove() -> None:
    """A request without a key says nothing of what stands behind the key."""
    rows = product_of([2, 3, 3])
    refused = [row for row in rows if row["factor 0"]]

    def proven(row: Values) -> set[object]:
        return {pair for pair in pairs(row) if not row["factor 0"] or ("factor 0", 1) in pair}

    taken = cover(rows, proven)
    served = [row for row in taken if not row["factor 0"]]
    assert len(served) == 9
    assert 0 < len([row for row in taken if row in refused]) < 9


def test_it_is_always_the_same_and_far_less_than_everything() -> None:
    rows = product_of([4, 2, 6, 9, 2])
    taken = cover(rows, pairs)
    assert taken == cover(list(rows), pairs)
    assert 54 <= len(taken) < 80

from attrs import evolve

from scripts.claude.cases import CASES
from scripts.claude.compare import Finding
from scripts.claude.report import lines

CASE = evolve(CASES[0], name="plain", swaps="", differs="")
GOOD = Finding(CASE, "direct", 2, 2, ())
BAD = Finding(CASE, "litellm", 2, 3, ("a difference",))


def test_the_table_has_a_row_for_each_comparison() -> None:
    title, good, bad, *rest = lines([GOOD, BAD])
    assert title.split() == ["case", "lane", "alone", "here", "same"]
    assert good.split() == ["plain", "direct", "2", "2", "yes"]
    assert bad.split() == ["plain", "litellm", "2", "3", "no"]
    assert rest[1:3] == ["plain, litellm:", "  a difference"]
    assert rest[-1] == "2 comparisons, 1 with a difference that nobody has explained"


def test_a_reason_stands_with_its_row() -> None:
    case = evolve(CASE, differs="it is meant to", difference=("a diff",))
    expected = evolve(BAD, case=case)
    _, row, *rest = lines([expected])
    assert row.endswith("no    it is meant to")
    assert rest[-1].startswith("1 comparisons, 0 ")


def test_many_differences_are_cut_short() -> None:
    many = evolve(BAD, differences=tuple(f"{number}" for number in range(20)))
    assert "  and 8 more" in list(lines([many]))

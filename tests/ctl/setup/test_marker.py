import pytest

from ccproxyd.ctl.setup.marker import is_ours, is_unedited, mark

UNIT = "[Unit]\nDescription=x\n"


def test_a_marked_file_is_ours_and_unedited() -> None:
    assert is_ours(mark(UNIT, "#"))
    assert is_unedited(mark(UNIT, "#"))


@pytest.mark.parametrize("edit", [("x", "y"), ("[Unit]", "[Unit]\nAfter=z"), ("install", "instal")])
def test_an_edited_one_is_not_unedited(edit: tuple[str, str]) -> None:
    assert not is_unedited(mark(UNIT, "#").replace(*edit))


def test_a_file_of_somebody_else_is_not_ours() -> None:
    assert not is_ours(UNIT)
    assert not is_unedited(UNIT)
    assert not is_ours("")


def test_a_head_that_must_come_first_stays_first() -> None:
    text = mark("<?xml?>\n<plist/>\n", "<!--", " -->", after="<?xml?>\n")
    first, second, third = text.splitlines()
    assert (first, third) == ("<?xml?>", "<plist/>")
    assert second.startswith("<!-- Written by")
    assert second.endswith(" -->")
    assert is_unedited(text)
    assert not is_unedited(text.replace("<plist/>", "<plist></plist>"))

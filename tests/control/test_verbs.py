import pytest

from ccproxyd.control.server import Operations
from ccproxyd.control.verbs import VERBS, find_verb


def test_a_path_ends_in_its_verb() -> None:
    assert all(verb.path.rsplit("/", 1)[1] == verb.name for verb in VERBS)


def test_only_ping_has_no_version_and_is_for_anyone() -> None:
    assert [verb.name for verb in VERBS if not verb.path.startswith("/v1/")] == ["ping"]
    assert [verb.name for verb in VERBS if verb.access == "anyone"] == ["ping"]


def test_a_verb_that_takes_something_is_posted() -> None:
    assert all(verb.method == "POST" for verb in VERBS if verb.payload)


def test_every_verb_but_ping_is_an_operation_of_the_daemon() -> None:
    operations = {name for name in vars(Operations) if not name.startswith("_")}
    assert operations == {verb.name for verb in VERBS} - {"ping"}


def test_a_verb_is_found_by_its_name() -> None:
    assert find_verb("reload").path == "/v1/reload"
    with pytest.raises(KeyError):
        find_verb("reloda")

import pytest

from ccproxyd.supervision.holders import Holders


@pytest.fixture
def holders() -> Holders:
    return Holders()


def test_where_there_is_no_gateway_everybody_is_free(holders: Holders) -> None:
    assert holders.is_free("1.0")


def test_a_worker_is_free_when_its_gateway_names_it_no_more(holders: Holders) -> None:
    holders.has("gateway", ["1.0", "2.0"])
    assert not holders.is_free("1.0")
    holders.has("gateway", ["2.0"])
    assert holders.is_free("1.0")
    assert not holders.is_free("2.0")


def test_a_worker_is_free_when_its_last_request_is_done(holders: Holders) -> None:
    holders.has("gateway", ["1.0", "1.1"])
    holders.released("gateway", "1.0")
    assert holders.is_free("1.0")
    assert not holders.is_free("1.1")


def test_every_gateway_has_to_let_go(holders: Holders) -> None:
    holders.has("first", ["1.0"])
    holders.has("second", ["1.0"])
    holders.released("second", "1.0")
    assert not holders.is_free("1.0")
    holders.released("first", "1.0")
    assert holders.is_free("1.0")


def test_a_gateway_that_is_being_told_may_still_have_anything(holders: Holders) -> None:
    holders.has("gateway", [])
    holders.asked("gateway")
    assert not holders.is_free("1.0")
    holders.released("gateway", "1.0")
    assert not holders.is_free("1.0")
    holders.has("gateway", [])
    assert holders.is_free("1.0")


def test_a_gateway_that_has_gone_holds_nothing(holders: Holders) -> None:
    holders.asked("first")
    holders.has("second", ["1.0"])
    holders.left("first")
    holders.left("second")
    holders.left("third")
    assert holders.is_free("1.0")


def test_what_a_gateway_never_had_it_cannot_release(holders: Holders) -> None:
    holders.released("nobody", "1.0")
    holders.has("gateway", ["1.0"])
    holders.released("gateway", "2.0")
    assert not holders.is_free("1.0")

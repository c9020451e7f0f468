import pytest

from ccproxyd.gateway.browsers import asks_from_a_page, asks_leave, for_a_page, permission

ASKS = {"origin": "null", "access-control-request-method": "DELETE"}


def test_a_browser_asks_with_options_and_says_for_what():
    assert asks_leave("OPTIONS", ASKS)
    assert not asks_leave("POST", ASKS)
    assert not asks_leave("OPTIONS", {"origin": "null"})
    assert not asks_leave("OPTIONS", {"access-control-request-method": "POST"})


def test_who_names_no_origin_is_no_page():
    assert asks_from_a_page(ASKS)
    assert not asks_from_a_page({"host": "x"})


def test_headers_are_allowed_where_some_are_asked_for():
    wanted = {**ASKS, "access-control-request-headers": "x-api-key"}
    assert permission(wanted).headers["access-control-allow-headers"] == "x-api-key"
    assert "access-control-allow-headers" not in permission(ASKS).headers


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_so_is_the_method_that_is_asked_for(method):
    told = permission({**ASKS, "access-control-request-method": method}).headers
    assert told["access-control-allow-methods"] == method
    assert "access-control-request-method" in told["vary"]


@pytest.mark.parametrize("method", ["", "*", "PUT, DELETE", "PUT\tX"])
def test_but_only_if_it_is_one(method):
    told = permission({**ASKS, "access-control-request-method": method}).headers
    assert "access-control-allow-methods" not in told


def test_one_permission_stands_in_an_answer_and_only_ours():
    theirs = [
        (b"Access-Control-Allow-Origin", b"http://a"),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-allow-methods", b"GET"),
        (b"x-a", b"1"),
    ]
    assert for_a_page(theirs) == [
        (b"access-control-allow-methods", b"GET"),
        (b"x-a", b"1"),
        (b"access-control-allow-origin", b"*"),
        (b"access-control-expose-headers", b"*"),
    ]

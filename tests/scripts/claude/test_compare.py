from typing import Any

import pytest
from attrs import evolve

from scripts.claude.cases import CASES
from scripts.claude.compare import Finding, find

CASE = evolve(CASES[0], swaps="", differs="")
SESSION = "11111111-1111-4111-8111-111111111111"


def request(text: str = "hello", path: str = "/v1/messages", **headers: str) -> dict[str, Any]:
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    return {"path": path, "query": "beta=true", "headers": headers, "body": body}


def account(*asked: dict[str, Any], code: int = 0, **told: Any) -> dict[str, Any]:
    return {"ended": [{"code": code, "told": told}], "asked": list(asked)}


def found(alone: dict[str, Any], here: dict[str, Any], **changes: str) -> Finding:
    return find(evolve(CASE, **changes), "direct", alone, here)


def test_two_that_are_alike_differ_in_nothing() -> None:
    one = account(request(), result="ok", session_id="x")
    finding = found(one, account(request(), result="ok", session_id="y"))
    assert finding.differences == ()
    assert (finding.alone, finding.here, finding.is_good) == (1, 1, True)


@pytest.mark.parametrize(
    ("here", "difference"),
    [
        (account(request(), result="other"), 'result "ok" became "other"'),
        (account(request(), result="ok", code=1), "exit code 0 became 1"),
        (account(result="ok"), "/v1/messages for m: 1 requests became 0"),
        (account(request(), request(), result="ok"), "/v1/messages for m: 1 requests became 2"),
        (
            account(request("hullo"), result="ok"),
            'body.messages.0.content: "hello" became "hullo"',
        ),
        (account(request(**{"x-app": "cli"}), result="ok"), 'headers.x-app: null became "cli"'),
        (
            account(request(), result="ok", modelUsage={"m": {"inputTokens": 1}}),
            'usage of m null became {"inputTokens": 1}',
        ),
    ],
)
def test_whatever_differs_is_told(here: dict[str, Any], difference: str) -> None:
    finding = found(account(request(), result="ok"), here)
    assert finding.differences == (difference,)
    assert not finding.is_good


def test_ids_may_differ_and_the_order_of_betas_and_of_requests() -> None:
    first = request(SESSION, **{"anthropic-beta": "a,b"})
    again = request(SESSION.replace("1", "2"), **{"anthropic-beta": "b,a"})
    assert found(account(first, request("x")), account(request("x"), again)).differences == ()


def test_requests_with_one_body_are_paired_though_their_headers_differ() -> None:
    alone = account(request("one"), request("two"))
    here = account(request("two", **{"x-app": "cli"}), request("one", **{"x-app": "cli"}))
    assert found(alone, here).differences == ('headers.x-app: null became "cli"',)


@pytest.mark.parametrize("world", ["direct", "litellm"])
def test_a_count_is_compared_as_any_other_request(world: str) -> None:
    count = request("one", "/v1/messages/count_tokens", **{"x-app": "cli"})
    bare = request("one", "/v1/messages/count_tokens")
    [difference] = find(CASE, world, account(count), account(bare)).differences
    assert difference == 'headers.x-app: "cli" became null'


def test_long_texts_are_shown_where_they_part() -> None:
    [difference] = found(
        account(request("x" * 500 + "hello")), account(request("x" * 500 + "hullo"))
    ).differences
    assert "...xxx" in difference
    assert 'xhello" became' in difference
    assert len(difference) < 250


def test_signs_of_life_are_the_gateways_own() -> None:
    assert found(account(request(), request(path="/")), account(request())).differences == ()


def test_with_a_swap_bodies_are_not_compared_but_results_are() -> None:
    swapped = request("x")
    swapped["body"]["model"] = "other"
    one, other = account(request(), result="ok"), account(swapped, result="no")
    assert found(one, other, swaps="why").differences == ('result "ok" became "no"',)


def test_a_difference_that_is_meant_is_good_and_so_is_no_other_and_none_missing() -> None:
    case = evolve(CASE, differs="why", difference=("exit code 0 became",))
    one, failed = account(request()), account(request(), code=1)
    assert find(case, "direct", one, failed).is_good
    assert not find(case, "direct", one, one).is_good
    assert not find(case, "direct", one, account(request(), request(), code=1)).is_good


def test_a_case_in_which_nothing_happens_is_none() -> None:
    assert found(account(), account()).differences == ("nothing was asked of the provider",)


def test_each_run_is_named_where_there_are_several() -> None:
    asked = [request()]
    runs = {"ended": [{"code": 0, "told": {}}] * 2, "asked": asked}
    failed = {"ended": [{"code": 0, "told": {}}, {"code": 1, "told": {}}], "asked": asked}
    assert found(runs, failed).differences == ("run 2: exit code 0 became 1",)

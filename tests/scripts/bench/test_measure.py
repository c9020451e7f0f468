"""One turn: what is asked, answered and spent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scripts.bench.bodies import kinds
from scripts.bench.measure import Stage
from scripts.bench.plan import Cell, Plan
from scripts.bench.servers import Server, provider

CLOSED = Cell("1 KB", True, ("provider",), clients=2)
RATE = Cell("1 KB", False, ("provider",), rate=50)
PLAN = Plan("test", (CLOSED, RATE), rounds=1, seconds=0.1, rate_seconds=0.2, warm_up=0.05)


@pytest.fixture(scope="module")
def mock() -> Iterator[Server]:
    with provider() as server:
        yield server


def test_every_turn_of_the_plan_becomes_a_run(mock: Server) -> None:
    closed, rate = Stage(PLAN, {"provider": mock}, kinds()).runs()
    assert closed.summary is not None
    assert closed.summary.rate > 10
    assert closed.summary.cpu_ms is not None
    assert rate.summary is not None
    assert rate.summary.held
    assert rate.summary.requests == pytest.approx(10, abs=1)


def test_an_answer_that_the_provider_did_not_give_is_no_figure(mock: Server) -> None:
    """The other provider answers as well, but nobody has asked this one."""
    with provider() as other:
        turn = next(PLAN.turns(["provider"]))
        servers = {"provider": mock, "other": other}
        run = Stage(PLAN, servers, kinds()).run(type(turn)(0, CLOSED, "other"))
    assert run.summary is None
    assert run.problem.endswith("answers, of which the provider gave 0")

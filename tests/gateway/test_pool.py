import asyncio

import pytest

from ccproxyd.gateway import pool as pool_module
from ccproxyd.gateway.pool import Address, NoWorkerError, Pool
from tests.gateway.scripted import becomes

pytestmark = pytest.mark.anyio

NOBODY: frozenset[str] = frozenset()


def address(name, generation=1):
    return Address(name, generation, f"/run/{name}.sock", "secret", "key")


class Idle(list):
    __call__ = list.append


@pytest.fixture
def idle():
    return Idle()


@pytest.fixture
def pool(idle):
    return Pool(idle)


def soon(seconds=20.0):
    return asyncio.get_running_loop().time() + seconds


async def waiting(pool, count):
    await becomes(lambda: pool.waiting == count)


def test_an_address_is_read_from_a_message():
    message = {"name": "1.0", "generation": 1, "socket": "/run/1.0.sock", "secret": "secret"}
    assert Address.from_message({**message, "key": "key", "more": 1}) == address("1.0")


async def test_the_least_busy_worker_takes_the_next_request(pool):
    pool.replace([address("a"), address("b")])
    names = [(await pool.take(NOBODY, soon())).address.name for _ in range(4)]
    assert sorted(names) == ["a", "a", "b", "b"]
    assert pool.in_flight() == {"a": 2, "b": 2}


async def test_a_worker_that_failed_a_request_gets_it_again_only_when_alone(pool):
    pool.replace([address("a"), address("b")])
    assert (await pool.take(frozenset("a"), soon())).address.name == "b"
    assert (await pool.take(frozenset("a"), soon())).address.name == "b"
    pool.replace([address("a")])
    assert (await pool.take(frozenset("a"), soon())).address.name == "a"


async def test_a_request_that_finds_nobody_says_so_until_somebody_comes():
    wanted = Idle()
    pool = Pool(Idle(), lambda: wanted.append(1))
    requests = [asyncio.create_task(pool.take(NOBODY, soon())) for _ in range(3)]
    await waiting(pool, 3)
    assert len(wanted) == 1
    pool.replace([address("a")])
    await asyncio.gather(*requests)
    pool.replace([])
    late = asyncio.create_task(pool.take(NOBODY, soon()))
    await waiting(pool, 1)
    assert len(wanted) == 2
    pool.replace([address("b")])
    await late


async def test_requests_wait_for_a_worker_in_their_order(pool):
    order = []

    async def request(number):
        await pool.take(NOBODY, soon())
        order.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(request(number))
        await waiting(pool, 5)
        pool.replace([address("a")])
    assert order == [0, 1, 2, 3, 4]
    assert pool.waiting == 0


async def test_nobody_waits_for_ever(pool):
    pool.reason = "the last worker exited with status 1"
    with pytest.raises(NoWorkerError, match="exited with status 1") as refused:
        await pool.take(NOBODY, soon(0))
    assert refused.value.code == 503
    assert pool.waiting == 0


async def test_the_queue_has_an_end(pool, monkeypatch):
    monkeypatch.setattr(pool_module, "MAX_WAITING", 1)
    first = asyncio.create_task(pool.take(NOBODY, soon()))
    await waiting(pool, 1)
    with pytest.raises(NoWorkerError, match="waiting already"):
        await pool.take(NOBODY, soon())
    pool.replace([address("a")])
    await first


async def test_a_request_that_is_dropped_leaves_the_queue(pool):
    task = asyncio.create_task(pool.take(NOBODY, soon()))
    await waiting(pool, 1)
    task.cancel()
    await asyncio.wait([task])
    assert pool.waiting == 0
    pool.replace([address("a")])
    assert pool.in_flight() == {"a": 0}


async def test_a_worker_off_the_list_finishes_and_is_then_idle(pool, idle):
    pool.replace([address("a")])
    seats = [await pool.take(NOBODY, soon()) for _ in range(2)]
    pool.replace([address("b")])
    assert (pool.ready, idle) == (1, [])
    assert (await pool.take(NOBODY, soon())).address.name == "b"
    pool.release(seats[0])
    assert idle == []
    pool.release(seats[1])
    assert idle == ["a"]
    assert set(pool.in_flight()) == {"b"}


async def test_a_worker_without_requests_is_idle_at_once(pool, idle):
    pool.replace([address("a")])
    pool.replace([])
    assert idle == ["a"]


async def test_a_worker_that_comes_back_has_its_new_address(pool, idle):
    pool.replace([address("a", 1)])
    seat = await pool.take(NOBODY, soon())
    pool.replace([])
    pool.replace([address("a", 2)])
    pool.release(seat)
    assert idle == []
    assert (await pool.take(NOBODY, soon())).address.generation == 2


async def test_a_worker_that_refused_is_passed_over(pool):
    pool.replace([address("a"), address("b")])
    refused = await pool.take(NOBODY, soon())
    pool.release(refused)
    pool.avoid(refused)
    others = {(await pool.take(NOBODY, soon())).address.name for _ in range(3)}
    assert others == {"a", "b"} - {refused.address.name}


async def test_a_worker_that_refused_is_tried_again_after_a_while(pool, monkeypatch):
    monkeypatch.setattr(pool_module, "_AVOID_SECONDS", 0.01)
    pool.replace([address("a")])
    seat = await pool.take(NOBODY, soon())
    pool.release(seat)
    pool.avoid(seat)
    assert await pool.take(NOBODY, soon()) is seat


async def test_a_worker_that_is_named_again_is_tried_at_once(pool):
    pool.replace([address("a")])
    seat = await pool.take(NOBODY, soon())
    pool.avoid(seat)
    pool.replace([address("a")])
    assert await pool.take(NOBODY, soon(0)) is seat

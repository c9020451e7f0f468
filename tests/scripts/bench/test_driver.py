"""The clients and the mock provider, each seen through the other."""

from __future__ import annotations

import asyncio
import gc
import itertools
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from scripts.bench import provider
from scripts.bench.bodies import Address, Feed, kinds
from scripts.bench.driver import (
    MOST_FAILURES,
    MOST_WAITING,
    ClosedLoop,
    OpenLoop,
    WrongAnswerError,
    ask,
    undisturbed,
)
from scripts.bench.provider import LAST, SAID, Count

pytestmark = pytest.mark.anyio

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n%s\r\n%s"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def mock() -> AsyncIterator[tuple[Address, Count]]:
    count = Count()
    server = await provider.start(count)
    async with server:
        yield Address("127.0.0.1", provider.port_of(server), "sk-test"), count


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[Address]:
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    async with server:
        yield Address("127.0.0.1", provider.port_of(server), "sk-test")


def answering(*answers: bytes) -> Handler:
    """A server that reads a request's head for each answer, the last of them again and again."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in itertools.chain(answers, itertools.repeat(answers[-1])):
            try:
                await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            writer.write(answer)
        writer.close()

    return handle


def whole(body: bytes = SAID, more: bytes = b"") -> bytes:
    return WHOLE % (len(body), more, body)


def small(address: Address, *, stream: bool = False) -> Feed:
    return kinds()["1 KB"].feed(address, stream=stream)


def heads() -> Feed:
    """Requests without a body."""
    return itertools.repeat([b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"])


@pytest.mark.parametrize("name", kinds())
async def test_every_body_is_answered_whole_and_streamed(
    mock: tuple[Address, Count], name: str
) -> None:
    address, count = mock
    await ask(address, kinds()[name].feed(address, stream=False), SAID)
    await ask(address, kinds()[name].feed(address, stream=True), LAST)
    assert count.messages == 2


async def test_who_asks_for_a_stream_gets_no_whole_answer(mock: tuple[Address, Count]) -> None:
    address, _ = mock
    with pytest.raises(WrongAnswerError, match="another answer"):
        await ask(address, small(address, stream=True), SAID)


async def test_the_provider_tells_how_much_it_was_asked(mock: tuple[Address, Count]) -> None:
    address, count = mock
    count.messages = 41
    await ask(address, small(address), SAID)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(b"GET /count HTTP/1.1\r\nhost: x\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert (await reader.readexactly(2), b"content-length: 2" in head) == (b"42", True)
    writer.close()
    await writer.wait_closed()


async def test_the_provider_hangs_up_on_what_is_no_http(mock: tuple[Address, Count]) -> None:
    address, _ = mock
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(b"good morning\r\n\r\n")
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_clients_ask_until_the_time_is_over(mock: tuple[Address, Count]) -> None:
    address, count = mock
    loop = ClosedLoop(address, small(address), SAID, clients=4, warm_up=0.02, seconds=0.1)
    taken = await loop.run()
    assert taken.failures == []
    assert taken.answered == count.messages
    assert 4 < len(taken.samples) < taken.answered
    assert all(0 < one.first <= one.last for one in taken.samples)


async def test_a_stream_has_its_first_byte_before_its_last(mock: tuple[Address, Count]) -> None:
    address, _ = mock
    loop = ClosedLoop(address, small(address, stream=True), LAST, seconds=0.05)
    taken = await loop.run()
    assert all(one.first < one.last for one in taken.samples)


async def test_a_schedule_is_kept_and_every_request_of_it_counts(
    mock: tuple[Address, Count],
) -> None:
    address, count = mock
    loop = OpenLoop(address, small(address), SAID, rate=200, warm_up=0.05, seconds=0.2)
    taken = await loop.run()
    assert taken.failures == []
    assert taken.due == len(taken.samples) == len(taken.late) == pytest.approx(40, abs=1)
    assert count.messages == taken.answered == pytest.approx(50, abs=2)


async def test_after_a_schedule_the_alarm_is_off(mock: tuple[Address, Count]) -> None:
    address, _ = mock
    await OpenLoop(address, small(address), SAID, rate=100, seconds=0.03).run()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert gc.isenabled()


async def test_time_runs_from_when_a_request_was_due() -> None:
    """The server answers all at once: the longer one had been due, the longer it has waited."""
    waiting: list[asyncio.StreamWriter] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        waiting.append(writer)
        if len(waiting) == 5:
            for one in waiting:
                one.write(whole(more=b"connection: close\r\n"))
                one.close()

    async with serving(handle) as address:
        taken = await OpenLoop(address, heads(), SAID, rate=100, seconds=0.055).run()
    waited = sorted((one.last for one in taken.samples), reverse=True)
    steps = [longer - shorter for longer, shorter in itertools.pairwise(waited)]
    assert steps == pytest.approx([0.01] * 4, abs=0.005)


async def test_a_server_that_never_answers_does_not_hold_a_rate() -> None:
    held = asyncio.Event()

    async def handle(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await held.wait()
        writer.close()

    async with serving(handle) as address:
        taken = await OpenLoop(address, heads(), SAID, rate=2000, seconds=60).run()
        held.set()
    assert taken.samples == []
    assert taken.due > MOST_WAITING


async def test_errors_are_told_and_there_is_an_end_to_them() -> None:
    refused = b"HTTP/1.1 429 No\r\ncontent-length: 4\r\n\r\nbusy"
    async with serving(answering(refused)) as address:
        taken = await ClosedLoop(address, heads(), SAID, seconds=60).run()
    assert taken.failures == ["status 429: busy"] * MOST_FAILURES
    assert taken.answered == 0


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (b"no http at all\r\n\r\n", "the answer is no HTTP"),
        (whole(b"something else"), "another answer than the provider's"),
        (whole()[:-3], "the connection was lost"),
    ],
    ids=["no http", "other words", "cut"],
)
async def test_an_answer_that_is_not_the_providers_is_a_failure(
    answer: bytes, failure: str
) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with serving(handle) as address:
        with pytest.raises(WrongAnswerError, match=failure):
            await ask(address, heads(), SAID)


async def test_a_server_that_closes_each_connection_is_asked_on_new_ones() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(whole(more=b"connection: close\r\n"))
        writer.close()

    async with serving(handle) as address:
        taken = await ClosedLoop(address, heads(), SAID, seconds=0.05).run()
    assert taken.failures == []
    assert taken.answered > 2


async def test_nobody_there_is_the_callers_to_judge(free_tcp_port: int) -> None:
    address = Address("127.0.0.1", free_tcp_port, "sk-test")
    with pytest.raises(OSError, match="Connect call failed"):
        await ask(address, heads(), SAID)


def test_garbage_is_collected_again_after_a_measurement() -> None:
    with undisturbed():
        assert not gc.isenabled()
    assert gc.isenabled()

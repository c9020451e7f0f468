from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import psutil
import pytest
from attrs import define, field

from ccproxyd.supervision import process
from ccproxyd.supervision.process import Child, Command, Lines, describe_exit, spawn
from ccproxyd.wire import WireClosedError
from tests.supervision.children import DEAF, OBEDIENT, PATIENCE, READY, command

pytestmark = pytest.mark.anyio


@define
class Heard:
    """What a child said, on its wire and on its standard streams."""

    messages: list[dict[str, Any]] = field(factory=list)
    lines: list[str] = field(factory=list)

    @asynccontextmanager
    async def child(self, script: str, **more: Any) -> AsyncIterator[Child]:
        with anyio.fail_after(PATIENCE):
            child = await spawn(command(script, **more), self.messages.append, self.lines.append)
            try:
                yield child
            finally:
                child.signal(signal.SIGKILL)
                await child.wait()

    @property
    def kinds(self) -> list[str]:
        return [message["kind"] for message in self.messages]


@pytest.fixture
def heard() -> Heard:
    return Heard()


def descriptors() -> int:
    return psutil.Process().num_fds()


async def test_a_child_says_that_it_is_ready_and_goes_when_it_is_told(heard: Heard) -> None:
    async with heard.child(OBEDIENT) as child:
        child.send({"kind": "stop"})
        assert await child.wait() == 0
    assert heard.kinds == ["ready"]


async def test_a_child_goes_when_its_wire_ends(heard: Heard) -> None:
    async with heard.child("obey()") as child:
        child.wire.close()
        assert await child.wait() == 0


async def test_a_child_answers_what_it_is_asked(heard: Heard) -> None:
    script = """
os.read(wire, 100)
say('{"kind":"answer","id":1,"ok":true}')
obey()
"""
    async with heard.child(script) as child:
        assert (await child.ask({"kind": "explain"}))["ok"] is True
    assert heard.messages == []


async def test_who_asks_a_child_that_dies_is_told(heard: Heard) -> None:
    async with heard.child("os.read(wire, 100)\nos._exit(1)") as child:
        with pytest.raises(WireClosedError):
            await child.ask({"kind": "explain"})


async def test_what_a_child_said_last_is_heard_before_its_exit(heard: Heard) -> None:
    script = """
for number in range(500):
    print("line", number)
say('{"kind":"failed","reason":"no such model"}')
sys.stderr.write("and no newline at the end")
sys.stdout.flush()
sys.stderr.flush()
os._exit(3)
"""
    async with heard.child(script) as child:
        assert await child.wait() == 3
        assert heard.kinds == ["failed"]
        assert len(heard.lines) == 501
        assert set(heard.lines) >= {"line 0", "line 499"}
        assert "and no newline at the end" in " ".join(heard.lines[-1:] + heard.lines[:1])


async def test_a_signal_is_the_status(heard: Heard) -> None:
    async with heard.child(DEAF) as child:
        child.signal(signal.SIGKILL)
        status = await child.wait()
    assert describe_exit(status) == "killed by SIGKILL"


async def test_a_signal_that_comes_too_late_is_no_error(heard: Heard) -> None:
    async with heard.child("sys.exit(0)") as child:
        assert await child.wait() == 0
        child.signal(signal.SIGTERM)


async def test_a_child_has_a_session_of_its_own(heard: Heard) -> None:
    async with heard.child(DEAF) as child:
        assert os.getsid(child.pid) == child.pid != os.getsid(0)


async def test_a_child_inherits_its_wire_and_what_it_is_given(heard: Heard) -> None:
    script = """
def is_open(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True

others = [number for number in range(3, 256) if is_open(number) and number != wire]
say('{"kind":"open","others":%s}' % others)
"""
    reading, writing = os.pipe()
    async with heard.child(script, inherited=[reading]) as child:
        await child.wait()
    os.close(reading)
    os.close(writing)
    assert heard.messages == [{"kind": "open", "others": [reading]}]


async def test_a_child_reads_nothing_and_sees_only_the_environment_that_it_is_given(
    heard: Heard,
) -> None:
    script = "print(repr(sys.stdin.read()), sorted(os.environ))"
    async with heard.child(script) as child:
        await child.wait()
    # Python itself may add the locale.
    assert heard.lines[0].replace("'LC_CTYPE'", "") == "'' []"


@pytest.mark.parametrize("word", ["/nowhere/python", "/"])
async def test_what_cannot_be_started_leaves_nothing_behind(word: str, heard: Heard) -> None:
    before = descriptors()
    with pytest.raises(OSError, match=r"No such file|Permission denied"):
        await spawn(Command([word], {}), heard.messages.append, heard.lines.append)
    assert descriptors() == before


async def test_a_child_that_is_gone_leaves_no_descriptor_open(heard: Heard) -> None:
    async with heard.child("sys.exit(0)"):
        pass
    before = descriptors()
    async with heard.child("print('x')\nsys.exit(0)") as child:
        await child.wait()
    await anyio.wait_all_tasks_blocked()
    assert descriptors() == before


async def test_what_a_grandchild_says_after_the_end_is_heard_too(heard: Heard) -> None:
    script = """
import time
parent = os.getpid()
if os.fork():
    os._exit(3)
while os.getppid() == parent:
    time.sleep(0.001)
time.sleep(0.05)
print("a late line", flush=True)
say('{"kind":"failed"}')
"""
    async with heard.child(script) as child:
        assert await child.wait() == 3
        assert heard.lines == ["a late line"]
        assert heard.kinds == ["failed"]


async def test_a_grandchild_that_stays_does_not_hold_up_the_end(
    heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_LAST_WORDS_SECONDS", 0.05)
    staying, leaving = os.pipe()
    script = f"""
if os.fork():
    {READY}
    os._exit(4)
os.close({leaving})
os.read({staying}, 1)
"""
    async with heard.child(script, inherited=[staying, leaving]) as child:
        assert await child.wait() == 4
        # It has our ends closed, and not because the grandchild would have gone.
        await child.wire.closed.wait()
        await child.lines.ended.wait()
    os.close(leaving)
    os.close(staying)
    assert heard.kinds == ["ready"]


@pytest.fixture
def lines() -> tuple[Lines, list[str]]:
    told: list[str] = []
    return Lines(told.append), told


def test_lines_come_whole_however_they_were_cut(lines: tuple[Lines, list[str]]) -> None:
    pipe, told = lines
    for piece in (b"one\ntw", b"o\n", b"\n  \n", b"caf\xc3", b"\xa9\xff\n", b"rest"):
        pipe.data_received(piece)
    assert told == ["one", "two", "café\N{REPLACEMENT CHARACTER}"]
    pipe.connection_lost(None)
    assert told[-1] == "rest"
    assert pipe.ended.is_set()


def test_the_indent_of_a_stack_is_kept(lines: tuple[Lines, list[str]]) -> None:
    pipe, told = lines
    pipe.data_received(b'  File "a.py", line 1 in f\r\n')
    assert told == ['  File "a.py", line 1 in f']


def test_a_line_without_end_costs_no_memory_and_its_rest_is_lost(
    lines: tuple[Lines, list[str]],
) -> None:
    pipe, told = lines
    for _ in range(100):
        pipe.data_received(b"x" * 1000)
    assert len(pipe._rest) == 4096
    pipe.data_received(b"sk-ant-secret\nnext\n")
    assert told == ["x" * 4096, "next"]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "exited with status 0"),
        (78, "exited with status 78"),
        (-15, "killed by SIGTERM"),
        (-200, "killed by signal 200"),
    ],
)
def test_an_exit_in_words(status: int, words: str) -> None:
    assert describe_exit(status) == words

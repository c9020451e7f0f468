"""What a tree of processes uses."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import psutil

from scripts.bench.processes import Memory, cpu_seconds, memory, tree, until_quiet

BUSY = """
import time
end = time.process_time() + 0.2
while time.process_time() < end:
    pass
print("done", flush=True)
input()
"""


def test_a_tree_has_the_children_and_what_they_spent() -> None:
    before = cpu_seconds(os.getpid())
    with subprocess.Popen(
        [sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert child.pid in [one.pid for one in tree(os.getpid())]
        assert cpu_seconds(os.getpid()) - before >= 0.15
        child.communicate("\n")


def test_who_is_gone_uses_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    assert tree(gone.pid) == []
    assert cpu_seconds(gone.pid) == 0.0
    assert memory(tree(gone.pid)) == Memory(0, 0, 0)


def test_memory_of_several_is_their_sum() -> None:
    me = psutil.Process()
    one, two = memory([me]), memory([me, me])
    assert one.rss > one.uss > 1
    assert two.uss > 1.5 * one.uss


def test_a_tree_takes_what_the_system_knows_of_it() -> None:
    assert Memory(rss=100, pss=60, uss=50).of_tree == 60
    assert Memory(rss=100, pss=None, uss=50).of_tree == 100


def test_quiet_is_waited_for_and_not_for_ever() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        until_quiet(busy.pid, seconds=0.6)
        busy.kill()
    began = time.monotonic()
    until_quiet(busy.pid, seconds=60)
    assert time.monotonic() - began < 30

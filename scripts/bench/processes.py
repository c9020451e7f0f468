"""CPU time and memory of a tree of processes, as the operating system counts them.

Memory has three measures here, in MB of 10^6 bytes. RSS counts a shared page for each process that
has it; PSS splits it between them, so that a tree's sum is what the tree really takes; USS leaves
shared pages out, so that it is what one more process of the kind would take. PSS is Linux's alone:
elsewhere it is None.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator

import psutil
from attrs import frozen

_MB = 1_000_000
_LOOK_SECONDS = 0.5
_QUIET_SHARE = 0.2
"""Of one core."""


@frozen
class Memory:
    """Of one process, or of several together, in MB."""

    rss: float
    pss: float | None
    uss: float

    @property
    def of_tree(self) -> float:
        """What several processes take together, as near as the system knows it."""
        return self.rss if self.pss is None else self.pss


def tree(pid: int) -> list[psutil.Process]:
    """A process and all that descend from it, as far as they live."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def cpu_seconds(pid: int) -> float:
    """What the tree has used so far, in user mode and in the system's.

    Children that have ended count with their parent.
    """
    return sum(_spent(process) for process in tree(pid))


def until_quiet(pid: int, seconds: float = 20.0) -> None:
    """Wait until the tree does nothing any more: what was given up may still be worked on."""
    deadline = time.monotonic() + seconds
    before = cpu_seconds(pid)
    while time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        now = cpu_seconds(pid)
        if now - before < _QUIET_SHARE * _LOOK_SECONDS:
            return
        before = now


def memory(processes: Iterable[psutil.Process]) -> Memory:
    found = list(_memories(processes))
    shares = [one.pss for one in found if one.pss is not None]
    return Memory(
        rss=sum(one.rss for one in found),
        pss=sum(shares) if len(shares) == len(found) else None,
        uss=sum(one.uss for one in found),
    )


def _spent(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)
    return 0.0


def _memories(processes: Iterable[psutil.Process]) -> Iterator[Memory]:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            info = process.memory_full_info()
            pss = getattr(info, "pss", None)
            yield Memory(info.rss / _MB, pss / _MB if pss else None, info.uss / _MB)

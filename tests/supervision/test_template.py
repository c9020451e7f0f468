"""The daemon's side of forking, against a template that speaks the protocol and forks for real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import psutil
import pytest
from attrs import define, field

from ccproxyd.supervision.lifecycle import State
from ccproxyd.supervision.process import Child, spawn
from ccproxyd.supervision.supervisor import Supervised
from ccproxyd.supervision.template import (
    UNKNOWN_STATUS,
    ForkRefusedError,
    Template,
    become_subreaper,
    can_fork,
    reap_strangers,
)
from tests.supervision.children import DYING, Owner, command, living

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not can_fork(), reason="forking needs Linux: pidfd and subreapers"),
]

FORKING = """
import json, select, socket
end = socket.socket(fileno=wire)
say('{"kind":"ready","litellm":"1.2.3"}')
children = {}
while True:
    ready, _, _ = select.select([end], [], [], 0.01)
    for pid in list(children):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            del children[pid]
            code = os.waitstatus_to_exitcode(status)
            say(json.dumps({"kind": "exited", "pid": pid, "status": code}))
    if not ready:
        continue
    data, descriptors, _, _ = socket.recv_fds(end, 65536, 4)
    if not data:
        sys.exit(0)
    order = json.loads(data)
    if order["kind"] == "stop":
        sys.exit(0)
    if order["environ"].get("REFUSE"):
        say(json.dumps({"kind": "refused", "name": order["name"], "reason": "2 more threads"}))
        continue
    if order["environ"].get("IGNORE"):
        continue
    pid = os.fork()
    if pid == 0:
        channel, output = descriptors
        os.setsid()
        os.write(output, ("I am " + order["environ"]["NAME"] + "\\n").encode())
        os.write(channel, b'{"kind":"ready"}\\n')
        while True:
            heard = os.read(channel, 65536)
            if not heard or b'"stop"' in heard:
                os._exit(7)
    children[pid] = pid
    for one in descriptors:
        os.close(one)
    say(json.dumps({"kind": "forked", "name": order["name"], "pid": pid}))
"""


@define(eq=False)
class TemplateOwner(Owner):
    """Hands on what a template says, as the daemon does."""

    template: Any = None

    async def ready(self, life: Supervised) -> None:
        self.template.ready()
        await super().ready(life)

    def exited(self, life: Supervised) -> None:
        self.template.lost()
        super().exited(life)

    def heard(self, life: Supervised, message: dict[str, Any]) -> None:
        self.template.heard(message)
        super().heard(life, message)


@define(eq=False)
class Heard:
    """What a forked worker says."""

    messages: list[dict[str, Any]] = field(factory=list)
    lines: list[str] = field(factory=list)
    is_ready: anyio.Event = field(factory=anyio.Event)

    def message(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        self.is_ready.set()


def template_of(script: str) -> Template:
    owner = TemplateOwner()

    async def launch(life: Supervised) -> Child:
        return await spawn(command(script), life.receive, owner.said)

    template = Template(Supervised("template", launch, owner), {})
    owner.template = template
    return template


@asynccontextmanager
async def running(script: str = FORKING) -> AsyncIterator[Template]:
    template = template_of(script)
    async with living(template.life):
        yield template


async def forked(template: Template, heard: Heard, **environ: str) -> Child:
    await template.usable()
    return await template.fork("1.0", {"NAME": "w", **environ}, heard.message, heard.lines.append)


async def test_a_fork_is_a_worker_with_a_wire_and_a_voice_of_its_own() -> None:
    heard = Heard()
    async with running() as template:
        worker = await forked(template, heard)
        await heard.is_ready.wait()
        assert template.litellm == "1.2.3"
        assert heard.messages == [{"kind": "ready"}]
        worker.send({"kind": "stop"})
        assert await worker.wait() == 7
        assert heard.lines == ["I am w"]


async def test_a_worker_can_be_signalled_and_its_signal_is_known() -> None:
    heard = Heard()
    async with running() as template:
        worker = await forked(template, heard)
        await heard.is_ready.wait()
        worker.signal(signal.SIGKILL)
        assert await worker.wait() == -signal.SIGKILL
        worker.signal(signal.SIGKILL)  # too late, and no error


async def test_a_refusal_carries_the_templates_reason() -> None:
    async with running() as template:
        with pytest.raises(ForkRefusedError, match="2 more threads"):
            await forked(template, Heard(), REFUSE="1")


async def test_workers_outlive_their_template_and_become_our_own() -> None:
    become_subreaper()
    heard = Heard()
    async with running() as template:
        worker = await forked(template, heard)
        await heard.is_ready.wait()
        assert template.life.child is not None
        template.life.child.signal(signal.SIGKILL)
        await template.life.callbacks.until(  # type: ignore[attr-defined]
            lambda: template.life.state is not State.READY
        )
        worker.send({"kind": "stop"})
        assert await worker.wait() == 7


async def test_a_dead_template_cannot_be_asked() -> None:
    async with running() as template:
        await template.usable()
        assert template.life.child is not None
        asking = []

        async def ask() -> None:
            with pytest.raises(ForkRefusedError, match="died"):
                await forked(template, Heard(), IGNORE="1")
            asking.append("refused")

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            template.life.child.signal(signal.SIGKILL)
        assert asking == ["refused"]


async def test_a_template_that_does_not_start_is_not_waited_for() -> None:
    async with running(DYING) as template:
        with pytest.raises(ForkRefusedError, match="exited with status 3"):
            await template.usable()


async def test_the_status_of_a_worker_that_nobody_saw_end_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ccproxyd.supervision.template._STATUS_SECONDS", 0.01)
    assert await template_of(DYING).status_of(os.getpid()) == UNKNOWN_STATUS


def test_what_nobody_waits_for_is_buried() -> None:
    """A grandchild whose parent is gone comes to the subreaper; its own children are left alone."""
    become_subreaper()
    orphan = "import os; print(os.fork() or os._exit(0), flush=True); os._exit(0)"
    done = subprocess.run([sys.executable, "-c", orphan], capture_output=True, check=True)
    pid = int(done.stdout)
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        os.sched_yield()
    reap_strangers({pid})
    assert psutil.pid_exists(pid)
    reap_strangers(set())
    assert not psutil.pid_exists(pid)


async def test_a_closed_template_is_not_waited_for() -> None:
    async with running() as template:
        await template.usable()
        template.close()
        with pytest.raises(ForkRefusedError, match="stopping"):
            await template.usable()

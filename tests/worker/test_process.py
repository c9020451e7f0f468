"""The process around a worker, with something else than LiteLLM in it."""

import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import anyio
import anyio.to_thread
import orjson
import pytest

from ccproxyd.worker.order import Orders, StartError
from ccproxyd.worker.process import Uplink, Voice, work
from tests.worker.test_order import SERVE

pytestmark = pytest.mark.anyio


class Daemon:
    """The channel's other end."""

    def __init__(self):
        self.end, self.workers_end = socket.socketpair()
        self.end.settimeout(20)

    def say(self, **message):
        self.end.sendall(orjson.dumps(message) + b"\n")

    def heard(self):
        """All that is said until the channel ends."""
        with self.end.makefile("rb") as lines:
            return [orjson.loads(line) for line in lines]


@pytest.fixture
def daemon():
    daemon = Daemon()
    yield daemon
    daemon.end.close()
    daemon.workers_end.close()


@pytest.fixture
def voice():
    voice = Voice()
    yield voice
    os.close(voice._descriptors._crash)


def loading(serve):
    return lambda: serve


async def test_the_order_is_handed_to_what_was_loaded(daemon, voice):
    orders = []

    async def serve(order, send, commands, *, on_request):
        orders.append(order)
        send({"kind": "ready"})

    daemon.say(**SERVE)
    assert await work(daemon.workers_end, voice, loading(serve)) == 0
    assert orders[0].selftest == "self"
    assert daemon.heard() == [{"kind": "ready"}]


async def test_a_refusal_is_told_with_the_last_words(daemon, voice):
    async def serve(order, send, commands, *, on_request):
        voice.journal.heard("stderr", "what LiteLLM printed")
        raise StartError("LiteLLM cannot start: because")

    daemon.say(**SERVE)
    assert await work(daemon.workers_end, voice, loading(serve)) == 1
    assert daemon.heard()[-1] == {
        "kind": "failed",
        "reason": "LiteLLM cannot start: because",
        "last_words": "what LiteLLM printed",
    }


async def test_what_cannot_be_loaded_is_a_refusal_too(daemon, voice):
    def load():
        raise StartError("LiteLLM cannot be loaded: ImportError")

    daemon.say(**SERVE)
    assert await work(daemon.workers_end, voice, load) == 1
    assert daemon.heard()[-1]["reason"] == "LiteLLM cannot be loaded: ImportError"


async def test_an_order_that_lacks_something_is_refused_before_anything_is_loaded(daemon, voice):
    daemon.say(kind="serve")
    assert await work(daemon.workers_end, voice, loading(None)) == 1
    assert "cannot use the order" in daemon.heard()[-1]["reason"]


async def test_a_worker_whose_daemon_goes_before_the_order_just_ends(daemon, voice):
    daemon.end.shutdown(socket.SHUT_RDWR)
    assert await work(daemon.workers_end, voice, loading(None)) == 0


async def test_a_bug_ends_the_worker_and_is_told_by_its_type(daemon, voice, caplog):
    async def serve(order, send, commands, *, on_request):
        raise LookupError("something private")

    daemon.say(**SERVE)
    assert await work(daemon.workers_end, voice, loading(serve)) == 1
    assert [record.exc_info[0] for record in caplog.records] == [LookupError]


@contextmanager
def ending(daemon, how):
    """Do this to the worker as soon as it says that it is ready."""

    def wait_and_end():
        with daemon.end.makefile("rb") as lines:
            next(iter(lines))
            how()

    thread = threading.Thread(target=wait_and_end)
    thread.start()
    yield
    thread.join()


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(lambda daemon: daemon.say(kind="stop", seconds=30), id="told to"),
        pytest.param(lambda daemon: daemon.end.shutdown(socket.SHUT_RDWR), id="daemon gone"),
        pytest.param(lambda daemon: os.kill(os.getpid(), signal.SIGTERM), id="SIGTERM"),
    ],
)
async def test_a_worker_stops(daemon, voice, how):
    graces = []

    async def serve(order, send, commands: Orders, *, on_request):
        send({"kind": "ready"})
        with anyio.fail_after(20):
            graces.append(await commands.stop)

    daemon.say(**SERVE)
    with ending(daemon, lambda: how(daemon)):
        assert await work(daemon.workers_end, voice, loading(serve)) == 0
    assert graces == [30.0]


async def test_what_is_logged_while_it_loads_is_told(daemon, voice):
    async def serve(order, send, commands, *, on_request):
        """Nothing to do."""

    def load():
        voice.journal.heard("stdout", "loading")
        return serve

    daemon.say(**SERVE)
    await work(daemon.workers_end, voice, load)
    assert [message["text"] for message in daemon.heard()] == ["loading"]


async def test_the_uplink_carries_what_other_threads_say():
    said = []
    done = anyio.Event()

    class Recorder:
        def send(self, message):
            said.append((message, threading.get_ident()))
            done.set()

    uplink = Uplink(Recorder())
    await anyio.to_thread.run_sync(uplink.send, {"kind": "log"})
    with anyio.fail_after(20):
        await done.wait()
    assert said == [({"kind": "log"}, threading.get_ident())]


def test_the_program_takes_its_channel_and_says_there_why_it_fails():
    end, workers_end = socket.socketpair()
    with subprocess.Popen(
        [sys.executable, "-m", "ccproxyd.worker", "--channel", str(workers_end.fileno())],
        pass_fds=[workers_end.fileno()],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        workers_end.close()
        end.sendall(b'{"kind":"serve"}\n')
        end.settimeout(20)
        with end.makefile("rb") as lines:
            assert orjson.loads(next(iter(lines)))["kind"] == "failed"
        end.close()
        assert process.wait(20) == 1

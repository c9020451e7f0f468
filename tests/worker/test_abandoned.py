"""A call whose client goes away, around apps that listen for it and apps that do not."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from ccproxyd.worker.abandoned import Call

pytestmark = pytest.mark.anyio

BODY = {"type": "http.request", "body": b"{}", "more_body": False}
GONE = {"type": "http.disconnect"}


class Client:
    """A server's end of a connection; `left` is set by the client, `sent` is what it got."""

    def __init__(self, *body):
        self.left = anyio.Event()
        self.sent = []
        self.asked = 0
        self._body = list(body or [BODY])

    async def receive(self):
        self.asked += 1
        if self._body:
            return self._body.pop(0)
        await self.left.wait()
        return GONE

    async def send(self, message):
        self.sent.append(message["type"])


class App:
    """Reads the body and then waits for a provider; `ended` says how that ended."""

    def __init__(self, before=None):
        self.waiting, self.answered = anyio.Event(), anyio.Event()
        self.ended = ""
        self._before = before

    async def __call__(self, scope, receive, send):
        await receive()
        if self._before:
            await self._before(receive, send)
        try:
            self.waiting.set()
            await self.answered.wait()
            self.ended = "answered"
        except asyncio.CancelledError:
            self.ended = "cancelled"
            raise


async def play(app, client, what, patience=0):
    """Run the call, and do `what` as soon as it waits for the provider."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Call(client.receive, client.send, patience).run, app, {})
        await app.waiting.wait()
        await what()


async def test_what_nobody_waits_for_is_ended():
    app, client = App(), Client()

    async def leave():
        client.left.set()

    await play(app, client, leave)
    assert (app.ended, client.sent) == ("cancelled", [])


async def test_it_has_time_to_end_by_itself():
    """As LiteLLM does that listens, and gives back what it has counted."""
    app, client = App(), Client()

    async def leave():
        client.left.set()
        await anyio.wait_all_tasks_blocked()
        app.answered.set()

    await play(app, client, leave, patience=3600)
    assert app.ended == "answered"


async def test_an_answer_that_has_begun_is_left_alone():
    async def begin(receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    app, client = App(begin), Client()

    async def leave():
        client.left.set()
        await pause()
        app.answered.set()

    await play(app, client, leave)
    assert (app.ended, client.sent) == ("answered", ["http.response.start"])


async def test_a_client_that_stays_is_waited_for():
    app, client = App(), Client()

    async def answer():
        await pause()
        app.answered.set()

    await play(app, client, answer)
    assert app.ended == "answered"


async def test_an_app_that_listens_hears_of_it_as_often_as_it_asks():
    heard = []

    async def listen(receive, send):
        client.left.set()
        heard.extend([await receive(), await receive()])

    client = Client()
    app = App(listen)

    async def nothing():
        app.answered.set()

    await play(app, client, nothing, patience=3600)
    assert heard == [GONE, GONE]
    assert client.asked == 2


async def test_an_app_that_stops_listening_costs_the_next_one_nothing():
    """LiteLLM listens while it waits for a provider, and the framework while it streams."""
    heard = []

    async def listen_twice(receive, send):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await receive()
        client.left.set()
        heard.append(await receive())

    client = Client()
    app = App(listen_twice)

    async def nothing():
        app.answered.set()

    await play(app, client, nothing, patience=3600)
    assert heard == [GONE]


async def test_a_body_comes_as_the_app_asks_for_it():
    """Nothing is read ahead of an app that takes it slowly."""
    first = {**BODY, "more_body": True}
    client = Client(first, BODY)
    asked = []

    async def app(scope, receive, send):
        assert await receive() == first
        asked.append(await settled(client))
        assert await receive() == BODY
        asked.append(await settled(client))

    await Call(client.receive, client.send, 0).run(app, {})
    assert asked == [1, 3]


async def test_a_client_that_leaves_before_its_body_is_whole_is_the_apps_to_see():
    client = Client(GONE)
    seen = []

    async def app(scope, receive, send):
        seen.append(await receive())

    await Call(client.receive, client.send, 0).run(app, {})
    assert (seen, client.asked) == ([GONE], 1)


async def test_whoever_else_cancels_it_is_obeyed():
    app, client = App(), Client()
    running = asyncio.ensure_future(Call(client.receive, client.send, 0).run(app, {}))
    await app.waiting.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert app.ended == "cancelled"


async def test_it_leaves_no_task_behind():
    before = asyncio.all_tasks()
    client = Client()

    async def app(scope, receive, send):
        await receive()

    await Call(client.receive, client.send, 0).run(app, {})
    await anyio.wait_all_tasks_blocked()
    assert asyncio.all_tasks() == before


async def pause():
    """Longer than a call has that nobody waits for, where its patience is 0."""
    loop = asyncio.get_running_loop()
    for _ in range(3):
        await anyio.wait_all_tasks_blocked()
        done = loop.create_future()
        loop.call_later(0, done.set_result, None)
        await done


async def settled(client):
    await anyio.wait_all_tasks_blocked()
    return client.asked

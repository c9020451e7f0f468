"""The layer around LiteLLM's app, around an app that only looks."""

import logging

import anyio
import httpx
import pytest

from ccproxyd.worker import carried, underway, verdict
from ccproxyd.worker.carried import Carried
from ccproxyd.worker.intake import Intake
from ccproxyd.worker.verdict import Verdict, seal
from tests.worker.test_abandoned import Client, pause

pytestmark = pytest.mark.anyio

VERDICT = Verdict("think", "r-1")


class Looker:
    """An app that keeps what it was given, and the verdict that it could see."""

    def __init__(self):
        self.scopes = []
        self.verdicts = []

    async def __call__(self, scope, receive, send):
        self.scopes.append(scope)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._look)

    async def _look(self):
        self.verdicts.append(verdict.current.get())


def request(*headers, kind="http", **more):
    return {"type": kind, "headers": list(headers), **more}


def decision(sealed_with="s3cret"):
    return (b"X-CCProxy-Decision", seal(VERDICT, sealed_with).encode())


async def look(scope, **options):
    app = Looker()
    intake = Intake(app, secret="s3cret", state={}, **options)
    await intake(scope, None, None)
    return app


async def test_a_sealed_verdict_follows_the_request_into_its_tasks():
    assert (await look(request(decision()))).verdicts == [VERDICT]


async def test_the_next_request_does_not_see_it():
    await look(request(decision()))
    assert (await look(request())).verdicts == [None]


async def test_what_a_count_brings_along_is_there_while_it_is_inside():
    seen = []

    async def app(scope, receive, send):
        seen.append(carried.current.get())

    intake = Intake(app, secret="s3cret", state={})
    said = (b"x-app", b"cli"), (b"x-api-key", b"k")
    await intake(request(*said, path="/v1/messages/count_tokens"), None, None)
    await intake(request(*said, path="/v1/messages"), None, None)
    assert seen == [Carried({"x-app": "cli"}), None]
    assert carried.current.get() is None


async def test_no_header_of_ours_goes_further():
    others = [(b"x-api-key", b"k"), (b"x-ccproxy", b"not ours"), (b"accept", b"*/*")]
    app = await look(request(decision(), (b"X-CCProxy-Label", b"x"), *others))
    assert app.scopes[0]["headers"] == others


async def test_the_servers_scope_is_left_as_it_was():
    scope = request(decision())
    await look(scope)
    assert len(scope["headers"]) == 1


async def test_another_generations_secret_is_logged_and_decides_nothing(caplog):
    with caplog.at_level(logging.WARNING):
        app = await look(request(decision("of yesterday")))
    assert app.verdicts == [None]
    assert "not sealed with this generation's secret" in caplog.text
    assert "of yesterday" not in caplog.text


async def test_the_lifespans_state_reaches_the_requests():
    app = Looker()
    intake = Intake(app, secret="s", state={"receiver": 1})
    await intake(request(state={"server": 2}), None, None)
    assert app.scopes[0]["state"] == {"receiver": 1, "server": 2}


async def test_it_tells_of_every_request_and_of_nothing_else():
    told = []
    for kind in ("http", "websocket", "lifespan"):
        await look(request(kind=kind), on_request=lambda: told.append(1))
    assert told == [1, 1]


async def test_requests_are_counted_while_they_are_inside():
    inside, leave = anyio.Event(), anyio.Event()

    async def waiting(scope, receive, send):
        inside.set()
        await leave.wait()

    intake = Intake(waiting, secret="s", state={})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(intake, request(), None, None)
        await inside.wait()
        assert intake.in_flight == 1
        leave.set()
    assert intake.in_flight == 0


async def test_a_request_that_fails_is_counted_out_as_well():
    async def failing(scope, receive, send):
        raise LookupError

    intake = Intake(failing, secret="s", state={})
    with pytest.raises(LookupError):
        await intake(request(kind="websocket"), None, None)
    assert intake.in_flight == 0


async def test_a_failure_that_is_found_inside_is_the_answer():
    sent = []

    async def failing(scope, receive, send):
        underway.note(httpx.ReadTimeout("private"), streams=False)
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"litellm.Timeout"})

    async def send(message):
        sent.append(message)

    await Intake(failing, secret="s3cret", state={})(request(decision()), None, send)
    assert [message.get("status") for message in sent] == [504, None]
    underway.note(httpx.ReadTimeout("of nobody"), streams=False)
    assert underway.current.get() is None


@pytest.mark.parametrize(("patience", "ended"), [(0, []), (None, ["answered"])])
async def test_a_call_that_nobody_waits_for_goes_on_only_without_patience(patience, ended):
    found = []

    async def answering(scope, receive, send):
        await receive()
        await pause()
        found.append("answered")

    gone = Client()
    gone.left.set()
    await Intake(answering, secret="s", state={}, patience=patience)(request(), gone.receive, None)
    assert found == ended


async def broken(*sent):
    """What a client gets of an app that sends this much, learns of a failure, and raises."""
    messages = []

    async def app(scope, receive, send):
        for message in sent:
            await send(message)
        underway.note(httpx.ReadError("private"), streams=False)
        raise LookupError("LiteLLM's own")

    async def send(message):
        messages.append(message)

    intake = Intake(app, secret="s3cret", state={}, patience=None)
    try:
        await intake(request(), None, send)
    except LookupError:
        return messages, True
    return messages, False


async def test_what_litellm_raises_in_place_of_an_answer_is_told_as_its_failure(caplog):
    [start, body], is_raised = await broken()
    assert (start["status"], is_raised) == (502, False)
    assert b"cannot be reached, or hung up (ReadError)" in body["body"]
    assert "LiteLLM has not answered a request" in caplog.text


async def test_an_answer_that_has_begun_breaks_off_with_what_litellm_raises():
    begun = {"type": "http.response.start", "status": 200, "headers": []}
    assert await broken(begun) == ([begun], True)

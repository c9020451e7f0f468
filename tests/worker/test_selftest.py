"""The self-test, against apps that answer as LiteLLM would or would not."""

import anyio
import orjson
import pytest

from ccproxyd.worker.selftest import ASKED, ID_PREFIX, SelfTestError, probe
from ccproxyd.worker.verdict import HEADER, unseal

pytestmark = pytest.mark.anyio


class App:
    """Keeps the request, answers with a status in two pieces."""

    def __init__(self, status=200):
        self.status = status

    async def __call__(self, scope, receive, send):
        self.headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.path = scope["path"]
        self.body = orjson.loads((await receive())["body"])
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b"not ", "more_body": True})
        await send({"type": "http.response.body", "body": b"found"})


async def test_it_asks_for_a_model_that_nothing_serves_with_a_verdict_for_one_that_is():
    app = App()
    sent = await probe(app, key="sk-1", secret="s3cret", label="self")
    assert (app.path, app.body["model"]) == ("/v1/messages", ASKED)
    assert app.headers["authorization"] == "Bearer sk-1"
    found = unseal(app.headers[HEADER], "s3cret")
    assert (found.label, found.request_id) == ("self", sent)


async def test_every_self_test_has_an_id_that_is_told_from_a_requests():
    first, second = [await probe(App(), key="sk-1", secret="s", label="self") for _ in range(2)]
    assert first != second
    assert first.startswith(ID_PREFIX)


async def test_any_answer_but_200_is_a_failure_that_says_which():
    with pytest.raises(SelfTestError, match="answered with 404: not found"):
        await probe(App(404), key="sk-1", secret="s", label="self")


async def test_its_client_stays_until_it_has_its_answer():
    left = []

    async def watchful(scope, receive, send):
        await receive()
        with anyio.move_on_after(0.01):
            left.append(await receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})

    await probe(watchful, key="sk-1", secret="s", label="self")
    assert left == []

import asyncio

import pytest
from attrs import evolve

from ccproxyd.config.settings import Timeouts
from ccproxyd.errors import UpstreamTimeout
from ccproxyd.gateway.lanes import answers as answers_module
from ccproxyd.gateway.lanes.answers import (
    Answer,
    BrokenOff,
    KeyRefusedError,
    broken_off,
    check_key,
    in_time,
    is_stream,
    opened,
    pass_on,
)
from ccproxyd.gateway.lanes.connection import HungUpError
from ccproxyd.gateway.report import Report
from tests.gateway.house import Call

pytestmark = pytest.mark.anyio

HEADERS = [(b"content-type", b"text/event-stream")]


class Told:
    """What comes after the first piece, and then the end or an error."""

    def __init__(self, *pieces, error=None):
        self.pieces, self.error = list(pieces), error

    @property
    def at_end(self):
        return not self.pieces and self.error is None

    async def read(self, deadline):
        if not self.pieces and self.error is not None:
            raise self.error
        return self.pieces.pop(0) if self.pieces else b""


def answer(*pieces, status=200, whole=False, streams=True, error=None):
    return Answer(status, HEADERS, pieces[0], Told(*pieces[1:], error=error), whole, streams)


async def passed_on(found, **more):
    call, report = Call(**more), Report("r-1")
    await pass_on(found, call.exchange(), report, "the provider")
    return call, report


async def test_an_answer_that_does_not_begin_is_told_with_its_limit():
    with pytest.raises(UpstreamTimeout, match="no answer began within 0 s"):
        async with in_time(Timeouts(first_byte=0.01), asyncio.get_running_loop().time() + 0.01):
            await asyncio.Event().wait()


@pytest.mark.parametrize("error", [HungUpError(), TimeoutError()])
async def test_a_failure_of_untold_length_keeps_what_it_has_said(error):
    incoming = Told(b'{"error"', b": ", error=error)
    incoming.status, incoming.headers = 529, [(b"retry-after", b"7")]
    found = await opened(incoming, Timeouts(), asyncio.get_running_loop().time() + 60)
    assert (found.status, found.first, found.whole) == (529, b'{"error": ', False)
    incoming = Told(b'{"error"', error=error)
    incoming.status, incoming.headers = 529, [(b"content-length", b"99")]
    with pytest.raises(type(error)):
        await opened(incoming, Timeouts(), asyncio.get_running_loop().time() + 60)


async def test_a_stream_passes_piece_by_piece():
    call, report = await passed_on(answer(b"a", b"b"))
    assert call.pieces == [b"a", b"b"]
    assert (call.complete, report.cut, report.status) == (True, False, 200)


async def test_a_stream_that_says_that_it_failed_is_passed_on_and_counts_as_failed():
    said = b'event: error\ndata: {"type": "error"}\n\n'
    call, report = await passed_on(answer(b"a\n\n", said))
    assert call.pieces == [b"a\n\n", said]
    assert (call.complete, report.cut, report.failed) == (True, True, True)


async def test_usage_is_found_however_the_pieces_are_cut():
    pieces = (b'data: {"usage": {"output_', b'tokens": 7}}\n\n')
    assert (await passed_on(answer(*pieces)))[1].usage.output_tokens == 7
    assert (await passed_on(answer(b"".join(pieces), whole=True)))[1].usage.output_tokens == 7
    body = b'{"usage": {"output_tokens": 8}}'
    assert (await passed_on(answer(body, whole=True, streams=False)))[1].usage.output_tokens == 8


async def test_the_usage_of_json_whose_length_nobody_told_is_found(monkeypatch):
    pieces = (b'{"usage": {"output_', b'tokens": 9}}')

    async def found():
        untold = evolve(answer(*pieces, streams=False), is_json=True)
        return (await passed_on(untold))[1].usage.output_tokens

    assert await found() == 9
    monkeypatch.setattr(answers_module, "WHOLE_BYTES", 20)
    assert await found() is None


async def test_a_pause_without_end_breaks_the_stream_off():
    call, report = await passed_on(answer(b"a", error=TimeoutError()))
    assert not call.complete
    assert b"the answer stopped coming" in call.pieces[-1]
    assert (report.cut, report.error) == (True, "UpstreamTimeout")


async def test_what_is_no_stream_of_events_is_broken_off_without_a_word():
    call, report = await passed_on(answer(b"a", streams=False, error=TimeoutError()))
    assert call.pieces == [b"a"]
    assert (call.complete, report.cut) == (False, True)


async def test_a_stream_of_which_the_head_alone_has_come_is_one_that_is_cut():
    headers = [*HEADERS, (b"request-id", b"r"), (b"content-length", b"9"), (b"server", b"s")]
    call, report = await passed_on(broken_off(200, headers))
    assert (call.status, call.complete) == (200, False)
    names = {name for name, _ in call.answered}
    assert {"content-type", "request-id"} <= names
    assert names.isdisjoint({"content-length", "server"})
    assert call.answer.strip().startswith(b"event: error\n")
    assert b"the answer was cut: the provider went away" in call.answer
    assert (report.status, report.cut, report.error) == (200, True, "HungUpError")


@pytest.mark.parametrize(
    ("status", "kind", "is_one"),
    [
        (200, b"text/event-stream", True),
        (200, b"Text/Event-Stream; charset=utf-8", True),
        (200, b"application/json", False),
        (529, b"text/event-stream", False),
    ],
)
async def test_a_stream_is_known_by_its_head(status, kind, is_one):
    assert is_stream(BrokenOff(status, [(b"content-type", kind)])) is is_one


async def test_a_401_about_a_key_of_ours_is_not_relayed():
    check_key(401, "think", is_ours=False)
    check_key(403, "think", is_ours=True)
    with pytest.raises(KeyRefusedError, match="the key of the label 'think'") as caught:
        check_key(401, "think", is_ours=True)
    assert caught.value.code == 502
    with pytest.raises(KeyRefusedError, match="refuses the key; put"):
        check_key(401, "", is_ours=True)


async def test_a_head_has_no_body():
    call, _ = await passed_on(answer(b"", b"never"), method="HEAD")
    assert call.pieces == [b""]


START = b'event: message_start\ndata: {"type":"message_start"}\n\n'
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
ERROR = b'event: error\ndata: {"type":"error","error":{"message":"no"}}\n\n'


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(
    ("said", "call_type", "failed"),
    [
        (START, "anthropic_messages", True),
        (START + STOP, "anthropic_messages", False),
        (START + ERROR, "anthropic_messages", True),
        (START, "aspeech", False),
    ],
)
async def test_a_stream_that_came_to_an_end_that_it_did_not_say_has_failed(
    whole, said, call_type, failed
):
    """Also one whose length was told, as a proxy on the way may do; its bytes stay as they are."""
    call, report = Call(), Report("r-1", call_type=call_type)
    await pass_on(answer(said, whole=whole), call.exchange(), report, "the provider")
    assert (report.failed, call.answer) == (failed, said)


async def test_what_is_compressed_cannot_be_judged():
    call, report = Call(), Report("r-1", call_type="acompletion")
    compressed = evolve(answer(b"\x1f\x8b"), headers=[*HEADERS, (b"content-encoding", b"gzip")])
    await pass_on(compressed, call.exchange(), report, "the provider")
    assert not report.failed

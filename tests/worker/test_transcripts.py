"""What a client gets of a transcription that LiteLLM has put into JSON."""

import pytest

from ccproxyd.worker.transcripts import words_in
from ccproxyd.worker.underway import Slot

TEXT, EVENTS = Slot(wants_text=True), Slot(wants_events=True)
EITHER = Slot(wants_text=True, wants_events=True)
PLAIN, STREAM = b"text/plain; charset=utf-8", b"text/event-stream; charset=utf-8"
EVENT = b'{"text": "data: {}"}'


@pytest.mark.parametrize(
    ("wanted", "raw", "found"),
    [
        (TEXT, '{"text": "h\u00e9"}'.encode(), (PLAIN, "h\u00e9".encode())),
        (TEXT, EVENT, (PLAIN, b"data: {}")),
        (EVENTS, EVENT, (STREAM, b"data: {}")),
        (EITHER, EVENT, (STREAM, b"data: {}")),
        (EITHER, b'{"text": "hello"}', (PLAIN, b"hello")),
    ],
)
def test_the_words_are_what_was_asked_for(wanted, raw, found):
    assert words_in(raw, wanted) == found


@pytest.mark.parametrize("raw", [b'{"text": 1}', b'["text"]', b'{"text": ', b""])
def test_what_has_no_words_stays_as_it_is(raw):
    assert words_in(raw, EITHER) is None


def test_a_model_that_does_not_stream_answers_in_one_piece():
    assert words_in(b'{"text": "hello"}', EVENTS) is None

"""A transcription as it was asked for.

LiteLLM puts every one into JSON: the plain text and the subtitles that a client may ask for, and
the events of a stream, which it takes for a text. They are taken out of it again. Pure.
"""

from __future__ import annotations

from typing import Final

import orjson

from ccproxyd.worker.underway import Slot

_TEXT: Final = b"text/plain; charset=utf-8"
_EVENTS: Final = b"text/event-stream; charset=utf-8"
_FIRST_EVENT: Final = ("data:", "event:")


def words_in(raw: bytes, wanted: Slot) -> tuple[bytes, bytes] | None:
    """The type and the bytes of what a transcription says, if they are wanted and there.

    A model that does not stream answers in one piece, as it does where no stream is asked for.

    >>> words_in(b'{"text": "Hello", "usage": null}', Slot(wants_text=True))
    (b'text/plain; charset=utf-8', b'Hello')
    """
    try:
        said = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    text = said.get("text") if isinstance(said, dict) else None
    if not isinstance(text, str):
        return None
    if wanted.wants_events and text.startswith(_FIRST_EVENT):
        return _EVENTS, text.encode("utf-8", "replace")
    return (_TEXT, text.encode("utf-8", "replace")) if wanted.wants_text else None

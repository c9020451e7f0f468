"""Whether an exception is about an answer that LiteLLM could not read; pure.

A provider, or what stands before it, may answer with 200 and something that is no answer: half of
one, a list, another API's. LiteLLM checks little of it, and has no exception for that. What Python
raises over it goes on to the client in Python's words, as 500, or as 400 for an embedding, as if it
were the client's mistake, and sometimes with a traceback.

What tells it from a fault in LiteLLM, or in what the client has sent, is the place: it is raised
where LiteLLM, or OpenAI's library, makes an answer of the provider's.
"""

from __future__ import annotations

import re
import traceback
from typing import Final

_IN_PYTHONS_WORDS: Final = (AttributeError, LookupError, TypeError, ValueError)
"""pydantic's and JSON's are a ValueError, too."""
_READS_AN_ANSWER: Final = re.compile(
    r"_*(transform|convert)_\w*response(_object)?|\w*chunk_(parser|creator)|handle_\w*_chunk|noting"
)
"""LiteLLM's functions: `transform_response`, `convert_to_model_response_object` and their like; of
a stream `chunk_parser` and `chunk_creator`, and what we have put around the one."""
_READS_JSON: Final = ("json", "httpx")
"""A function, and the module that it is of: the method of a response."""
_WRITES_ITSELF: Final = "model_dump"
"""What LiteLLM asks of each answer of OpenAI's library, which makes no object of a list."""
_COMPILED_READER: Final = "invalid OCR response field: "
"""What LiteLLM's compiled part says, which leaves no trace."""


def is_about_an_answer(error: BaseException) -> bool:
    """Whether it was raised while an answer was read."""
    if isinstance(error, RuntimeError):
        return str(error).startswith(_COMPILED_READER)
    if not isinstance(error, _IN_PYTHONS_WORDS):
        return False
    return getattr(error, "name", None) == _WRITES_ITSELF or any(map(_reads, _places(error)))


def _places(error: BaseException) -> list[tuple[str, str]]:
    """Each function that it came through, and the package of that."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return [
        (frame.f_code.co_name, str(frame.f_globals.get("__name__", "")).partition(".")[0])
        for frame in frames
    ]


def _reads(place: tuple[str, str]) -> bool:
    return place == _READS_JSON or _READS_AN_ANSWER.fullmatch(place[0]) is not None

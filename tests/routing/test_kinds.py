"""What models are for, by the words of LiteLLM's own price list."""

from __future__ import annotations

import orjson
import pytest

from ccproxyd.gateway.prices import find_price_file
from ccproxyd.routing.kinds import KINDS, UNKNOWN, kind_of
from ccproxyd.routing.request import CONVERSATIONS, call_type_of


def test_a_call_that_nobody_knows_makes_sense_for_no_label() -> None:
    assert kind_of("") is UNKNOWN
    assert UNKNOWN.modes == frozenset()


def test_no_conversation_is_among_them() -> None:
    assert CONVERSATIONS.isdisjoint(KINDS)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/embeddings", "embeddings"),
        ("/v1/moderations", "moderations"),
        ("/v1/images/generations", "images"),
        ("/v1/images/edits", "edits of images"),
        ("/v1/audio/transcriptions", "transcriptions"),
        ("/v1/audio/speech", "speech"),
        ("/v2/rerank", "reranking"),
        ("/v1/ocr", "reading documents"),
        ("/v1/videos", "videos"),
        ("/v1/realtime", "realtime conversations"),
    ],
)
def test_a_path_has_a_kind(path: str, name: str) -> None:
    assert kind_of(call_type_of(path)).name == name


def test_every_mode_is_a_word_of_litellms() -> None:
    models = orjson.loads(find_price_file().read_bytes())
    used = {entry.get("mode") for entry in models.values() if isinstance(entry, dict)}
    assert {mode for kind in KINDS.values() for mode in kind.modes} <= used

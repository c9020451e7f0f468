"""What a model can be asked for: which labels make sense for a call.

Rules are written with conversations in mind: "longer than 60 000 tokens goes to `long`" means a
chat, and an embedding that is as long would be lost on the model behind `long`. So a rule applies
to another call only where its label is known to be for such calls, by what `model_info.mode` in
config.yaml or LiteLLM's price list says of its deployments. A model of which nobody says what it
can do is taken for a chat model, as LiteLLM takes it.

The other way round nothing is passed over: providers serve many a model that LiteLLM files under
images or speech through their chat as well, and who gives a chat such a label means it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from attrs import frozen


@frozen
class Kind:
    """A call that is no conversation: what it is called, and the modes of models for it.

    `streams` is false where LiteLLM knows no stream of it.
    """

    name: str
    modes: frozenset[str]
    streams: bool = True


def _kind(name: str, *modes: str, streams: bool = True) -> Kind:
    return Kind(name, frozenset(modes), streams)


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "aembedding": _kind("embeddings", "embedding", streams=False),
        "amoderation": _kind("moderations", "moderation", streams=False),
        "aimage_generation": _kind("images", "image_generation", streams=False),
        "aimage_edit": _kind("edits of images", "image_edit", "image_generation", streams=False),
        "atranscription": _kind("transcriptions", "audio_transcription"),
        "aspeech": _kind("speech", "audio_speech"),
        "arerank": _kind("reranking", "rerank", streams=False),
        "aocr": _kind("reading documents", "ocr", streams=False),
        "avideo_generation": _kind("videos", "video_generation", streams=False),
        "arealtime": _kind("realtime conversations", "realtime"),
    }
)
"""By LiteLLM's name of the call."""

UNKNOWN: Final = _kind("such calls")


def kind_of(call_type: str) -> Kind:
    """What a call that is no conversation asks for.

    >>> kind_of("aembedding").name
    'embeddings'
    """
    return KINDS.get(call_type, UNKNOWN)

"""What is known of a request on its way through LiteLLM, where its hooks and our layers meet.

LiteLLM calls the hooks of `handler` somewhere within its app, and what they return is for LiteLLM
alone. The layers around the app (`intake`, `answering`) are told by a place that goes along with
the request.
"""

from __future__ import annotations

from contextvars import ContextVar

from attrs import define

from ccproxyd.worker.failures import Failure, find, status_in_stream


@define
class Slot:
    """Where the hooks leave what they have learnt of one request."""

    failure: Failure | None = None
    retries: int = 0
    """How often LiteLLM had tried again when it gave up."""
    failed_fallbacks: int = 0
    """How many labels LiteLLM has asked in place of another, and in vain."""
    has_broken: bool = False
    """The stream has said that it broke, which is the last that it says."""
    status: int | None = None
    """What a provider says in its stream that its failure would have had for one."""
    wants_text: bool = False
    """The answer is to be a transcription's text alone."""
    wants_events: bool = False
    """The answer is to be a stream, if the transcription is one."""


current: ContextVar[Slot | None] = ContextVar("ccproxyd_underway", default=None)


def note(error: BaseException, *, streams: bool, retries: int = 0) -> None:
    """Keep what this exception is really about, for the request that it ended."""
    slot = current.get()
    if slot is not None:
        slot.failure, slot.retries = find(error, streams=streams), retries
        slot.status = status_in_stream(error)


def fallback_failed() -> None:
    """Another label was asked in place of one that failed, and failed, too."""
    slot = current.get()
    if slot is not None:
        slot.failed_fallbacks += 1


def want(*, text: bool, events: bool) -> None:
    """Have the request answered without the JSON that LiteLLM puts around a transcription."""
    slot = current.get()
    if slot is not None:
        slot.wants_text, slot.wants_events = text, events

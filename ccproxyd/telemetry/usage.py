"""What one answer says it used: tokens of each kind, and what else its price depends on."""

from __future__ import annotations

from attrs import frozen


@frozen
class Usage:
    """None is what an answer did not say.

    >>> Usage(input_tokens=40, cache_read_tokens=60).prompt_tokens
    100
    """

    input_tokens: int | None = None
    """What was not read from a cache: fresh ones, and those written to a cache."""
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    """Of the input."""
    cache_write_1h_tokens: int | None = None
    """Of those written, the ones that the cache keeps for an hour."""
    audio_input_tokens: int | None = None
    """Of the input."""
    audio_output_tokens: int | None = None
    """Of the output, as are the next."""
    reasoning_tokens: int | None = None
    web_searches: int | None = None
    """Made by the provider itself, which bills each."""
    model: str | None = None
    """As the answer names it, often with a date that the request left out."""
    service_tier: str | None = None
    """As it was served: `standard`, `priority`, `flex` ..."""
    speed: str | None = None
    """`fast` has a price of its own."""
    inference_geo: str | None = None
    """Where it was computed, if that was asked for."""

    @property
    def prompt_tokens(self) -> int:
        """The whole input, which is what a price for long prompts goes by."""
        return (self.input_tokens or 0) + (self.cache_read_tokens or 0)

    @property
    def counts_tokens(self) -> bool:
        """Whether there is anything to price."""
        return self.input_tokens is not None or self.output_tokens is not None

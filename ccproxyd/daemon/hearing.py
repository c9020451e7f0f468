"""What gateways and workers tell, on its way to the statistics, the budgets and the log.

A client may choose the name of a model; it is made harmless here, once for all three.

What a library has logged is told less and less often, and what it printed only with `debug`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from attrs import field, frozen

from ccproxyd.channel import Message
from ccproxyd.config.settings import Settings
from ccproxyd.daemon.purse import Purse
from ccproxyd.telemetry.logs import Logger
from ccproxyd.telemetry.names import Names
from ccproxyd.telemetry.records import Record, Records
from ccproxyd.telemetry.repeats import Repeats
from ccproxyd.telemetry.stats import Stats
from ccproxyd.telemetry.tokens import Tokens

_LIBRARY: Final = "a library has logged something"
_ENVELOPE: Final = frozenset({"kind", "level", "event", "text"})


@frozen
class Hearing:
    """`settings` gives those in force."""

    log: Logger
    stats: Stats
    purse: Purse
    settings: Callable[[], Settings]
    records: Records = field(init=False, repr=False)
    names: Names = field(factory=Names, repr=False)
    repeats: Repeats = field(factory=Repeats, repr=False)
    tokens: Tokens = field(factory=Tokens, repr=False)

    @records.default
    def _told(self) -> Records:
        return Records(self.log.tells)

    def said(self, process: str, message: Message) -> None:
        """A log record of a process, without what it has left empty."""
        told = {name: value for name, value in message.items() if name not in _ENVELOPE}
        facts = {name: value for name, value in told.items() if value != ""}
        facts["process"] = process
        level = message.get("level", "info")
        if "logger" in facts:
            self._of_a_library(level, str(message.get("text") or _LIBRARY), facts)
        else:
            self.log(level, message["event"], **facts)

    def _of_a_library(self, level: str, event: str, facts: dict[str, Any]) -> None:
        """What is printed matters to who looks for a fault; what repeats itself to nobody."""
        count = self.repeats.worth_telling((event, facts.get("where"), facts.get("error")))
        if count is not None:
            printed = facts["logger"] in ("stdout", "stderr")
            times = {"times": count} if count > 1 else {}
            self.log("debug" if printed else level, event, **facts, **times)

    def decided(self, message: Message) -> None:
        """A request is sent on."""
        told = self.names.harmless(message)
        self.stats.decided(told)
        self._tell(self.records.decided(told, self.settings().logging))

    def finished(self, message: Message) -> None:
        """A request has ended."""
        told = self.tokens.finished(self.names.harmless(message))
        self.stats.finished(told)
        self.purse.finished({**told, **_labels_as_they_are(message)})
        self._tell(self.records.finished(told, self.settings().logging))

    def priced(self, message: Message) -> None:
        """LiteLLM says what a request cost."""
        told = self.tokens.priced(message)
        self.stats.priced(told)
        self.purse.priced(told)
        self._tell(self.records.priced(told, self.settings().logging))

    def _tell(self, records: Iterable[Record]) -> None:
        self.log.tell((record.level, record.event, record.facts) for record in records)


def _labels_as_they_are(message: Message) -> Message:
    """By which the purse finds the name of the config that they are booked under."""
    return {name: message.get(name) for name in ("label", "fallback")}

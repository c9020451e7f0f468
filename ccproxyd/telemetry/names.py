"""Names that a client may choose, made harmless before anything is told or stored; pure.

Where a wildcard of `model_list` serves any name, a client may ask for a model that is called like
its key, or whose name is a page long; both come back as the label and as the model behind it.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import define, field

from ccproxyd.channel import Message
from ccproxyd.telemetry.redact import redact

_CHOSEN: Final = ("label", "model", "original_model", "fallback", "fallback_model")
_REMEMBERED: Final = 500
_LONGEST: Final = 128


@define
class Names:
    """Remembers the usual ones.

    >>> Names().harmless({"label": "claude-" + "x" * 500})["label"] == "claude-" + "x" * 121
    True
    """

    _known: dict[str, str] = field(factory=dict, init=False)

    def harmless(self, message: Message) -> Message:
        """A message of the gateway with such names in place of its own."""
        told = {name: self._harmless(message[name]) for name in _CHOSEN if name in message}
        return {**message, **told}

    def _harmless(self, name: Any) -> str | None:
        if not isinstance(name, str):
            return None
        if (known := self._known.get(name)) is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[name] = redact(name[:_LONGEST])
        return known

"""A failure as it goes over the control socket.

It stands apart from the answers in `messages.py` because a client needs it always, and the answers
only once it has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from ccproxyd.errors import CcproxydError


class ControlError(CcproxydError):
    """A verb that could not be carried out; `code` is the answer's HTTP status.

    >>> ControlError("Busy", "a reload is under way", 409).to_json()
    {'error': {'type': 'Busy', 'message': 'a reload is under way', 'code': 409}}
    """

    def __init__(self, type: str, message: str, code: int = 500) -> None:  # noqa: A002
        super().__init__(message)
        self.type = type
        self.message = message
        self.code = code

    def to_json(self) -> dict[str, Any]:
        return {"error": {"type": self.type, "message": self.message, "code": self.code}}

    @classmethod
    def from_json(cls, value: object, code: int = 500) -> Self:
        """The error in an answer; `code` is what HTTP said, for an answer that is not ours."""
        given = value.get("error") if isinstance(value, Mapping) else None
        if not isinstance(given, Mapping):
            return cls("Unknown", f"an answer of status {code} without a reason", code)
        return cls(str(given.get("type", "Unknown")), str(given.get("message", "")), code)

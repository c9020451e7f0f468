"""What an installation has done: told as it is done, or at the end in JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import define, field, frozen

from ccproxyd.ctl.printing import print_json, print_pairs, visible
from ccproxyd.ctl.setup.files import Outcome


@frozen
class Step:
    """Something for the user to do next, and what for."""

    what: str
    purpose: str


@define
class Report:
    is_json: bool
    files: list[Outcome] = field(factory=list)
    done: list[str] = field(factory=list)
    notes: list[str] = field(factory=list)

    def tell(self, outcomes: Iterable[Outcome]) -> list[Outcome]:
        """Each as it comes; those that are changes are returned."""
        changes = []
        for outcome in outcomes:
            self.files.append(outcome)
            if outcome.is_change:
                changes.append(outcome)
            if outcome.fate != "unchanged":
                note = f" ({outcome.note})" if outcome.note else ""
                self._print(f"  {outcome.fate:<8}  {outcome.path}{note}")
        return changes

    def add(self, done: str) -> None:
        self.done.append(done)
        self._print(f"  {done}")

    def note(self, text: str) -> None:
        self.notes.append(text)
        self._print(f"note: {text}")

    @property
    def has_changes(self) -> bool:
        return bool(self.done) or any(outcome.is_change for outcome in self.files)

    def finish(self, unchanged: str, steps: Iterable[Step] = ()) -> None:
        steps = tuple(steps)
        if self.is_json:
            print_json(self._to_json(steps))
            return
        if not self.has_changes:
            print(unchanged)
        if steps:
            print("Next:")
            print_pairs((step.what, step.purpose) for step in steps)

    def _to_json(self, steps: Iterable[Step]) -> dict[str, Any]:
        return {
            "ok": True,
            "changed": self.has_changes,
            "files": [outcome.to_json() for outcome in self.files],
            "done": self.done,
            "notes": self.notes,
            "next": [step.what for step in steps],
        }

    def _print(self, line: str) -> None:
        if not self.is_json:
            print(visible(line), flush=True)

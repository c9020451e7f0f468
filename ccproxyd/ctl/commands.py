"""The one door to other programs: systemctl, launchctl, journalctl and the like."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from attrs import frozen

from ccproxyd.control.client import FailedError

MISSING: Final = 127
"""What a shell says of a program that is not there."""


@frozen
class Finished:
    code: int
    out: str = ""
    err: str = ""

    @property
    def said(self) -> str:
        """Its complaint, as one line."""
        lines = [line.strip() for line in (self.err or self.out).splitlines() if line.strip()]
        return lines[0] if lines else f"exit status {self.code}"


@frozen
class Commands:
    """Runs programs, in an environment of their own if one is given."""

    environ: Mapping[str, str] | None = None

    def run(self, words: Sequence[str]) -> Finished:
        """Until it has ended; one that is not there has the exit status 127."""
        try:
            done = subprocess.run(
                words,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                check=False,
            )
        except OSError as error:
            return Finished(MISSING, err=f"cannot run {words[0]}: {error.strerror}")
        return Finished(done.returncode, done.stdout, done.stderr)

    def lines(self, words: Sequence[str]) -> Iterator[str]:
        """What it prints, as it comes; it is ended when nobody wants more.

        Raises:
            FailedError: it is not there, or it failed; why, it has said on stderr itself.
        """
        try:
            process = subprocess.Popen(
                words,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
            )
        except OSError as error:
            raise FailedError(f"cannot run {words[0]}: {error.strerror}") from None
        with process:
            try:
                yield from process.stdout or ()
            except GeneratorExit:
                process.terminate()
                raise
            if process.wait():
                raise FailedError(f"{words[0]} failed: exit status {process.returncode}")

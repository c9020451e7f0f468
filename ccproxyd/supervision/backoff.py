"""When a process that died may start again.

The delay doubles from half a second to thirty, with jitter so that several do not come back in
step, and starts over after a minute of health. Five deaths within five minutes make the life
`degraded`: that is said aloud, and it is tried again all the same, since giving up would leave a
user with nothing; the delay keeps it from burning a core.
"""

from __future__ import annotations

from typing import Final

from attrs import evolve, field, frozen

FIRST_SECONDS: Final = 0.5
LONGEST_SECONDS: Final = 30.0
HEALTHY_SECONDS: Final = 60.0
DEATHS: Final = 5
DEATHS_WITHIN_SECONDS: Final = 300.0


@frozen
class Backoff:
    """The recent deaths of one life; times are monotonic seconds."""

    failures: int = 0
    deaths: tuple[float, ...] = field(default=())

    def died(self, now: float, *, healthy_for: float) -> Backoff:
        """The record after one more death, of a process that had been ready `healthy_for` seconds.

        >>> Backoff().died(10.0, healthy_for=0.0).delay(jitter=0.0)
        0.5
        """
        before = 0 if healthy_for >= HEALTHY_SECONDS else self.failures
        recent = tuple(at for at in self.deaths if now - at < DEATHS_WITHIN_SECONDS)
        return evolve(self, failures=before + 1, deaths=(*recent, now)[-DEATHS:])

    def delay(self, jitter: float) -> float:
        """Seconds to wait; `jitter` is a random share from 0 to 1 and adds at most a quarter."""
        doubled = FIRST_SECONDS * 2.0 ** min(max(self.failures - 1, 0), 10)
        return min(doubled, LONGEST_SECONDS) * (1 + 0.25 * jitter)

    def is_degraded(self, now: float) -> bool:
        """Whether it died too often to be called well."""
        recent = [at for at in self.deaths if now - at < DEATHS_WITHIN_SECONDS]
        return len(recent) >= DEATHS

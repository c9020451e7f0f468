"""One benchmark, from the start of the first process to the end of the last."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from attrs import define, field, frozen

from scripts.bench.bodies import kinds
from scripts.bench.contestants import Contestant
from scripts.bench.deciding import Decided, decided
from scripts.bench.driver import WrongAnswerError
from scripts.bench.footprint import LAZY, Footprint, lazy_start, ready_seconds, rooms_of, weights
from scripts.bench.limits import Findings
from scripts.bench.measure import Stage
from scripts.bench.plan import Plan
from scripts.bench.results import Results, Run
from scripts.bench.servers import CannotStartError, Server, provider, running, work_in
from tests.support.daemon import short_directory


@frozen
class Cast:
    """Who is to take part: ours and LiteLLM, which must start, and peers, which may not."""

    own: tuple[Contestant, ...]
    peers: tuple[Contestant, ...]


@define
class Benchmark:
    """What is done, by whom, and what became of it."""

    plan: Plan
    cast: Cast
    say: Callable[[str], None]
    absent: dict[str, str] = field(factory=dict)
    """Who took no part, and why."""
    titles: dict[str, str] = field(factory=lambda: {LAZY.name: LAZY.title})
    results: Results = field(factory=Results)

    def run(self) -> Findings:
        """
        Raises:
            CannotStartError: one of our own contestants does not start.
        """
        with ExitStack() as stack:
            directory = stack.enter_context(short_directory())
            servers = self._started(stack, directory)
            self.titles.update({name: server.title for name, server in servers.items()})
            early, rooms = weights(servers), rooms_of(servers)
            self._measure(servers)
            self.say(f"starting {LAZY.title}")
            footprint = Footprint(
                early=early,
                late=weights(servers),
                ready_seconds=ready_seconds(servers),
                rooms=rooms,
                lazy=lazy_start(directory, servers["provider"].address),
            )
        return Findings(self.results, footprint, self._decided())

    def _decided(self) -> tuple[Decided, ...]:
        """When nobody else works any more."""
        if not self.plan.decides:
            return ()
        self.say("deciding")
        return decided()

    def _measure(self, servers: Mapping[str, Server]) -> None:
        for run in Stage(self.plan, servers, kinds()).runs():
            self.results.runs.append(run)
            self.say(line_of(run))

    def _started(self, stack: ExitStack, directory: Path) -> Mapping[str, Server]:
        """One after the other, so that each start is timed alone."""
        mock = stack.enter_context(provider())
        servers = {mock.name: mock}
        for contestant in (*self.cast.own, *self.cast.peers):
            if contestant.name in self.plan.contestants():
                self.say(f"starting {contestant.title}")
                place = directory / contestant.name
                try:
                    server = stack.enter_context(running(contestant, place, mock.address))
                    work_in(server)
                except (CannotStartError, WrongAnswerError) as error:
                    self._cannot(contestant, error)
                else:
                    servers[contestant.name] = server
        return servers

    def _cannot(self, contestant: Contestant, error: Exception) -> None:
        """A peer is left out; one of ours ends the benchmark."""
        if contestant in self.cast.own:
            raise CannotStartError(f"{contestant.title}: {error}") from None
        self.absent[contestant.name] = str(error).splitlines()[0]


def line_of(run: Run) -> str:
    """One measurement as the terminal shows it."""
    turn, summary = run.turn, run.summary
    start = f"{turn.round + 1}  {turn.cell.name:34} {turn.contestant:15}"
    if summary is None:
        return f"{start} {run.problem}"
    held = "" if summary.held else "  cannot hold it"
    return (
        f"{start} {summary.rate:7.0f}/s  p50 {summary.p50:8.2f}  p99 {summary.p99:8.2f} ms  "
        f"cpu {summary.cpu_ms or 0:6.2f} ms{held}"
    )

"""One turn of a plan: the driver let loose on a server, and the CPU time that the server took.

The provider counts what it was asked. Where that is not what was answered, somebody has answered
on his own or asked twice, and the run has no number.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping

import uvloop
from attrs import define

from scripts.bench.bodies import Address, Kind
from scripts.bench.driver import ClosedLoop, OpenLoop
from scripts.bench.plan import Cell, Plan, Turn
from scripts.bench.processes import cpu_seconds, until_quiet
from scripts.bench.provider import LAST, SAID
from scripts.bench.results import Run
from scripts.bench.samples import Taken, summary_of
from scripts.bench.servers import Server


@define
class Stage:
    """The servers that are up, and what they are asked."""

    plan: Plan
    servers: Mapping[str, Server]
    kinds: Mapping[str, Kind]

    def runs(self) -> Iterator[Run]:
        for turn in self.plan.turns(self.servers):
            yield self.run(turn)

    def run(self, turn: Turn) -> Run:
        server, provider = self.servers[turn.contestant], self.servers["provider"]
        load = self._load(turn.cell, server)
        asked, spent = messages_of(provider.address), cpu_seconds(server.pid)
        taken = uvloop.run(load.run())
        spent = cpu_seconds(server.pid) - spent
        asked = messages_of(provider.address) - asked
        if problem := _problem(taken, asked):
            until_quiet(server.pid)
            return Run(turn, None, problem)
        summary = summary_of(taken, spent)
        if not summary.held:
            until_quiet(server.pid)
        return Run(turn, summary)

    def _load(self, cell: Cell, server: Server) -> ClosedLoop | OpenLoop:
        feed = self.kinds[cell.body].feed(server.address, stream=cell.stream)
        common = (server.address, feed, LAST if cell.stream else SAID)
        warm_up = self.plan.warm_up
        if cell.rate:
            seconds = self.plan.rate_seconds
            return OpenLoop(*common, rate=cell.rate, warm_up=warm_up, seconds=seconds)
        return ClosedLoop(*common, clients=cell.clients, warm_up=warm_up, seconds=self.plan.seconds)


def messages_of(provider: Address) -> int:
    """How many messages the provider has answered so far."""
    connection = http.client.HTTPConnection(provider.host, provider.port, timeout=10)
    try:
        connection.request("GET", "/count")
        return int(connection.getresponse().read())
    finally:
        connection.close()


def _problem(taken: Taken, asked: int) -> str:
    if taken.failures:
        return taken.failures[0]
    if not taken.samples:
        return "cannot hold it" if taken.due else "nothing was answered in time"
    # What is given up at the end of an open loop may have been asked and not answered.
    if asked < taken.answered:
        return f"{taken.answered} answers, of which the provider gave {asked}"
    return ""

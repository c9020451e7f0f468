"""What the lives of the house tell it: they are ready, they leave, they ended, they said something.

One class a kind of process. What an event means for the others is looked up here; what is then done
about it is the house's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from ccproxyd.daemon.rendering import Rendering
from ccproxyd.supervision.generations import Generation
from ccproxyd.supervision.lifecycle import State, Wanted
from ccproxyd.supervision.supervisor import Supervised
from ccproxyd.supervision.template import Template

if TYPE_CHECKING:
    from ccproxyd.daemon.house import House


@frozen
class _Callbacks:
    """What the lives of one kind have in common."""

    house: House = field(repr=False)

    async def ready(self, life: Supervised) -> None:
        self.house.log("debug", "process is ready", process=life.name)

    async def withdrawn(self, life: Supervised) -> None:
        self.house.log("debug", "process leaves", process=life.name)

    def exited(self, life: Supervised) -> None:
        self.house.count_exit(life)

    def heard(self, life: Supervised, message: dict[str, Any]) -> None:
        if message["kind"] == "log":
            self.house.hearing.said(life.name, message)


class DemoCallbacks(_Callbacks):
    """The provider of `--demo` is nobody else's business."""


class TemplateCallbacks(_Callbacks):
    """Events of a template that has been replaced concern nobody but its own waiters."""

    def _of(self, life: Supervised) -> Template | None:
        template = self.house.template
        return template if template is not None and template.life is life else None

    async def ready(self, life: Supervised) -> None:
        await super().ready(life)
        if template := self._of(life):
            template.ready()

    def exited(self, life: Supervised) -> None:
        super().exited(life)
        if template := self._of(life):
            template.lost()

    def heard(self, life: Supervised, message: dict[str, Any]) -> None:
        super().heard(life, message)
        if template := self._of(life):
            template.heard(message)


class GatewayCallbacks(_Callbacks):
    async def ready(self, life: Supervised) -> None:
        await super().ready(life)
        await self.house.publish()

    async def withdrawn(self, life: Supervised) -> None:
        """One that hangs is not waited for: the next one accepts while its stacks are written."""
        await super().withdrawn(life)
        if life.state is State.KILLING and life is self.house.gateway:
            self.house.group.start_soon(self.house.new_gateway().run)
            life.want(Wanted.DOWN)

    def exited(self, life: Supervised) -> None:
        super().exited(life)
        self.house.generations.gateway_left(life)
        if life is self.house.gateway:
            self.house.stats.lost()
        elif life in self.house.gateways and life.life.wanted is not Wanted.UP:
            self.house.gateways.remove(life)

    def heard(self, life: Supervised, message: dict[str, Any]) -> None:
        super().heard(life, message)
        match message["kind"]:
            case "decided":
                self.house.hearing.decided(message)
            case "finished":
                self.house.hearing.finished(message)
            case "wanted":
                self.house.wake()
            case "idle":
                self.house.generations.idle(life, message["worker"])
            case "heartbeat":
                self.house.generations.held(life, message["workers"])


@frozen
class WorkerCallbacks(_Callbacks):
    generation: Generation = field(repr=False)
    rendering: Rendering = field(repr=False)

    async def ready(self, life: Supervised) -> None:
        await super().ready(life)
        if self.generation is self.house.generations.current:
            await self.house.publish()

    async def withdrawn(self, life: Supervised) -> None:
        await super().withdrawn(life)
        if self.generation is self.house.generations.current:
            await self.house.publish()
        self.house.generations.let_go()

    def heard(self, life: Supervised, message: dict[str, Any]) -> None:
        super().heard(life, message)
        match message["kind"]:
            case "ready":
                self.generation.models = frozenset(message["models"])
            case "priced":
                self.house.hearing.priced(message)
            case "heartbeat":
                self.house.check_memory(self.generation, self.rendering, life)

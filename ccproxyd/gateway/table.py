"""What a config means for requests.

A `Table` is built whole, from the documents that the daemon sends, before anything uses it: the
users' rule modules are imported here and nowhere else, so a broken one costs an answer on the wire
and not a running process. Putting a table in force is one assignment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import frozen

from ccproxyd.channel import Message
from ccproxyd.config.deployments import Deployment
from ccproxyd.config.imports import build_table
from ccproxyd.config.lanes import LITELLM, Lane, lanes_of, needs_litellm
from ccproxyd.config.load import Loaded
from ccproxyd.config.settings import Settings
from ccproxyd.gateway.auth import Keyring
from ccproxyd.gateway.paths import PathTable
from ccproxyd.routing import ModelRouter, Router, RoutingTable, Rule, StickyTable
from ccproxyd.telemetry.prices import PriceList

_ANTHROPIC_BASES: Final = ("ANTHROPIC_API_BASE", "ANTHROPIC_BASE_URL")

_UNKNOWN: Final = Lane(LITELLM, "no model_name has this label")

OnRuleError = Callable[[Rule, Exception], None]


@frozen
class Table:
    """A config in force."""

    settings: Settings
    routing: RoutingTable
    router: Router
    models: ModelRouter
    keyring: Keyring
    paths: PathTable
    lanes: Mapping[str, Lane]
    """By `model_name`."""
    prices: PriceList
    deployments: tuple[Deployment, ...]
    environ: Mapping[str, str]
    clients_belong_to_litellm: bool
    falls_back: bool
    """LiteLLM may send a request to another label than ours."""

    @classmethod
    def build(
        cls, message: Message, memory: StickyTable, on_error: OnRuleError, prices: PriceList
    ) -> Table:
        """Read a `prepare` message.

        Raises:
            ConfigError: a rule does not load, or a label has no `model_name`.
        """
        loaded = Loaded.from_message(message["config"])
        config_dir = Path(message["config_dir"])
        routing = build_table(loaded, config_dir)
        return cls(
            settings=loaded.settings,
            routing=routing,
            router=Router(routing, memory, on_error),
            models=ModelRouter(routing),
            keyring=Keyring.of(message["keys"]),
            paths=PathTable.build(
                management=loaded.settings.management_routes,
                extra=_pass_through(loaded.documents["litellm"]),
            ),
            lanes=lanes_of(loaded, os.environ, config_dir),
            prices=prices,
            deployments=loaded.litellm.deployments,
            environ={**os.environ, **loaded.environ},
            clients_belong_to_litellm=loaded.litellm.database,
            falls_back=_falls_back(loaded.documents["litellm"]),
        )

    @property
    def starts_litellm_late(self) -> bool:
        """No worker need be there for a gateway that is ready."""
        return self.settings.workers.lazy and needs_litellm(self.lanes) is None

    def lane_of(self, label: str) -> Lane:
        """How the requests of a label go, whatever else they say."""
        target = self.models.target_of(label)
        return self.lanes[target.name] if target else _UNKNOWN

    def lends_subscription(self, label: str) -> bool:
        """Whether the client's own Anthropic token may go along with a request to this label.

        LiteLLM sends such a token wherever the deployment points, in place of the deployment's
        own key. So it goes only where `forward_oauth` is on, no key is configured, and every
        deployment that the request could reach is Anthropic's own address.
        """
        if not any(entry.hook.endswith("forward_oauth") for entry in self.settings.hooks):
            return False
        target = self.models.target_of(label)
        if target is None:
            return False
        reached = [
            one for one in self.deployments if self.falls_back or one.model_name == target.name
        ]
        return bool(reached) and all(map(self._is_anthropic, reached))

    def _is_anthropic(self, deployment: Deployment) -> bool:
        provider, slash, _ = deployment.model.partition("/")
        named = provider == "anthropic" if slash else deployment.model.startswith("claude")
        base = deployment.api_base or next(
            (self.environ[name] for name in _ANTHROPIC_BASES if self.environ.get(name)), None
        )
        return named and not deployment.has_key and _is_anthropic_address(base)


def _is_anthropic_address(base: str | None) -> bool:
    if base is None:
        return True
    parts = urlsplit(base)
    return parts.scheme == "https" and parts.hostname == "api.anthropic.com"


def _falls_back(document: Mapping[str, Any]) -> bool:
    sections = [document.get(name) for name in ("litellm_settings", "router_settings")]
    settings = [item for one in sections if isinstance(one, dict) for item in one.items()]
    return any(name.endswith("fallbacks") and value for name, value in settings)


def _pass_through(document: Mapping[str, Any]) -> list[str]:
    """The paths of `general_settings.pass_through_endpoints`, which the user added on purpose."""
    general = document.get("general_settings")
    entries = general.get("pass_through_endpoints") if isinstance(general, dict) else None
    if not isinstance(entries, list):
        return []
    paths = [entry.get("path") for entry in entries if isinstance(entry, dict)]
    return [path for path in paths if isinstance(path, str) and path.startswith("/")]

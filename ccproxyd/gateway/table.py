"""What a config means for requests.

A `Table` is built whole, from the documents that the daemon sends, before anything uses it: the
users' rule and hook modules are imported here and nowhere else, so a broken one costs an answer on
the wire and not a running process. Putting a table in force is one assignment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import evolve, field, frozen

from ccproxyd.channel import Message
from ccproxyd.config.deployments import Deployment, provider_of
from ccproxyd.config.importing import place_of
from ccproxyd.config.imports import build_parts
from ccproxyd.config.lanes import (
    LITELLM,
    Lane,
    anthropic_base,
    bare_model,
    has_fallbacks,
    is_anthropics_own,
    labels_with_fallbacks,
    lanes_of,
    needs_litellm,
    provider_environ,
)
from ccproxyd.config.load import Loaded
from ccproxyd.config.settings import Settings
from ccproxyd.gateway.auth import Keyring, anthropic_key, subscription_token
from ccproxyd.gateway.hooks.moderation import Moderator, moderator_for
from ccproxyd.gateway.hooks.pipeline import OnFailure, Pipeline, compile_hooks
from ccproxyd.gateway.paths import PathTable
from ccproxyd.routing import (
    ModelRouter,
    NoRouteError,
    Request,
    Router,
    RoutingTable,
    Rule,
    StickyTable,
)
from ccproxyd.telemetry.prices import PRICED, PriceList, Tariff
from ccproxyd.telemetry.stats import OTHER

_CLAUDE: Final = re.compile(r"claude-[a-z0-9.-]{1,48}(\[1m\])?")
"""Anthropic has new ones before anybody else knows of them."""
_TARIFFS: Final = 500
"""With a wildcard in `model_list` the clients name the models."""
_UNKNOWN: Final = Lane(LITELLM, "no model_name has this label")


def _ignore(_path: str, _error: BaseException, _place: str) -> None:
    """What to do about a hook that failed, when nobody says."""


def _with_place(on_error: OnFailure, config_dir: Path) -> Callable[[Rule, BaseException], None]:
    return lambda rule, error: on_error(rule.path, error, place_of(error, config_dir) or "")


@frozen
class Table:
    """A config in force."""

    settings: Settings
    routing: RoutingTable
    router: Router
    models: ModelRouter
    hooks: Pipeline
    moderator: Moderator | None
    keyring: Keyring
    paths: PathTable
    lanes: Mapping[str, Lane]
    """By `model_name`."""
    fallbacks: frozenset[str]
    """The labels that LiteLLM has somewhere else to go for; see `has_fallbacks`."""
    prices: PriceList
    deployments: tuple[Deployment, ...]
    environ: Mapping[str, str] = field(repr=False)
    clients_belong_to_litellm: bool
    session_key: bytes = field(repr=False)
    """By which sessions are marked in the log."""
    _lends_token: bool = field(init=False)
    _lends_key: bool = field(init=False)
    _tariffs: dict[tuple[str, str, str], Tariff] = field(factory=dict, init=False, repr=False)
    _tariffs_as_asked: dict[str, Tariff | None] = field(factory=dict, init=False, repr=False)

    @classmethod
    def build(
        cls,
        message: Message,
        memory: StickyTable,
        on_error: OnFailure,
        prices: PriceList,
        on_hook_error: OnFailure = _ignore,
    ) -> Table:
        """Read a `prepare` message.

        Raises:
            ConfigError: a rule or a hook does not load, or a label has no `model_name`.
        """
        loaded = Loaded.from_message(message["config"])
        settings, config_dir = loaded.settings, Path(message["config_dir"])
        parts = build_parts(loaded, config_dir)
        routing = with_modes(parts.routing, loaded.litellm.deployments, prices)
        return cls(
            settings=settings,
            routing=routing,
            router=Router(routing, memory, _with_place(on_error, config_dir.resolve())),
            models=ModelRouter(routing),
            hooks=compile_hooks(settings.hooks, parts.hooks, config_dir, on_hook_error),
            moderator=moderator_for(settings.moderation, parts.check, config_dir, on_hook_error),
            keyring=Keyring.of(message["keys"]),
            paths=PathTable.build(
                management=settings.management_routes,
                extra=_pass_through(loaded.documents["litellm"]),
            ),
            lanes=lanes_of(loaded, os.environ, config_dir),
            fallbacks=labels_with_fallbacks(loaded.documents["litellm"]),
            prices=prices,
            deployments=loaded.litellm.deployments,
            environ=provider_environ(loaded, os.environ),
            clients_belong_to_litellm=loaded.litellm.database,
            session_key=bytes.fromhex(message["session_key"]),
        )

    @_lends_token.default
    def _is_token_to_be_lent(self) -> bool:
        return self.settings.has_hook("forward_oauth")

    @_lends_key.default
    def _is_key_to_be_lent(self) -> bool:
        ours = self.environ.get("ANTHROPIC_API_KEY")
        return self.settings.has_hook("forward_apikey") and not ours

    @property
    def is_recorded(self) -> bool:
        """Whether the log has records of each request."""
        return self.settings.logging.follows_requests or self.settings.debug

    @property
    def starts_litellm_late(self) -> bool:
        """No worker need be there for a gateway that is ready."""
        return self.settings.workers.lazy and needs_litellm(self.lanes) is None

    def tariff_of(self, deployment: Deployment, model: str) -> Tariff:
        """What the answers of a deployment's model cost; of the usual ones it is remembered."""
        key = (deployment.path, deployment.model_name, model)
        if (known := self._tariffs.get(key)) is None:
            if len(self._tariffs) >= _TARIFFS:
                self._tariffs.clear()
            known = self._tariffs[key] = self.prices.tariff(
                provider_of(deployment) or "",
                model,
                params=deployment.params,
                info=deployment.info,
                api_base=deployment.api_base,
            )
        return known

    def tariff_as_asked(self, model: str) -> Tariff | None:
        """What the answers of a model that a client names cost, None where nobody knows it."""
        if model not in self._tariffs_as_asked:
            if len(self._tariffs_as_asked) >= _TARIFFS:
                self._tariffs_as_asked.clear()
            found = self._find_tariff(model)
            self._tariffs_as_asked[model] = found and found.of_its_own_model()
        return self._tariffs_as_asked[model]

    def told_name(self, model: str) -> str:
        """A requested model as the log has it: one that nobody knows could say anything."""
        bare = bare_model(model)
        known = (
            self.models.target_of(model) is not None
            or _CLAUDE.fullmatch(bare) is not None
            or any(self.prices.find(bare, provider) for provider in PRICED)
        )
        return model if known or not model else OTHER

    def _find_tariff(self, model: str) -> Tariff | None:
        """One that is served costs what its deployment does; another, what its provider asks."""
        try:
            found = self.models.redirect(model, "", Request({"model": model}))
        except NoRouteError:
            return self._public_tariff(bare_model(Request({"model": model}).model))
        served = self.models.target_of(found.label)
        deployments = (one for one in self.deployments if served and one.model_name == served.name)
        first = next(deployments, None)
        return self.tariff_of(first, bare_model(found.model)) if first else None

    def _public_tariff(self, model: str) -> Tariff | None:
        known = (one for one in PRICED if self.prices.find(model, one))
        provider = next(known, None)
        return self.prices.tariff(provider, model) if provider else None

    def lane_of(self, label: str) -> Lane:
        """How the requests of a label go, whatever else they say."""
        target = self.models.target_of(label)
        return _UNKNOWN if target is None else self.lanes[target.name]

    def falls_back(self, label: str) -> bool:
        """Whether LiteLLM has somewhere else to send what fails there.

        An alias, or one name of a wildcard, may have fallbacks that its `model_name` has not.
        """
        return has_fallbacks(label, self.fallbacks)

    def provider_of(self, label: str) -> str | None:
        """That of the label's first deployment, as LiteLLM calls it."""
        target = self.models.target_of(label)
        named = (one for one in self.deployments if target and one.model_name == target.name)
        first = next(named, None)
        return provider_of(first) if first else None

    def lent(self, label: str, headers: Mapping[str, str]) -> str | None:
        """The client's own credential that may go along with its request to this label.

        That is a subscription token where `forward_oauth` is on, or a key for Anthropic's API where
        `forward_apikey` is. It goes only where every deployment of the label is Anthropic's own
        address and has no key. If LiteLLM falls back to another label, the worker takes care that
        it goes no further. A key that opens our port is ours, whatever it looks like, and goes
        nowhere.
        """
        found = self._own_credential(headers)
        return found if found and self._is_anthropics_own(label) else None

    def _own_credential(self, headers: Mapping[str, str]) -> str | None:
        token = subscription_token(headers) if self._lends_token else None
        key = anthropic_key(headers) if self._lends_key else None
        return next((own for own in (token, key) if own and not self._is_ours(own)), None)

    def _is_ours(self, credential: str) -> bool:
        return self.keyring.opens_for([credential])

    def _is_anthropics_own(self, label: str) -> bool:
        target = self.models.target_of(label)
        reached = [one for one in self.deployments if target and one.model_name == target.name]
        return bool(reached) and all(map(self._is_anthropic, reached))

    def _is_anthropic(self, deployment: Deployment) -> bool:
        base = anthropic_base(deployment.api_base, self.environ)
        named = provider_of(deployment) == "anthropic"
        return named and not deployment.has_key and is_anthropics_own(base)


def with_modes(
    routing: RoutingTable, deployments: Iterable[Deployment], prices: PriceList
) -> RoutingTable:
    """The targets with what their models are for, by the config or else by LiteLLM's list."""
    modes: dict[str, set[str]] = {}
    for one in deployments:
        if mode := one.info.get("mode") or prices.mode(one.model, provider_of(one) or ""):
            modes.setdefault(one.model_name, set()).add(str(mode))
    known = {name: tuple(sorted(found)) for name, found in modes.items()}
    targets = (evolve(one, modes=known.get(one.name, ())) for one in routing.targets)
    return evolve(routing, targets=tuple(targets))


def _pass_through(document: Mapping[str, Any]) -> list[str]:
    """The paths of `general_settings.pass_through_endpoints`, which the user added on purpose."""
    general = document.get("general_settings")
    entries = general.get("pass_through_endpoints") if isinstance(general, dict) else None
    if not isinstance(entries, list):
        return []
    paths = [entry.get("path") for entry in entries if isinstance(entry, dict)]
    return [path for path in paths if isinstance(path, str) and path.startswith("/")]

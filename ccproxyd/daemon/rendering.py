"""What the workers of one generation are given: a config of their own, sockets, secrets.

The rendered config holds the generation's key and whatever the user's config holds, so it is
written 0600 into the private runtime directory, anew before each start, and removed when the
generation has gone.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson
from attrs import field, frozen

from ccproxyd.config.litellm import render
from ccproxyd.config.load import Loaded
from ccproxyd.errors import ConfigError
from ccproxyd.paths import Directories
from ccproxyd.supervision.generations import Seal
from ccproxyd.supervision.template import can_fork

_OTHER_NAMES: Final[Mapping[str, str]] = {
    "google": "gemini",
    "googleai": "gemini",
    "claude": "anthropic",
    "aws": "bedrock",
    "amazon": "bedrock",
    "grok": "xai",
    "vertex": "vertex_ai",
    "vertexai": "vertex_ai",
    "together": "together_ai",
    "fireworks": "fireworks_ai",
}
"""How people call a provider, and how LiteLLM does."""


PREFIX: Final = "worker-"


def clear_runtime(runtime: Path) -> None:
    """Remove what a daemon that was killed left behind; only the lock's holder may."""
    for file in runtime.glob(f"{PREFIX}*"):
        file.unlink(missing_ok=True)


def new_seal() -> Seal:
    return Seal(secret=secrets.token_hex(16), key=f"sk-worker-{secrets.token_hex(24)}")


@frozen
class Rendering:
    """One generation's files and orders."""

    number: int
    seal: Seal = field(repr=False)
    document: Mapping[str, Any] = field(repr=False)
    environ: Mapping[str, str] = field(repr=False)
    config_dir: Path
    runtime: Path
    selftest: str
    start_method: str

    @property
    def forks(self) -> bool:
        return self.start_method == "fork" or (self.start_method == "auto" and can_fork())

    @classmethod
    def of(cls, loaded: Loaded, number: int, seal: Seal, directories: Directories) -> Rendering:
        selftest = f"ccproxyd-selftest-{secrets.token_hex(4)}"
        document = render(
            loaded.documents["litellm"],
            master_key=seal.key,
            config_dir=directories.config,
            selftest_name=selftest,
            management=loaded.settings.management_routes,
        )
        return cls(
            number,
            seal,
            document,
            loaded.environ,
            directories.config,
            directories.runtime,
            selftest,
            loaded.settings.workers.start_method,
        )

    @property
    def file(self) -> Path:
        # LiteLLM reads YAML, of which JSON is a part.
        return self.runtime / f"{PREFIX}{self._own}.yaml"

    @property
    def _own(self) -> str:
        """Never that of another daemon's: its orphans may still remove what is theirs."""
        return f"{self.number}-{self.selftest[-8:]}"

    def socket(self, name: str) -> Path:
        return self.runtime / f"{PREFIX}{self._own}.{name.rpartition('.')[2]}.sock"

    def write(self) -> None:
        # Moved into place: another worker of the generation may be reading it.
        fresh = self.file.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(orjson.dumps(self.document))
        fresh.replace(self.file)

    def clear_socket(self, name: str) -> None:
        """What a killed worker left behind."""
        self.socket(name).unlink(missing_ok=True)

    def remove(self, names: list[str]) -> None:
        """The generation has gone: nothing of it stays."""
        self.file.unlink(missing_ok=True)
        for name in names:
            self.clear_socket(name)

    def order(self, name: str) -> dict[str, Any]:
        return {
            "kind": "serve",
            "generation": self.number,
            "name": name,
            "config": str(self.file),
            "socket": str(self.socket(name)),
            "config_dir": str(self.config_dir),
            "secret": self.seal.secret,
            "key": self.seal.key,
            "selftest": self.selftest,
        }

    def address(self, name: str) -> dict[str, Any]:
        """The worker as the gateway reaches it."""
        return {
            "name": name,
            "generation": self.number,
            "socket": str(self.socket(name)),
            "secret": self.seal.secret,
            "key": self.seal.key,
        }


def check_models(loaded: Loaded, models: frozenset[str]) -> None:
    """See that LiteLLM loaded every model that the config names.

    It drops an entry whose provider it does not know, with a line in its log and nothing else.

    Raises:
        ConfigError: the first entry that is missing, with how LiteLLM calls its provider.
    """
    for deployment in loaded.litellm.deployments:
        if deployment.model_name not in models:
            provider = deployment.model.partition("/")[0]
            known = _OTHER_NAMES.get(provider.lower())
            hint = deployment.model.replace(provider, known, 1) if known else None
            reason = f"LiteLLM did not load {deployment.model!r}: it knows no such provider"
            raise ConfigError(f"{deployment.path}.litellm_params.model", reason, hint)

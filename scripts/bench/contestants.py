"""Who there is: the command that starts each, and the files that it wants.

All that have LiteLLM in them read the same `config.yaml`: every model is a deployment of the mock
provider. `ccproxy.yaml` is the sample that ccproxyd installs, with its rules, so that every request
is counted and judged as a user's would be. Nobody's defaults are tuned.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from attrs import fields, frozen

from ccproxyd.config.settings import Logging
from scripts.bench.bodies import MODEL, SWAPPED

KEY: Final = "sk-bench"
SWITCHES: Final = tuple(one.name for one in fields(Logging))
LABELS: Final = ("default", "token_count", "background", "think", "web_search")

_ROOT: Final = Path(__file__).parents[2]
_BIN: Final = Path(sys.executable).parent
_PROVIDER_KEY: Final = "sk-provider"


@frozen
class Launch:
    """Where a contestant is to live, and whom to ask."""

    directory: Path
    port: int
    provider: str
    """The provider's URL, without a path."""


@frozen
class Contestant:
    """One way to the provider. `start` writes what it needs, and returns the command."""

    name: str
    title: str
    start: Callable[[Launch], list[str]]


def ours(name: str, title: str, **settings: Any) -> Contestant:
    """A ccproxyd with the sample config and these settings."""

    def start(launch: Launch) -> list[str]:
        write_config(launch, settings)
        return [sys.executable, "-m", "ccproxyd"]

    return Contestant(name, title, start)


def litellm(name: str, title: str, *, workers: int) -> Contestant:
    def start(launch: Launch) -> list[str]:
        config = write_models(launch)
        words = ["--config", str(config), "--host", "127.0.0.1", "--port", str(launch.port)]
        return [str(_BIN / "litellm"), *words, "--num_workers", str(workers)]

    return Contestant(name, title, start)


def own_contestants() -> tuple[Contestant, ...]:
    """Those that need no more than this project's own packages."""
    off = {"direct": "off"}
    lazy = {"lazy": True}
    return (
        litellm("litellm", "LiteLLM", workers=1),
        litellm("litellm-2", "LiteLLM, 2 workers", workers=2),
        ours("lane", "ccproxyd, LiteLLM's lane", lanes=off),
        ours("lane-2", "ccproxyd, LiteLLM's lane, 2 workers", lanes=off, workers={"count": 2}),
        ours("direct", "ccproxyd, direct lane", lanes={"direct": "auto"}),
        ours("told", "ccproxyd, every record", workers=lazy, logging=switched(True), debug=True),
        ours("untold", "ccproxyd, no records", workers=lazy, logging=switched(False)),
    )


def switched(on: bool) -> dict[str, bool]:
    """The records of a request's life, all or none."""
    return dict.fromkeys(SWITCHES, on)


def code_router(program: Path) -> Contestant:
    """claude-code-router 2, with Anthropic's protocol on both sides."""

    def start(launch: Launch) -> list[str]:
        provider = {
            "name": "mock",
            "api_base_url": f"{launch.provider}/v1/messages",
            "api_key": _PROVIDER_KEY,
            "models": [MODEL],
            "transformer": {"use": ["Anthropic"]},
        }
        settings = {
            "HOST": "127.0.0.1",
            "PORT": launch.port,
            "APIKEY": KEY,
            "Providers": [provider],
            "Router": {"default": f"mock,{MODEL}"},
        }
        _write(launch.directory / ".claude-code-router" / "config.json", json.dumps(settings))
        return ["node", str(program), "start"]

    return Contestant("ccr", "claude-code-router 2", start)


def ancestor(program: Path) -> Contestant:
    """claude-ccproxy: LiteLLM with a handler in it; its sample hooks, without a login."""

    def start(launch: Launch) -> list[str]:
        directory = launch.directory / ".ccproxy"
        hooks = ["ccproxy.hooks.rule_evaluator", "ccproxy.hooks.model_router"]
        settings = {"ccproxy": {"handler": "ccproxy.handler:CCProxyHandler", "hooks": hooks}}
        _write(directory / "ccproxy.yaml", yaml.safe_dump(settings))
        callbacks = {"litellm_settings": {"callbacks": ["ccproxy.handler"]}}
        _write(directory / "config.yaml", yaml.safe_dump(_models(launch.provider) | callbacks))
        words = ["start", "--", "--host", "127.0.0.1", "--port", str(launch.port)]
        return [str(program), "--config-dir", str(directory), *words]

    return Contestant("claude-ccproxy", "claude-ccproxy", start)


def write_config(launch: Launch, settings: Mapping[str, Any]) -> None:
    """Both files of ccproxyd: the sample's, with another port and `settings`."""
    sample = yaml.safe_load((_ROOT / "etc" / "ccproxy.yaml").read_text(encoding="utf-8"))
    ours = {name: _merged(sample["ccproxy"].get(name), value) for name, value in settings.items()}
    document = {"ccproxy": {**sample["ccproxy"], "port": launch.port, **ours}}
    _write(launch.directory / "config" / "ccproxy.yaml", yaml.safe_dump(document))
    write_models(launch)


def write_models(launch: Launch) -> Path:
    path = launch.directory / "config" / "config.yaml"
    _write(path, yaml.safe_dump(_models(launch.provider)))
    return path


def _merged(sample: Any, value: Any) -> Any:
    return {**sample, **value} if isinstance(sample, dict) and isinstance(value, dict) else value


def _models(url: str) -> dict[str, Any]:
    params = {"model": f"anthropic/{MODEL}", "api_base": url, "api_key": _PROVIDER_KEY}
    names = (MODEL, SWAPPED, *LABELS)
    return {
        "model_list": [{"model_name": name, "litellm_params": params} for name in names],
        "general_settings": {"master_key": KEY},
    }


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import pytest

from ccproxyd.config.aliases import install_aliases
from ccproxyd.config.settings import Settings
from ccproxyd.errors import ProxyError
from ccproxyd.routing import ClassificationRule, ModelRouter, RequestClassifier, TokenCountRule


def test_the_ancestors_names_are_ours() -> None:
    install_aliases()
    rules = importlib.import_module("ccproxy.rules")
    assert rules.ClassificationRule is ClassificationRule
    assert rules.TokenCountRule is TokenCountRule
    assert importlib.import_module("ccproxy.config").CCProxyConfig is Settings
    assert importlib.import_module("ccproxy.classifier").RequestClassifier is RequestClassifier
    assert importlib.import_module("ccproxy.router").ModelRouter is ModelRouter


def test_a_built_in_hook_that_is_called_leaves_the_request_as_it_is() -> None:
    install_aliases()
    data = {"model": "m"}
    hooks = importlib.import_module("ccproxy.hooks")
    assert hooks.forward_oauth(data, {}, classifier=None) is data


@pytest.mark.parametrize("module", ["errors", "exceptions", "hooks"])
def test_what_refuses_a_request_is_where_one_would_look(module: str) -> None:
    install_aliases()
    assert importlib.import_module(f"ccproxy.{module}").ProxyError is ProxyError


def test_the_modules_are_reached_from_the_package() -> None:
    install_aliases()
    package = importlib.import_module("ccproxy")
    assert package.rules is sys.modules["ccproxy.rules"]
    assert importlib.util.find_spec("ccproxy") is not None
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("ccproxy.utils")


def test_there_is_a_handler_only_where_one_is_given() -> None:
    install_aliases()
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("ccproxy.handler")

    class Handler: ...

    install_aliases(Handler)
    assert importlib.import_module("ccproxy.handler").CCProxyHandler is Handler


def test_installing_twice_keeps_the_modules_and_the_handler() -> None:
    class Handler: ...

    install_aliases(Handler)
    before = sys.modules["ccproxy.rules"]
    install_aliases()
    assert sys.modules["ccproxy.rules"] is before
    assert importlib.import_module("ccproxy").handler.CCProxyHandler is Handler


def test_a_module_that_is_there_already_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    generated = ModuleType("ccproxy")
    monkeypatch.setitem(sys.modules, "ccproxy", generated)
    install_aliases()
    assert sys.modules["ccproxy"] is not generated
    assert sys.modules["ccproxy"].rules.TokenCountRule is TokenCountRule


def test_a_handler_that_a_worker_made_stays_within_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    made = ModuleType("ccproxy.handler")
    monkeypatch.setitem(sys.modules, "ccproxy", ModuleType("ccproxy"))
    monkeypatch.setitem(sys.modules, "ccproxy.handler", made)
    install_aliases()
    assert sys.modules["ccproxy.handler"] is made
    assert sys.modules["ccproxy"].handler is made

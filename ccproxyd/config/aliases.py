"""The names by which modules written for claude-ccproxy know our classes.

Such a module says `from ccproxy.rules import ClassificationRule`, and is to load as it is. So the
names go into `sys.modules`, where they also stand before a `ccproxy.py` that claude-ccproxy
generated into the config directory, and before claude-ccproxy itself should it be installed. The
errors by which a rule or a hook refuses a request are there as well: it had none, so they are where
one would look.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from ccproxyd.config.entries import BUILT_IN_HOOKS
from ccproxyd.config.settings import Settings
from ccproxyd.errors import ProxyError, Unknown, UpstreamTimeout, ValidationError
from ccproxyd.routing import BUILT_IN, ClassificationRule, ModelRouter, RequestClassifier

_ERRORS = (ProxyError, UpstreamTimeout, Unknown, ValidationError)
_MARK = "__alias_of_ccproxyd__"


def install_aliases(handler: type | None = None) -> None:
    """Make `ccproxy` and its modules importable; more than once is the same as once.

    Args:
        handler: what `ccproxy.handler.CCProxyHandler` is to be; only a worker has one.
    """
    package = _module("ccproxy", _installed_handler())
    for name, names in _contents().items():
        setattr(package, name, _module(f"ccproxy.{name}", names))
    if handler is not None:
        contents = {"CCProxyHandler": handler}
        setattr(package, "handler", _module("ccproxy.handler", contents))  # noqa: B010


def _contents() -> dict[str, dict[str, Any]]:
    errors = {error.__name__: error for error in _ERRORS}
    return {
        "rules": {"ClassificationRule": ClassificationRule, **BUILT_IN},
        "classifier": {
            "ClassificationRule": ClassificationRule,
            "RequestClassifier": RequestClassifier,
        },
        "router": {"ModelRouter": ModelRouter},
        "config": {"CCProxyConfig": Settings},
        "hooks": {**dict.fromkeys(BUILT_IN_HOOKS, _leave_as_it_is), **errors},
        "errors": errors,
        "exceptions": errors,
    }


def _installed_handler() -> dict[str, Any]:
    """What a worker has put there by itself is to stay within reach."""
    found = sys.modules.get("ccproxy.handler")
    return {"handler": found} if found is not None else {}


def _leave_as_it_is(data: dict[str, Any], *_args: Any, **_kwargs: Any) -> dict[str, Any]:
    """A built-in hook to a module that calls one: the gateway has done it already."""
    return data


def _module(name: str, contents: dict[str, Any]) -> ModuleType:
    module = sys.modules.get(name)
    if module is None or not hasattr(module, _MARK):
        module = ModuleType(name)
        is_package = "." not in name
        module.__spec__ = ModuleSpec(name, None, is_package=is_package)
        if is_package:
            module.__path__ = []
    vars(module).update({_MARK: True, **contents})
    sys.modules[name] = module
    return module

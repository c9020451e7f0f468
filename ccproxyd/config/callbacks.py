"""The callbacks of config.yaml, and which of their names mean our handler.

Configs call it by several names: `ccproxy.handler`, of the file that claude-ccproxy generates, or
`custom_callbacks.proxy_handler_instance`, of a file that its documentation has the user write. All
of them are replaced by our own, once, since a handler that is registered twice runs twice.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

OUR_HANDLER: Final = "ccproxyd.worker.handler.proxy_handler_instance"

_ALWAYS_OURS: Final = frozenset({"ccproxy.handler", "ccproxy.instance"})
_HANDLER_MODULES: Final = frozenset({"ccproxy.handler", "ccproxyd.worker.handler"})
_HANDLER_CLASS: Final = "CCProxyHandler"


def listed_callbacks(document: Mapping[str, Any]) -> list[Any]:
    """`callbacks` is a list of names, or one name."""
    found = (document.get("litellm_settings") or {}).get("callbacks")
    if isinstance(found, list):
        return found
    return [] if found is None else [found]


def means_our_handler(callback: str, config_dir: Path) -> bool:
    """Whether a callback's name is one of those by which configs call our handler.

    By claude-ccproxy's documentation `custom_callbacks.proxy_handler_instance` is in a file of the
    user's that does nothing but make a CCProxyHandler; a file that does more is the user's own.
    """
    if callback in _ALWAYS_OURS or callback.startswith("ccproxyd.worker.handler."):
        return True
    file = _module_file(callback.rpartition(".")[0], config_dir)
    if file is not None and file.is_file():
        return makes_only_our_handler(file.read_text("utf-8", "replace"))
    return callback == "custom_callbacks.proxy_handler_instance"


def _module_file(module: str, config_dir: Path) -> Path | None:
    parts = module.split(".")
    return (
        config_dir.joinpath(*parts).with_suffix(".py")
        if all(map(str.isidentifier, parts))
        else None
    )


def makes_only_our_handler(source: str) -> bool:
    """Whether a module is of the documented form, in which it adds nothing to our handler.

    >>> makes_only_our_handler("from ccproxy.handler import CCProxyHandler\\nx = CCProxyHandler()")
    True
    >>> makes_only_our_handler("import os\\nx = os.getcwd()")
    False
    """
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError):
        return False
    return bool(body) and all(_adds_nothing(statement) for statement in body)


def _adds_nothing(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(value=ast.Constant()):
            return True
        case ast.ImportFrom(module=module, names=[ast.alias(name=name)]):
            return module in _HANDLER_MODULES and name == _HANDLER_CLASS
        case ast.Assign(value=ast.Call(func=ast.Name(id=name), args=[], keywords=[])):
            return name == _HANDLER_CLASS
    return False

"""Sources as trees, whatever the tests before have left behind.

Python 3.11 makes one tree at a time: where garbage is collected in the midst of it, and a finaliser
prints a traceback, for which Python makes a tree as well, the first one ends in a SystemError.
"""

from __future__ import annotations

import ast
import gc
from pathlib import Path


def tree_of(path: Path) -> ast.Module:
    """The tree of a file; meanwhile no garbage is collected."""
    collects = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(path.read_bytes())
    finally:
        if collects:
            gc.enable()

"""Trees of sources, in the midst of garbage."""

import ast
import gc
from pathlib import Path

from tests.support.trees import tree_of


class Parsing:
    """What makes a tree when it goes, as a traceback does that is printed."""

    def __init__(self, told):
        self.circle, self.told = self, told

    def __del__(self):
        ast.parse("a = b + c * f(d)")
        self.told.append("gone")


def test_what_is_garbage_by_then_spoils_no_tree():
    """Python would collect it in the midst of a tree as large as this one."""
    told = []
    gc.collect()
    for _ in range(5):
        Parsing(told)
    tree = tree_of(Path(ast.__file__))
    assert told == []
    assert "parse" in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert gc.isenabled()
    gc.collect()
    assert told == ["gone"] * 5


def test_who_does_not_collect_is_left_so():
    gc.disable()
    try:
        tree_of(Path(__file__))
        assert not gc.isenabled()
    finally:
        gc.enable()

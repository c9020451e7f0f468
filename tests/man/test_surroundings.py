"""Environment, signals, headers and calls: what the pages say of the world around the programs."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator

from ccproxyd.config.litellm import MASTER_KEY_NAME
from ccproxyd.ctl.env import client_variables
from ccproxyd.ctl.parser import parse
from ccproxyd.daemon.main import _DEMO_URL
from ccproxyd.daemon.main import _parser as daemon_parser
from ccproxyd.gateway.lanes.failures import HEADER as FAILURE_HEADER
from ccproxyd.gateway.lanes.litellm import DECISION_HEADER
from ccproxyd.notify import SERVICE_VARIABLES
from ccproxyd.worker import environment
from tests.man.mdoc import ROOT, Page
from tests.support.trees import tree_of

SOURCES = sorted((ROOT / "ccproxyd").rglob("*.py"))
INTERNAL = {environment.CONFIG}
"""Between our own processes."""


def trees(*rooms: str) -> Iterator[ast.AST]:
    for path in SOURCES:
        if not rooms or path.relative_to(ROOT / "ccproxyd").parts[0].removesuffix(".py") in rooms:
            yield tree_of(path)


def variables() -> set[str]:
    """Every name that is looked up in something called environ, and those of our tables."""
    found = {name for tree in trees() for node in ast.walk(tree) for name in _looked_up(node)}
    tables = {*SERVICE_VARIABLES, *environment.DEFAULTS, *environment.FOREIGN}
    return (found | tables | {MASTER_KEY_NAME, _DEMO_URL}) - INTERNAL


def _looked_up(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Call(func=ast.Attribute(value=owner), args=args) if _is_environ(owner):
            candidates: list[ast.expr] = list(args[:1])
        case ast.Call(args=args) if any(map(_is_environ, args)):
            candidates = list(args)
        case ast.Subscript(value=owner, slice=index) if _is_environ(owner):
            candidates = [index]
        case ast.Compare(left=left, comparators=[owner]) if _is_environ(owner):
            candidates = [left]
        case _:
            return
    for one in candidates:
        if isinstance(one, ast.Constant) and re.fullmatch(
            r"[A-Za-z]+(_[A-Za-z]+)*", str(one.value)
        ):
            yield str(one.value)


def _is_environ(node: ast.expr) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name == "environ"


def test_every_variable_that_is_looked_up_is_there(pages: list[Page]) -> None:
    """Those of proxies in capital letters, though small ones are looked up as well."""
    told = {text.upper() for page in pages for text in page.of("Ev", "ENVIRONMENT")}
    assert {name.upper() for name in variables()} - told == set()


def test_no_variable_is_there_that_nobody_looks_up(pages: list[Page]) -> None:
    text = "\n".join(path.read_text("utf-8") for path in SOURCES)
    told = {name for page in pages for name in page.of("Ev")}
    unknown = {name for name in told if not re.search(rf"\b{name}\b", text)}
    assert unknown == set()


def test_every_signal_that_is_followed_is_there(ccproxyd: Page) -> None:
    followed = {
        argument.attr
        for tree in trees("daemon")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "open_signal_receiver"
        for argument in node.args
        if isinstance(argument, ast.Attribute)
    }
    told = {name for item in ccproxyd.items("SIGNALS", "Dv") for name in item.names}
    assert followed
    assert told == followed | {"SIGUSR1"}


def test_every_header_of_an_answer_is_there_and_no_other(ccproxyd: Page) -> None:
    given = {
        node.value
        for tree in trees("gateway")
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and re.fullmatch(r"x-ccproxy-[a-z-]*[a-z]", str(node.value))
    } - {DECISION_HEADER, FAILURE_HEADER}
    told = {item.names[0] for item in ccproxyd.items("DESCRIPTION", "Dq")}
    assert told == given


def test_the_variables_of_a_client_are_told(ccproxyctl: Page) -> None:
    before = {"ANTHROPIC_AUTH_TOKEN": "sk-0", "ANTHROPIC_API_KEY": "sk-0"}
    made = {
        *client_variables("127.0.0.1", 4000, "sk-1", before, window=32_000, small_model=True),
        *client_variables("127.0.0.1", 4000, "sk-1", before, oauth=True),
    }
    assert ccproxyctl.of("Ev", "DESCRIPTION") >= made


# The calls in the examples


def calls(pages: list[Page], program: str) -> list[list[str]]:
    """Every line of an example that calls a program, as its words."""
    pattern = re.compile(rf"(?:\$\(|<\(|&& |\| |^\$ ){program} ([^\n|)&#>]*)", re.MULTILINE)
    texts = [text for page in pages for text in page.examples]
    return [shlex.split(found) for text in texts for found in pattern.findall(text)]


def test_ccproxyctl_understands_every_call_of_the_examples(pages: list[Page]) -> None:
    found = calls(pages, "ccproxyctl")
    assert len(found) >= 10
    for words in found:
        assert parse(words).verb in words


def test_ccproxyd_understands_every_call_of_the_examples(pages: list[Page]) -> None:
    found = calls(pages, "ccproxyd")
    assert found
    for words in found:
        daemon_parser().parse_args(words)

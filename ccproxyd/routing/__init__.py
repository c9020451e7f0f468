"""A request's way to a label, without I/O, clock or state of its own.

    media      what an image or a PDF costs
    content    what a model reads of a body, piece by piece
    memory     numbers by hashes, and not too many of them
    prefixes   how far a body is one that has been counted
    toolsets   the tools of a body, parsed once for all requests
    tokens     how many tokens a body is, each piece counted once
    request    the body with its facts, which rules ask for
    rules      the rules, and what one of your own is made of
    kinds      which labels make sense for what is no conversation
    sticky     which conversations stay on their label
    router     rules in order to a label, the label to a model

Each imports only from those above it. What users write against is exported here:

>>> table = RoutingTable(
...     rules=(Rule("background", MatchModelRule("haiku"), "MatchModelRule"),),
...     targets=(Target("background", ("anthropic/claude-haiku-4-5",)),),
... )
>>> Router(table).decide(Request({"model": "claude-haiku-4-5-20251001"})).label
'background'
"""

from ccproxyd.routing.request import Request, Thinking, call_type_of
from ccproxyd.routing.router import (
    Decision,
    Explanation,
    ModelRouter,
    NoRouteError,
    Outcome,
    RequestClassifier,
    Router,
    RoutingTable,
    Rule,
    Target,
)
from ccproxyd.routing.rules import (
    BUILT_IN,
    AllOf,
    AnyOf,
    ClassificationRule,
    DefaultRule,
    ImageRule,
    MatchHeaderRule,
    MatchModelRule,
    MatchSystemRule,
    MatchToolRule,
    Not,
    SubagentRule,
    ThinkingRule,
    TokenCountRule,
)
from ccproxyd.routing.sticky import StickyTable
from ccproxyd.routing.tokens import TokenCounter
from ccproxyd.routing.toolsets import Toolsets

__all__ = [
    "BUILT_IN",
    "AllOf",
    "AnyOf",
    "ClassificationRule",
    "Decision",
    "DefaultRule",
    "Explanation",
    "ImageRule",
    "MatchHeaderRule",
    "MatchModelRule",
    "MatchSystemRule",
    "MatchToolRule",
    "ModelRouter",
    "NoRouteError",
    "Not",
    "Outcome",
    "Request",
    "RequestClassifier",
    "Router",
    "RoutingTable",
    "Rule",
    "StickyTable",
    "SubagentRule",
    "Target",
    "Thinking",
    "ThinkingRule",
    "TokenCountRule",
    "TokenCounter",
    "Toolsets",
    "call_type_of",
]

"""routes: the rules in their order, and what each label means."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping

from ccproxyd.control.messages import RouteRule, Routes
from ccproxyd.ctl.printing import Column, print_json, print_table
from ccproxyd.ctl.reach import ask


def routes(args: Namespace) -> int:
    answer = ask(args, "routes")
    if args.json:
        print_json(answer)
    else:
        _print_routes(Routes.from_json(answer))
    return 0


def _print_routes(found: Routes) -> None:
    models = {target.name: target.models for target in found.targets}
    rows = [_rule_row(place, rule) for place, rule in enumerate(found.rules, 1)]
    print_table(
        [Column("#", figures=True), Column("rule"), Column("label"), Column("sticky")], rows
    )
    print_labels(models, found.aliases)
    kept = "keeps its model" if found.default_model_passthrough else "gets the label default"
    print(f"A request that no rule matches {kept}.")


def _rule_row(place: int, rule: RouteRule) -> list[str]:
    return [str(place), rule.rule, rule.label, "yes" if rule.sticky else ""]


def print_labels(models: Mapping[str, tuple[str, ...]], aliases: Mapping[str, str]) -> None:
    """What each label means; also used by `check`."""
    rows = [[name, ", ".join(found)] for name, found in models.items()]
    rows += [[name, f"= {label}"] for name, label in aliases.items()]
    print_table([Column("label"), Column("model")], rows)

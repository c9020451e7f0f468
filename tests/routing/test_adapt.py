"""What a body becomes when another model gets it, told by requests of the shape of real ones."""

from copy import deepcopy
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccproxyd.routing.adapt import Adapted, adapt, split_betas, strip_for_others
from ccproxyd.routing.families import FAMILIES, LEVELS, Family, family_of, is_same_model
from tests.support.shapes import (
    ADAPTIVE,
    CONVERSING,
    DISABLED,
    HAIKU,
    NAMES,
    OPUS,
    Body,
    Message,
    assistant,
    call,
    notes,
    result,
    said,
    shape,
    thought,
    tool,
    user,
)

BETAS = (
    "claude-code-20250219",
    "context-1m-2025-08-07",
    "interleaved-thinking-2025-05-14",
    "context-management-2025-06-27",
    "prompt-caching-scope-2026-01-05",
    "mid-conversation-system-2026-04-07",
    "effort-2025-11-24",
)
MODELS = [family.name for family in FAMILIES if family.name.startswith("claude")]
BUDGETED = [name for name in MODELS if family_of(name).thinking == "enabled"]
ADAPTING = [name for name in MODELS if family_of(name).thinking == "adaptive"]
CLEARING = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}
TOOL_LOOP = [f"toolloop-0{turn}" for turn in range(1, 6)]
TOO_LONG = 10**6


def swapped(body: Body, model: str, requested: str = OPUS) -> Body:
    return adapt(body, requested_model=requested, model=model).body


def asked(*messages: Message, **fields: Any) -> Body:
    found = list(messages) or [user(said(10))]
    return {"model": OPUS, "max_tokens": 64000, "messages": found, **fields}


def texts_of(message: Message) -> list[str]:
    return [block.get("text", block.get("content")) for block in message["content"]]


def reminder(*texts: str) -> str:
    joined = "\n\n".join(texts)
    return f"<system-reminder>\n{joined}\n</system-reminder>"


# One model


@pytest.mark.parametrize("name", NAMES)
def test_a_request_that_keeps_its_model_is_left_alone(name: str) -> None:
    body = shape(name).body
    requested = body["model"]
    for model in (requested, f"anthropic/{requested}", f"{requested}[1m]"):
        assert adapt(body, BETAS, requested_model=requested, model=model) == Adapted(body, BETAS)
        assert adapt(body, requested_model=requested, model=model).body is body


@pytest.mark.parametrize("model", MODELS)
def test_a_dated_id_is_the_same_model(model: str) -> None:
    body = shape("toolloop-05").body
    assert swapped(body, f"{model}-20290101", model) is body


def test_thinking_that_no_claude_signed_goes_even_so() -> None:
    own = thought(20, 40)
    foreign = [
        {"type": "thinking", "thinking": "Hm.", "signature": ""},
        {"type": "thinking", "thinking": "Hm."},
        {"type": "thinking", "thinking": "Hm.", "signature": None},
        {"type": "thinking", "thinking": "", "signature": "litellm_encrypted_reasoning:gAAA"},
        {"type": "redacted_thinking", "data": "litellm_encrypted_reasoning:gAAA"},
    ]
    hidden = {"type": "redacted_thinking", "data": "RURBQ1RFRA=="}
    body = asked(
        user(said(10)), assistant(*foreign, said(5)), user(said(6)), assistant(own, hidden, said(7))
    )
    adapted = adapt(body, BETAS, requested_model=OPUS, model=OPUS)
    assert adapted.changes == ("signatures",)
    assert adapted.betas == BETAS
    assert adapted.body["messages"][1] == assistant(said(5))
    assert adapted.body["messages"][3] is body["messages"][3]


def test_a_budgeted_model_goes_on_without_thinking_when_the_last_was_not_its_own() -> None:
    unsigned = {"type": "thinking", "thinking": "Hm.", "signature": ""}
    body = asked(
        user(said(10)),
        assistant(unsigned, call(1, "Bash")),
        user(result(1, 5)),
        thinking={"type": "enabled", "budget_tokens": 5000},
        context_management=CLEARING,
    )
    adapted = adapt(body, requested_model=HAIKU, model="claude-haiku-4-5")
    assert adapted.body["thinking"] == DISABLED
    assert adapted.changes == ("signatures", "thinking", "context_management")


def test_other_models_want_their_unsigned_thinking_back() -> None:
    body = asked(user(said(1)), assistant({"type": "thinking", "thinking": "Hm."}, said(2)))
    assert swapped(body, "glm-4.6", "glm-4.6") is body
    assert swapped(body, "glm-4.6", OPUS) is body


def test_it_thinks_on_if_the_last_was() -> None:
    unsigned = {"type": "thinking", "thinking": "Hm.", "signature": ""}
    body = asked(
        user(said(10)),
        assistant(unsigned, said(5)),
        user(said(8)),
        assistant(thought(4, 30), call(1, "Bash")),
        user(result(1, 5)),
        thinking={"type": "enabled", "budget_tokens": 5000},
    )
    adapted = adapt(body, requested_model=HAIKU, model=HAIKU)
    assert adapted.changes == ("signatures",)
    assert adapted.body["thinking"] is body["thinking"]


# Row by row

MAIN = {
    "claude-fable-5-2": (ADAPTIVE, 64000, "high", "us"),
    "claude-fable-5-1": (ADAPTIVE, 64000, "high", "us"),
    "claude-fable-5": (ADAPTIVE, 64000, "high", "us"),
    "claude-mythos-5-2": (ADAPTIVE, 64000, "high", "us"),
    "claude-mythos-5-1": (ADAPTIVE, 64000, "high", "us"),
    "claude-mythos-5": (ADAPTIVE, 64000, "high", "us"),
    "claude-opus-5-5": (ADAPTIVE, 64000, "high", "us"),
    "claude-sonnet-5-5": (ADAPTIVE, 64000, "high", "us"),
    "claude-haiku-5-5": (ADAPTIVE, 64000, "high", "us"),
    "claude-opus-5": (ADAPTIVE, 64000, "high", "us"),
    "claude-sonnet-5": (ADAPTIVE, 64000, "high", "us"),
    "claude-opus-4-8": (ADAPTIVE, 64000, "high", "us"),
    "claude-opus-4-7": (ADAPTIVE, 64000, "high", "u"),
    "claude-opus-4-6": (ADAPTIVE, 64000, "high", "u"),
    "claude-sonnet-4-6": (ADAPTIVE, 64000, "high", "u"),
    "claude-opus-4-5": (31999, 64000, "high", "u"),
    "claude-sonnet-4-5": (31999, 64000, None, "u"),
    "claude-haiku-4-5": (31999, 64000, None, "u"),
    "claude-opus-4-1": (31999, 32000, None, "u"),
    "claude-opus-4": (31999, 32000, None, "u"),
    "claude-sonnet-4": (31999, 64000, None, "u"),
    "claude-3-7": (31999, 64000, None, "u"),
    "claude-3-5": (None, 8192, None, "u"),
    "claude-3": (None, 4096, None, "u"),
    "newer": (ADAPTIVE, 64000, "high", "us"),
    "other": (ADAPTIVE, 64000, "high", "u"),
}


def model_of(row: str) -> str:
    return "claude-newcomer-7" if row == "newer" else row


@pytest.mark.parametrize("row", [family.name for family in FAMILIES])
def test_the_main_request_of_opus_as_each_family_takes_it(row: str) -> None:
    expected, limit, effort, roles = MAIN[row]
    body = swapped(shape("simple-01").body, model_of(row))
    enabled = {"type": "enabled", "budget_tokens": expected}
    assert body.get("thinking") == (enabled if isinstance(expected, int) else expected)
    assert body["max_tokens"] == limit
    assert body.get("output_config") == (effort and {"effort": effort})
    assert "".join(message["role"][0] for message in body["messages"]) == roles


@pytest.mark.parametrize("model", ADAPTING)
def test_a_budget_becomes_adaptive_and_asks_for_no_less_than_the_default(model: str) -> None:
    body = swapped(shape("model-haiku-01").body, model, HAIKU)
    assert body["thinking"] == ADAPTIVE
    assert "output_config" not in body
    assert body["context_management"] == CLEARING
    assert body["max_tokens"] == 32000


def test_of_a_haiku_request_only_the_thinking_changes_on_the_way_up() -> None:
    body = shape("model-haiku-01").body
    adapted = adapt(body, BETAS[:1], requested_model=HAIKU, model=OPUS)
    assert adapted.changes == ("thinking",)
    assert adapted.betas == BETAS[:1]
    assert adapted.body == {**body, "thinking": ADAPTIVE}
    assert all(adapted.body[key] is body[key] for key in body if key != "thinking")


def test_a_body_that_all_take_stays_the_same_object() -> None:
    body = asked(user(said(3)), {"role": "assistant", "content": "Well."}, user(said(4)))
    for model in [*MODELS[:-2], "claude-newcomer-7", "glm-4.6"]:
        requested = OPUS if not family_of(model).unasked else "claude-newcomer-8"
        if family_of(model).output != 32000 and not is_same_model(requested, model):
            assert adapt(body, requested_model=requested, model=model) == Adapted(body)
            assert swapped(body, model, requested) is body


def test_the_changes_are_named_in_the_order_in_which_they_were_made() -> None:
    body = shape("toolloop-05").body
    adapted = adapt(body, BETAS, requested_model=OPUS, model="claude-opus-4-1")
    assert adapted.changes == (
        "max_tokens",
        "signatures",
        "system_messages",
        "thinking",
        "context_management",
        "effort",
        "betas",
    )
    assert adapted.betas == tuple(
        beta for beta in BETAS if not beta.startswith(("context-1m", "mid-conv", "effort"))
    )


# Thinking


@pytest.mark.parametrize(
    ("effort", "budget"),
    [("low", 4000), ("medium", 10000), ("high", 31999), ("xhigh", 31999), (None, 31999)],
)
def test_an_effort_becomes_a_budget(effort: str | None, budget: int) -> None:
    body = asked(thinking=ADAPTIVE, output_config={"effort": effort} if effort else {})
    assert swapped(body, HAIKU)["thinking"] == {"type": "enabled", "budget_tokens": budget}


def test_a_budget_leaves_something_of_the_limit() -> None:
    body = asked(thinking={"type": "enabled", "budget_tokens": 60000})
    fitted = swapped(body, "claude-opus-4-1", "claude-sonnet-4-5")
    assert (fitted["thinking"]["budget_tokens"], fitted["max_tokens"]) == (31999, 32000)


def test_thinking_that_does_not_fit_the_limit_is_off() -> None:
    body = asked(thinking=ADAPTIVE, max_tokens=1024, context_management=CLEARING)
    fitted = swapped(body, HAIKU)
    assert fitted["thinking"] == DISABLED
    assert "context_management" not in fitted


def test_how_thinking_is_shown_stays_and_what_it_was_bound_to_goes() -> None:
    wish = {"display": "summarized", "block_binding": {"prefix_mismatch_behavior": "error"}}
    for kind, model in ((ADAPTIVE, HAIKU), ({"type": "enabled", "budget_tokens": 9000}, OPUS)):
        fitted = swapped(asked(thinking={**kind, **wish}), model, "claude-opus-5")
        assert fitted["thinking"]["display"] == "summarized"
        assert "block_binding" not in fitted["thinking"]


@pytest.mark.parametrize("model", BUDGETED)
@pytest.mark.parametrize("name", TOOL_LOOP[1:])
def test_while_calls_are_answered_a_budgeted_model_does_not_think(name: str, model: str) -> None:
    body = swapped(shape(name).body, model)
    assert body["thinking"] == DISABLED
    assert "context_management" not in body


@pytest.mark.parametrize("model", [name for name in ADAPTING if name != OPUS])
@pytest.mark.parametrize("name", TOOL_LOOP)
def test_an_adaptive_model_thinks_on(name: str, model: str) -> None:
    body = swapped(shape(name).body, model)
    assert body["thinking"] == ADAPTIVE
    assert body["context_management"] == CLEARING


def test_a_budgeted_model_thinks_again_when_the_user_speaks() -> None:
    answered = shape("toolloop-05").body
    spoken = {**answered, "messages": [*answered["messages"], assistant(said(3)), user(said(9))]}
    assert swapped(spoken, HAIKU)["thinking"] == {"type": "enabled", "budget_tokens": 31999}


ALWAYS = [name for name in ADAPTING if not family_of(name).off]


@pytest.mark.parametrize("model", ALWAYS)
def test_what_cannot_but_think_gets_room_beside_a_short_answer(model: str) -> None:
    body = shape("auto-02").body
    fitted = swapped(body, model)
    assert (body["max_tokens"], fitted["max_tokens"]) == (64, 2112)
    assert fitted["thinking"] == ADAPTIVE
    assert swapped(shape("task-gp-02").body, model)["max_tokens"] == 64000


@pytest.mark.parametrize("model", [name for name in MODELS if family_of(name).off])
def test_elsewhere_thinking_that_is_off_stays_off(model: str) -> None:
    body = shape("think-0-01").body
    assert swapped(body, model)["thinking"] == {"type": family_of(model).off}


def test_off_has_another_word_in_one_family_and_is_put_back() -> None:
    body = asked(thinking=DISABLED)
    there = swapped(body, "claude-sonnet-5-5")
    assert there["thinking"] == {"type": "between_tools"}
    assert swapped(there, OPUS, "claude-sonnet-5-5") == body


@pytest.mark.parametrize(
    ("requested", "model", "thinking"),
    [
        (HAIKU, "claude-sonnet-5", DISABLED),
        (HAIKU, "claude-sonnet-5-5", {"type": "between_tools"}),
        (HAIKU, "claude-fable-5", ADAPTIVE),
        ("claude-sonnet-5", HAIKU, {"type": "enabled", "budget_tokens": 31999}),
        ("claude-opus-5", OPUS, ADAPTIVE),
        (OPUS, HAIKU, None),
        ("claude-sonnet-5", "claude-3-5-haiku", None),
        ("my-router-auto", "claude-sonnet-5", None),
        (HAIKU, "claude-newcomer-7", None),
    ],
)
def test_silence_about_thinking_means_what_it_meant_to_the_requested_model(
    requested: str, model: str, thinking: Body | None
) -> None:
    assert swapped(asked(max_tokens=32000), model, requested).get("thinking") == thinking


def test_a_request_to_count_stays_silent() -> None:
    body = shape("context-02").body
    assert adapt(body, requested_model=HAIKU, model="claude-sonnet-5") == Adapted(body)


# Signatures


def test_a_swap_drops_all_thinking_of_the_past() -> None:
    hidden = {"type": "redacted_thinking", "data": "RURBQ1RFRA=="}
    blank = {"type": "text", "text": "\n\n"}
    body = asked(
        user(said(9)),
        assistant(thought(30, 60), hidden, blank, call(1, "Bash")),
        user(result(1, 4)),
        assistant(said(5)),
        user(said(6)),
        assistant(thought(7, 60)),
        user(said(8)),
        thinking=ADAPTIVE,
    )
    adapted = adapt(body, requested_model=OPUS, model="claude-sonnet-5")
    assert adapted.changes == ("signatures",)
    messages = adapted.body["messages"]
    assert messages[1] == assistant(call(1, "Bash"))
    assert messages[5] == assistant({"type": "text", "text": "[Thinking removed]"})
    assert all(messages[at] is body["messages"][at] for at in (0, 2, 3, 4, 6))


EMPTY = {"type": "text", "text": ""}


def test_a_swap_drops_the_empty_texts_of_models_that_were_translated() -> None:
    body = asked(user(said(9)), assistant(EMPTY, call(1, "Bash")), user(result(1, 4)))
    adapted = adapt(body, requested_model=OPUS, model="claude-opus-4-7")
    assert adapted.changes == ("empty_texts",)
    assert adapted.body["messages"][1] == assistant(call(1, "Bash"))
    assert all(adapted.body["messages"][at] is body["messages"][at] for at in (0, 2))


def test_a_turn_that_says_nothing_else_stays() -> None:
    body = asked(user(said(9)), assistant(EMPTY), user(said(4)))
    assert swapped(body, "claude-opus-4-7")["messages"] == body["messages"]


def test_a_request_that_keeps_its_model_keeps_them() -> None:
    body = asked(user(said(9)), assistant(EMPTY, call(1, "Bash")), user(result(1, 4)))
    assert swapped(body, OPUS) is body


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "claude-opus-4-7", "claude-sonnet-5"])
def test_a_turn_begins_with_the_one_before_also_when_adapted(model: str) -> None:
    turns = [unmarked(swapped(shape(name).body, model)["messages"]) for name in TOOL_LOOP]
    for earlier, later in pairwise(turns):
        assert later[: len(earlier)] == earlier
        assert len(later) > len(earlier)


def unmarked(messages: list[Message]) -> list[Message]:
    body: Body = strip_for_others({"messages": messages}).body
    found: list[Message] = body["messages"]
    return found


# System messages


def test_a_reminder_goes_before_the_users_first_words() -> None:
    body = shape("simple-01").body
    words, told = body["messages"]
    (folded,) = swapped(body, HAIKU)["messages"]
    assert texts_of(folded) == [reminder(told["content"]), *texts_of(words)]
    assert folded["content"][-1] is words["content"][-1]  # with its cache mark


def test_a_reminder_goes_into_the_result_of_a_tool() -> None:
    body = shape("task-gp-03").body
    answer, told = body["messages"][3:]
    *_, folded = swapped(body, HAIKU)["messages"]
    (block,) = folded["content"]
    assert block["content"] == f"{answer['content'][0]['content']}\n\n{reminder(told['content'])}"
    assert {**block, "content": ""} == {**answer["content"][0], "content": ""}


@pytest.mark.parametrize("content", [[said(4)], [], None])
def test_a_reminder_goes_behind_a_result_that_is_no_plain_text(content: Any) -> None:
    answer = {"type": "tool_result", "tool_use_id": "toolu_1", "content": content}
    called = [user(said(9)), assistant(call(1, "Bash"))]
    body = asked(*called, user(answer, said(7)), notes(20))
    *_, folded = swapped(body, HAIKU)["messages"]
    told = body["messages"][-1]["content"]
    assert folded == user(answer, {"type": "text", "text": reminder(told)}, said(7))


def test_a_reminder_is_all_that_an_empty_result_says() -> None:
    empty = {"type": "tool_result", "tool_use_id": "toolu_1", "content": ""}
    body = asked(user(said(9)), assistant(call(1, "Bash")), user(empty), notes(20))
    *_, folded = swapped(body, HAIKU)["messages"]
    assert texts_of(folded) == [reminder(body["messages"][-1]["content"])]


def told(text: Any) -> Message:
    return {"role": "system", "content": text}


def spoke(text: Any) -> Message:
    return {"role": "user", "content": text}


def text(words: str) -> Body:
    return {"type": "text", "text": words}


@pytest.mark.parametrize(
    ("messages", "folded"),
    [
        (
            [spoke("Hello"), told("A"), told([text("B"), text(" ")])],
            [user(text(reminder("A", "B")), text("Hello"))],
        ),
        ([told("A"), spoke("Hello")], [user(text(reminder("A")), text("Hello"))]),
        (
            [spoke("Hello"), told("A"), spoke("You?")],
            [user(text(reminder("A")), text("Hello")), spoke("You?")],
        ),
        (
            [told("A"), assistant(text("Hello")), told("B")],
            [user(text(reminder("A"))), assistant(text("Hello")), user(text(reminder("B")))],
        ),
        (
            [spoke("Go"), assistant(call(1, "Bash")), told("A"), user(result(1, [said(3)]))],
            [
                spoke("Go"),
                assistant(call(1, "Bash")),
                user(result(1, [said(3)]), text(reminder("A"))),
            ],
        ),
        ([spoke("Hello"), told(""), told(" \n"), told(None)], [spoke("Hello")]),
        ([spoke(""), told("A")], [user(text(reminder("A")))]),
        ([told("A")], [user(text(reminder("A")))]),
    ],
    ids=["joined", "before", "between", "beside", "in a call", "blank", "to nothing", "alone"],
)
def test_system_messages_find_a_place_wherever_they_stand(
    messages: list[Message], folded: list[Message]
) -> None:
    assert swapped(asked(*messages), HAIKU)["messages"] == folded
    assert swapped(asked(*messages), "glm-4.6")["messages"] == folded
    assert swapped(asked(*messages), "claude-newcomer-7")["messages"] == messages


# Tools

SEARCHLESS = [name for name in MODELS if "tool_search" not in family_of(name).takes]


@pytest.mark.parametrize("model", SEARCHLESS)
def test_where_tools_cannot_be_deferred_all_are_declared_and_said_to_be(model: str) -> None:
    body = shape("toolsearch-02").body
    fitted = swapped(body, model)
    assert not any("defer_loading" in declared for declared in fitted["tools"])
    assert [declared["name"] for declared in fitted["tools"]] == [
        declared["name"] for declared in body["tools"]
    ]
    assert fitted["tools"][0] is body["tools"][0]
    found = fitted["messages"][-1]["content"][0]["content"]
    assert found == [text("Tool loaded: WebFetch"), text("Tool loaded: WebSearch")]


def test_where_they_can_be_they_are() -> None:
    body = shape("toolsearch-02").body
    fitted = swapped(body, HAIKU)
    assert fitted["tools"] is body["tools"]
    assert fitted["messages"][-1] is body["messages"][-1]


def test_fields_of_tools_that_a_family_does_not_know_are_dropped() -> None:
    fancy = {"input_examples": [], "allowed_callers": ["direct"]}
    declared = {**tool("Bash"), **fancy, "strict": True, "eager_input_streaming": True}
    called = {**call(1, "Bash"), "caller": {"type": "direct"}}
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
    body = asked(user(said(1)), assistant(called), user(result(1, 2)), tools=[declared, search])
    old, middling = swapped(body, "claude-sonnet-4"), swapped(body, "claude-opus-4-1")
    plain = {**tool("Bash"), "eager_input_streaming": True}
    assert old["tools"] == [plain, search]
    assert middling["tools"] == [{**plain, "strict": True}, search]
    assert old["messages"][1] == assistant(call(1, "Bash"))
    assert swapped(body, HAIKU)["tools"] is body["tools"]


FORCED = {"type": "tool", "name": "web_search", "disable_parallel_tool_use": True}


@pytest.mark.parametrize("model", [name for name in MODELS if name != OPUS])
def test_a_search_is_forced_where_the_model_need_not_think(model: str) -> None:
    body = {**shape("websearch-02").body, "tool_choice": FORCED}
    choice = swapped(body, model)["tool_choice"]
    asked_for = {"type": "auto", "disable_parallel_tool_use": True}
    assert choice == (asked_for if model in (*ALWAYS, "claude-sonnet-5-5") else FORCED)


def test_no_tool_is_forced_on_a_model_that_thinks_first() -> None:
    body = asked(thinking=ADAPTIVE, tool_choice={"type": "any"})
    assert swapped(body, HAIKU)["tool_choice"] == {"type": "auto"}
    free = asked(thinking=ADAPTIVE, tool_choice={"type": "none"})
    assert swapped(free, HAIKU)["tool_choice"] == {"type": "none"}


def test_one_that_thinks_unasked_can_be_forced_if_it_is_not_asked() -> None:
    body = asked(tool_choice=FORCED)
    assert swapped(body, "claude-opus-5", "claude-sonnet-5") is body
    assert swapped(body, "claude-fable-5", "claude-sonnet-5")["tool_choice"]["type"] == "auto"


# Field by field


@pytest.mark.parametrize(
    ("model", "efforts"),
    [
        ("claude-sonnet-5", ["low", "medium", "high", "xhigh", "max"]),
        ("claude-opus-4-7", ["low", "medium", "high", "xhigh", "max"]),
        ("claude-opus-4-6", ["low", "medium", "high", "high", "max"]),
        ("claude-opus-4-5", ["low", "medium", "high", "high", "high"]),
        ("claude-haiku-4-5", [None] * 5),
    ],
)
def test_an_effort_that_a_family_does_not_know_becomes_the_default(
    model: str, efforts: list[str | None]
) -> None:
    bodies = [asked(thinking=ADAPTIVE, output_config={"effort": level}) for level in LEVELS]
    found = [swapped(body, model).get("output_config", {}).get("effort") for body in bodies]
    assert found == efforts


def test_a_level_that_nobody_knows_is_left_to_the_provider() -> None:
    body = asked(output_config={"effort": "utmost"}, thinking=DISABLED)
    assert swapped(body, "claude-opus-4-7") is body


@pytest.mark.parametrize(
    ("model", "level"),
    [("claude-opus-5", "high"), ("claude-sonnet-5-5", "high"), ("claude-sonnet-5", "xhigh")],
)
def test_some_cannot_be_told_to_try_hard_without_thinking(model: str, level: str) -> None:
    body = asked(thinking=DISABLED, output_config={"effort": "xhigh"})
    assert swapped(body, model)["output_config"] == {"effort": level}
    quiet = asked(thinking=DISABLED, output_config={"effort": "low"})
    assert swapped(quiet, model)["output_config"] == {"effort": "low"}


def test_a_format_goes_where_it_is_not_known() -> None:
    body = shape("tty-plan-01").body
    form = {"format": body["output_config"]["format"]}
    assert swapped(body, HAIKU)["output_config"] == form
    assert swapped(body, "claude-sonnet-5")["output_config"] == body["output_config"]
    assert "output_config" not in swapped(body, "claude-sonnet-4")
    assert "output_format" not in swapped({**body, "output_format": {}}, "claude-3-7-sonnet")
    kept = {**body, "output_config": {**form, "task_budget": {"total": 9}}}
    assert swapped(kept, "claude-opus-4")["output_config"] == {"task_budget": {"total": 9}}


def test_context_management_goes_where_it_is_not_known() -> None:
    compacting = {"type": "compact_20260112"}
    tools = {"type": "clear_tool_uses_20250919"}
    body = asked(
        thinking=ADAPTIVE,
        context_management={"edits": [*CLEARING["edits"], compacting, tools], "more": 1},
    )
    kept = {"edits": [*CLEARING["edits"], tools], "more": 1}
    assert "context_management" not in swapped(body, "claude-3-7-sonnet")
    assert swapped(body, HAIKU)["context_management"] == kept
    assert swapped(body, "claude-opus-4-6") is body
    thoughtless = {**body, "thinking": DISABLED}
    assert swapped(thoughtless, HAIKU)["context_management"] == {**kept, "edits": [tools]}


@pytest.mark.parametrize(
    ("fields", "model", "kept"),
    [
        ({"temperature": 1, "thinking": DISABLED}, "claude-opus-4-7", set()),
        ({"temperature": 0.2, "top_p": 0.9, "top_k": 5}, "claude-opus-4-7", set()),
        (
            {"temperature": 0.2, "top_p": 0.9, "top_k": 5},
            "claude-haiku-4-5",
            {"temperature", "top_k"},
        ),
        ({"top_p": 0.9}, "claude-haiku-4-5", {"top_p"}),
        (
            {"temperature": 0.2, "top_p": 0.9, "top_k": 5},
            "claude-sonnet-4",
            {"temperature", "top_p", "top_k"},
        ),
        (
            {"temperature": 0.2, "top_p": 0.9, "top_k": 5, "thinking": ADAPTIVE},
            "claude-sonnet-4",
            set(),
        ),
        (
            {"temperature": 1, "top_p": 0.97, "thinking": ADAPTIVE},
            "claude-sonnet-4",
            {"temperature", "top_p"},
        ),
        ({"temperature": 0.2, "top_p": "much"}, "glm-4.6", {"temperature", "top_p"}),
    ],
)
def test_sampling_is_what_the_family_and_its_thinking_leave_of_it(
    fields: Body, model: str, kept: set[str]
) -> None:
    fitted = swapped(asked(**fields), model, "claude-opus-4-6")
    assert {key for key in ("temperature", "top_p", "top_k") if key in fitted} == kept


def test_fast_mode_is_for_few() -> None:
    body = asked(speed="fast")
    betas = ("fast-mode-2026-02-01",)
    slow = adapt(body, betas, requested_model=OPUS, model="claude-opus-4-7")
    assert (slow.body, slow.betas, slow.changes) == (asked(), (), ("speed", "betas"))
    assert adapt(body, betas, requested_model="claude-opus-5", model=OPUS) == Adapted(
        {**body, "thinking": ADAPTIVE}, betas, ("thinking",)
    )


def test_betas_are_split_as_they_are_joined() -> None:
    assert split_betas(",".join(BETAS)) == BETAS
    assert split_betas(None) == split_betas(" , ") == ()
    header = adapt(asked(), ", ".join(BETAS), requested_model=OPUS, model=HAIKU)
    assert header == adapt(asked(), BETAS, requested_model=OPUS, model=HAIKU)
    assert header.changes == ("betas",)


# Whatever comes


def refusals(body: Body, betas: tuple[str, ...], family: Family) -> list[str]:
    """For what Anthropic would refuse a body, of the things that `adapt` answers for."""
    messages = body["messages"]
    if family.name == "other":
        return ["system"] if any(message["role"] == "system" for message in messages) else []
    thinking = body.get("thinking", {})
    kind = thinking.get("type", "unasked")
    on = kind in ("enabled", "adaptive")
    budget, limit = thinking.get("budget_tokens"), body["max_tokens"]
    turns = [message["content"] for message in messages if message["role"] != "system"]
    blocks = [block for turn in turns for block in turn]
    last = next((m["content"] for m in reversed(messages) if m["role"] == "assistant"), [])
    looping = any(block["type"] == "tool_result" for block in turns[-1])
    edits = [e["type"] for e in body.get("context_management", {}).get("edits", [])]
    effort = body.get("output_config", {}).get("effort")
    sampling = {"temperature", "top_p", "top_k"} & set(body)
    choice = body.get("tool_choice", {}).get("type")
    kinds = {block["type"] for block in blocks}
    fields = {field for declared in body.get("tools", []) for field in declared}
    takes = family.takes
    found = {
        "role": not {m["role"] for m in messages} <= {"user", "assistant"}
        and "system_messages" not in takes,
        "opening": messages[0]["role"] != "user",
        "empty": not all(message["content"] for message in messages),
        "signature": bool(kinds & {"thinking", "redacted_thinking"}),
        "thinking": "thinking" in body and kind not in (family.thinking, family.off),
        "budget": kind == "enabled" and not 1024 <= budget < limit,
        "adaptive budget": kind != "enabled" and budget is not None,
        "loop": kind == "enabled" and looping and last[0]["type"] == "tool_use",
        "edits": bool(edits) and "context_management" not in takes,
        "clear_thinking": any("thinking" in e for e in edits) and not on,
        "compact": any("compact" in e for e in edits) and "compaction" not in takes,
        "effort": effort is not None and effort not in family.efforts,
        "effort off": kind in ("disabled", "between_tools")
        and effort in ("xhigh", "max")
        and "off_at_any_effort" not in takes,
        "format": "format" in body.get("output_config", {}) and "structured_output" not in takes,
        "strict": "strict" in fields and "structured_output" not in takes,
        "deferred": "defer_loading" in fields and "tool_search" not in takes,
        "limit": limit > (family.output or TOO_LONG),
        "sampling": bool(sampling) and family.sampling == "none",
        "warmth": on and body.get("temperature", 1) != 1,
        "share": on and body.get("top_p", 1) < 0.95,
        "top_k": on and "top_k" in body,
        "either": family.sampling == "one" and {"temperature", "top_p"} <= sampling,
        "forced": choice in ("any", "tool") and (on or "forced_tools" not in takes),
        "speed": "speed" in body and "fast_mode" not in takes,
        "betas": any(beta.startswith("mid-conv") for beta in betas)
        and "system_messages" not in takes,
    }
    return [name for name, refused in found.items() if refused]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_no_family_refuses_what_a_recorded_client_sends_to_another(family: Family) -> None:
    for name in CONVERSING:
        body = shape(name).body
        if not is_same_model(body["model"], model_of(family.name)):
            adapted = adapt(body, BETAS, requested_model=body["model"], model=model_of(family.name))
            assert refusals(adapted.body, adapted.betas, family) == [], name


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Body]:
    return st.fixed_dictionaries({}, optional=fields)


THOUGHTS = st.sampled_from(
    [
        thought(3, 20),
        {"type": "redacted_thinking", "data": "RQ=="},
        {**thought(2, 2), "signature": ""},
    ]
)
TALK = st.lists(
    st.tuples(
        st.lists(THOUGHTS, max_size=2), st.booleans(), st.sampled_from([0, 0, 5, 9]), st.booleans()
    ),
    max_size=4,
)
THINKING = st.one_of(
    st.sampled_from([ADAPTIVE, DISABLED, {"type": "between_tools"}]),
    st.builds(lambda n: {"type": "enabled", "budget_tokens": n}, st.integers(1024, 70000)),
)
FIELDS = optional(
    thinking=THINKING,
    temperature=st.sampled_from([0, 0.5, 1]),
    top_p=st.sampled_from([0.5, 0.99]),
    top_k=st.just(5),
    speed=st.just("fast"),
    tool_choice=st.sampled_from([{"type": "auto"}, {"type": "any"}, FORCED]),
    tools=st.just([{**tool("Bash"), "strict": True}, {**tool("Read"), "defer_loading": True}]),
    output_config=optional(effort=st.sampled_from(LEVELS), format=st.just({"type": "json_schema"})),
    context_management=st.sampled_from([CLEARING, {"edits": [{"type": "compact_20260112"}]}]),
)
IDS = st.sampled_from([*MODELS, "claude-newcomer-7", "glm-4.6"])


@st.composite
def bodies(draw: st.DrawFn) -> Body:
    """A conversation of some turns, its tool calls answered, with system messages where allowed."""
    messages = [user(said(20))]
    for number, (thoughts, calls, noted, talks) in enumerate(draw(TALK), 1):
        if noted:
            messages.append(notes(noted))
        blocks = [
            *thoughts,
            *([said(4)] if talks else []),
            *([call(number, "Bash")] if calls else []),
        ]
        messages.append(assistant(*(blocks or [said(3)])))
        messages.append(user(result(number, 6)) if calls else user(said(8)))
    limit = draw(st.sampled_from([64, 1025, 4096, 32000, 64000, 128000]))
    return asked(*messages, max_tokens=limit, **draw(FIELDS))


@settings(max_examples=400, deadline=None)
@given(bodies(), IDS, IDS)
def test_a_swap_is_never_refused_and_is_done_once(body: Body, requested: str, model: str) -> None:
    before = deepcopy(body)
    once = adapt(body, BETAS, requested_model=requested, model=model)
    twice = adapt(once.body, once.betas, requested_model=requested, model=model)
    assert body == before
    assert twice == Adapted(once.body, once.betas)
    assert twice.body is once.body
    assert (once.body is body) is (set(once.changes) <= {"betas"})
    if is_same_model(requested, model):
        assert set(once.changes) <= {"signatures", "thinking", "context_management"}
    else:
        assert refusals(once.body, once.betas, family_of(model)) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 70000) | st.sampled_from(["", "tool_use", "user"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "type", "text", "edits", "effort", "cache_control"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
HOSTILE = st.dictionaries(
    st.sampled_from(
        "messages thinking system tools tool_choice max_tokens output_config metadata top_p "
        "context_management temperature".split()
    ),
    JSON,
)


@settings(max_examples=300, deadline=None)
@given(HOSTILE, IDS, IDS)
def test_fields_of_wrong_types_are_nobodys_undoing(body: Body, requested: str, model: str) -> None:
    before = deepcopy(body)
    adapt(body, BETAS, requested_model=requested, model=model)
    strip_for_others(body)
    assert body == before


# For other providers


@pytest.mark.parametrize(("model", "kept"), [("openai/gpt-5", False), (f"vertex_ai/{OPUS}", True)])
def test_a_tool_that_was_found_is_told_in_words_to_who_knows_no_references(
    model: str, kept: bool
) -> None:
    body = shape("toolsearch-02").body
    found = str(strip_for_others(body, model).body)
    assert ("tool_reference" in found) is kept
    assert ("Tool loaded: WebFetch" in found) is not kept


@pytest.mark.parametrize("name", NAMES)
def test_what_is_anthropics_own_goes_nowhere_else(name: str) -> None:
    request = shape(name)
    before = deepcopy(request.body)
    stripped = strip_for_others(request.body)
    raw = str(stripped.body)
    assert request.body == before
    for word in ("x-anthropic-billing-header", "device_id", "cache_control"):
        assert word not in raw
    assert stripped.betas == ()
    assert strip_for_others(stripped.body) == Adapted(stripped.body)
    assert strip_for_others(stripped.body).body is stripped.body


def test_a_claude_that_others_serve_keeps_its_cache_marks() -> None:
    body = shape("toolloop-05").body
    stripped = strip_for_others(body, "openrouter/anthropic/claude-sonnet-5").body
    assert stripped["messages"] is body["messages"]
    assert "metadata" not in stripped
    assert "cache_control" in repr(stripped)


def test_only_what_must_change_is_made_anew() -> None:
    body = shape("toolloop-05").body
    stripped = strip_for_others(body)
    assert stripped.changes == ("billing", "user_id", "cache_control")
    assert stripped.body["tools"] is body["tools"]
    assert all(
        kept is given
        for kept, given in zip(stripped.body["messages"][:-1], body["messages"], strict=False)
    )
    assert set(body) - set(stripped.body) == {"metadata"}


@pytest.mark.parametrize(
    ("schema", "sent"),
    [
        ({"type": "object"}, {"type": "object", "properties": {}}),
        ({"type": "object", "properties": {"a": {}}}, {"type": "object", "properties": {"a": {}}}),
        ({"type": "string"}, {"type": "string"}),
        ({}, {}),
        ("whatever", "whatever"),
    ],
)
def test_a_tool_without_parameters_says_so_to_who_wants_to_hear_it(schema: Any, sent: Any) -> None:
    body = asked(tools=[{"name": "Now", "input_schema": schema}, {"name": "Bash"}, "whatever"])
    assert strip_for_others(body).body["tools"][0]["input_schema"] == sent
    assert strip_for_others(body).body["tools"][1:] == body["tools"][1:]
    assert strip_for_others(body, "openrouter/anthropic/claude-sonnet-5").body is body


def test_thinking_and_system_messages_stay_for_the_translator() -> None:
    body = asked(user(said(1)), notes(5), assistant(thought(3, 30), said(2)), user(said(4)))
    assert strip_for_others(body) == Adapted(body)


def test_marks_go_at_every_depth_but_not_out_of_what_a_tool_is_given() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    inner = {**said(3), **mark}
    answer = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [inner]}
    called = {"type": "tool_use", "id": "toolu_1", "name": "Set", "input": mark}
    body = asked(
        user(said(1)),
        {**assistant(called), **mark},
        user(answer),
        system=[{**said(2), **mark}],
        tools=[{**tool("Bash"), **mark}],
        **mark,
    )
    plain = {**answer, "content": [said(3)]}
    assert strip_for_others(body).body == asked(
        user(said(1)), assistant(called), user(plain), system=[said(2)], tools=[tool("Bash")]
    )


@pytest.mark.parametrize(
    ("system", "left"),
    [
        ("x-anthropic-billing-header: cc_version=2.1.197;", None),
        ("x-anthropic-billing-header: cc_version=2.1.197;\n\nBe brief.", "Be brief."),
        ("Be brief.", "Be brief."),
        ("", ""),
        ([text("x-anthropic-billing-header: cc_version=2.1.197;")], None),
        ([text("x-anthropic-billing-header: a;"), text("Be brief.")], [text("Be brief.")]),
        ([text("Be brief."), "whatever"], [text("Be brief."), "whatever"]),
    ],
)
def test_the_billing_header_goes_and_the_instructions_stay(system: Any, left: Any) -> None:
    assert strip_for_others({"system": system}).body.get("system") == left


def test_of_the_metadata_only_the_user_goes() -> None:
    given = {"metadata": {"user_id": "me", "team": "us"}}
    assert strip_for_others(given).body == {"metadata": {"team": "us"}}

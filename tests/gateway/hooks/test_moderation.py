import threading

import pytest

from ccproxyd.config.hooks import load_check
from ccproxyd.config.importing import importing
from ccproxyd.config.moderation import REFUSED as MESSAGE
from ccproxyd.config.moderation import Moderation
from ccproxyd.errors import ProxyError
from ccproxyd.gateway.hooks import moderation as module
from ccproxyd.gateway.hooks.moderation import FAILED, PASSED, REFUSED, Asked, moderator_for

pytestmark = pytest.mark.anyio

EVIL = r"^(?:a|a)*$"
VICTIM = "a" * 40 + "b"


class Failures(list):
    def __call__(self, path, error, place):
        self.append((path, type(error).__name__, place))


@pytest.fixture
def failures():
    return Failures()


def asked(*texts, **data):
    return Asked(lambda: texts, lambda: data, "anthropic_messages")


def judging(failures, tmp_path, *, check=None, **settings):
    return moderator_for(Moderation(enabled=True, **settings), check, tmp_path, failures)


def test_where_it_is_off_nothing_judges(failures, tmp_path):
    assert moderator_for(Moderation(deny=("x",)), None, tmp_path, failures) is None


# Patterns


async def test_a_text_in_which_nothing_is_found_passes(failures, tmp_path):
    moderator = judging(failures, tmp_path, deny=("zeus", "hera"))
    found = await moderator.judge(asked("hello", "bye"))
    assert (found.outcome, found.error) == (PASSED, None)


LONG = "x" * 20_000


@pytest.mark.parametrize("texts", [("project ZEUS",), ("hello", "zeus"), (f"{LONG} zeus",)])
async def test_a_text_in_which_a_pattern_is_found_is_refused(failures, tmp_path, texts):
    found = await judging(failures, tmp_path, deny=("hera", "(?i)zeus")).judge(asked(*texts))
    assert found.outcome == REFUSED
    assert (found.error.code, found.error.type, found.error.message) == (
        *(400, "ValidationError", MESSAGE),
    )


@pytest.mark.parametrize(
    ("pattern", "blocks", "outcome"),
    [
        ("project zeus", ("project ", "zeus"), REFUSED),
        ("project zeus", ("about pro", "", "ject", " zeus!"), REFUSED),
        ("(?s)p.*?zeus|hera", ("hera p", "zeus"), REFUSED),
        ("zeus", ("", "zeus", ""), PASSED),
        ("^zeus", ("", "zeus", "a"), PASSED),
        ("(?<=a)zeus", ("a", "zeus"), PASSED),
        ("hera(?=z)", ("hera", "z"), PASSED),
        ("project zeus", ("project", "zeus"), PASSED),
    ],
)
async def test_what_is_found_where_blocks_meet_counts_if_it_lies_across(
    failures, tmp_path, pattern, blocks, outcome
):
    """What lies within a block is found in that block, or it is not there."""
    found = await judging(failures, tmp_path, deny=(pattern,)).judge(asked(blocks))
    assert (found.outcome, failures) == (outcome, [])


async def test_the_message_is_the_configs(failures, tmp_path):
    moderator = judging(failures, tmp_path, deny=("x",), message="ask the legal department")
    assert (await moderator.judge(asked("x"))).error.message == "ask the legal department"


async def test_an_evil_pattern_is_given_up_and_the_request_with_it(failures, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "DENY_SECONDS", 0.05)
    moderator = judging(failures, tmp_path, deny=("zeus", EVIL, "hera"))
    for said in (VICTIM, (VICTIM[:20], VICTIM[20:])):
        found = await moderator.judge(asked(said))
        assert (found.outcome, found.error.code, found.error.type) == (FAILED, 500, "Unknown")
    assert failures == [("ccproxy.moderation.deny[1]", "TimeoutError", "")] * 2


async def test_no_search_is_begun_when_the_time_is_over(failures, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "DENY_SECONDS", 0.0)
    found = await judging(failures, tmp_path, deny=("a",)).judge(asked("a"))
    assert found.outcome == FAILED


async def test_patterns_are_searched_beside_the_loop(failures, tmp_path):
    threads = []

    def texts():
        threads.append(threading.get_ident())
        return ["x"]

    moderator = judging(failures, tmp_path, deny=("x",))
    await moderator.judge(Asked(texts, dict, ""))
    assert threads != [threading.get_ident()]


# A check of the user's own


@pytest.mark.parametrize("answer", [None, True, {}, {"messages": []}])
async def test_a_check_lets_pass_what_it_says_nothing_against(failures, tmp_path, answer):
    found = await judging(failures, tmp_path, check=lambda *_: answer).judge(asked())
    assert found.outcome == PASSED


@pytest.mark.parametrize("answer", [False, "no", 0, ""])
async def test_whatever_else_it_returns_is_a_refusal(failures, tmp_path, answer):
    found = await judging(failures, tmp_path, check=lambda *_: answer).judge(asked())
    assert (found.outcome, found.error.message) == (REFUSED, MESSAGE)


async def test_a_check_gets_what_litellm_would_give_it(failures, tmp_path):
    got = []

    async def check(data, user_api_key_dict, call_type):
        got.append((data, user_api_key_dict, call_type))

    await judging(failures, tmp_path, check=check).judge(asked(model="m"))
    assert got == [({"model": "m"}, {}, "anthropic_messages")]


async def test_a_check_may_refuse_in_its_own_words(failures, tmp_path):
    def check(*_):
        raise ProxyError("not on a Sunday", code=451)

    found = await judging(failures, tmp_path, check=check).judge(asked())
    assert (found.outcome, found.error.code) == (REFUSED, 451)
    assert found.error.message == "not on a Sunday"


async def test_a_check_may_refuse_as_it_would_in_litellm(failures, tmp_path):
    class RefusalError(Exception):
        status_code = 400

    def check(*_):
        raise RefusalError("what the user wrote")

    found = await judging(failures, tmp_path, check=check).judge(asked())
    assert (found.outcome, found.error.message, failures) == (REFUSED, MESSAGE, [])


async def test_a_check_that_fails_lets_nothing_pass_and_its_place_is_told(failures, tmp_path):
    (tmp_path / "own_rules.py").write_text("\ndef check(data, key, kind):\n    return data['x']\n")
    settings = Moderation(enabled=True, check="own_rules.check")
    with importing(tmp_path):
        check = load_check(settings, tmp_path.resolve())
    found = await moderator_for(settings, check, tmp_path, failures).judge(asked())
    assert (found.outcome, found.error.code, found.error.type) == (FAILED, 500, "Unknown")
    assert failures == [("ccproxy.moderation.check", "KeyError", "own_rules.py:3")]


async def test_a_check_that_says_500_has_failed(failures, tmp_path):
    class UnreachableError(Exception):
        status_code = 503

    def check(*_):
        raise UnreachableError

    assert (await judging(failures, tmp_path, check=check).judge(asked())).outcome == FAILED


async def test_the_patterns_come_before_the_check(failures, tmp_path):
    asked_of = []
    moderator = judging(failures, tmp_path, check=lambda *_: asked_of.append(1), deny=("x",))
    assert (await moderator.judge(asked("x"))).outcome == REFUSED
    assert asked_of == []
    assert (await moderator.judge(asked("y"))).outcome == PASSED
    assert asked_of == [1]

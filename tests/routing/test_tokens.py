"""Counting: the incremental count is the plain one, and the text count is LiteLLM's."""

import functools
import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import orjson
import pytest
import tiktoken
import tiktoken_ext.openai_public as openai_public
from hypothesis import given, settings
from hypothesis import strategies as st

from ccproxyd.errors import CcproxydError
from ccproxyd.routing import prefixes, tokens
from ccproxyd.routing.tokens import (
    TokenCounter,
    find_encodings,
    full_count,
    load_encoding,
)
from ccproxyd.routing.toolsets import Toolset, Toolsets
from tests.support.shapes import NAMES, jpeg, long_conversation, main_body, shape, text

EVIL_TEXTS = {
    "one word": "a" * 1_000_000,
    "spaces": " " * 1_000_000,
    "lines": "\n" * 1_000_000,
    "digits": "1" * 1_000_000,
    "marks": "é\u0301" * 200_000,
    "han": "中" * 300_000,
    "families": "\U0001f468\u200d\U0001f469\u200d\U0001f467" * 50_000,
}


def saying(*said: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": words} for words in said]}


def recount(body: Any) -> Any:
    """The same body in objects of its own, as a parser makes them."""
    return orjson.loads(orjson.dumps(body))


@functools.cache
def tiktokens_own() -> tiktoken.Encoding:
    """cl100k_base as tiktoken makes it, but of ranks that are here."""
    ranks = load_encoding().encoding._mergeable_ranks
    with patch.object(openai_public, "load_tiktoken_bpe", lambda *_, **__: ranks):
        return tiktoken.Encoding(**openai_public.cl100k_base())


class Recording:
    """An encoding of one token a character that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.calls = 0

    def lengths(self, texts: Sequence[str]) -> list[int]:
        self.calls += 1
        self.asked.extend(texts)
        return list(map(len, texts))


# -- what a count is


def test_a_count_is_the_tokens_of_all_texts_and_nothing_more() -> None:
    assert full_count(saying("Hello, world")) == 3
    assert full_count({**saying("Hello, world", "Hi"), "system": "Hi"}) == 5
    assert full_count({}) == 0


def test_special_tokens_in_a_text_are_ordinary_text() -> None:
    assert TokenCounter().count_text("<|endoftext|>") > 1


def test_a_lone_surrogate_counts_as_something() -> None:
    assert TokenCounter().count(saying("\ud800 and \udfff")) > 0


@pytest.mark.parametrize("said", EVIL_TEXTS.values(), ids=EVIL_TEXTS)
def test_an_evil_text_is_encoded_in_short_chunks(said: str) -> None:
    encoding = Recording()
    assert TokenCounter(encoding).count_text(said) == len(said)
    assert max(map(len, encoding.asked)) == tokens.CHUNK_CHARACTERS
    assert "".join(encoding.asked) == said


@pytest.mark.parametrize("said", EVIL_TEXTS.values(), ids=EVIL_TEXTS)
def test_an_evil_text_is_counted_in_the_same_way_by_both(said: str) -> None:
    assert TokenCounter().count(saying(said)) == full_count(saying(said))


def test_a_value_and_a_text_of_the_same_bytes_are_counted_apart() -> None:
    """Their hashes are equal, and so are their lengths."""
    value = {"é": 1}
    same = orjson.dumps(value).decode("latin-1")
    body = {
        "messages": [
            {"role": "user", "content": [{"type": "tool_use", "name": "", "input": value}]},
            {"role": "user", "content": same},
        ]
    }
    assert hash(same) == hash(orjson.dumps(value))
    assert TokenCounter().count(body) == full_count(body)


def test_an_image_of_400_kilobytes_adds_its_pixels() -> None:
    source = {"type": "base64", "media_type": "image/jpeg", "data": jpeg(1000, 1000, 400_000)}
    body = {"messages": [{"role": "user", "content": [{"type": "image", "source": source}]}]}
    assert TokenCounter().count(body) == 1334


# -- what is remembered


def test_only_what_is_new_is_encoded() -> None:
    encoding = Recording()
    counter = TokenCounter(encoding)
    counter.count(saying("first"))
    counter.count(saying("first", "second"))
    counter.count(saying("first", "second"))
    assert encoding.asked == ["first", "second"]


def test_a_text_that_is_said_twice_is_encoded_once() -> None:
    encoding = Recording()
    assert TokenCounter(encoding).count(saying("again", "again")) == 10
    assert encoding.asked == ["again"]


def test_a_moved_cache_mark_changes_nothing() -> None:
    encoding = Recording()
    counter = TokenCounter(encoding)
    block = {"type": "text", "text": "Hi"}
    counter.count({"messages": [{"role": "user", "content": [{**block, "cache_control": {}}]}]})
    counter.count({"messages": [{"role": "user", "content": [block]}]})
    assert encoding.asked == ["Hi"]


def test_a_count_that_has_begun_knows_how_much_is_new() -> None:
    encoding = Recording()
    counter = TokenCounter(encoding)
    body = {**saying("first", "first"), "tools": [{"name": "f", "input_schema": {}}]}
    assert counter.begin(body).new_characters == len("first") + len("f") + len("{}")
    assert encoding.asked == []
    assert counter.finish(counter.begin(recount(body))) == 13
    assert counter.begin(body).new_characters == 0
    assert counter.begin(saying("first", "third")).new_characters == 5


def test_a_count_is_finished_with_what_it_began_with() -> None:
    """Whatever has been remembered or forgotten in between."""
    counter = TokenCounter(Recording(), capacity=2)
    counter.count(saying("known"))
    tally = counter.begin(saying("known", "new"))
    counter.count(saying("other", "things", "new"))
    assert counter.finish(tally) == len("known") + len("new")


def test_instructions_and_tools_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    body = shape("simple-01").body
    counter = TokenCounter()
    counted = counter.count(recount(body))
    with monkeypatch.context() as patched:
        patched.setattr(tokens, "read_frame", lambda *_: pytest.fail("read again"))
        assert counter.count(recount(body)) == counted
    changed = {**body, "tools": body["tools"][1:]}
    assert counter.count(recount(changed)) == full_count(changed) < counted


def test_a_deferred_tool_is_counted_from_the_turn_on_that_refers_to_it() -> None:
    """In a frame that stays the same."""
    counter = TokenCounter()
    reference = {"role": "user", "content": [{"type": "tool_reference", "tool_name": "f"}]}
    before = {**saying("Hi"), "tools": deferred}
    after = {**before, "messages": [*before["messages"], reference]}
    for body in (before, after, before, after):
        assert counter.count(recount(body)) == full_count(body)
    assert full_count(after) > full_count(before) + 1


def test_what_is_no_json_around_a_conversation_is_counted_all_the_same() -> None:
    """LiteLLM's own handler may be given anything."""
    body = {**saying("Hi"), "system": ["Be brief.", object()]}
    assert TokenCounter().count(body) == full_count(body) > 1


def test_the_memory_is_bounded() -> None:
    counter = TokenCounter(Recording(), capacity=10)
    for number in range(100):
        counter.count(saying(f"message {number}"))
    assert len(counter) <= 10


def test_what_is_asked_for_again_outlives_what_is_not() -> None:
    encoding = Recording()
    counter = TokenCounter(encoding, capacity=8)
    for number in range(50):
        counter.count(saying("kept", f"passing {number}"))
    assert encoding.asked.count("kept") == 1


def test_a_conversation_larger_than_the_memory_is_still_counted_right() -> None:
    counter = TokenCounter(capacity=4)
    body = saying(*(f"message {number}" for number in range(50)))
    assert [counter.count(recount(body)) for _ in range(3)] == [full_count(body)] * 3


def test_the_smallest_memory_works() -> None:
    assert TokenCounter(Recording(), capacity=0).count(saying("a", "b", "a")) == 3


def test_threads_share_a_counter() -> None:
    counter = TokenCounter(capacity=64)
    bodies = [saying(*(f"{one} says {other}" for other in range(40))) for one in range(8)]
    wanted = [full_count(body) for body in bodies]
    found: dict[int, set[int]] = {}

    def work(index: int) -> None:
        found[index] = {counter.count(recount(bodies[index])) for _ in range(10)}

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {index: {count} for index, count in enumerate(wanted)}


# -- the incremental count is the plain one


@pytest.mark.parametrize("name", NAMES)
def test_every_shape_is_counted_alike_at_once_and_again(name: str) -> None:
    body = shape(name).body
    counter = TokenCounter()
    wanted = full_count(body)
    assert [counter.count(recount(body)), counter.count(recount(body))] == [wanted, wanted]


def test_a_long_conversation_is_counted_alike_turn_by_turn() -> None:
    counter = TokenCounter()
    messages = long_conversation(60_000, 12)
    for end in range(2, len(messages) + 1, 4):
        body = recount(main_body(*messages[:end]))
        assert counter.count(body) == full_count(body)


words = st.text(max_size=40) | st.sampled_from(["Hi", "the same text", "\ud800", "1" * 2000])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "text", "content", "source", "data"]), inner)
    ),
    max_leaves=6,
)
leaf = st.one_of(
    st.builds(lambda said: {"type": "text", "text": said}, words),
    st.builds(lambda given: {"type": "tool_use", "name": "f", "input": given}, anything),
    st.builds(lambda said: {"type": "thinking", "thinking": said, "signature": "x"}, words),
    st.builds(lambda data: {"type": "image", "source": {"data": data}}, words),
    st.builds(lambda source: {"type": "document", "source": source}, anything),
    anything,
)
block = leaf | st.builds(
    lambda inner: {"type": "tool_result", "tool_use_id": "1", "content": inner},
    st.lists(leaf, max_size=3) | words,
)
message = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system"])},
    optional={"content": st.lists(block, max_size=4) | words, "tool_calls": anything},
)
request_body = st.fixed_dictionaries(
    {"messages": st.lists(message | anything, max_size=8)},
    optional={"system": st.lists(block, max_size=2) | words, "tools": anything, "input": anything},
)


@settings(max_examples=150, deadline=None, database=None)
@given(request_body, st.integers(2, 40))
def test_any_conversation_is_counted_alike_as_it_grows(body: dict[str, Any], capacity: int) -> None:
    counter = TokenCounter(capacity=capacity)
    for end in range(len(body["messages"]) + 1):
        grown = {**body, "messages": body["messages"][:end]}
        assert counter.count(grown) == full_count(grown)


def compact(body: Any) -> bytes:
    return orjson.dumps(body)


def spacious(body: Any) -> bytes:
    return json.dumps(body).encode()


def indented(body: Any) -> bytes:
    return json.dumps(body, indent=2, ensure_ascii=False).encode()


def contents_first(body: Any) -> bytes:
    return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)


def messages_last(body: Any) -> bytes:
    return orjson.dumps({**{key: body[key] for key in reversed(body)}, "z": {"messages": [{}]}})


WRITERS = [compact, spacious, indented, contents_first, messages_last]

nested = st.recursive(
    st.none() | st.integers(-9, 9) | st.text('ab\\"é→[]{},', max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.fixed_dictionaries({"role": inner}, optional={"messages": inner, "content": inner})
        | st.fixed_dictionaries({"messages": st.lists(inner, max_size=2)})
    ),
    max_leaves=5,
)
reference = st.builds(
    lambda name: {"type": "tool_reference", "tool_name": name}, st.sampled_from("fgh")
)
plain_block = st.one_of(
    st.builds(lambda said: {"type": "text", "text": said}, st.text(max_size=30)),
    st.builds(lambda given: {"type": "tool_use", "name": "f", "input": given}, nested),
    st.builds(lambda found: {"type": "tool_result", "content": [found]}, reference),
    st.just({"type": "image", "source": {"data": "iVBORw0KGgo"}}),
    nested,
)
plain_message = st.builds(
    lambda role, content: {"role": role, "content": content},
    st.sampled_from(["user", "assistant"]),
    st.lists(plain_block, max_size=3) | st.text(max_size=30),
)
deferred = [{"name": name, "description": f"{name} {name}", "defer_loading": True} for name in "fg"]


@settings(max_examples=200, deadline=None, database=None)
@given(
    st.lists(plain_message | nested, min_size=1, max_size=12),
    st.sampled_from(WRITERS),
    st.integers(16, 200),
    st.integers(0, 4),
)
def test_any_conversation_is_counted_alike_by_its_bytes(
    messages: list[Any], write: Callable[[Any], bytes], chunk: int, kept: int
) -> None:
    """As it grows, as it is cut back, and as one of its messages is another than it was."""
    counter = TokenCounter(Recording())
    edited = [*messages[:kept], {"role": "user", "content": "edited"}, *messages[kept + 1 :]]
    turns = [messages[: end + 1] for end in range(len(messages))]
    with patch.object(prefixes, "CHUNK_BYTES", chunk):
        for turn in [*turns, edited, messages[:kept], messages]:
            raw = write({"model": "m", "messages": turn, "tools": deferred, "system": "Be brief."})
            body = orjson.loads(raw)
            assert counter.count(body, raw) == full_count(body, Recording())


@pytest.mark.parametrize("write", WRITERS)
def test_a_long_conversation_is_counted_alike_by_its_bytes(write: Callable[[Any], bytes]) -> None:
    counter = TokenCounter()
    messages = long_conversation(120_000, 30)
    for end in range(2, len(messages) + 1, 4):
        raw = write(main_body(*messages[:end]))
        body = orjson.loads(raw)
        assert counter.count(body, raw) == full_count(body)


def test_a_tool_that_a_message_long_ago_refers_to_is_still_counted() -> None:
    """Though that message is not read any more."""
    opening = {"role": "user", "content": [{"type": "tool_reference", "tool_name": "f"}]}
    body = {**saying(*["said " * 200] * 40), "tools": deferred}
    body["messages"].insert(0, opening)
    raw = orjson.dumps(body)
    counter = TokenCounter()
    assert [counter.count(orjson.loads(raw), raw) for _ in range(2)] == [full_count(body)] * 2
    assert counter.begin(orjson.loads(raw), raw).known.mark.messages > 1


# -- the encoding


def test_the_encoding_is_found_without_importing_litellm(tmp_path: Path) -> None:
    """And it neither writes anything, nor touches the environment."""
    script = (
        "import os, sys; before = dict(os.environ)\n"
        "from ccproxyd.routing.tokens import TokenCounter, find_encodings\n"
        "assert 'tiktoken' not in sys.modules\n"
        "assert TokenCounter().count_text('Hello, world') == 3\n"
        "assert 'litellm' not in sys.modules and find_encodings().is_dir()\n"
        "assert dict(os.environ) == before\n"
    )
    environ = {"TMPDIR": str(tmp_path), "HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    subprocess.run([sys.executable, "-c", script], env=environ, cwd=tmp_path, check=True)
    assert list(tmp_path.iterdir()) == []


def test_many_chunks_go_into_one_call() -> None:
    encoding = Recording()
    TokenCounter(encoding).count(saying("a" * 50_000, "b" * 14_000, *map(str, range(50))))
    assert encoding.calls == 2


@settings(max_examples=300, deadline=None, database=None)
@given(st.lists(st.text(max_size=60) | st.text("a1'\u00e9 \t\r\n\x1c._\ud800", max_size=60)))
def test_words_are_cut_as_tiktoken_cuts_them(texts: list[str]) -> None:
    """Though its pattern is put in another way, and many texts are encoded by one call."""
    theirs = tiktokens_own()
    assert load_encoding().lengths(texts) == [len(theirs.encode_ordinary(text)) for text in texts]


@pytest.mark.parametrize("said", EVIL_TEXTS.values(), ids=EVIL_TEXTS)
def test_an_evil_text_is_cut_as_tiktoken_cuts_it(said: str) -> None:
    short = said[:5000]
    assert load_encoding().lengths([short]) == [len(tiktokens_own().encode_ordinary(short))]


def test_the_encoding_is_tiktokens_own() -> None:
    source = Path(openai_public.__file__).read_text(encoding="utf-8")
    assert tokens._CL100K_SHA256 in source
    url = "https://openaipublic.blob.core.windows.net/encodings/cl100k_base.tiktoken"
    name = hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest()
    assert name == tokens._CL100K_FILE


def test_without_litellm_counting_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CcproxydError, match="cannot count tokens: LiteLLM is not installed"):
        find_encodings()


def test_a_counter_is_ready_once_its_encoding_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "load_encoding", functools.cache(load_encoding.__wrapped__))
    counter = TokenCounter()
    assert not counter.is_ready
    counter.count_text("warm")
    assert counter.is_ready
    assert TokenCounter(Recording()).is_ready


def test_a_missing_encoding_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tokens, "find_encodings", lambda: tmp_path)
    with pytest.raises(CcproxydError, match=r"cannot count tokens: .*: No such file"):
        load_encoding.__wrapped__()


def test_a_damaged_encoding_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / tokens._CL100K_FILE).write_bytes(b"IQ== 0\n")
    monkeypatch.setattr(tokens, "find_encodings", lambda: tmp_path)
    with pytest.raises(CcproxydError, match="is damaged"):
        load_encoding.__wrapped__()


def test_texts_count_as_litellm_counts_them(tmp_path: Path) -> None:
    """Within 2 %, in a process of its own: LiteLLM is slow to import, and must not be here."""
    samples = [
        text(20_000),
        Path(__file__).read_text(encoding="utf-8"),
        "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. " * 50,
        "人人生而自由,在尊严和权利上一律平等。" * 100,
        "<|endoftext|> and <|fim_prefix|>" * 20,
        orjson.dumps(shape("simple-01").body["tools"]).decode(),
        "x" * 20_000,
        " \n\t" * 5_000,
    ]
    script = (
        "import json, sys, litellm\n"
        "print(json.dumps([litellm.token_counter(text=t) for t in json.load(sys.stdin)]))"
    )
    environ = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "PATH": "",
    }
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=orjson.dumps(samples),
        stdout=subprocess.PIPE,
        env=environ,
        cwd=tmp_path,
        check=True,
    )
    theirs = orjson.loads(done.stdout.splitlines()[-1])
    ours = list(map(TokenCounter().count_text, samples))
    assert ours == pytest.approx(theirs, rel=0.02)


def test_known_tools_count_as_they_did_when_they_were_new() -> None:
    tools = [{"name": "Read", "description": "some words " * 500}]
    raw = orjson.dumps({"system": "Be brief.", "messages": [], "tools": tools})
    toolsets, counter = Toolsets(), TokenCounter()
    for _ in range(2):
        toolsets.learn(raw, toolsets.loads(raw))
    body = toolsets.loads(raw)
    assert isinstance(body["tools"], Toolset)
    assert counter.count(body) == full_count(orjson.loads(raw))
    assert counter.begin(body).new_characters == 0
    assert counter.count({**body, "system": "Be very brief."}) > counter.count(body)
    assert counter.count({**body, "tools": []}) < counter.count(body)

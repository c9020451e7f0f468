import gzip
import tracemalloc
import zlib
from collections.abc import Iterator
from functools import partial

import orjson
import pytest

from ccproxyd.errors import ProxyError, ValidationError
from ccproxyd.gateway import bodies
from ccproxyd.gateway.bodies import (
    ClientGoneError,
    check_names,
    is_form,
    is_unsaid_json,
    parse_body,
    read_body,
    unpack,
    with_model,
    without,
)

FORM = (
    b'--XX\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper\r\n'
    b'--XX\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
    b"Content-Type: audio/wav\r\n\r\n\x00\xff--not a boundary\r\n"
    b'--XX\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n%s\r\n--XX--\r\n'
)


def receiving(*messages):
    left: Iterator[dict] = iter(messages)

    async def receive():
        return next(left)

    return receive


def piece(body, more):
    return {"type": "http.request", "body": body, "more_body": more}


@pytest.mark.anyio
async def test_a_body_is_read_to_its_end():
    assert (
        await read_body(receiving(piece(b"a", True), piece(b"b", True), piece(b"", False))) == b"ab"
    )
    assert await read_body(receiving({"type": "http.request"})) == b""


@pytest.mark.anyio
async def test_a_client_that_leaves_in_the_middle_is_gone():
    with pytest.raises(ClientGoneError):
        await read_body(receiving(piece(b"a", True), {"type": "http.disconnect"}))


@pytest.mark.anyio
async def test_a_body_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(bodies, "MAX_BODY_BYTES", 3)
    with pytest.raises(ProxyError) as refused:
        await read_body(receiving(piece(b"ab", True), piece(b"cd", True)))
    assert refused.value.code == 413


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "", "?"])
def test_json_is_json_whatever_it_is_called(kind):
    assert parse_body(b'{"model": "haiku"}', kind) == {"model": "haiku"}


@pytest.mark.parametrize("raw", [b"", b'{"canary": ', b'{"canary": \xff}', b'{"a": NaN, "canary"}'])
def test_what_is_no_json_is_refused_by_its_place_and_not_quoted(raw):
    with pytest.raises(ValidationError, match=r"not valid JSON: line \d+ column \d+") as refused:
        parse_body(raw, "application/json")
    assert "canary" not in str(refused.value)
    assert refused.value.__suppress_context__


@pytest.mark.parametrize("raw", [b"[]", b'"canary"', b"null", b"1"])
def test_json_that_is_no_object_is_refused(raw):
    with pytest.raises(ValidationError, match="must be a JSON object"):
        parse_body(raw, "application/json")


@pytest.mark.parametrize("model", [b'["a"]', b"5", b'{"a": 1}', b"true"])
def test_a_model_that_is_no_name_is_refused(model):
    with pytest.raises(ValidationError, match="'model' must be a string"):
        parse_body(b'{"model": %s}' % model, "")
    assert parse_body(b'{"model": null}', "") == {"model": None}


@pytest.mark.parametrize("metadata", [b"[1]", b"5", b"0.5", b"true"])
def test_metadata_that_nothing_can_be_added_to_is_refused(metadata):
    with pytest.raises(ValidationError, match="'metadata' must be an object"):
        parse_body(b'{"metadata": %s}' % metadata, "")
    assert parse_body(b'{"metadata": {"a": 1}}', "") == {"metadata": {"a": 1}}
    assert parse_body(b'{"metadata": []}', "") == {"metadata": []}, "PHP's empty object"


@pytest.mark.parametrize(
    "raw", [b'{"a": 1, "a": 1}', b'[{"b": {"a": 1, "\\u0061": 2}}]', b'{"a": NaN, "a": 1.5}']
)
def test_an_object_with_a_name_twice_is_refused_by_who_asks(raw):
    with pytest.raises(ValidationError, match="a name twice") as refused:
        check_names(raw)
    assert "1" not in str(refused.value)


@pytest.mark.parametrize(
    "raw", [b'{"messages": 1, "Messages": 2}', '{"system": 1, "\u017fystem": 2}'.encode()]
)
def test_a_body_with_a_name_in_other_letters_is_refused_by_who_asks(raw):
    with pytest.raises(ValidationError, match="two names that differ in case alone") as refused:
        check_names(raw)
    assert "essages" not in str(refused.value)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a": {"a": [{"a": 1}, {"a": 2}]}}',
        b'{"tools": [{"properties": {"id": 1, "ID": 2}}], "Model": 1}',
        b'[{"a": 1, "A": 2}]',
        b'{"a": %s}' % (b"9" * 5000),
        b"a=1&a=2",
        b"\xff",
        b'{"a": 1}\n{"a": 2}',
        b"",
    ],
)
def test_what_has_each_name_once_or_is_no_json_passes(raw):
    check_names(raw)


def test_a_nesting_without_end_has_no_names():
    with pytest.raises(ValidationError, match="nested too deeply"):
        check_names(b"[" * 100_000)


def test_a_nesting_without_end_is_refused():
    with pytest.raises(ValidationError):
        parse_body(b"[" * 100_000, "")


def test_a_nesting_that_can_be_read_but_not_written_is_refused():
    said = parse_body(b'{"x": %s%s}' % (b"[" * 600, b"]" * 600), "")
    for again in (partial(with_model, said, "b"), partial(without, said, "y")):
        with pytest.raises(ValidationError, match="nested too deeply"):
            again()


def test_a_form_tells_its_text_fields_but_no_file():
    kind = 'multipart/form-data; boundary="XX"'
    assert parse_body(FORM % b"caf\xc3\xa9", kind) == {"model": "whisper", "prompt": "café"}


def test_a_long_field_is_read_as_long_as_litellm_would_take_it():
    kind = "multipart/form-data; boundary=XX"
    long = "x" * 1024 * 1024
    assert parse_body(FORM % long.encode(), kind) == {"model": "whisper", "prompt": long}
    assert parse_body(FORM % f"{long}x".encode(), kind) == {"model": "whisper"}


@pytest.mark.parametrize("raw", [b"", b"no form at all", b"--XX\r\n\r\n--XX--", FORM[:-10]])
def test_what_is_no_whole_form_is_refused(raw):
    with pytest.raises(ValidationError, match="form"):
        parse_body(raw, "multipart/form-data; boundary=XX")


def test_a_form_without_a_boundary_is_refused():
    with pytest.raises(ValidationError, match="no boundary"):
        parse_body(FORM, "multipart/form-data")


def test_an_urlencoded_form_is_read():
    kind = "application/x-www-form-urlencoded"
    assert parse_body(b"model=whisper&model=other&x=%20", kind) == {"model": "whisper", "x": " "}


def test_a_body_can_ask_for_another_model():
    raw = with_model({"model": "a", "messages": ["é"]}, "b")
    assert orjson.loads(raw) == {"model": "b", "messages": ["é"]}


@pytest.mark.parametrize(
    ("raw", "content_type", "unsaid"),
    [
        (b' {"a": 1}', "application/x-www-form-urlencoded", True),
        (b'{"a": 1}', "", True),
        (b'{"a": 1}', "application/json", False),
        (b'{"a": 1}', "multipart/form-data; boundary=x", False),
        (b"a=1", "application/x-www-form-urlencoded", False),
        (b"", "", False),
    ],
)
def test_json_that_does_not_say_so_is_known(raw: bytes, content_type: str, unsaid: bool) -> None:
    assert is_unsaid_json(raw, content_type) is unsaid


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/json", False),
        ("", False),
        ("multipart/form-data; boundary=X", True),
        ("Application/X-WWW-Form-Urlencoded", True),
    ],
)
def test_a_form_is_known_by_its_type(content_type, expected):
    assert is_form(content_type) is expected


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("gzip", lambda raw: gzip.compress(raw[:1]) + gzip.compress(raw[1:])),
        ("deflate", zlib.compress),
        ("deflate", lambda raw: zlib.compress(raw)[2:-4]),
    ],
    ids=["gzip", "x-gzip", "two of gzip", "zlib", "deflate alone"],
)
def test_what_was_compressed_is_unpacked(encoding, pack):
    assert unpack(pack(b"{}"), [encoding]) == b"{}"


PACKED = gzip.compress(b"{}")


@pytest.mark.parametrize(
    "raw",
    [b"{}", b"", PACKED[:-4], PACKED + b"more", PACKED + PACKED[:-4], PACKED + bytes(3)],
    ids=["plain", "empty", "half", "more", "half more", "zeros"],  # bytes have the time in them
)
def test_what_is_not_compressed_as_it_says_is_refused(raw):
    with pytest.raises(ValidationError, match="not compressed as gzip"):
        unpack(raw, ["gzip"])


@pytest.mark.parametrize("raw", [b"{", zlib.compress(b"{}") + b"more", zlib.compress(b"{}") * 2])
def test_nor_is_what_has_something_behind_its_end(raw):
    with pytest.raises(ValidationError, match="not compressed as deflate"):
        unpack(raw, ["deflate"])


@pytest.mark.parametrize("step", [1, 7, 24])
def test_a_body_is_unpacked_step_by_step(monkeypatch, step):
    monkeypatch.setattr(bodies, "_STEP_BYTES", step)
    assert unpack(gzip.compress(b"begin ") + gzip.compress(b"end"), ["gzip"]) == b"begin end"


@pytest.mark.parametrize("half", [501, 1])
def test_a_small_body_may_not_become_a_huge_one(monkeypatch, half):
    monkeypatch.setattr(bodies, "MAX_UNPACKED_BYTES", 1000)
    rest = gzip.compress(bytes(1000 - half))
    assert len(unpack(rest + gzip.compress(bytes(half)), ["gzip"])) == 1000
    with pytest.raises(ProxyError, match="1000 bytes when it is unpacked") as refusal:
        unpack(rest + gzip.compress(bytes(half + 1)), ["gzip"])
    assert refusal.value.code == 413


def test_and_what_it_would_become_is_never_held():
    bomb = gzip.compress(bytes(256 * 1024 * 1024))
    tracemalloc.start()
    try:
        with pytest.raises(ProxyError):
            unpack(bomb, ["gzip"])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2 * bodies.MAX_UNPACKED_BYTES


@pytest.mark.parametrize("encodings", [["br"], ["gzip", "br"], ["gzip", "gzip"]])
def test_an_encoding_that_nobody_here_knows_is_named(encodings):
    said = f"'{', '.join(encodings)}'; gzip and deflate can be read here"
    with pytest.raises(ProxyError, match=said) as refusal:
        unpack(PACKED, encodings)
    assert refusal.value.code == 415

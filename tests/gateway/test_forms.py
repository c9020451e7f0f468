import logging

import pytest

from ccproxyd.errors import ValidationError
from ccproxyd.gateway.forms import Part, parts_of

KIND = "multipart/form-data; boundary=XX"
NAMED = 'Content-Disposition: form-data; name="prompt"'


def form(*parts):
    """Each a head and a content."""
    written = "".join(f"--XX\r\n{head}\r\n\r\n{content}\r\n" for head, content in parts)
    return f"{written}--XX--\r\n".encode()


def part(head, content="hello"):
    [found] = parts_of(form((head, content)), KIND)
    return found


@pytest.mark.parametrize(
    "head",
    [
        NAMED,
        "content-disposition: form-data; name=prompt",
        'Content-Disposition:form-data;  NAME = "prompt"',
        f"Content-Type: text/plain\r\n{NAMED}",
        f'{NAMED}; x="filename"',
        f'{NAMED}; x="; filename=a"',
        f"{NAMED}; filename*=utf-8''a",
    ],
)
def test_a_field_is_known_by_its_name_however_that_is_written(head):
    found = part(head)
    assert (found.name, found.text, found.filename) == ("prompt", "hello", None)


@pytest.mark.parametrize("filename", ["a.wav", ""])
def test_a_file_has_a_filename_and_a_media_type(filename):
    found = part(f'{NAMED}; filename="{filename}"\r\nContent-Type: Audio/WAV; codecs=1', "RIFF")
    assert found == Part("prompt", b"RIFF", filename, "audio/wav")


def test_a_field_twice_is_two_parts_and_a_boundary_within_a_line_is_text():
    found = parts_of(form((NAMED, "a"), (NAMED, "b --XX c"), (NAMED, "")), KIND)
    assert [one.text for one in found] == ["a", "b --XX c", ""]


def test_bytes_that_are_no_utf8_are_read_as_starlette_reads_them():
    raw = form((NAMED, "a?b")).replace(b"?", b"\xff")
    assert parts_of(raw, 'multipart/form-data; boundary="XX"')[0].text == "aÿb"


@pytest.mark.parametrize(
    ("charset", "content", "text"),
    [
        ("UTF-8", "ü".encode(), "ü"),
        ("utf-16-le", "ü".encode("utf-16-le"), "ü"),
        ("latin-1", b"\xfc", "ü"),
        ("nonsense", b"\xfc", "ü"),
        ("base64", b"\xfc", "ü"),
    ],
)
def test_fields_are_in_the_charset_of_the_form(charset, content, text):
    raw = form(('Content-Disposition: form-data; name=""', "?")).replace(b"?", content)
    assert parts_of(raw, f"{KIND}; charset={charset}")[0].text == text


@pytest.mark.parametrize(
    ("raw", "kind", "message"),
    [
        (form((NAMED, "a")), "multipart/form-data", "the form has no boundary"),
        (b"", KIND, "the form has no end"),
        (form((NAMED, "a")).removesuffix(b"--XX--\r\n"), KIND, "the form has no end"),
        (b"no form at all", KIND, "the form cannot be read"),
        (form((NAMED, "a")), f"multipart/form-data; boundary={'X' * 300}", "cannot be read"),
        (form(("Content-Type: text/plain", "a")), KIND, "a part of the form has no name"),
    ],
)
def test_what_litellm_would_not_read_is_refused(raw, kind, message):
    with pytest.raises(ValidationError, match=message):
        parts_of(raw, kind)


def test_nothing_of_it_is_logged(caplog):
    with caplog.at_level(logging.DEBUG), pytest.raises(ValidationError):
        parts_of(form(("canary\xe9: x", "a")), KIND)
    assert caplog.records == []

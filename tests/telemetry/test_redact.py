from __future__ import annotations

import faulthandler
import string
import tempfile
import threading

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ccproxyd.telemetry.redact import MARK, is_stack_line, redact

anything = settings(max_examples=300, deadline=None, database=None)
key_characters = st.text(string.ascii_letters + string.digits + "-_", min_size=20, max_size=60)
keys = st.builds(
    "{}{}".format,
    st.sampled_from(["sk-ant-api03-", "sk-ant-oat01-", "sk-proj-", "sk-or-v1-", "sk-"]),
    key_characters,
)

SHAPES = {
    "Anthropic": "sk-ant-api03-Xy7_dEf-0123456789abcdefghijklmnop-AA",
    "Anthropic, a subscription": "sk-ant-oat01-Xy7_dEf-0123456789abcdefghijklmnop-AA",
    "OpenAI": "sk-T3BlbkFJ0123456789abcdefghijklmnop",
    "OpenAI, a project": "sk-proj-abc_DEF-0123456789",
    "OpenRouter": "sk-or-v1-0123456789abcdef0123456789abcdef",
    "ours": "sk-ccproxy-0123456789abcdef",
    "a short one": "sk-1234",
    "Langfuse": "pk-lf-01234567-89ab-cdef",
    "Google": "AIzaSyA0123456789-abcdefghijklmnopqrstu",
    "Google, OAuth": "ya29.a0AfH6SMB-0123456789_abc.def",
    "GitHub": "ghp_0123456789abcdefghijABCDEFGHIJ012345",
    "GitHub, fine-grained": "github_pat_11ABCDEFG0123456789_abcdefghij",
    "AWS": "AKIAIOSFODNN7EXAMPLE",
    "AWS, temporary": "ASIAIOSFODNN7EXAMPLE",
    "Slack": "xoxb-0123456789-abcdefghij",
    "Hugging Face": "hf_abcdefghijABCDEFGHIJ",
    "Groq": "gsk_abcdefghijABCDEFGHIJ",
    "xAI": "xai-abcdefghijABCDEFGHIJ",
    "Perplexity": "pplx-abcdefghijABCDEFGHIJ",
    "NVIDIA": "nvapi-abcdefghijABCDEFGHIJ",
    "a JSON web token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dBjftJeZ4CVP-mB92K27uhbU",
}


@pytest.mark.parametrize("key", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize(
    "text",
    ["{}", "Incorrect API key provided: {}.", "('{}',)", '{{"k": "{}"}}', "<{}>", "a={};b", "{}\n"],
)
def test_a_key_is_known_by_its_makers_prefix(key: str, text: str) -> None:
    cleaned = redact(text.format(key))
    assert key not in cleaned
    assert MARK in cleaned


NAMED = {
    "Authorization: Bearer abc.def-123": "Authorization: [redacted]",
    "authorization: Basic dXNlcjpodW50ZXIy": "authorization: [redacted]",
    "{'Authorization': 'Bearer hunter2'}": "{'Authorization': [redacted]}",
    "sent bearer hunter2, got 401": "sent [redacted], got 401",
    "api_key='hunter2', model='m'": "api_key=[redacted], model='m'",
    "x-api-key: hunter2": "x-api-key: [redacted]",
    "{'api-key': 'hunter2', 'n': 1}": "{'api-key': [redacted], 'n': 1}",
    '{"apiKey":"hunter2","n":1}': '{"apiKey":[redacted],"n":1}',
    "AZURE_API_KEY=hunter2": "AZURE_API_KEY=[redacted]",
    "aws_secret_access_key=hun/ter+2 next": "aws_secret_access_key=[redacted] next",
    "LITELLM_SALT_KEY=hunter2": "LITELLM_SALT_KEY=[redacted]",
    "secretKey: hunter2": "secretKey: [redacted]",
    "AWS_SESSION_TOKEN=hunter2": "AWS_SESSION_TOKEN=[redacted]",
    "password = 'hun ter 2'": "password = [redacted]",
    'PASSWORD="hun\\"ter 2" next': "PASSWORD=[redacted] next",
    '{\\"api_key\\": \\"hun ter2\\", \\"n\\": 1}': '{\\"api_key\\": [redacted], \\"n\\": 1}',
    "passphrase: hunter2": "passphrase: [redacted]",
    "?token=hunter2&n=1": "?token=[redacted]&n=1",
    "client_secret: hunter2": "client_secret: [redacted]",
    "credentials=hunter2": "credentials=[redacted]",
    "Cookie: a=hunter2; b=hunter2": "Cookie: [redacted]",
    "Set-Cookie: a=hunter2; Path=/": "Set-Cookie: [redacted]",
    "{'cookie': 'a=hunter2; b=hunter2'}": "{'cookie': [redacted]}",
    "https://user:hunter2@host/v1": "https://[redacted]@host/v1",
    "postgresql://u:hun@ter2@db:5432/x": "postgresql://[redacted]@db:5432/x",
    "redis://:hunter2@cache": "redis://[redacted]@cache",
    "GET https://host/v1?key=hunter2 failed": "GET https://host/v1?[redacted] failed",
}


@pytest.mark.parametrize(("text", "cleaned"), NAMED.items())
def test_a_secret_is_known_by_its_name_or_its_place(text: str, cleaned: str) -> None:
    assert redact(text) == cleaned


@pytest.mark.parametrize("newline", ["\n", "\\n"])
@pytest.mark.parametrize("end", ["-----END PRIVATE KEY-----", ""])
def test_a_private_key_is_taken_out_whole(newline: str, end: str) -> None:
    pem = newline.join(["-----BEGIN PRIVATE KEY-----", "MIIEvQ", "IBADAN", end])
    cleaned = redact(f'cannot parse "{pem}"')
    assert "MIIEvQ" not in cleaned
    assert "IBADAN" not in cleaned


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ready in 0.25 s",
        "max_tokens=4096, input_tokens: 7, token_count 61234",
        "task-force disk-usage risk-free",
        "KeyError: 'model_name'",
        "https://api.anthropic.com/v1/messages",
        "model_list[0].litellm_params.model: anthropic/claude-opus-4-8",
        '  File "/usr/lib/python3/litellm/router.py", line 12 in __init__',
        "ValidationError: 1 validation error for Deployment",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


@anything
@given(st.text(), keys, st.text())
@example("\\n", "sk-ant-api03-aaaaaaaaaaaaaaaaaaaa", "")
@example("é", "sk-aaaaaaaaaaaaaaaaaaaa", "@")
@example("https://", "sk-aaaaaaaaaaaaaaaaaaaa", ":x@host")
@example("https://host?a=", "sk-aaaaaaaaaaaaaaaaaaaa", "")
@example("bearer", "sk-aaaaaaaaaaaaaaaaaaaa", " token=")
def test_no_key_gets_through_whatever_stands_around_it(before: str, key: str, after: str) -> None:
    assert key not in redact(before + key + after)


SYNTAX = ["=", ":", "'", '"', "\\", " ", "://", "?", "@", "/", ";", ",", "}", "\n"]
WORDS = ["api_key", "token", "bearer ", "cookie", "sk-abcd", "https", "x", MARK]
pieces = st.lists(
    st.sampled_from([*SYNTAX, *WORDS, "-----BEGIN PRIVATE KEY-----"]), max_size=14
).map("".join)


@anything
@given(st.text() | pieces)
@example("://bearer =;@")
@example("cookie:' ")
@example("api_key=''=")
def test_a_text_that_was_redacted_stays_as_it_is(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


@pytest.mark.parametrize(
    "text",
    [
        "a" * 40_000,
        "-" * 40_000,
        "a-" * 20_000,
        "token" + " " * 40_000,
        "token=" + "\\" * 40_000,
        "_key" * 10_000,
        "sk-" * 13_000,
    ],
    ids=lambda text: f"{text[:6]}...",
)
def test_a_long_line_is_no_way_to_keep_the_daemon_busy(text: str) -> None:
    # Linear: with a cost that grows by the square, one of these would take minutes.
    assert len(redact(text)) <= len(text)


STACK = [
    '  File "app.py", line 7 in serve',
    '  File "/usr/lib/python3.11/selectors.py", line 468 in select',
    '  File "<string>", line 1 in <module>',
    '  File "app.py", line 7',
    "Thread 0x00007f1c2d3e4f50 (most recent call first):",
    "Current thread 0x00007f1c2d3e4f50 (most recent call first):",
    "Current thread 0x00007f1c2d3e4f50 [python3] (most recent call first):",
    "Fatal Python error: Segmentation fault",
    "  <no Python frame>",
]
SPEECH = [
    "",
    "ValueError: what the user asked",
    "    result = await ask(prompt)",
    'Thread 0x1 says: "what the user asked"',
    "Fatal Python error: what the user asked was: tell me about the war of 1812, please, in detail",
    '  File "app.py", line 7 in serve: what the user asked',
    '  File "what the user asked", line 7 in serve',
    'see File "app.py", line 7 in serve',
    "  <no Python frame> what the user asked",
    '{"role": "user"}',
]


@pytest.mark.parametrize("line", STACK)
def test_a_place_in_code_is_a_stack_line(line: str) -> None:
    assert is_stack_line(line)


@pytest.mark.parametrize("line", SPEECH)
def test_whatever_else_is_written_is_none(line: str) -> None:
    assert not is_stack_line(line)


def test_all_that_faulthandler_writes_is_known() -> None:
    waiting = threading.Event()
    other = threading.Thread(target=waiting.wait)
    other.start()
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        lines = [line for line in file.read().splitlines() if line]
    waiting.set()
    other.join()
    assert len(lines) > 4
    assert [line for line in lines if not is_stack_line(line)] == []

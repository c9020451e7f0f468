from __future__ import annotations

import faulthandler
import string
import tempfile
import threading

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ccproxyd.telemetry.redact import MARK, LinesRedactor, is_stack_line, redact

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
    "a short one of Anthropic's without a figure": "sk-ant-hunter",
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
    "GitLab": "glpat-abcdefghijABCDEFGHIJ",
    "Fireworks": "fw_abcdefghijABCDEFGHIJ",
    "Replicate": "r8_abcdefghijABCDEFGHIJ",
    "Together": "tgp_v1_abcdefghijABCDEFGHIJ",
    "Stripe": "sk_live_abcdefghijABCDEFGHIJ",
    "Google, a client": "GOCSPX-abcdefghij0123456789ABCDEFGH",
    "Google, to refresh": "1//0gabcdefghij-0123456789_ABCDEFGHIJ",
    "Slack, an app": "xapp-1-A012-0123-abcdefghij",
    "Databricks": "dapi0123456789abcdef0123456789abcdef",
    "Tavily": "tvly-abcdefghij0123456789",
    "Jina": "jina_abcdefghij0123456789ABCDEFGHIJ",
    "LangSmith": "lsv2_pt_0123456789abcdef_0123456789",
    "Atlassian": "ATATT3xFfGF0abcdefghij-0123456789=",
    "npm": "npm_abcdefghij0123456789",
    "PyPI": "pypi-AgEIcHlwaS5vcmcCJDAwMDA",
    "Docker": "dckr_pat_abcdefghij0123456789",
    "DigitalOcean": "dop_v1_0123456789abcdef0123456789abcdef",
    "Shopify": "shpat_0123456789abcdef0123456789abcdef",
    "Linear": "lin_api_abcdefghij0123456789",
    "Notion": "ntn_abcdefghij0123456789",
    "Notion, of old": "secret_abcdefghij0123456789ABCDEFGHIJabcdefghij012",
    "Grafana": "glsa_abcdefghij0123456789_01234567",
    "Sentry": "sntrys_abcdefghij0123456789",
    "Supabase": "sbp_0123456789abcdef0123456789abcdef",
    "Stripe, a webhook": "whsec_abcdefghij0123456789",
    "Twilio": "SK0123456789abcdef0123456789abcdef",
    "Mailgun": "key-0123456789abcdef0123456789abcdef",
    "SendGrid": "SG.abcdefghij0123456789.abcdefghij0123456789",
    "Vault": "hvs.abcdefghij0123456789",
    "Doppler": "dp.pt.abcdefghij0123456789",
    "Telegram, a bot": "123456789:AAabcdefghij0123456789-ABCDEFGHIJ_",
    "age": "AGE-SECRET-KEY-1QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L",
    "Mistral, without a prefix": "aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW",
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
    # A header: to the end of its line, or of its quotes.
    "Authorization: Token hunter2": "Authorization: [redacted]",
    "authorization: ApiKey hunter2\nhost: x": "authorization: [redacted]\nhost: x",
    "Proxy-Authorization: Negotiate hunter2": "Proxy-Authorization: [redacted]",
    'Authorization: Digest username="u", response="hunter2"': "Authorization: [redacted]",
    "Authorization: AWS4-HMAC-SHA256 Credential=hunter2/x, Signature=hunter2": (
        "Authorization: [redacted]"
    ),
    "curl -H 'Authorization: Token hunter2' https://host/v1": (
        "curl -H 'Authorization: [redacted]' https://host/v1"
    ),
    "{'authorization': ['Token hunter2'], 'n': 1}": "{'authorization': [redacted]",
    "{'Authorization': 'Token hunter2', 'n': 1}": "{'Authorization': [redacted], 'n': 1}",
    "signed AWS4-HMAC-SHA256 Credential=hunter2, Signature=hunter2": "signed [redacted]",
    "sent Digest username=u, response=hunter2": "sent [redacted]",
    "OSError: authorization: Token (a) hunter2 (my_code.py:7)": (
        "OSError: authorization: [redacted] (my_code.py:7)"
    ),
    "authorization='Token hun": "authorization=[redacted]",
    "[(b'x-api-key', b'hunter2'), (b'host', b'h')]": (
        "[(b'x-api-key', [redacted]), (b'host', b'h')]"
    ),
    "('authorization', 'Token hunter2')": "('authorization', [redacted])",
    '["x-api-key", "hunter2"]': '["x-api-key", [redacted]]',
    "{'x-api-key':'hunter2'}": "{'x-api-key':[redacted]}",
    "os.environ['AZURE_KEY'] = hunter2": "os.environ['AZURE_KEY'] = [redacted]",
    "bearer:hunter2": "[redacted]",
    "Bearer%20hunter2": "[redacted]",
    "sent Bearer 'hunter2'": "sent [redacted]'",
    # Words before it.
    "API key: hunter2": "API key: [redacted]",
    "Incorrect API key provided: hunter2 for x": "Incorrect API key provided: [redacted] for x",
    "Invalid api key hunter2hunter2": "Invalid api key [redacted]",
    "--api-key hunter2 --port 4000": "--api-key [redacted] --port 4000",
    "--api_key=hunter2": "--api_key=[redacted]",
    "password=hunter2": "password=[redacted]",
    "password='hunter2 and no en": "password=[redacted]",
    "PGPASSWORD=hunter2 psql": "PGPASSWORD=[redacted] psql",
    "pass=hunter2": "pass=[redacted]",
    "X-Amz-Signature=hunter2&n=1": "X-Amz-Signature=[redacted]&n=1",
    # URLs.
    "WSS://host/v1?model=m&token=hunter2": "WSS://host/v1?[redacted]",
    "GET /v1/models?key=hunter2 HTTP/1.1": "GET /v1/models?[redacted] HTTP/1.1",
    "url='/v1/x?sig=hunter2'": "url='/v1/x?[redacted]'",
    "host.azure.com/openai?sig=hunter2": "host.azure.com/openai?[redacted]",
    "https://host/path#hunter2": "https://host/path#[redacted]",
    "https://host/path#hunter2?x": "https://host/path#[redacted]",
    "postgresql://u:pa/hunter2@host/db": "postgresql://[redacted]@host/db",
    "postgresql://u:p@a/hunter2@host/db": "postgresql://[redacted]@host/db",
    "mysql+pymysql://u:pa?hunter2@host/db": "mysql+pymysql://[redacted]@host/db",
    "//user:hunter2@host": "//[redacted]@host",
    "https://u:hunter2@host/x?email=a@b": "https://[redacted]@host/x?[redacted]",
    "https://hooks.slack.com/services/T0/B0/hunter2": "https://hooks.slack.com/[redacted]",
    "https://discord.com/api/webhooks/1/hunter2": "https://discord.com/api/webhooks/[redacted]",
    "https://api.telegram.org/bot1:hunter2/send": "https://api.telegram.org/[redacted]",
    # What pydantic quotes.
    "text [type=string_type, input_value=1234567890, input_type=int]": (
        "text [type=string_type, input_value=[redacted], input_type=int]"
    ),
    "text [input_value={'a': 'hunter2', 'b': ['hunter2']}, input_type=dict]": (
        "text [input_value=[redacted], input_type=dict]"
    ),
    "text [type=x, input_value='hunter2 that is cut": "text [type=x, input_value=[redacted]",
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


PRIVATE_KEY = """\
cannot use
-----BEGIN RSA PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED

MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj
  File "app.py", line 7 in load
log: MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj
hunter2=
-----END RSA PRIVATE KEY----- is no key
Traceback"""
WITHOUT_IT = [
    "cannot use",
    "[redacted]",
    '  File "app.py", line 7 in load',
    " is no key",
    "Traceback",
]


def test_a_private_key_is_taken_out_whole_where_it_comes_line_by_line() -> None:
    cleaned = map(LinesRedactor(), PRIVATE_KEY.splitlines())
    assert [line for line in cleaned if line] == WITHOUT_IT


def test_a_private_key_that_never_ends_does_not_silence_a_process() -> None:
    lines = LinesRedactor()
    cleaned = [lines(line) for line in ["-----BEGIN PRIVATE KEY-----", *["Traceback"] * 201]]
    assert cleaned[1] == ""
    assert cleaned[-1] == "Traceback"


def test_a_private_key_on_one_line_leaves_the_next_alone() -> None:
    lines = LinesRedactor()
    assert lines("-----BEGIN PRIVATE KEY-----hunter2-----END PRIVATE KEY-----") == MARK
    assert lines("Traceback") == "Traceback"


def test_a_line_of_a_private_key_is_known_without_its_first() -> None:
    assert redact("cannot use\n" + "MIIEvQIB" * 8 + "\nhere") == "cannot use\n[redacted]\nhere"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ready in 0.25 s",
        "max_tokens=5",
        "TypeError: create() got an unexpected keyword argument 'api_key'",
        "unexpected token } in line 3, --max-tokens 5",
        "missing bearer token, use --api-key to set one",
        "loc=('litellm_params', 'model'), fields ['api_key', 'model']",
        "http://127.0.0.1:4000/v1/models and https://[::1]:4000/a@b",
        "https://host:8080/pkg@1.0 is what?",
        "No API key for anthropic/claude-sonnet-4-5-20250929",
        "cannot start: config.yaml: general_settings.master_key: must be a text, not a number",
        "ccproxy.yaml: ccproxy.rules[0].params.token: is missing; did you mean 'tokens'?",
        "max_tokens=4096, input_tokens: 7, token_count 61234",
        "task-force disk-usage risk-free",
        "KeyError: 'model_name'",
        "https://api.anthropic.com/v1/messages",
        "model_list[0].litellm_params.model: anthropic/claude-opus-4-8",
        '  File "/usr/lib/python3/litellm/router.py", line 12 in __init__',
        "ValidationError: 1 validation error for Deployment",
        "AttributeError: VertexAIGeminiImageGenerationConfigurationError",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08, 123456:AA",
        "npm_config_registry_of_this_machine, secret_manager_settings, SG.1, hvs.x, key-value",
        "secret_manager_config_v2_settings, ntn_sync_of_pages_2_databases",
        "npm_config_node_version_18_of_here",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_a_field_s_path_is_no_cover_for_what_somebody_else_says() -> None:
    assert redact("cannot import x: config.yaml: a.password: hunter2") == (
        "cannot import x: config.yaml: a.password: [redacted]"
    )
    ours = "config.yaml: general_settings.master_key: cannot import x: OSError: password=hunter2"
    assert redact(ours) == ours.replace("hunter2", MARK)


@anything
@given(st.text(), keys, st.text())
@example("\\n", "sk-ant-api03-aaaaaaaaaaaaaaaaaaaa", "")
@example("data", "sk-ant-api03-aaaaaaaaaaaaaaaaaaaa", "")
@example("é", "sk-aaaaaaaaaaaaaaaaaaaa", "@")
@example("https://", "sk-aaaaaaaaaaaaaaaaaaaa", ":x@host")
@example("https://host?a=", "sk-aaaaaaaaaaaaaaaaaaaa", "")
@example("bearer", "sk-aaaaaaaaaaaaaaaaaaaa", " token=")
def test_no_key_gets_through_whatever_stands_around_it(before: str, key: str, after: str) -> None:
    assert key not in redact(before + key + after)


SYNTAX = [
    "=",
    ":",
    "'",
    '"',
    "\\",
    " ",
    "://",
    "?",
    "#",
    "(",
    "[",
    "b",
    "@",
    "/",
    ";",
    ",",
    "}",
    "\n",
]
WORDS = [
    "api_key",
    "token",
    "bearer ",
    "cookie",
    "authorization",
    "--token ",
    "input_value=",
    "sk-abcd",
    "https",
    "x",
    MARK,
]
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
        "//" * 20_000,
        "//a:b@" * 7_000,
        "//[" * 13_000,
        "a?a=" * 10_000,
        "token=\\'" * 5_000,
        "token='" * 6_000,
        "('token'," * 4_500,
        "authorization='" * 2_700,
        "input_value=" * 3_400,
        "input_value=\n" * 3_000,
        "-----BEGIN PRIVATE KEY-----" * 1_500,
        "bearer: " * 5_000,
        "api key " * 5_000,
        "A\n" * 20_000,
        "a/b.yaml: " * 4_000,
    ],
    ids=lambda text: f"{text[:6]}...",
)
def test_a_long_line_is_no_way_to_keep_the_daemon_busy(text: str) -> None:
    # Linear: with a cost that grows by the square, one of these would take minutes.
    assert len(redact(text)) <= len(text)


@pytest.mark.parametrize(
    "text",
    ["//a@A " * 7_000, "'cookie: " * 4_500, "--a-key " * 5_000],
    ids=lambda text: f"{text[:6]}...",
)
def test_nor_is_one_of_many_secrets_that_are_shorter_than_their_mark(text: str) -> None:
    assert len(redact(text)) <= len(text) + len(MARK) * len(text.split())


STACK = [
    '  File "app.py", line 7 in serve',
    '  File "/usr/lib/python3.11/selectors.py", line 468 in select',
    '  File "<string>", line 1 in <module>',
    '  File "app.py", line 7',
    '  File "/home/a.b/python3.11/site-packages/async-x/_core.pyx", line 7 in <listcomp>',
    '  File "/home/\\xe9/app.py", line 7 in serve',
    '  File "<frozen importlib._bootstrap>", line 241 in _call_with_frames_removed',
    '  File "<attrs generated init ccproxyd.errors.It>", line 7 in __init__',
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
    '  File "what the user asked.py", line 7 in serve',
    '  File "/srv/what the user asked/app.py", line 7 in serve',
    '  File "/srv/the user\'s.py", line 7 in serve',
    '  File "<what the user asked>", line 7 in serve',
    '  File "<frozen what the user asked>", line 7 in serve',
    '  File "<attrs generated by what the user asked>", line 7 in serve',
    '  File "app.py", line 7 in what the user asked',
    '  File "app.py", line 7 in "asked"',
    '  File "app.py", line seven in serve',
    "  File what the user asked",
    "Fatal Python error: What the user asked",
    'Thread 0x1 ["asked"] (most recent call first):',
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


@pytest.mark.parametrize(
    "text",
    [
        "task-summarization-fast",
        "risk-assessment-model",
        "xai-grok-4-fast",
        "hf-local-llama-8b",
        "pk-model",
        "/home/pk-smith/.ccproxy",
        "ccproxy.yaml: ccproxy.rules[0].label: 'basic' is no model_name of config.yaml",
        "sticky: basic since turn 3",
        "basic: anthropic/claude",
        "cannot read systemd's credentials (PermissionError)",
        "parts/my+models.yaml: model_list[0].litellm_params.api_key: must be a text",
        "ccproxy.yaml: ccproxy.rules[0].params.token: MyRule: expected a number",
    ],
)
def test_names_that_begin_like_a_key_and_words_about_keys_stay(text: str) -> None:
    assert redact(text) == text

"""What a worker says before its first request, and what it says after."""

import logging
import os
import subprocess
import sys

import pytest

from ccproxyd.worker.logs import LAST_WORDS, Journal, Sink, empty

PROMPT = "the prompt that nobody may read"


class RefusedError(Exception):
    status_code = 529


@pytest.fixture
def journal():
    return Journal()


@pytest.fixture
def said(journal):
    messages = []
    journal.attach(messages.append)
    return messages


@pytest.fixture
def logger(journal):
    logger = logging.Logger("LiteLLM Proxy")
    logger.addHandler(journal)
    return logger


def fail(logger):
    try:
        raise RefusedError(PROMPT)
    except RefusedError:
        logger.exception("cannot serve %s", PROMPT)


def test_a_record_before_the_first_request_has_its_text(logger, said):
    logger.warning("no such provider: %s", "google")
    [message] = said
    assert message["kind"] == "log"
    assert (message["level"], message["logger"]) == ("warning", "LiteLLM Proxy")
    assert message["where"].startswith("test_logs.py:")
    assert message["text"] == "no such provider: google"


def test_an_exception_before_the_first_request_is_told_with_its_message(logger, said):
    fail(logger)
    assert said[0]["text"] == f"cannot serve {PROMPT}: RefusedError: {PROMPT}"
    assert (said[0]["error"], said[0]["status"]) == ("RefusedError", 529)


def test_a_record_after_the_first_request_has_no_text(logger, journal, said):
    journal.close_text()
    fail(logger)
    [message] = said
    assert {"level": "error", "error": "RefusedError", "status": 529}.items() <= message.items()
    assert "text" not in message
    assert PROMPT not in str(message)


def test_secrets_are_taken_out_of_text(logger, said):
    logger.warning("Authorization: Bearer sk-ant-12345678")
    assert "sk-ant" not in said[0]["text"]


def test_a_private_key_is_taken_out_of_the_lines_of_a_stream(journal, said):
    out, err = Sink("stdout", journal.heard), Sink("stderr", journal.heard)
    print("-----BEGIN PRIVATE KEY-----", file=err)
    print("importing", file=out)
    print("MIIEvQ\nIBADAN\n-----END PRIVATE KEY-----\nimported", file=err)
    assert [message["text"] for message in said] == ["[redacted]", "importing", "imported"]
    assert "MIIEvQ" not in journal.last_words()


def test_a_status_that_is_no_number_is_left_out(logger, said):
    error = RefusedError()
    error.status_code = PROMPT
    logger.error("x", exc_info=error)
    assert "status" not in said[0]


def test_what_was_said_before_anybody_listened_is_told_first(logger, journal):
    logger.warning("one")
    messages = []
    journal.attach(messages.append)
    logger.warning("two")
    assert [message["text"] for message in messages] == ["one", "two"]


def test_the_last_words_are_the_last_lines(logger, journal, said):
    for number in range(LAST_WORDS + 5):
        logger.warning("line %d", number)
    words = journal.last_words().splitlines()
    assert (len(words), words[-1]) == (LAST_WORDS, f"line {LAST_WORDS + 4}")


def test_a_record_that_cannot_be_told_is_counted(logger, journal, said):
    logger.warning("%d", "not a number")
    assert said == []
    assert journal.printed == 1


def test_printed_lines_are_told_whole_and_without_colours(journal, said):
    sink = Sink("stdout", journal.heard)
    print("\033[32m  one", "line\033[0m", file=sink)
    print("\n\n", file=sink)
    assert [(m["logger"], m["text"]) for m in said] == [("stdout", "one line")]


def test_what_is_printed_after_the_first_request_is_counted_and_dropped(journal, said):
    sink = Sink("stderr", journal.heard)
    journal.close_text()
    print(PROMPT, file=sink)
    assert said == []
    assert journal.printed == 1


def test_a_sink_is_a_stream_that_is_no_terminal(journal):
    sink = Sink("stdout", journal.heard)
    assert sink.writable()
    assert not sink.isatty()


def test_an_emptied_logger_speaks_to_the_root_alone():
    logger = logging.Logger("LiteLLM")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    empty([logger])
    assert (logger.handlers, logger.propagate) == ([], True)


SCRIPT = """
import os, sys, logging, warnings, faulthandler
from ccproxyd.worker.logs import Descriptors, Journal, take_over
journal, descriptors, told = Journal(), Descriptors(), []
take_over(journal)
descriptors.keep_for_crashes()
journal.attach(told.append)
print("printed"); warnings.warn("warned"); logging.getLogger("any").warning("logged")
os.write(2, b"early\\n")
journal.close_text(); descriptors.close()
print("PRIVATE"); warnings.warn("PRIVATE"); logging.getLogger("any").warning("PRIVATE")
os.write(1, b"PRIVATE\\n"); os.write(2, b"PRIVATE\\n")
report = [message.get("text", message["logger"]) for message in told]
os.write(int(sys.argv[1]), repr(report).encode())
faulthandler._sigabrt() if len(sys.argv) > 2 else None
"""


def run_script(*arguments):
    read, write = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(write), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=[write],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        os.close(write)
        with os.fdopen(read) as pipe:
            report = pipe.read()
        out, err = process.communicate()
    return report, out.decode(), err.decode()


def test_a_process_that_was_taken_over_says_everything_through_the_journal():
    report, out, err = run_script()
    said = [one.rpartition("UserWarning: ")[2].partition("\n")[0] for one in eval(report)]  # noqa: S307
    assert said == ["printed", "warned", "logged", "py.warnings", "any"]
    assert (out, err) == ("", "early\n")


def test_a_crash_after_the_first_request_still_leaves_its_stack():
    _, _, err = run_script("crash")
    assert "Fatal Python error: Aborted" in err
    assert "PRIVATE" not in err

"""What is known of a request on its way; where there is no request, nobody is told."""

import pytest

from ccproxyd.errors import ProxyError
from ccproxyd.worker import underway
from ccproxyd.worker.underway import Slot, fallback_failed, note, want


@pytest.fixture
def slot():
    """That of a request that is on its way."""
    found = Slot()
    token = underway.current.set(found)
    yield found
    underway.current.reset(token)


def test_a_failure_is_kept_with_the_tries_that_it_took(slot):
    note(ProxyError("slow down", code=429), streams=False, retries=2)
    assert (slot.failure.status, slot.retries, slot.status) == (429, 2, None)


def test_the_labels_that_were_asked_in_vain_are_counted(slot):
    fallback_failed()
    fallback_failed()
    assert slot.failed_fallbacks == 2


def test_what_is_wanted_is_kept(slot):
    want(text=True, events=False)
    assert (slot.wants_text, slot.wants_events) == (True, False)


def test_outside_of_a_request_nobody_is_told():
    note(ProxyError("slow down", code=429), streams=True)
    fallback_failed()
    want(text=True, events=True)
    assert underway.current.get() is None

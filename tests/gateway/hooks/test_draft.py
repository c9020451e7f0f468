import copy

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccproxyd.gateway.hooks.draft import MOST_NOTES_BYTES, Draft, for_litellm

BODY = {
    "model": "opus",
    "messages": [{"role": "user", "content": "Hello"}],
    "metadata": {"user_id": "u", "other": 1},
    "stream": True,
}
RECEIVED = {"url": "http://x/v1/messages", "method": "POST", "headers": {"user-agent": "x"}}


def draft(body=BODY, notes=(), label=None):
    return Draft(copy.deepcopy(body), RECEIVED, "r-1", dict(notes), label=label)


def after(change, body=BODY, **more):
    """The draft after a hook that changes its data in place, and what it took."""
    found = draft(body, **more)
    change(found.data)
    return found, found.take(None)


# What a hook sees


def test_a_hook_sees_the_body_with_the_request_beside_it():
    data = draft().data
    assert {name: data[name] for name in BODY} == BODY
    assert data["proxy_server_request"] == {**RECEIVED, "body": BODY}
    assert data["litellm_call_id"] == "r-1"


def test_it_sees_the_notes_beside_the_bodys_own_metadata():
    assert draft(notes={"a": 1}).data["metadata"] == {"user_id": "u", "other": 1, "a": 1}
    assert draft({}, notes={"a": 1}).data["metadata"] == {"a": 1}


def test_it_sees_the_label_for_the_model_once_there_is_one():
    found = draft()
    assert found.data["model"] == "opus"
    found.route("think")
    assert found.data["model"] == "think"
    assert draft(label="think").data["model"] == "think"


def test_notes_and_label_reach_a_copy_that_is_made_already():
    found = draft()
    data = found.data
    found.note({"a": 1})
    found.route("think")
    assert found.data is data
    assert (data["metadata"]["a"], data["model"]) == (1, "think")


def test_nobody_else_holds_its_copy():
    body = copy.deepcopy(BODY)
    found = Draft(body, RECEIVED, "r-1", {})
    found.data["messages"][0]["content"] = "changed"
    found.data["proxy_server_request"]["headers"] = {}
    assert body == BODY
    assert RECEIVED["headers"]


# What it changes


def test_a_hook_that_changes_nothing_has_changed_nothing():
    found, taken = after(lambda data: None)
    assert not taken.changed
    assert found.json == orjson.dumps(BODY)


def bodies():
    metadata = st.dictionaries(st.sampled_from(["a", "user_id", "c"]), values())
    others = st.sampled_from([*BODY, "litellm_call_id", "x"])
    return st.builds(
        lambda body, more: {**body, **more},
        st.dictionaries(others, values()),
        st.just({}) | metadata.map(lambda found: {"metadata": found}),
    )


def values():
    numbers = st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    leaves = st.none() | st.booleans() | numbers | st.text(st.characters(codec="utf-8"))
    texts = st.text(st.characters(codec="utf-8"), max_size=5)
    return st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(texts, inner))


@given(
    body=bodies(),
    label=st.none() | st.just("think"),
    notes=st.dictionaries(st.sampled_from(["a", "user_id"]), st.integers(0, 9)),
)
def test_whatever_a_body_is_like_looking_at_it_does_not_change_it(body, label, notes):
    found = Draft(body, RECEIVED, "r-1", notes, label=label)
    for returned in (None, found.data, {**found.data}):
        taken = found.take(returned)
        assert (taken.changed, taken.model) == (False, None)
    assert found.json == orjson.dumps(body)
    assert found.notes == notes


def test_its_copy_is_used_again_until_it_has_changed():
    found = draft()
    first = found.data
    found.take(None)
    assert found.data is first
    first["temperature"] = 0.5
    assert found.take(None).changed
    assert found.data is not first
    assert found.data["temperature"] == 0.5


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.update(temperature=0.5),
        lambda data: data["messages"].append({"role": "user", "content": "Bye"}),
        lambda data: data.pop("stream"),
        lambda data: data.update(stream=1),
        lambda data: data.update(model="haiku"),
    ],
)
def test_what_it_changes_goes_upstream(change):
    found, taken = after(change)
    wanted = copy.deepcopy(BODY)
    change(wanted)
    assert taken.changed
    assert found.json == orjson.dumps(wanted)
    assert found.body == wanted


def test_what_it_returns_counts_instead_of_what_it_got():
    found = draft()
    found.data["model"] = "ignored"
    assert found.take({"model": "other", "messages": []}).changed
    assert found.body == {"model": "other", "messages": []}
    assert found.data["litellm_call_id"] == "r-1"


def test_a_copy_that_it_returns_unchanged_is_no_change():
    found = draft()
    assert not found.take(copy.deepcopy(found.data)).changed


@pytest.mark.parametrize("returned", [3, "text", [], False])
def test_a_hook_returns_a_mapping_or_nothing(returned):
    with pytest.raises(TypeError):
        draft().take(returned)


@pytest.mark.parametrize("value", [object(), {1, 2}, 2**70, "\ud800"])
def test_what_is_no_json_is_refused_and_changes_nothing(value):
    found = draft(notes={"a": 1})
    found.data["metadata"]["a"] = 2
    found.data["temperature"] = value
    with pytest.raises(TypeError):
        found.take(None)
    found.drop()
    assert found.body == BODY
    assert found.data["metadata"]["a"] == 1
    assert "temperature" not in found.data


def test_what_stands_beside_the_body_goes_nowhere():
    def change(data):
        data["proxy_server_request"]["headers"]["x-more"] = "1"
        data["litellm_call_id"] = "other"

    found, taken = after(change)
    assert not taken.changed
    assert found.data["litellm_call_id"] == "other"


def test_a_body_with_fields_of_these_names_keeps_them():
    body = {**BODY, "litellm_call_id": "mine", "proxy_server_request": {"a": 1}}
    found, taken = after(lambda data: data.update(temperature=1), body)
    assert taken.changed
    assert found.body["litellm_call_id"] == "mine"
    assert found.body["proxy_server_request"] == {"a": 1}


# Metadata


def test_what_it_adds_to_the_metadata_is_a_note():
    found, taken = after(lambda data: data["metadata"].update(team="blue"))
    assert not taken.changed
    assert found.notes == {"team": "blue"}


def test_what_the_client_sent_of_it_can_be_changed_and_taken_away():
    found, taken = after(lambda data: data["metadata"].update(user_id="nobody"))
    assert taken.changed
    assert found.body["metadata"] == {"user_id": "nobody", "other": 1}
    found.data["metadata"].clear()
    assert found.take(None).changed
    assert "metadata" not in found.body


def test_a_note_of_the_same_name_stands_before_the_clients_own_and_not_for_it():
    found = draft(notes={"user_id": "ours"})
    assert found.data["metadata"]["user_id"] == "ours"
    found.data["metadata"]["user_id"] = "changed"
    assert not found.take(None).changed
    assert found.notes == {"user_id": "changed"}
    assert found.body["metadata"]["user_id"] == "u"


@pytest.mark.parametrize("metadata", [{}, None, "text", ["a"]])
def test_metadata_of_any_form_stays_as_it_is(metadata):
    found, taken = after(lambda data: data["metadata"].update(a=1), {**BODY, "metadata": metadata})
    assert not taken.changed
    assert found.notes == {"a": 1}


@pytest.mark.parametrize("value", [None, "text"])
def test_a_hook_that_spoils_the_metadata_spoils_it_for_nobody_else(value):
    found, _ = after(lambda data: data.update(metadata=value), notes={"a": 1})
    assert found.notes == {}
    found.note({"b": 2})
    assert found.data["metadata"] == {"b": 2}


def test_litellm_gets_the_notes_that_are_worth_it():
    notes = {"ccproxy_model_name": "think", "team": "blue", "since": object(), 3: "x"}
    assert for_litellm(notes) == {"team": "blue"}
    assert for_litellm({"a": "x" * MOST_NOTES_BYTES}) == {}


# The model


def test_before_the_route_is_found_the_model_is_the_bodys():
    found, taken = after(lambda data: data.update(model="haiku"))
    assert (taken.changed, taken.model) == (True, None)
    assert found.body["model"] == "haiku"


def test_after_it_another_model_is_asked_for_and_the_body_keeps_its_own():
    found, taken = after(lambda data: data.update(model="background"), label="think")
    assert (taken.changed, taken.model) == (False, "background")
    assert found.body["model"] == "opus"


@pytest.mark.parametrize("change", [lambda data: None, lambda data: data.pop("model")])
def test_a_label_that_is_left_alone_or_taken_away_stays(change):
    found, taken = after(change, label="think")
    assert taken.model is None
    assert (found.body, found.data["model"]) == (BODY, "think")


def test_a_model_is_a_text():
    with pytest.raises(TypeError):
        after(lambda data: data.update(model=4), label="think")


def test_a_body_without_a_model_gets_none():
    found, taken = after(lambda data: data.update(n=1), {"messages": []}, label="think")
    assert found.body == {"messages": [], "n": 1}
    assert taken.model is None

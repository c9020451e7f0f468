"""The request as a hook of the user's own sees it, and what it may change of it.

A hook gets `data`, a copy of the body that nobody else holds, in the form that LiteLLM's and
claude-ccproxy's hooks expect, and may change it or return another:

    model                    what is asked for; once `model_router` has run, the label
    metadata                 the body's own, and beside it *notes*: what hooks tell each other
      ccproxy_alias_model      the model that was asked for, since `rule_evaluator`
      ccproxy_model_name       the label, since `rule_evaluator`; another one is followed
      ccproxy_litellm_model    the provider's model, since `model_router`
      ccproxy_is_passthrough   whether the client got what it asked for, since `model_router`
    proxy_server_request     url, method, headers and body of the request, to read; no credentials
    litellm_call_id          the request's id in our log and in the answer's headers

What it changes goes upstream. The *notes* do not: a provider refuses metadata that it does not
know. LiteLLM gets them where it answers, as its own metadata, which its callbacks see. So a key of
`metadata` that the client sent can be changed or taken away, and one that is new is a note.

A body counts as changed when its JSON has: it is compared as bytes, which tells 1 from true.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson
from attrs import define, field, frozen

ALIAS: Final = "ccproxy_alias_model"
LABEL: Final = "ccproxy_model_name"
MODEL: Final = "ccproxy_litellm_model"
KEPT: Final = "ccproxy_is_passthrough"
_OURS: Final = "ccproxy_"
_METADATA: Final = "metadata"
_RECEIVED: Final = "proxy_server_request"
_CALL_ID: Final = "litellm_call_id"
_BESIDE: Final = (_RECEIVED, _CALL_ID)

MOST_NOTES_BYTES: Final = 8 * 1024
"""They travel in a header."""

Body = dict[str, Any]


@frozen
class Taken:
    """What a hook has done: `model` is the other one that it asks for, if it does."""

    changed: bool
    model: str | None = None


@define
class Draft:
    """One request on its way through the hooks.

    `body` is what goes upstream if no hook changes it any more, and `json` its bytes.
    """

    body: Body
    received: Mapping[str, Any]
    request_id: str
    notes: dict[str, Any]
    json: bytes = field(init=False)
    label: str | None = None
    """What `model_router` has put into `model`."""
    _data: Body | None = None

    @json.default
    def _written(self) -> bytes:
        return orjson.dumps(self.body)

    @property
    def data(self) -> Body:
        """What a hook gets; the same again, as long as it fits."""
        if self._data is None:
            self._data = self._made()
        return self._data

    def note(self, notes: Mapping[str, Any]) -> None:
        """Tell the hooks that come."""
        self.notes.update(notes)
        if self._data is not None:
            self._data[_METADATA].update(notes)

    def route(self, label: str) -> None:
        """From now on `model` is the label."""
        self.label = label
        if self._data is not None:
            self._data["model"] = label

    def take(self, returned: object) -> Taken:
        """Read back what a hook has made of its data.

        Raises:
            TypeError: it returned something else than a mapping, or put something into it that is
                no JSON.
        """
        data = self.data if returned is None else returned
        if not isinstance(data, dict):
            raise TypeError("a hook returns a mapping, or None")
        found = orjson.dumps(self._body_of(data))
        taken = Taken(found != self.json, self._model_of(data))
        self.notes = self._notes_of(data)
        if taken.changed:
            self.body, self.json = orjson.loads(found), found
        if taken.changed or data is not self._data or not _is_whole(data):
            self._data = None
        return taken

    def drop(self) -> None:
        """Forget what the last hook has done to its data."""
        self._data = None

    def _made(self) -> Body:
        """A fresh copy; that of the body in `proxy_server_request` is shallow, as LiteLLM's is."""
        body: Body = orjson.loads(self.json)
        data = {
            **body,
            _METADATA: {**_section(body), **self.notes},
            _RECEIVED: {**self.received, "body": dict(body)},
            _CALL_ID: self.request_id,
        }
        return data if self.label is None else {**data, "model": self.label}

    def _body_of(self, data: Body) -> Body:
        """Of what is ours in it, the body gets back what it had; the order of the rest stays."""
        body = dict(data)
        for name in _BESIDE if self.label is None else (*_BESIDE, "model"):
            self._put_back(body, name)
        if kept := self._own_metadata(_section(data)):
            body[_METADATA] = kept
        elif _section(self.body):
            body.pop(_METADATA, None)
        else:
            self._put_back(body, _METADATA)
        return body

    def _own_metadata(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """What is left of the client's; a note of the same name stands before it, not for it."""
        own = _section(self.body)
        behind = {name: value for name, value in own.items() if name in self.notes}
        left = {**found, **behind}
        return {name: left[name] for name in own if name in left}

    def _put_back(self, body: Body, name: str) -> None:
        if name in self.body:
            body[name] = self.body[name]
        else:
            body.pop(name, None)

    def _notes_of(self, data: Body) -> dict[str, Any]:
        own = _section(self.body).keys() - self.notes.keys()
        return {name: value for name, value in _section(data).items() if name not in own}

    def _model_of(self, data: Body) -> str | None:
        model = data.get("model")
        if self.label is None or model in (None, self.label):
            return None
        if not isinstance(model, str):
            raise TypeError("a model is a text")
        return model


def for_litellm(notes: Mapping[str, Any]) -> dict[str, Any]:
    """The notes that are worth LiteLLM's metadata: not ours, and nothing that is no JSON.

    Together they are none where they would be more than a header takes.
    """
    found = {
        name: value
        for name, value in notes.items()
        if isinstance(name, str) and not name.startswith(_OURS) and _size(value) is not None
    }
    return found if (_size(found) or 0) <= MOST_NOTES_BYTES else {}


def _size(value: Any) -> int | None:
    try:
        return len(orjson.dumps(value))
    except TypeError:
        return None


def _is_whole(data: Body) -> bool:
    return all(isinstance(data.get(name), dict) for name in (_METADATA, _RECEIVED))


def _section(body: Mapping[str, Any]) -> dict[str, Any]:
    found = body.get(_METADATA)
    return found if isinstance(found, dict) else {}

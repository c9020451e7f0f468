"""What a request becomes for the deployment that LiteLLM has chosen for it.

LiteLLM chooses late. A label can have deployments of several kinds, and where one fails, its
fallbacks lead on to other labels. The gateway could only guess, so bodies are made fit here, for
each attempt anew, out of what the client sent:

    the deployment is                     the body                  beside it
    a Claude at a cloud that speaks       becomes what the client   the betas that the model takes
    Anthropic's protocol                  would send to it
    Anthropic's, or its protocol          the same                  what LiteLLM drops: `beta=true`,
    at another address                                              the client's own headers, fields
                                                                    that LiteLLM does not know
    anything else                         loses what is             nothing of these headers
                                          Anthropic's business

That goes for requests of `/v1/messages`. For all requests it holds that the client's own credential
goes to Anthropic's own address, where no key is configured, and nowhere else: LiteLLM would have a
subscription token override the key of any deployment that it calls `anthropic`, wherever that is,
and take a key along to every fallback.

LiteLLM hands the parameters of a call to us by name, the body's fields among its own. They are a
shallow copy: nothing in them is mutated, since the next attempt begins with the same ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from ccproxyd.config.deployments import KEYS_OF_A_PROVIDER
from ccproxyd.config.lanes import anthropic_base, is_anthropics_own, needs_no_key
from ccproxyd.config.litellm import WHOLE_ADDRESSES
from ccproxyd.routing import Request
from ccproxyd.routing.adapt import Adapted, adapt, strip_for_others
from ccproxyd.routing.families import takes_anthropics
from ccproxyd.worker import carried, doors, messages
from ccproxyd.worker.messages import Kept

ANTHROPIC: Final = "anthropic"
NO_KEY: Final = "none"
_CACHING_BY_KEY: Final = ("azure", "openai")

_BETAS: Final = "anthropic-beta"
_BY_LITELLM: Final = (_BETAS, "anthropic-version")
_CREDENTIAL: Final = "authorization"
_SCOPED: Final = "provider_specific_header"

Call = Mapping[str, Any]


def fit(
    call: Call,
    is_message: bool,
    requested: str,
    key: str | None,
    environ: Mapping[str, str],
    patience: float | None = None,
) -> dict[str, Any]:
    """The parameters of a call as its deployment takes them.

    Args:
        is_message: it is one of `/v1/messages`.
        requested: the model that the client wrote the request for.
        key: the client's own key, where the config lets it go along.
        patience: how many seconds it may take, where another deployment could answer.
    """
    lent = _reachable(_with_credential(call, key, environ), environ)
    lent = _with_patience(lent, patience)
    return _with_message_fit(lent, requested) if is_message else lent


def provider_of(call: Call) -> str:
    """As LiteLLM calls the deployment's provider."""
    return str(call.get("custom_llm_provider") or str(call.get("model")).partition("/")[0])


def _with_patience(call: dict[str, Any], patience: float | None) -> dict[str, Any]:
    """The limit of its own that a deployment has holds as well; the shorter one counts."""
    own = call.get("timeout")
    if patience is None:
        return call
    try:
        shorter = patience if own is None else min(float(own), patience)
    except (TypeError, ValueError):  # httpx's, which says more than one
        return call
    return {**call, "timeout": shorter}


# The client's own credential


def _with_credential(call: Call, key: str | None, environ: Mapping[str, str]) -> dict[str, Any]:
    if not _may_have_it(call, environ):
        return _with_scoped(call, [_without(one, _CREDENTIAL) for one in _scoped(call)])
    return {**call, "api_key": key} if key else dict(call)


def _may_have_it(call: Call, environ: Mapping[str, str]) -> bool:
    base = anthropic_base(call.get("api_base") or call.get("base_url"), environ)
    has_key = any(call.get(name) for name in KEYS_OF_A_PROVIDER)
    return provider_of(call) == ANTHROPIC and is_anthropics_own(base) and not has_key


def lent_to_a_count(deployment: Call, environ: Mapping[str, str]) -> dict[str, Any]:
    """The parameters of the deployment that is to count, with the credential if it may have it."""
    along = carried.current.get()
    reachable = _reachable(deployment, environ)
    if along is None or along.credential is None or not _may_have_it(reachable, environ):
        return reachable
    return {**reachable, "api_key": along.credential}


# The server


def _reachable(call: Call, environ: Mapping[str, str]) -> dict[str, Any]:
    return _with_some_key(_with_plain_address(call, environ), environ)


def _with_plain_address(call: Call, environ: Mapping[str, str]) -> dict[str, Any]:
    """LiteLLM puts Anthropic's path behind an address as it is, and behind a slash another one."""
    base = anthropic_base(call.get("api_base") or call.get("base_url"), environ)
    is_whole = environ.get(WHOLE_ADDRESSES, "").lower() == "true"
    if provider_of(call) != ANTHROPIC or is_whole or not base.endswith("/"):
        return dict(call)
    others = {name: value for name, value in call.items() if name != "base_url"}
    return {**others, "api_base": base.rstrip("/")}


def _with_some_key(call: dict[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """LiteLLM asks no server without a key, also none that wants none."""
    base = call.get("api_base") or call.get("base_url")
    said = call.get("extra_headers") or doors.has_key_for_all()
    if said or not needs_no_key(provider_of(call), base, call, environ):
        return call
    return {**call, "api_key": NO_KEY}


# The body


def _with_message_fit(call: dict[str, Any], requested: str) -> dict[str, Any]:
    given = _body_of(call)
    if not takes_anthropics(provider_of(call), _model_of(call)):
        return _for_others(call, given)
    betas = next((one[_BETAS] for one in map(_headers_of, _scoped(call)) if _BETAS in one), "")
    adapted = adapt(given, betas, requested_model=requested, model=_model_of(call))
    fitted = _with_betas(_with_body(call, given, adapted), adapted)
    return _with_what_is_dropped(fitted, adapted) if provider_of(call) == ANTHROPIC else fitted


def _model_of(call: Call) -> str:
    """The model, or what the config says that a deployment's own name stands for."""
    info = call.get("model_info")
    base = info.get("base_model") if isinstance(info, Mapping) else None
    return str(base or call.get("model"))


def _body_of(call: Call) -> dict[str, Any]:
    """What the client sent, and what the config or a callback has put in its place."""
    sent = _received(call).get("body")
    unknown = set(sent if isinstance(sent, Mapping) else ()) - doors.own_fields()
    names = messages.message_fields() | unknown - {"model"}
    return {name: call[name] for name in call if name in names and call[name] is not None}


def _with_body(call: Call, given: Mapping[str, Any], adapted: Adapted) -> dict[str, Any]:
    if adapted.body is given:
        return dict(call)
    kept = {name: value for name, value in call.items() if name not in given}
    return {**kept, **adapted.body}


def _for_others(call: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    stripped = _with_body(call, given, strip_for_others(given, _model_of(call)))
    headers = stripped.get("headers")
    if isinstance(headers, Mapping):
        stripped["headers"] = {
            name: value for name, value in headers.items() if not carried.is_carried(name)
        }
    session = Request(given, headers=_received_headers(call)).session_id
    if session and provider_of(call) in _CACHING_BY_KEY:
        # So that the turns of a conversation meet one cache; which conversation, nobody can tell.
        stripped.setdefault("prompt_cache_key", hashlib.sha256(session.encode()).hexdigest()[:32])
    return stripped


# Headers and the rest


def _with_betas(call: dict[str, Any], adapted: Adapted) -> dict[str, Any]:
    if "betas" not in adapted.changes:
        return call
    taken = {_BETAS: ",".join(adapted.betas)} if adapted.betas else {}
    entries = [
        {**one, "extra_headers": {**_without_name(_headers_of(one), _BETAS), **taken}}
        if _BETAS in _headers_of(one)
        else one
        for one in _scoped(call)
    ]
    headers = call.get("headers")
    forwarded = {"headers": _without_name(headers, _BETAS)} if isinstance(headers, Mapping) else {}
    return {**_with_scoped(call, entries), **forwarded}


def _with_what_is_dropped(call: dict[str, Any], adapted: Adapted) -> dict[str, Any]:
    configured = {str(name).lower() for name in call.get("extra_headers") or ()}
    along = {
        name: value
        for name, value in _received_headers(call).items()
        if carried.is_carried(name) and name not in _BY_LITELLM and name not in configured
    }
    unknown = {k: v for k, v in adapted.body.items() if k not in messages.message_fields()}
    own = {"custom_llm_provider": ANTHROPIC, "extra_headers": along}
    fitted = _with_scoped(call, [*_scoped(call), own] if along else _scoped(call))
    kept = Kept(fields=unknown, query=_query(call), says_stream="stream" in adapted.body)
    return {**fitted, messages.KEPT: kept}


def _query(call: Call) -> str:
    return carried.query(urlsplit(str(_received(call).get("url", ""))).query)


def _received(call: Call) -> Mapping[str, Any]:
    found = call.get("proxy_server_request")
    return found if isinstance(found, Mapping) else {}


def _received_headers(call: Call) -> dict[str, str]:
    found = _received(call).get("headers")
    headers = found if isinstance(found, Mapping) else {}
    return {str(name).lower(): value for name, value in headers.items()}


def _scoped(call: Call) -> list[Mapping[str, Any]]:
    """`provider_specific_header` is one mapping, or a list of them, or absent."""
    found = call.get(_SCOPED)
    entries = found if isinstance(found, list | tuple) else [found]
    return [one for one in entries if isinstance(one, Mapping)]


def _with_scoped(call: Call, entries: list[Mapping[str, Any]]) -> dict[str, Any]:
    if not entries:
        return {name: value for name, value in call.items() if name != _SCOPED}
    return {**call, _SCOPED: entries}


def _headers_of(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    found = entry.get("extra_headers")
    return found if isinstance(found, Mapping) else {}


def _without(entry: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return {**entry, "extra_headers": _without_name(_headers_of(entry), name)}


def _without_name(headers: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in headers.items() if str(key).lower() != name}

"""The config directory as one frozen value: two YAML files, their includes, and the `env` file.

    ccproxy.yaml   ours, see `settings`
    config.yaml    LiteLLM's, see `litellm`
    env            NAME=value lines, for a service that inherits no shell; stronger than what the
                   service manager's environment says, so that an edit and a reload take effect
    $CREDENTIALS_DIRECTORY   systemd's credentials: a file NAME holds the value of NAME
    $NAME_FILE     the path of a file that holds the value of NAME, where NAME itself is not set and
                   config.yaml refers to it; a relative one is below the config directory

Nothing of the user's is imported here: the daemon loads, the gateway imports. What was loaded goes
to the gateway as a message and is parsed again there by the same parsers.

Three fingerprints (SHA-256, in hex) say what an edit concerns. `worker_fingerprint` covers what
LiteLLM sees, `routing_fingerprint` what decides a route, `fingerprint` everything.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, Final

import attrs
import orjson
from attrs import evolve, frozen

from ccproxyd.config import litellm as litellm_file
from ccproxyd.config import settings as settings_file
from ccproxyd.config.documents import parse_document
from ccproxyd.config.environment import (
    expand,
    expand_known,
    is_env_name,
    parse_env_file,
    references,
    referred,
    saying_references,
)
from ccproxyd.config.fallbacks import labels_of, with_fallbacks
from ccproxyd.config.includes import Merged, merge_includes
from ccproxyd.config.litellm import MASTER_KEY_NAME, LiteLLMConfig, check_labels, check_names
from ccproxyd.config.modules import dotted_names, local_files
from ccproxyd.config.settings import Settings
from ccproxyd.errors import ConfigError
from ccproxyd.routing.router import DEFAULT_LABEL

ENV_FILE: Final = "env"
_MISSING: Final = (
    "does not exist; `ccproxyctl install` writes samples, `ccproxyd --demo` tries it without any"
)


@frozen
class Loaded:
    """Both files, parsed, with what they were parsed from.

    `documents` holds `ccproxy` and `litellm`, plain JSON values, expanded, includes merged.
    `environ` is what the `env` file, systemd's credentials and key files add for the processes
    below; `names` is what config.yaml's `os.environ/NAME` stand for, `referred` what the references
    of both files do, for an error not to quote it. All three hold secrets. `sources` is the text of
    the rules' modules by path: what is in force stays so, whatever becomes of the files.
    """

    settings: Settings
    litellm: LiteLLMConfig
    documents: Mapping[str, dict[str, Any]]
    environ: Mapping[str, str]
    names: Mapping[str, str]
    referred: Mapping[str, str]
    fingerprint: str
    routing_fingerprint: str
    worker_fingerprint: str
    sources: Mapping[str, str]
    files: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_message(self) -> dict[str, Any]:
        """What `from_message` needs, as plain JSON values."""
        kept = {key: getattr(self, key) for key in _CARRIED}
        return {**kept, "files": list(self.files), "warnings": list(self.warnings)}

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Loaded:
        """The same value at the channel's other end.

        Raises:
            ConfigError: the sender is of another version, and what it accepted is wrong here.
        """
        documents = message["documents"]
        with saying_references(message["referred"]):
            settings = Settings.parse(documents["ccproxy"])
            litellm = LiteLLMConfig.parse(documents["litellm"], environ=message["names"])
        return cls(
            settings=settings,
            litellm=litellm,
            files=tuple(message["files"]),
            warnings=tuple(message["warnings"]),
            **{key: message[key] for key in _CARRIED},
        )


_CARRIED: Final = (
    "documents",
    "sources",
    "environ",
    "names",
    "referred",
    "fingerprint",
    "routing_fingerprint",
    "worker_fingerprint",
)


def load(config_dir: Path, environ: Mapping[str, str]) -> Loaded:
    """The config of a directory.

    Args:
        environ: the process's environment; the `env` file goes before it.

    Raises:
        ConfigError: anything that is wrong, as one line with the file and the field.
    """
    config_dir = config_dir.absolute()
    added, warnings = _added_environment(config_dir, environ)
    ours = _read(config_dir / settings_file.FILE, settings_file.FILE)
    merged = merge_includes(config_dir / litellm_file.FILE, litellm_file.FILE, _read)
    added |= _read_key_files(_asked(merged.document), {**environ, **added}, config_dir)
    everything = {**environ, **added}
    values = _referred(ours, merged, everything)
    with saying_references(values):
        ours = expand(ours, everything, settings_file.FILE)
        merged = _expanded(merged, everything)
        settings, litellm = _parsed(ours, merged, everything)
    document = with_fallbacks(merged.document, settings.fallbacks, litellm.aliases)
    merged = evolve(merged, document=document)
    return _loaded(
        _Sources(config_dir, ours, merged, added, _names(merged.document, everything), values),
        settings,
        litellm,
        [*warnings, *settings.warnings, *litellm.warnings, *_about_default(settings, litellm)],
    )


def _referred(ours: dict[str, Any], merged: Merged, environ: Mapping[str, str]) -> dict[str, str]:
    found = referred([ours, merged.document], environ)
    return {name: _text(value, name) for name, value in found.items()}


def _parsed(
    ours: dict[str, Any], merged: Merged, environ: Mapping[str, str]
) -> tuple[Settings, LiteLLMConfig]:
    """Both files, each right in itself and naming what the other has."""
    settings = Settings.parse(ours)
    litellm = LiteLLMConfig.parse(merged.document, environ=environ, origins=merged.origins)
    check_labels(settings.rules, litellm.targets(), litellm.aliases)
    labels = chain(settings.budgets.labels(), labels_of(settings.fallbacks))
    check_names(labels, litellm.targets(), litellm.aliases)
    return settings, litellm


@frozen
class _Sources:
    """What the files said, from which everything else follows."""

    config_dir: Path
    ours: dict[str, Any]
    merged: Merged
    added: dict[str, str]
    names: dict[str, str]
    referred: dict[str, str]

    def rule_modules(self) -> tuple[Path, ...]:
        return local_files(dotted_names(self.ours), self.config_dir)

    def worker_modules(self) -> tuple[Path, ...]:
        """A worker may name the user's modules in many settings: callbacks, auth, guardrails."""
        return local_files(dotted_names(self.merged.document), self.config_dir)


def _loaded(
    sources: _Sources, settings: Settings, litellm: LiteLLMConfig, warnings: list[str]
) -> Loaded:
    rule_modules, worker_modules = sources.rule_modules(), sources.worker_modules()
    routing = _fingerprint(
        sources.ours,
        [attrs.asdict(target) for target in litellm.targets()],
        litellm.aliases,
        _digests(rule_modules),
    )
    worker = _fingerprint(
        sources.merged.document,
        attrs.asdict(settings.workers),
        settings.management_routes,
        sources.added,
        sources.names,
        _digests(worker_modules),
    )
    ours = sources.config_dir / settings_file.FILE
    files = dict.fromkeys([ours, *sources.merged.files, *rule_modules, *worker_modules])
    return Loaded(
        settings=settings,
        litellm=litellm,
        documents={"ccproxy": sources.ours, "litellm": sources.merged.document},
        environ=sources.added,
        names=sources.names,
        referred=sources.referred,
        fingerprint=_fingerprint(routing, worker),
        routing_fingerprint=routing,
        worker_fingerprint=worker,
        sources=dict(_sources(rule_modules)),
        files=tuple(str(file) for file in files),
        warnings=tuple(warnings),
    )


def _fingerprint(*parts: Any) -> str:
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _sources(files: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """One in another encoding than UTF-8 is left to its file."""
    for file in files:
        with suppress(UnicodeDecodeError):
            yield str(file.resolve()), _bytes(file, str(file)).decode("utf-8")


def _digests(files: Iterable[Path]) -> list[tuple[str, str]]:
    return [(str(file), hashlib.sha256(_bytes(file, str(file))).hexdigest()) for file in files]


def _about_default(settings: Settings, litellm: LiteLLMConfig) -> list[str]:
    known = {target.name for target in litellm.targets()} | set(litellm.aliases)
    if DEFAULT_LABEL in known or not known:
        return []
    kept = " and whose model is not in model_list" if settings.default_model_passthrough else ""
    what = f"a request that no rule matches{kept} is answered with 404"
    return [f"{litellm_file.FILE}: there is no model_name {DEFAULT_LABEL!r}; {what}"]


def _expanded(merged: Merged, environ: Mapping[str, str]) -> Merged:
    """LiteLLM asks a key vault for `os.environ/NAME` if it has one, but `${NAME}` is ours."""
    general = merged.document.get("general_settings")
    has_vault = isinstance(general, dict) and "key_management_system" in general
    expanded = expand_known(merged.document, environ, literally=has_vault)
    return attrs.evolve(merged, document=expanded)


def _read(file: Path, name: str) -> dict[str, Any]:
    return parse_document(_bytes(file, name), name)


def _bytes(file: Path, name: str) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise ConfigError(str(file), _MISSING) from None
    except OSError as error:
        raise ConfigError(name, f"cannot be read: {error.strerror}") from None


def _names(document: dict[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """What config.yaml takes from the environment, as far as it is there."""
    return {name: _text(environ[name], name) for name in _asked(document) if name in environ}


def _asked(document: dict[str, Any]) -> list[str]:
    return sorted({name for _, name in references(document, "")} | {MASTER_KEY_NAME})


def _text(value: str, name: str) -> str:
    """What is not UTF-8 comes out of the environment as half characters, and cannot travel."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ConfigError(litellm_file.FILE, f"the environment's {name} is not UTF-8") from None
    return value


def _added_environment(
    config_dir: Path, environ: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    credentials = environ.get("CREDENTIALS_DIRECTORY")
    added = _read_credentials(Path(credentials)) if credentials else {}
    file = config_dir / ENV_FILE
    if not file.exists():
        return added, []
    return {**added, **read_env_file(file)}, _about_permissions(file)


def read_env_file(file: Path) -> dict[str, str]:
    """The variables of an `env` file.

    Raises:
        ConfigError: it cannot be read, or a line is not `NAME=value`.
    """
    try:
        return parse_env_file(_bytes(file, file.name).decode("utf-8-sig"), file.name)
    except UnicodeDecodeError:
        raise ConfigError(file.name, "is not UTF-8; save the file as UTF-8") from None


def _about_permissions(file: Path) -> list[str]:
    groups = {os.getegid(), *os.getgroups()}
    if is_too_open(file.stat(), user=os.geteuid(), groups=groups):
        return [f"{file.name}: others may read it; run `chmod 600 {file}`"]
    return []


def is_too_open(found: os.stat_result, *, user: int, groups: Collection[int]) -> bool:
    """Whether others than its user may read or change a file.

    A service of the system is another user than root, who writes the file: that one reads it by
    its group. Root, who looks at it for the service, is not of that group.
    """
    services = found.st_gid != 0 if user == 0 else found.st_gid in groups
    by_group = found.st_uid == 0 and services
    return bool(found.st_mode & (0o037 if by_group else 0o077))


def _read_credentials(directory: Path) -> dict[str, str]:
    """systemd.exec(5), LoadCredential=; those whose name could be a variable's."""
    try:
        files = sorted(file for file in directory.iterdir() if is_env_name(file.name))
        return {file.name: file.read_text("utf-8").rstrip("\n") for file in files if file.is_file()}
    except (OSError, UnicodeDecodeError) as error:
        reason = f"cannot read systemd's credentials ({type(error).__name__})"
        raise ConfigError(str(directory), reason) from None


def _read_key_files(
    names: Iterable[str], environ: Mapping[str, str], config_dir: Path
) -> dict[str, str]:
    """What `NAME_FILE` points to, for the names that are asked for and have no value."""
    return {
        name: _read_key_file(f"{name}_FILE", config_dir / Path(environ[f"{name}_FILE"]))
        for name in names
        if not environ.get(name) and environ.get(f"{name}_FILE")
    }


def _read_key_file(variable: str, file: Path) -> str:
    """
    Raises:
        ConfigError: there is no value in it, with the variable and the path.
    """
    try:
        value = file.read_text("utf-8").rstrip("\n")
    except OSError as error:
        raise ConfigError(variable, f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(variable, f"{file} is not UTF-8") from None
    if not value or "\0" in value:
        raise ConfigError(variable, f"{file} {'has a NUL in it' if value else 'is empty'}")
    return value

"""What has to hold before LiteLLM is imported, since it reads the environment while it loads.

Unasked, it would fetch its price map from the network, read a `.env` file found above its own
directory, and let a configuration bucket or a `WORKER_CONFIG` of some other LiteLLM win over the
config that we hand it. A service takes its settings from where its owner put them.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Final

DEFAULTS: Final[Mapping[str, str]] = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_DONT_SHOW_FEEDBACK_BOX": "true",
    "LITELLM_MODE": "PRODUCTION",  # "DEV" reads a .env
    "DEFAULT_MAX_RETRIES": "0",  # of OpenAI's library: two more, whatever the config says
    "OPENBLAS_NUM_THREADS": "1",  # its pool is the one native thread, and threads do not fork
}
"""The user's own value wins."""

FOREIGN: Final = ("LITELLM_CONFIG_BUCKET_NAME", "WORKER_CONFIG")
"""They name another config than ours."""

CONFIG: Final = "CONFIG_FILE_PATH"


def prepare(environ: MutableMapping[str, str]) -> None:
    """Make an environment fit for the import.

    >>> environ = {"WORKER_CONFIG": "{}", "LITELLM_MODE": "DEV"}
    >>> prepare(environ)
    >>> "WORKER_CONFIG" in environ, environ["LITELLM_MODE"], environ["OPENBLAS_NUM_THREADS"]
    (False, 'DEV', '1')
    """
    for name, value in DEFAULTS.items():
        environ.setdefault(name, value)
    for name in FOREIGN:
        environ.pop(name, None)


def name_config(environ: MutableMapping[str, str], config: Path) -> None:
    """Say which config LiteLLM loads when it starts."""
    environ[CONFIG] = str(config)

"""The environment that LiteLLM is imported in."""

import os
import subprocess
import sys
from pathlib import Path

from ccproxyd.worker.environment import CONFIG, DEFAULTS, FOREIGN, name_config, prepare


def test_an_empty_environment_gets_every_default():
    environ: dict[str, str] = {}
    prepare(environ)
    assert environ == dict(DEFAULTS)


def test_the_users_own_value_wins():
    environ = {"LITELLM_LOCAL_MODEL_COST_MAP": "False"}
    prepare(environ)
    assert environ["LITELLM_LOCAL_MODEL_COST_MAP"] == "False"


def test_what_names_another_config_is_removed():
    environ = dict.fromkeys(FOREIGN, "elsewhere")
    prepare(environ)
    assert not set(FOREIGN) & set(environ)


def test_the_config_is_named_for_litellm():
    environ: dict[str, str] = {}
    name_config(environ, Path("/run/worker.json"))
    assert environ == {CONFIG: "/run/worker.json"}


def test_the_process_and_the_environment_can_be_prepared_before_litellm_is_there():
    code = "import ccproxyd.worker.process, sys; print('litellm' in sys.modules)"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"

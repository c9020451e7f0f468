#!/usr/bin/env bash
# What ccproxyd costs, beside plain LiteLLM and other routers, on one mock provider (`make bench`).
#
#   scripts/bench.sh              all of it, about a quarter of an hour
#   scripts/bench.sh --quick      what a regression would show in, a few minutes
#   scripts/bench.sh --rates      a hundred requests a second, three runs of each
#   scripts/bench.sh --gate       exit 1 where a limit of scripts/bench/limits.py is missed
#   scripts/bench.sh --peers      install the other routers first (npm, uv), into a cache directory
#
# $PYTHON names another interpreter than that of .venv.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec "${PYTHON:-.venv/bin/python}" -m scripts.bench "$@"

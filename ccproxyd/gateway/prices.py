"""Where LiteLLM's price file is, without importing LiteLLM.

Workers read the same file (`LITELLM_LOCAL_MODEL_COST_MAP`, set in `worker.environment`), so that an
answer costs the same on either lane. Where that variable is False, LiteLLM fetches a newer list
from the network at its start, and the direct lane goes on with this one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ccproxyd.errors import CcproxydError
from ccproxyd.paths import litellm_directory
from ccproxyd.telemetry.prices import PriceList

_FILE: Final = "model_prices_and_context_window_backup.json"


def find_price_file() -> Path:
    """LiteLLM's copy of its price file.

    Raises:
        CcproxydError: LiteLLM is not installed.
    """
    return litellm_directory("price answers") / _FILE


def load_prices() -> PriceList:
    """Read the file: some 30 ms, and 6 MB that are given back.

    Raises:
        CcproxydError: it is not there, or is not what it should be.
    """
    file = find_price_file()
    try:
        return PriceList.parse(file.read_bytes())
    except OSError as error:
        raise CcproxydError(f"cannot price answers: {file}: {error.strerror}") from error
    except CcproxydError as error:
        raise CcproxydError(f"{error}; {file} is damaged, install LiteLLM anew") from error

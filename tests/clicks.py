"""Click logs for tests: the demo's, and a real one of the same columns where `MUSTER_TEST_CLICKS` names its file."""

import os
from pathlib import Path
from typing import Final

from orchestration.entrypoints.demo_clicks import generated_log

_REAL: Final = os.environ.get("MUSTER_TEST_CLICKS", "")
LOGS: Final = ("generated", "real") if _REAL else ("generated",)
"""The names of the logs."""


def click_log(name: str) -> bytes:
    """A log as CSV, compressed with gzip."""
    return Path(_REAL).read_bytes() if name == "real" else generated_log()

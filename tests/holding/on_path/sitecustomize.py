"""Python imports this before anything else when its folder is on `PYTHONPATH` (`tests.conftest`)."""

import os

if home := os.environ.get("MUSTER_STACK_HOME"):
    from pathlib import Path

    from tests.holding import stopping

    stopping.install(Path(home))

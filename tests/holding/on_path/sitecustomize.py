"""Python imports this before anything else where its folder is on `PYTHONPATH` (`tests.conftest`)."""

import os

if home := os.environ.get("MUSTER_STACK_HOME"):
    from pathlib import Path

    from tests.holding import short_lived, stopping

    stopping.install(Path(home))
    short_lived.install()

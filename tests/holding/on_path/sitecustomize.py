"""Python imports this before anything else when its folder is on `PYTHONPATH` (`tests.conftest`)."""

import os

from tests.holding import short_lived

short_lived.install()  # also in the supervisor, which starts the broker
if home := os.environ.get("MUSTER_STACK_HOME"):
    from pathlib import Path

    from tests.holding import stopping

    stopping.install(Path(home))

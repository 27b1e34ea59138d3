"""Burst: many files at once, while functions are throttled and the database has few connections."""

import tempfile
from pathlib import Path
from typing import Final

from tests.faults.burst import CALLS, CONNECTIONS, ROWS, TENANTS, burst, bursting_stack
from tests.prove.exhibits import Exhibit, Say, Scale, Section
from tests.prove.kept import Kept

ABOUT: Final = (
    f"Files of {ROWS:,} rows arrive in the inbox at once, half of them from one of {TENANTS} tenants and the last from "
    f"a tenant with no other. The engine runs {CALLS} functions at once and refuses further calls as Lambda does, and "
    f"PostgreSQL takes {CONNECTIONS} connections. Every file must be READY exactly once, none may have failed, and the "
    "lone file must not wait for half of the large tenant's."
)


def run(scale: Scale, say: Say, kept: Kept) -> Section:
    """Upload `scale.burst_files` once."""
    del kept  # one run
    with tempfile.TemporaryDirectory() as folder, bursting_stack(Path(folder)) as settings:
        done = burst(settings, scale.burst_files, limit_s=scale.deadline_s, say=say)
    return Section(summary=f"{done.describe()}: {len(done.wrong)} violations.", text=(ABOUT,), failures=done.wrong)


COVERS: Final = (
    "connectors",
    "orchestration/catalog",
    "orchestration/composition",
    "orchestration/control",
    "orchestration/entrypoints",
    "orchestration/kinds",
    "orchestration/local",
    "orchestration/workflow",
    "segmentation/admission.py",
    "streams",
    "uv.lock",
)
EXHIBIT: Final = Exhibit(name="burst", title="Burst", covers=COVERS, run=run)

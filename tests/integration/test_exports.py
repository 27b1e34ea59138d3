"""An export on the whole stack whose writers, separate tasks, are killed at random moments."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.composition.context import Context
from orchestration.platform.settings import Settings
from segmentation.export_jobs import ENDED
from tests.faults.waiting import until
from tests.integration.whole.exporting import assert_received, attempts, start
from tests.integration.whole_imports import TENANT, ended, job_of, kill_one, running, upload, write_file

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.faults("writers are killed at random moments, again and again", seconds=60),
]

WRITER = "orchestration.entrypoints.container task export"
ROWS = 120_000


@pytest.fixture(scope="module")
def context(start_module_stack: Callable[..., Settings], tmp_path_factory: pytest.TempPathFactory) -> Context:
    """A stack with an audience `vip` whose groups are too large for functions."""
    context = Context(start_module_stack(parts=None, partitions=4, workers=1, lambda_file_bytes=1))
    context.audiences.add_tenant(TENANT, now_ms=1)
    path: Path = tmp_path_factory.mktemp("file") / "a.csv"
    write_file(path, 1, rows=ROWS)
    upload(context, path, "vip")
    assert ended(context, job_of(context, "vip")).state == "READY"
    return context


def test_killed_writers_are_repeated_individually(context: Context) -> None:
    dice, killed = random.Random(5), 0
    request = start(context, "vip")

    def over() -> bool:
        found = context.exports.find(request.export_id)
        return found is not None and found.state in ENDED

    while killed < 3:
        until(lambda: running(context, WRITER) or over(), "a writer")
        if over():
            break
        killed += kill_one(context, dice, WRITER)
        time.sleep(dice.uniform(0.1, 1.5))
    assert_received(context, request)
    assert killed
    assert max(attempts(context, request)) <= 4

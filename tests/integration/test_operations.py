"""A rolling upgrade of the workers while imports run. A single worker, once: `whole/test_deaths.py`."""

import os
import signal
import time

import pytest

from orchestration.composition.context import Context
from orchestration.local import stack as local_stack
from orchestration.local.status import PartState, PartStatus
from orchestration.platform.settings import Settings
from schemas.ids import TenantName
from tests.conftest import StartStack
from tests.integration.whole_imports import assert_published, ended, job_of

pytestmark = [
    pytest.mark.integration,
    pytest.mark.faults("both workers are restarted while imports run", seconds=60),
]


def test_rolling_restart_of_workers_during_imports_loses_nothing(start_stack: StartStack) -> None:
    settings = start_stack(parts=None, workers=2)
    context = Context(settings)
    context.audiences.add_tenant(TenantName("default"), 1)
    users = {name: {f"{name}-{n}" for n in range(60_000)} for name in ("a", "b", "c", "d", "e", "f")}

    def upload(name: str) -> None:
        text = "\n".join(["user_id", *sorted(users[name]), ""])
        context.objects.put(settings.inbox_bucket, f"default/{name}/people.csv", text.encode())

    names = iter(users)
    for name in ("worker-1", "worker-2"):
        for _ in range(2):
            upload(next(names))
        before = part_of(settings, name)
        assert before.pid is not None
        os.kill(before.pid, signal.SIGTERM)
        upload(next(names))
        deadline = time.monotonic() + 120
        while (now := part_of(settings, name)).state is not PartState.READY or now.pid == before.pid:
            assert time.monotonic() < deadline, now
            time.sleep(0.1)
    for name, wanted in users.items():
        job = ended(context, job_of(context, name))
        assert_published(context, job, wanted)
        assert job.attempt == 1
    said = (settings.home / "logs" / "supervisor.log").read_text()
    assert said.count("ended with exit code 0") == 2, "a stopping worker drains and ends in order"
    assert "ended with exit code 70" not in said
    context.database.close()


def part_of(settings: Settings, name: str) -> PartStatus:
    part = local_stack.status(settings).part(name)
    assert part is not None
    return part

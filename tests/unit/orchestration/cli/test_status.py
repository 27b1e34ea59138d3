"""`muster status` where the parts run elsewhere: at AWS, or in containers."""

import pytest

from orchestration.cli.admin.stack import DeploymentStatus, _show_status
from orchestration.local.status import StackStatus
from orchestration.platform.clock import iso, now_ms
from orchestration.records.workers import ScaledPart, Worker
from schemas.topics import WORKER_GROUP
from segmentation.scaling import Scaled

ELSEWHERE = StackStatus(home="/home", running=False, supervisor_pid=None, parts=())
RUNNING = Worker(worker="worker-1", host="node-7", pid=8, address="10.0.0.7", group=WORKER_GROUP, partitions=(0,))


def test_workers_that_are_wanted_and_absent_are_starting(capsys: pytest.CaptureFixture[str]) -> None:
    since = iso(now_ms() - 42_000)
    scaled = [ScaledPart(part=part, wanted=1, given_at=since) for part in Scaled]
    found = DeploymentStatus(stack=ELSEWHERE, workers=[RUNNING], waiting=None, on_demand=True, scaled=scaled)
    _show_status(found)
    out = capsys.readouterr().out
    assert "segment-worker: starting for 42 s" in out
    assert out.count("starting") == 1
    assert found.as_record()["scaled"][0] == {"part": "worker", "wanted": 1, "given_at": since}


def test_no_worker_is_starting_where_none_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    scaled = [ScaledPart(part=Scaled.WORKER, wanted=0, given_at=None)]
    _show_status(DeploymentStatus(stack=ELSEWHERE, workers=[], waiting=None, on_demand=True, scaled=scaled))
    assert "no worker runs; starts with the next job" in capsys.readouterr().out

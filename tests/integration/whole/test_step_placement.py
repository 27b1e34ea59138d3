"""Where each step of an import runs: chosen by its size in the state machine, and shown with the job."""

import pytest

from orchestration.catalog.records import Job
from orchestration.composition.context import Context
from orchestration.platform.clock import now_ms
from tests.integration.whole.conftest import Grown
from tests.integration.whole_imports import entered, published

pytestmark = pytest.mark.integration

WORKS = {"VerifyFile": "verify", "ImportToKafka": "import", "BuildVersion": "build", "PublishVersion": "publish"}


def states(context: Context, job: Job) -> list[str]:
    """Working states that a job's execution has entered."""
    return [name for name in entered(context, job.execution) if name.startswith(tuple(WORKS))]


def workflow_states(context: Context, job: Job) -> list[str]:
    """The same, from what the steps report about where they run."""
    view = context.job_progress.view(job.job_id, now_ms())
    assert view is not None
    ends = {"function": "", "task": "Task", "machine": "Machine", None: "?"}
    places = {stage.name: stage.place for stage in view.stages}
    return [work + ends[places[stage]] for work, stage in WORKS.items()]  # type: ignore[index]


def test_file_and_base_sizes_decide_where_each_step_runs(context: Context, grown: Grown) -> None:
    assert [(job.state, job.error) for job in grown.jobs] == [("READY", None)] * 3
    first, second, third = grown.jobs
    # A file of 3 kB without a base; the next one is merged with its result.
    assert states(context, first) == list(WORKS)
    assert states(context, second) == ["VerifyFile", "ImportToKafka", "BuildVersionTask", "PublishVersionTask"]
    assert states(context, third) == [work + "Machine" for work in WORKS]  # a file of 500 kB
    assert [workflow_states(context, job) for job in grown.jobs] == [states(context, job) for job in grown.jobs]

    members = published(context, third)
    assert (len(members), set(members)) == (len(grown.users), grown.users)

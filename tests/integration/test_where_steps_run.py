"""Where each step of an import runs: chosen by its size in the state machine, and told with the job."""

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.catalog.records import Job
from orchestration.clock import fresh_id, now_ms
from orchestration.context import Context
from orchestration.operations.follow import look
from orchestration.settings import Settings
from schemas.columns import ImportSpec
from schemas.ids import AudienceName
from tests.integration.whole_imports import TENANT, ended, newest_job_of, published, upload, write_file

pytestmark = pytest.mark.integration

WORKS = {"VerifyFile": "verify", "ImportToKafka": "import", "BuildVersion": "build", "PublishVersion": "publish"}


@pytest.fixture(scope="module")
def context(start_module_stack: Callable[..., Settings]) -> Context:
    """A member counts for 64 bytes: 300 of them are too many for a function here, 3,000 for Fargate."""
    made = Context(
        start_module_stack(parts=None, partitions=4, lambda_file_bytes=300 * 64, fargate_file_bytes=3000 * 64)
    )
    made.audiences.add_tenant(TENANT, now_ms=1)
    return made


def append(context: Context, file: Path, rows: int) -> tuple[Job, set[str]]:
    """A file that is appended to an audience; its job when it has ended, and its users."""
    spec = ImportSpec(mode="append")
    context.audiences.ensure(TENANT, AudienceName("growing"), new_id=fresh_id(), now_ms=1, spec=spec)
    users = write_file(file, len(file.name), rows)
    upload(context, file, "growing")
    job = ended(context, newest_job_of(context, "growing", f"{TENANT}/growing/{file.name}"))
    assert (job.state, job.error) == ("READY", None)
    return job, users


def states(context: Context, job: Job) -> list[str]:
    """The states that the execution of a job has entered, of those that work."""
    assert job.execution is not None
    events = context.workflow.get_execution_history(executionArn=job.execution, maxResults=1000)["events"]
    entered = [e["stateEnteredEventDetails"]["name"] for e in events if "stateEnteredEventDetails" in e]
    return [name for name in entered if name.startswith(tuple(WORKS))]


def told(context: Context, job: Job) -> list[str]:
    """The same, by what the steps themselves have said of where they are."""
    view = look(context, job.job_id, now_ms())
    assert view is not None
    ends = {"function": "", "task": "Task", "machine": "Machine", None: "?"}
    places = {stage.name: stage.place for stage in view.stages}
    return [work + ends[places[stage]] for work, stage in WORKS.items()]  # type: ignore[index]


@pytest.mark.timeout(600)
def test_the_file_and_what_it_is_merged_with_decide_where_each_step_runs(context: Context, tmp_path: Path) -> None:
    first, users = append(context, tmp_path / "a.csv", 1_000)
    # A file of 14 kB, which is merged with nothing, makes a version of more than 600 members.
    assert states(context, first) == ["VerifyFile", "ImportToKafka", "BuildVersion", "PublishVersionTask"]
    assert told(context, first) == states(context, first)

    second, more = append(context, tmp_path / "bb.csv", 100)
    assert states(context, second) == ["VerifyFile", "ImportToKafka", "BuildVersionTask", "PublishVersionTask"]
    assert told(context, second) == states(context, second)

    third, most = append(context, tmp_path / "ccc.csv", 20_000)  # 300 kB
    assert states(context, third) == [work + "Machine" for work in WORKS]
    assert told(context, third) == states(context, third)

    members = published(context, third)
    assert (len(members), set(members)) == (len(users | more | most), users | more | most)

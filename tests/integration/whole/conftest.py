"""One whole stack for all tests of this folder: use separate audiences, keys and tenants.

A step runs in a function up to `FUNCTION_BYTES`, in a task up to `TASK_BYTES`, else on a machine; a member of a version
counts for 64 bytes. One large import runs at a time.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import pytest

from orchestration.catalog.records import Job
from orchestration.composition.context import Context
from orchestration.local.parts import SEGMENT_WORKER
from orchestration.platform.clock import fresh_id
from schemas.ids import AudienceName
from schemas.import_spec import ImportSpec
from tests.conftest import PARTS, SOURCES, stacks
from tests.integration.whole_imports import TENANT, ended, job_of, newest_job_of, upload, write_file
from tests.servers.mail import Mailbox, mail_server
from tests.servers.webhooks import Receiver, receiver

PARTITIONS: Final = 4
SMALL_BYTES: Final = 8 * 1024
FUNCTION_BYTES: Final = 16 * 1024
TASK_BYTES: Final = 128 * 1024
READERS: Final = "readers"
"""Group of readers of job events; tests decide whether it reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """The stack, and the receivers of its notifications."""

    context: Context
    mailbox: Mailbox
    operator: Receiver


@pytest.fixture(scope="package")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """All parts of the stack, two workers. It stops after the last test of the folder."""
    folder = tmp_path_factory.mktemp("whole")
    with ExitStack() as started:
        mailbox = started.enter_context(mail_server(folder / "mail"))
        operator = started.enter_context(receiver())
        start = started.enter_context(stacks(folder))
        settings = start(
            parts=(*PARTS, SEGMENT_WORKER, "api"),
            partitions=PARTITIONS,
            workers=2,
            worker_session_timeout_s=6,
            small_file_bytes=SMALL_BYTES,
            lambda_file_bytes=FUNCTION_BYTES,
            fargate_file_bytes=TASK_BYTES,
            max_jobs=1,
            job_events_group=READERS,
            smtp_host="127.0.0.1",
            smtp_port=mailbox.port,
            smtp_security="none",
            smtp_from="muster@example.com",
            operator_webhooks=operator.url,
            notify_first_retry_s=1,
            webhook_private_targets="127.0.0.1",
        )
        context = Context(settings)
        context.s3.client().create_bucket(Bucket=SOURCES)
        context.audiences.add_tenant(TENANT, now_ms=1)
        yield Whole(context=context, mailbox=mailbox, operator=operator)
        context.database.close()


@pytest.fixture(scope="package")
def context(whole: Whole) -> Context:
    """Stores and clients of the stack."""
    return whole.context


@pytest.fixture(scope="package")
def few(context: Context, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An audience whose groups are exported by functions."""
    path = tmp_path_factory.mktemp("few") / "a.csv"
    write_file(path, 1, rows=200)
    upload(context, path, "few")
    assert ended(context, job_of(context, "few")).state == "READY"
    return "few"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """An audience made by three appends: the jobs, and the users of all files."""

    name: str
    jobs: tuple[Job, ...]
    users: set[str]


@pytest.fixture(scope="package")
def grown(context: Context, tmp_path_factory: pytest.TempPathFactory) -> Grown:
    """An audience whose groups are too large for functions."""
    name, folder = AudienceName("grown"), tmp_path_factory.mktemp("grown")
    context.audiences.ensure(TENANT, name, new_id=fresh_id(), now_ms=1, spec=ImportSpec(mode="append"))
    jobs: list[Job] = []
    users: set[str] = set()
    for number, rows in enumerate((300, 450, 40_000)):
        path = folder / f"{number}.csv"
        users |= write_file(path, number, rows)
        upload(context, path, name)
        jobs.append(ended(context, newest_job_of(context, name, f"{TENANT}/{name}/{path.name}")))
    return Grown(name=name, jobs=tuple(jobs), users=users)

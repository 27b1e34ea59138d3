"""`muster doctor` for any deployment: asks every service the way a client does, and says in words what to do.

Checks that only an embedded stack needs are in `orchestration.local.doctor`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from botocore.exceptions import BotoCoreError, ClientError

from connectors.kafka.topics import topic_differences
from connectors.kafka.worker_group import group_members
from connectors.sandbox import describe_layers, probe
from orchestration.catalog.migrate import revisions
from orchestration.platform.clock import now_ms
from orchestration.platform.settings import SANDBOX_REQUIRED, Settings
from orchestration.workflow.resources import machine_specs
from schemas.errors import MusterError, RetriableError
from schemas.topics import WORKER_GROUP

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

    from connectors.storage.objects import ObjectStore
    from orchestration.catalog.audiences import AudienceStore
    from orchestration.catalog.jobs import JobStore
    from orchestration.workflow.engine import WorkflowEngine

Severity = Literal["ok", "note", "wrong"]
OLD_JOB_MS: Final = 60 * 60 * 1000
RESTART: Final = "`muster down`, then `muster up`"
COMPARE: Final = "compare settings, role and security groups with docs/deploy.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Result of one check. `code` names the fault, for scripts."""

    severity: Severity
    subject: str
    text: str
    code: str | None = None


def wrong(subject: str, code: str, message: str, advice: str) -> Diagnosis:
    """A fault that Muster cannot work with."""
    return Diagnosis(severity="wrong", subject=subject, text=f"{message}; {advice}", code=code)


def sandbox(settings: Settings) -> Diagnosis:
    """How well this machine confines children that read untrusted files."""
    try:
        missing = describe_layers(probe())
    except OSError as exc:
        return wrong("sandbox", "SANDBOX_BROKEN", f"child processes cannot be confined: {exc}", "see docs/security.md")
    if not missing:
        return Diagnosis(
            severity="ok", subject="sandbox", text="child processes that read files and run queries are confined"
        )
    if settings.sandbox == SANDBOX_REQUIRED:
        message = f"is required, but this system lacks {missing}; no file will be read"
        return wrong("sandbox", "SANDBOX_INCOMPLETE", message, "see docs/security.md")
    text = f"child processes that read files are not confined by {missing} on this system; see docs/security.md"
    return Diagnosis(severity="note", subject="sandbox", text=text)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceChecks:
    """Asks the services of a deployment. `workflow`: its client, whose making may fail for lack of a region or keys.

    `none_wanted`: whether no worker has to run.
    """

    audiences: "AudienceStore"
    engine: "WorkflowEngine"
    jobs: "JobStore"
    none_wanted: Callable[[], bool]
    objects: "ObjectStore"
    settings: Settings
    workflow: Callable[[], "SFNClient"]

    def run(self) -> Iterator[Diagnosis]:
        """Catalog, object store, workflow, Kafka, workers and jobs, in this order."""
        settings = self.settings
        remedy = RESTART if settings.engine_url else COMPARE
        yield from run_check("catalog", lambda: self._catalog(remedy), remedy)
        yield from run_check("object store", self._buckets, remedy)
        yield from run_check("workflow", lambda: self._machines(remedy), remedy)
        yield from run_check("topics", lambda: _topics(settings, remedy), remedy)
        yield self._workers()
        yield from _jobs(self.jobs)

    def _catalog(self, remedy: str) -> Iterator[Diagnosis]:
        text = f"{len(self.audiences.all())} audiences"
        actual, expected = revisions(self.settings.catalog_url)
        if actual == expected:
            yield Diagnosis(severity="ok", subject="catalog", text=text)
        else:
            message = f"is at revision {actual or 'none'}, this version needs {expected}"
            yield wrong("catalog", "CATALOG_NOT_MIGRATED", message, remedy)

    def _workers(self) -> Diagnosis:
        if members := group_members(self.settings.kafka_bootstrap, WORKER_GROUP):
            return Diagnosis(severity="ok", subject="workers", text=f"{members} in the group")
        if self.none_wanted():
            return Diagnosis(severity="ok", subject="workers", text="none runs; starts with the next job")
        log = "worker-1.log" if self.settings.engine_url else "the log group of the workers"
        message = "no worker is in the group, or the partitions are being reassigned"
        return wrong("workers", "NO_WORKER", message, f"see {log}")

    def _buckets(self) -> Iterator[Diagnosis]:
        names = (self.settings.inbox_bucket, self.settings.staging_bucket, self.settings.lake_bucket)
        for name in names:
            next(iter(self.objects.list(name)), None)
        yield Diagnosis(severity="ok", subject="object store", text=f"buckets {', '.join(names)} can be read")

    def _machines(self, remedy: str) -> Iterator[Diagnosis]:
        prefix = self.settings.machine_prefix
        names = [machine.name for machine in machine_specs()]
        missing = []
        for name in names:
            try:
                self.workflow().describe_state_machine(stateMachineArn=self.engine.machine_arn(name))
            except ClientError as exc:
                if exc.response["Error"]["Code"] != "StateMachineDoesNotExist":
                    raise
                missing.append(prefix + name)
        if missing:
            yield wrong("workflow", "STATE_MACHINE_MISSING", f"{', '.join(missing)} not deployed", remedy)
        else:
            text = f"{', '.join(prefix + name for name in names)} are deployed"
            yield Diagnosis(severity="ok", subject="workflow", text=text)


def run_check(subject: str, check: Callable[[], Iterator[Diagnosis]], remedy: str) -> Iterator[Diagnosis]:
    """Findings of a check; a service that does not answer is itself the finding."""
    try:
        yield from list(check())
    except MusterError as exc:
        yield wrong(subject, exc.code, str(exc), remedy)
    except (BotoCoreError, ClientError) as exc:
        yield wrong(subject, "NO_ANSWER", f"{type(exc).__name__}: {exc}", remedy)


def _topics(settings: Settings, remedy: str) -> Iterator[Diagnosis]:
    found = topic_differences(settings)
    for difference in found:
        subject = f"topic {difference.topic}"
        if difference.actual is None:
            yield wrong(subject, "TOPIC_MISSING", "does not exist", remedy)
        else:
            message = f"has {difference.setting} = {difference.actual}, should have {difference.expected}"
            yield wrong(subject, "TOPIC_DIFFERS", message, f"{remedy} (the number of partitions cannot be changed)")
    if not found:
        yield Diagnosis(severity="ok", subject="topics", text="are as declared")


def _jobs(jobs: "JobStore") -> Iterator[Diagnosis]:
    try:
        live = jobs.live()
    except RetriableError:
        return  # already reported by the catalog's check
    for job in live:
        if now_ms() - job.created_at_ms > OLD_JOB_MS:
            text = f"has not ended for more than an hour ({job.state}); see `muster jobs show {job.job_id}`"
            yield Diagnosis(severity="note", subject=f"job {job.job_id}", text=text)

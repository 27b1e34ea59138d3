"""VerifyFile and ImportToKafka, for a snapshot: every partition is asked for its members at one instant.

What was asked for is kept with the attempt: whoever finds that a partition has not answered asks again (`again`).
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from connectors.publishing.activations import ActivationSender
from orchestration.catalog.records import Job
from orchestration.context import Context
from orchestration.kinds.attempts import begin_attempt
from orchestration.kinds.snapshot.register import current_rule
from orchestration.kinds.view import View, view
from orchestration.platform.clock import now_ms
from schemas.errors import FatalError, RetriableError
from schemas.ids import Attempt, AudienceName, JobId, new_job_id
from schemas.segment_messages import CutRequested

AHEAD_MS: Final = 2_000
"""A cut is of an instant that has not come yet when it is asked for, so that no partition is past it."""


def confirm(context: Context, job_id: JobId) -> View:
    """VERIFYING -> IMPORTING. Raises `UserError` UNKNOWN_SEGMENT, SEGMENT_PAUSED."""
    job = context.jobs.get(job_id)
    if job.state != "VERIFYING":
        return view(context, job)
    rule = current_rule(context, job.tenant, segment_of(job))
    cause = f"segment {job.segment}, rule version {rule.version}"
    _, job = context.jobs.move(job_id, "IMPORTING", now_ms=now_ms(), cause=cause, only_from={"VERIFYING"})
    return view(context, job)


def ask(context: Context, job_id: JobId) -> View:
    """IMPORTING -> AWAITING. Returns early, with nothing changed, when another attempt or a cancel has overtaken it.

    Raises `UserError` UNKNOWN_SEGMENT, SEGMENT_PAUSED; `RetriableError` SEGMENT_NOT_READY, and as `ActivationSender`.
    """
    job = context.jobs.get(job_id)
    if job.state != "IMPORTING":
        return view(context, job)
    if job.task_token is not None:  # its turn has been taken, or its last wait is over: nobody need answer that again
        context.jobs.put(job_id, task_token=None)
    rule = current_rule(context, job.tenant, segment_of(job))
    if any((one.tenant, one.segment) == (job.tenant, job.segment) for one in context.activations.unsent()):
        raise RetriableError(  # the request would come before the rule
            "SEGMENT_NOT_READY", f"workers have not been told of the rule of {job.segment} yet", segment=job.segment
        )
    attempt = Attempt(job.attempt + 1)
    asked = {
        "cut_id": cut_id_of(job, attempt),
        "at_us": max(now_ms() + AHEAD_MS, job.source.get("at_ms") or 0) * 1000,
        "rule_version": rule.version,
        "rule_hash": rule.hash,
    }
    if begin_attempt(context, job, build={"asked": asked}) is None:
        return view(context, context.jobs.get(job_id))
    sender(context).send(request_of(context.jobs.get(job_id)))
    context.jobs.end_attempt(job_id, attempt, asked, now_ms=now_ms())
    cause = f"attempt {attempt}: all partitions are asked"
    _, job = context.jobs.move(job_id, "AWAITING", now_ms=now_ms(), cause=cause, expecting={"attempt": attempt})
    return view(context, job)


def sender(context: Context) -> ActivationSender:
    """To the workers of segments."""
    return ActivationSender(context.settings.kafka_bootstrap, context.settings.partitions)


def request_of(job: Job) -> CutRequested:
    """What the newest attempt has asked for; a copy of it changes nothing."""
    asked = asked_of(job)
    return CutRequested(
        cut_id=JobId(asked["cut_id"]), tenant=job.tenant, segment=segment_of(job), at_us=int(asked["at_us"])
    )


def asked_of(job: Job) -> Mapping[str, Any]:
    """{cut_id, at_us, rule_version, rule_hash} of the newest attempt. Raises `FatalError` NOT_SENT."""
    if job.build is None:
        raise FatalError("NOT_SENT", f"job {job.job_id} is {job.state} and has asked for nothing", job=job.job_id)
    asked: Mapping[str, Any] = job.build["asked"]
    return asked


def cut_id_of(job: Job, attempt: Attempt) -> JobId:
    """The cut of an attempt: the same for everybody who asks."""
    return new_job_id(job.created_at_ms, sha256(f"{job.job_id}/{attempt}".encode()).digest()[:10])


def segment_of(job: Job) -> AudienceName:
    """The segment of a snapshot."""
    assert job.segment is not None  # noqa: S101  # only snapshots come here
    return job.segment

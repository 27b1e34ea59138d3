"""VerifyFile and ImportToKafka for a snapshot: ask every partition for its members at one instant.

The request is kept with the attempt, so that a partition that has not answered can be asked again (`cut_request`).
"""

from hashlib import sha256
from typing import Final

from connectors.publishing.activations import ActivationSender
from orchestration.catalog.activations import ActivationStore
from orchestration.catalog.records import Job
from orchestration.catalog.segments import SegmentStore
from orchestration.kinds.builds import CutAsked
from orchestration.kinds.records import ImportRecords, View
from orchestration.kinds.snapshot.register import current_rule
from orchestration.platform.clock import now_ms
from schemas.errors import RetriableError
from schemas.ids import Attempt, AudienceName, JobId, new_job_id
from schemas.records import as_record
from schemas.segment_messages import CutRequested

AHEAD_MS: Final = 2_000
"""A cut is requested for an instant in the future, so that no partition has passed it."""


def confirm(job: Job, *, records: ImportRecords, segments: SegmentStore) -> View:
    """VERIFYING -> IMPORTING. Raises `UserError` UNKNOWN_SEGMENT, SEGMENT_PAUSED."""
    if job.state != "VERIFYING":
        return records.view(job)
    rule = current_rule(segments, job.tenant, segment_of(job))
    cause = f"segment {job.segment}, rule version {rule.version}"
    _, job = records.jobs.move(job.job_id, "IMPORTING", now_ms=now_ms(), cause=cause, only_from={"VERIFYING"})
    return records.view(job)


def request_cuts(
    job: Job, *, records: ImportRecords, segments: SegmentStore, activations: ActivationStore, sender: ActivationSender
) -> View:
    """IMPORTING -> AWAITING. Returns early without a change if another attempt or a cancel has overtaken it.

    Raises `UserError` UNKNOWN_SEGMENT, SEGMENT_PAUSED; `RetriableError` SEGMENT_NOT_READY, and as `ActivationSender`.
    """
    jobs, job_id = records.jobs, job.job_id
    if job.state != "IMPORTING":
        return records.view(job)
    if job.task_token is not None:  # the job has been admitted, or its last wait is over: that token needs no answer
        jobs.put(job_id, task_token=None)
    rule = current_rule(segments, job.tenant, segment_of(job))
    if any((one.tenant, one.segment) == (job.tenant, job.segment) for one in activations.unsent()):
        raise RetriableError(  # the request would overtake the rule
            "SEGMENT_NOT_READY", f"the rule of {job.segment} has not been sent to the workers yet", segment=job.segment
        )
    attempt = Attempt(job.attempt + 1)
    asked = CutAsked(
        cut_id=cut_id_of(job, attempt),
        at_us=max(now_ms() + AHEAD_MS, job.source.get("at_ms") or 0) * 1000,
        rule_version=rule.version,
        rule_hash=rule.hash,
    )
    if records.begin_attempt(job, build={"asked": as_record(asked)}) is None:
        return records.view(jobs.get(job_id))
    sender.send(cut_request(jobs.get(job_id)))
    jobs.end_attempt(job_id, attempt, as_record(asked), now_ms=now_ms())
    cause = f"attempt {attempt}: requested from all partitions"
    _, job = jobs.move(job_id, "AWAITING", now_ms=now_ms(), cause=cause, expecting={"attempt": attempt})
    return records.view(job)


def cut_request(job: Job) -> CutRequested:
    """The request of the newest attempt. Sending a copy changes nothing."""
    wanted = CutAsked.of(job)
    return CutRequested(cut_id=wanted.cut_id, tenant=job.tenant, segment=segment_of(job), at_us=wanted.at_us)


def cut_id_of(job: Job, attempt: Attempt) -> JobId:
    """The cut id of an attempt, derived so that every sender computes the same one."""
    return new_job_id(job.created_at_ms, sha256(f"{job.job_id}/{attempt}".encode()).digest()[:10])


def segment_of(job: Job) -> AudienceName:
    """The segment that a snapshot job takes."""
    assert job.segment is not None  # noqa: S101  # only snapshots come here
    return job.segment

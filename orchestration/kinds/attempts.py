"""The attempt of a job, as its messages name it."""

from connectors.publishing.attempts import ActivityAttempt, AudienceAttempt, ImportAttempt
from connectors.storage.pinned import Source
from orchestration.catalog.records import Job
from orchestration.kinds.topics import activity_source, activity_sources
from schemas.errors import FatalError
from schemas.ids import Attempt
from schemas.layout import data_prefix


def attempt_of(job: Job, source: Source, attempt: Attempt, lake_bucket: str) -> ImportAttempt:
    """An attempt of an import. `source`: what the job reads."""
    if job.kind == "audience":
        return _audience_attempt(job, source, attempt, lake_bucket)
    return _activity_attempt(job, source, attempt)


def _audience_attempt(job: Job, source: Source, attempt: Attempt, lake_bucket: str) -> AudienceAttempt:
    if job.audience_id is None:
        raise FatalError("NOT_VERIFIED", f"job {job.job_id} has no audience", job=job.job_id)
    return AudienceAttempt(
        tenant=job.tenant,
        audience=job.audience,
        import_id=job.job_id,
        attempt=attempt,
        partitions=job.partitions,
        mode=job.mode,
        source=job.origin if isinstance(source, tuple) else source.uri,
        columns=job.spec.row_schema,
        data_prefix=data_prefix(lake_bucket, job.tenant, job.audience_id),
    )


def _activity_attempt(job: Job, source: Source, attempt: Attempt) -> ActivityAttempt:
    kind = job.kind
    assert kind != "audience"  # noqa: S101  # only events and profiles come here
    return ActivityAttempt(
        kind=kind,
        tenant=job.tenant,
        import_id=job.job_id,
        attempt=attempt,
        partitions=job.partitions,
        source=job.origin if isinstance(source, tuple) else activity_source(source),
        sources=activity_sources(source) if isinstance(source, tuple) else (),
        columns=job.spec.row_schema,
    )

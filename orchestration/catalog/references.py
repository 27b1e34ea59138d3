"""The audience of a job, as the lake identifies it."""

from orchestration.catalog.records import Audience, Job
from schemas.errors import FatalError
from segmentation.versions import AudienceRef


def audience_ref(job: Job) -> AudienceRef:
    """The audience that a job was registered for. Raises `FatalError` if the job was refused before it had one."""
    if job.audience_id is None:
        raise FatalError("NO_AUDIENCE", f"job {job.job_id} was refused before it had an audience", job=job.job_id)
    return AudienceRef(tenant=job.tenant, audience=job.audience, audience_id=job.audience_id)


def ref_of(audience: Audience) -> AudienceRef:
    """An audience of the catalog, as the lake identifies it."""
    return AudienceRef(tenant=audience.tenant, audience=audience.name, audience_id=audience.audience_id)

"""Imports whose file is the result of a query.

1. Registration keeps the text of the query, and where the file will be (`query_jobs`).
2. The first stage runs the query in its sandbox, uploads the file, and keeps its address and what was read. The job
   stays VERIFYING; with an address, its file is then verified and imported like any other. A repeated stage runs the
   query again, unless the address is known.

Receipts have the SHA-256 of the text. The text itself is in the job's source, in the input of its execution, in the
request of its schedule, and, up to `access.guard.SHOWN` characters, in the audit trail.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from connectors.lake.sql import write
from orchestration.catalog.records import Job
from orchestration.kinds.query_data import QuerySources
from orchestration.kinds.query_jobs import FORM
from orchestration.kinds.records import ImportRecords, View
from orchestration.kinds.specs import Specs, import_spec
from orchestration.kinds.timeouts import QUERY_S
from orchestration.platform.clock import fresh_id
from orchestration.platform.settings import SANDBOX_REQUIRED
from schemas.errors import UserError
from schemas.ids import tenant_name
from schemas.records import as_record

if TYPE_CHECKING:
    from connectors.storage.access import S3Access
    from connectors.storage.duck_limits import DuckLimits
    from connectors.storage.objects import ObjectStore
    from orchestration.kinds.segment_meaning import Meanings

MOST_BYTES: Final = 16 * 2**30
"""Of the file; a billion ids have about as many."""


def write_file(
    job: Job,
    *,
    records: ImportRecords,
    specs: Specs,
    objects: "ObjectStore",
    meanings: "Meanings",
    s3: "S3Access",
    limits: "DuckLimits",
) -> View:
    """Run the query and store its result (2). VERIFYING stays.

    Raises as `connectors.lake.sql.write`, `QuerySources.resolve` and `import_spec`.
    """
    if job.state != "VERIFYING" or job.sql is None:
        return records.view(job)
    if job.task_token is not None:  # it was admitted: the token needs no more answers
        records.jobs.put(job.job_id, task_token=None)
    tenant = tenant_name(job.tenant)
    sources = QuerySources(meanings=meanings, tenant=tenant, at=datetime.now(UTC), read=[])
    with write(
        job.sql,
        sources.resolve,
        s3=s3,
        limits=limits,
        timeout_s=QUERY_S,
        most_bytes=MOST_BYTES,
        sandbox_required=records.settings.sandbox == SANDBOX_REQUIRED,
    ) as result:
        columns: list[dict[str, Any]] = [column.as_record() for column in result.columns]
        audience = None if job.audience_id is None else specs.audiences.by_id(job.audience_id)
        if audience is None:
            raise UserError("AUDIENCE_DELETED", f"audience {job.audience} was deleted meanwhile", audience=job.audience)
        changes = {**job.source["overrides"], **FORM, "columns": columns}
        spec = import_spec(job.audience, specs.stored(audience), changes)
        # A key of its own: a stage that was given up may still write, after its successor.
        bucket, key = str(job.source["bucket"]), f"{str(job.source['key']).rpartition('/')[0]}/{fresh_id()}.parquet"
        objects.put_file(result.file, bucket, key)
    file = as_record(objects.pin(bucket, key))
    query = {**job.source["query"], "rows": result.rows, "read": sources.read}
    records.jobs.put(job.job_id, spec=spec.as_record(), source={**job.source, **file, "query": query})
    return records.view(records.jobs.get(job.job_id))

"""RegisterImport for a file that is the result of a query: the job keeps the text, and where the file will be."""

from hashlib import sha256
from typing import Any, Final

from orchestration.catalog.records import NewJob
from orchestration.kinds.events import ImportRequest
from orchestration.kinds.specs import Specs
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.platform.settings import Settings
from schemas.columns import USER_ID
from schemas.ids import audience_name, tenant_name
from schemas.layout import UPLOADS_PREFIX

FILE_NAME: Final = "query.parquet"
FORM: Final = {"id_column": USER_ID, "format": "parquet"}


def source_of_query(sql: str, settings: Settings) -> dict[str, Any]:
    """The fields of an `ImportRequest` that say what to import."""
    return {"bucket": settings.staging_bucket, "key": FILE_NAME, "sql": sql}


def new_build(request: ImportRequest, execution: str, *, specs: Specs, settings: Settings) -> NewJob:
    """The job for a request with a query. A missing audience is created as `awaited`.

    Raises `UserError` BAD_NAME, UNKNOWN_TENANT, NAME_TAKEN, BAD_SPEC, BAD_COLUMN.
    """
    tenant, audience = tenant_name(request.tenant), audience_name(request.audience)
    into = specs.audiences.for_import(tenant, audience, new_id=fresh_id(), now_ms=now_ms())
    spec = specs.stored(into).with_changes({**request.overrides, **FORM})
    assert request.sql is not None  # noqa: S101  # only such requests come here
    return NewJob(
        job_id=request.job_id,
        tenant=tenant,
        audience=audience,
        audience_id=into.audience_id,
        mode=spec.mode,
        partitions=settings.partitions,
        spec=spec,
        source={
            "bucket": settings.staging_bucket,
            "key": f"{UPLOADS_PREFIX}{tenant}/{audience}/{request.job_id}/{FILE_NAME}",
            "sql": request.sql,
            "query": {"sha256": sha256(request.sql.encode()).hexdigest()},
            "overrides": dict(request.overrides),
        },
        small=False,
        order_key=f"{now_ms():015d}/{'':0>32}/{request.job_id}",
        dedupe_key=sha256(request.job_id.encode()).hexdigest(),  # unique: what the query reads may have changed
        execution=execution,
        retry_of=request.retry_of,
        created_at_ms=now_ms(),
    )

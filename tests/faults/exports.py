"""An export under faults, checked by its receiver."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.kinds.export.request import ExportRequest
from orchestration.platform.clock import fresh_id
from schemas.layout import split_s3_uri
from schemas.manifest import ExportFormat
from segmentation.export_jobs import ENDED
from tests.faults.imports import Audience, differs
from tests.faults.readers import SCHEMA
from tests.faults.stack import FaultedStack
from tests.faults.waiting import until
from tests.integration.whole_imports import TENANT


def exported(stack: FaultedStack, audience: Audience) -> list[str]:
    """Export the newest version as Parquet and return the problems in what the receiver finds."""
    context, export_id = stack.context, fresh_id()
    to = f"s3://{stack.settings.lake_bucket}/exports/{export_id}"
    request = ExportRequest(
        export_id=export_id,
        tenant=TENANT,
        audience=audience.published.name,
        to=to,
        format=ExportFormat(format="parquet"),
        version=audience.published.at_least,
    )

    def ended() -> Any:
        found = context.exports.find(export_id)
        return found if found is not None and found.state in ENDED else None

    until(lambda: context.export_jobs.submit(request), "an export that is begun")
    export = until(ended, f"the end of export {export_id}", timeout_s=300)
    if export.state != "READY":
        return [f"export {export_id}: {export.state}, {export.error}"]
    bucket, prefix = split_s3_uri(to)
    keys = [entry.key for entry in context.objects.list(bucket, prefix) if entry.key.endswith(".parquet")]
    store = context.s3.filesystem()
    tables = [pq.read_table(f"{bucket}/{key}", filesystem=store) for key in keys]
    rows = [table.select([n for n in SCHEMA.names if n in table.column_names]) for table in tables]
    found = pa.concat_tables(rows, promote_options="permissive")
    for name in SCHEMA.names:
        if name not in found.column_names:
            found = found.append_column(name, pa.nulls(len(found), SCHEMA.field(name).type))
    problem = differs(found.select(SCHEMA.names), audience.published.versions[audience.published.at_least])
    return [f"export {export_id}: {problem}"] if problem else []

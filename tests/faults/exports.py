"""An export under faults, checked by its receiver."""

from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.kinds.export.request import ExportRequest
from orchestration.platform.clock import fresh_id
from schemas.export_shape import ExportShape
from schemas.layout import split_s3_uri
from schemas.manifest import MANIFEST_NAME, ExportFormat, Manifest
from segmentation.export_jobs import ENDED
from tests.faults.imports import Audience, differs
from tests.faults.readers import SCHEMA
from tests.faults.stack import FaultedStack
from tests.faults.waiting import until
from tests.integration.whole_imports import TENANT

PART: Final = ExportShape(where='user_id >= "5"')


def exported(stack: FaultedStack, audience: Audience) -> list[str]:
    """Export the newest version as Parquet, and then what leads to a part of it.

    Returns the problems in what the receiver finds.
    """
    whole, problems = _export(stack, audience)
    if whole is None:
        return problems
    store, bucket = stack.context.s3.filesystem(), stack.settings.lake_bucket
    keys = [f"{bucket}/exports/{whole.export}/{file.key}" for file in whole.files]
    tables = [pq.read_table(key, filesystem=store) for key in keys]
    rows = [table.select([n for n in SCHEMA.names if n in table.column_names]) for table in tables]
    found = pa.concat_tables(rows, promote_options="permissive")
    for name in SCHEMA.names:
        if name not in found.column_names:
            found = found.append_column(name, pa.nulls(len(found), SCHEMA.field(name).type))
    problem = differs(found.select(SCHEMA.names), audience.published.versions[audience.published.at_least])
    if problem:
        return [f"export {whole.export}: {problem}"]
    changes, problems = _export(stack, audience, shape=PART, delta_from=whole.export)
    if changes is None:
        return problems
    assert changes.delta is not None  # a delta was asked for
    rest = sum(user < "5" for user in found.column("user_id").to_pylist())
    if whole.kept is None or whole.kept - changes.total("removed") + changes.total("added") != changes.kept:
        return [f"export {changes.export}: the changes lead from {whole.kept} to something else than {changes.kept}"]
    if (changes.delta.kept, changes.rows) != (whole.kept, rest):
        return [f"export {changes.export}: {changes.rows} changes from {changes.delta.kept}, not {rest}"]
    return []


def _export(stack: FaultedStack, audience: Audience, **more: Any) -> tuple[Manifest | None, list[str]]:
    """The manifest of an export of the newest version, or the problem of one that is not READY or does not add up."""
    context, export_id = stack.context, fresh_id()
    to = f"s3://{stack.settings.lake_bucket}/exports/{export_id}"
    request = ExportRequest(
        export_id=export_id,
        tenant=TENANT,
        audience=audience.published.name,
        to=to,
        format=ExportFormat(format="parquet"),
        version=audience.published.at_least,
        **more,
    )

    def ended() -> Any:
        found = context.exports.find(export_id)
        return found if found is not None and found.state in ENDED else None

    until(lambda: context.export_jobs.submit(request), "an export that is begun")
    export = until(ended, f"the end of export {export_id}", timeout_s=300)
    if export.state != "READY":
        return None, [f"export {export_id}: {export.state}, {export.error}"]
    bucket, prefix = split_s3_uri(to)
    manifest = Manifest.parse(context.objects.get(bucket, f"{prefix}/{MANIFEST_NAME}"))
    fault = manifest.fault()
    return (manifest, []) if fault is None else (None, [f"export {export_id}: {fault}"])

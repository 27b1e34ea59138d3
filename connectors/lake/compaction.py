"""Compaction: the current members in fewer files. Versions are immutable, so the result is a version of its own."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from connectors.lake.audience_sql import rows_sql
from connectors.lake.faults import lake_faults
from connectors.lake.parts import store_part, write_rows
from connectors.storage.access import S3Access
from connectors.storage.duck import DuckLimits, batches, connect
from schemas.columns import USER_ID, RowSchema
from schemas.ids import Attempt, JobId
from segmentation.versions import Part


def file_groups(parts: Sequence[Part], target_bytes: int) -> list[list[Part]]:
    """Neighbouring parts, in order, grouped up to `target_bytes`; a larger part forms its own group."""
    groups: list[list[Part]] = []
    for part in parts:
        if groups and sum(p.bytes for p in groups[-1]) + part.bytes <= target_bytes:
            groups[-1].append(part)
        else:
            groups.append([part])
    return groups


def merge_files(
    parts: Sequence[Part],
    schema: RowSchema,
    *,
    target_bytes: int,
    operation_id: JobId,
    s3: S3Access,
    limits: DuckLimits,
    data_prefix: str,
) -> tuple[Part, ...] | None:
    """The same members in files of about `target_bytes`, each sorted. None if there is nothing to merge."""
    groups = file_groups(parts, target_bytes)
    if len(groups) == len(parts):
        return None
    merged: list[Part] = []
    limits.temp_directory.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=limits.temp_directory) as scratch,
        lake_faults("merging small files"),
        connect(replace(limits, temp_directory=Path(scratch) / "duckdb"), s3) as connection,
    ):
        for group in groups:
            if len(group) == 1:
                merged.append(replace(group[0], partition=None))
                continue
            path = Path(scratch) / "merged.parquet"
            query = f"{rows_sql([part.uri for part in group], schema)} ORDER BY {USER_ID}"
            digest = write_rows(batches(connection, query), schema, path)
            merged.append(
                store_part(
                    s3,
                    path,
                    digest,
                    data_prefix=data_prefix,
                    import_id=operation_id,
                    attempt=Attempt(1),
                    partition=None,
                )
            )
    return tuple(merged)

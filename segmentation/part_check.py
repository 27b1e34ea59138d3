"""Verifies a part row by row: count, digest, order, distinctness, partition."""

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.buffers import string_buffers
from schemas.columns import USER_ID, RowSchema
from schemas.digest import Digest
from schemas.errors import FatalError
from schemas.kernels.hashing import murmur2_partitions
from schemas.row_digest import digest_rows
from segmentation.versions import Part


def check_part(part: Part, batches: Iterable[pa.RecordBatch], schema: RowSchema, partitions: int) -> Counter[str]:
    """Compare a part with its rows, read again; returns the nulls of each column. Raises `FatalError` PART_MISMATCH.

    Strictly ascending user ids (by bytes) are sorted and distinct; a `part.partition` of None skips the partition
    check.
    """
    actual = Digest(schema_id=schema.schema_id)
    nulls = Counter({column.name: 0 for column in schema.columns})
    last: pa.Scalar | None = None
    for batch in batches:
        if batch.num_rows == 0:
            continue
        ids = batch.column(USER_ID)
        if ids.null_count:
            raise _mismatch(part, f"{ids.null_count} rows have no user id")
        if not _ascending(ids, last):
            raise _mismatch(part, "its user ids are not sorted and distinct")
        if part.partition is not None and (strangers := _misplaced_users(ids, part.partition, partitions)):
            raise _mismatch(part, f"{strangers} of its users belong to other partitions of {partitions}")
        actual += digest_rows(batch, schema)
        nulls.update({name: batch.column(name).null_count for name in nulls})
        last = ids[-1]
    if actual.count != part.rows:
        raise _mismatch(part, f"{actual.count} rows, but {part.rows} were announced")
    if actual != part.digest:
        raise _mismatch(part, f"digest {actual}, but {part.digest} was announced")
    return nulls


def _ascending(ids: pa.StringArray, last: pa.Scalar | None) -> bool:
    if last is not None and not pc.less(last, ids[0]).as_py():
        return False
    return len(ids) == 1 or bool(pc.all(pc.less(ids[:-1], ids[1:])).as_py())


def _misplaced_users(ids: pa.StringArray, partition: int, partitions: int) -> int:
    counts = murmur2_partitions(*string_buffers(ids), partitions, np.empty(len(ids), np.int32))
    return len(ids) - int(counts[partition])


def _mismatch(part: Part, fault: str) -> FatalError:
    return FatalError(
        "PART_MISMATCH",
        f"part {part.uri} (partition {part.partition}): {fault}",
        part=part.uri,
        partition=part.partition,
        fault=fault,
    )

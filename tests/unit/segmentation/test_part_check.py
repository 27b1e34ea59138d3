"""A part is checked row by row, across its batches."""

from dataclasses import replace

import pyarrow as pa
import pytest

from schemas.columns import Column, RowSchema
from schemas.errors import FatalError
from schemas.ids import Partition
from schemas.row_digest import digest_rows
from segmentation.part_check import check_part
from segmentation.versions import Part

PLAIN = RowSchema()


def _batch(*names: str | None) -> pa.RecordBatch:
    return pa.record_batch({"user_id": pa.array(names, pa.string())})


def _part(*batches: pa.RecordBatch, partition: int | None = 0) -> Part:
    table = pa.Table.from_batches(batches, schema=batches[0].schema)
    digest = digest_rows(table.combine_chunks(), PLAIN)
    where = None if partition is None else Partition(partition)
    return Part(uri="s3://lake/x.parquet", rows=len(table), bytes=1, digest=digest, partition=where)


def test_ordered_rows_pass_in_any_batches() -> None:
    batches = [_batch("A", "a"), _batch(), _batch("z"), _batch("é", "中", "𝄞")]
    check_part(_part(*batches), batches, PLAIN, 1)


@pytest.mark.parametrize(
    "batches",
    [
        [_batch("a", "c"), _batch("b")],
        [_batch("a", "b"), _batch("b", "c")],
        [_batch("a"), _batch(), _batch("a")],
        [_batch("b", "a")],
        [_batch("é", "z")],
    ],
)
def test_unordered_or_duplicate_rows_are_refused_across_batches(batches: list[pa.RecordBatch]) -> None:
    with pytest.raises(FatalError, match="not sorted and distinct"):
        check_part(_part(*batches), batches, PLAIN, 1)


def test_a_row_without_user_id_is_refused() -> None:
    batches = [_batch("a", None)]
    with pytest.raises(FatalError, match="1 rows have no user id"):
        check_part(_part(*batches), batches, PLAIN, 1)


def test_part_of_several_partitions_skips_the_partition_check() -> None:
    batches = [_batch(*sorted(f"user-{n}" for n in range(40)))]
    check_part(_part(*batches, partition=None), batches, PLAIN, 8)
    with pytest.raises(FatalError, match="belong to other partitions of 8"):
        check_part(_part(*batches, partition=3), batches, PLAIN, 8)


def test_a_lost_batch_and_a_changed_attribute_are_refused() -> None:
    batches = [_batch("a", "b"), _batch("c")]
    with pytest.raises(FatalError, match="2 rows, but 3 were announced"):
        check_part(_part(*batches), batches[:1], PLAIN, 1)
    schema = RowSchema(columns=(Column(name="age", type="long"),))
    rows = pa.record_batch({"user_id": pa.array(["a"]), "age": pa.array([1], pa.int64())})
    other = pa.record_batch({"user_id": pa.array(["a"]), "age": pa.array([2], pa.int64())})
    part = replace(_part(_batch("a")), digest=digest_rows(rows, schema))
    check_part(part, [rows], schema, 1)
    with pytest.raises(FatalError, match=r"digest .* was announced"):
        check_part(part, [other], schema, 1)


def test_an_empty_part_passes() -> None:
    check_part(_part(_batch()), [], PLAIN, 1)

"""Repartitions members on local disk if their version was built with another P or was compacted."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from connectors.lake.parts import nullable, read_part
from connectors.storage.access import S3Access
from schemas.columns import USER_ID, RowSchema
from schemas.ids import Partition
from schemas.partitioning import partition_users
from segmentation.versions import Part


def repartition(
    parts: Sequence[Part], schema: RowSchema, partitions: int, *, s3: S3Access, directory: Path
) -> Mapping[Partition, list[str]]:
    """Write the rows of `parts` to one local file per partition (unsorted); returns the paths of those with rows.

    Memory: one batch, and one open row group per partition.
    """
    directory.mkdir(parents=True, exist_ok=True)
    writers: dict[Partition, pq.ParquetWriter] = {}
    paths: dict[Partition, list[str]] = {}
    with ExitStack() as stack:
        for part in parts:
            for batch in read_part(s3, part, schema):
                split = partition_users(batch.column(USER_ID), partitions)
                for number in range(partitions):
                    start, end = int(split.starts[number]), int(split.starts[number + 1])
                    if start == end:
                        continue
                    partition = Partition(number)
                    if partition not in writers:
                        path = directory / f"{number:05d}.parquet"
                        paths[partition] = [str(path)]
                        writers[partition] = stack.enter_context(
                            pq.ParquetWriter(path, nullable(schema), compression="zstd", compression_level=1)
                        )
                    writers[partition].write_batch(batch.take(pa.array(split.order[start:end])))
    return paths

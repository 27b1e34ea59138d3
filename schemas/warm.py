"""Compiles every hash kernel, so that numba's disk cache is filled (`segmentation.warm` compiles those of the core).

The first call of a kernel takes seconds, later ones load the cache. The kernels are called with the array types used in
production; `schemas.buffers` ensures a single combination per kernel.
"""

from typing import Final

import pyarrow as pa

from schemas.arrow import arrow_schema
from schemas.columns import Column, RowSchema
from schemas.partitioning import partition_users
from schemas.row_digest import PartitionDigests

STRINGS_AND_WORDS: Final = RowSchema(columns=(Column(name="age", type="long"),))


def warm() -> None:
    """Call every kernel. Takes about half a minute with an empty cache, half a second otherwise."""
    row = pa.RecordBatch.from_arrays([pa.array(["u"]), pa.array([1])], schema=arrow_schema(STRINGS_AND_WORDS))
    partition_users(row.column(0), 2)
    PartitionDigests(STRINGS_AND_WORDS, 2).add(row)

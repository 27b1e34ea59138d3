"""Parquet timestamps as INT96: a day and nanoseconds in 12 bytes, which Arrow converts to 64 bits unchecked.

As nanoseconds, years before 1678 and after 2261 turn into other years; as microseconds, finer digits are cut off. Both
are read: the pair identifies every moment.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import UserError

UNIT: Final = "us"
"""Unit to open a file with (`coerce_int96_timestamp_unit`)."""
INEXACT: Final = -(2**63)
"""Stands for a moment that is not a whole microsecond; outside the years that are accepted."""


def int96_columns(file: pq.ParquetFile, wanted: Sequence[str]) -> list[str]:
    """The wanted columns that are INT96."""
    columns = (file.schema.column(k) for k in range(len(file.schema)))
    return sorted({c.path for c in columns if c.physical_type == "INT96"} & set(wanted))


class Nanoseconds:
    """The INT96 columns of some row groups as nanoseconds, read in step with the microseconds."""

    def __init__(self, file: pq.ParquetFile, columns: list[str], batch_rows: int, groups: Sequence[int]) -> None:
        self._columns = columns
        self._batches: Iterator[pa.RecordBatch] = file.iter_batches(
            batch_rows, row_groups=list(groups), columns=columns, use_threads=False
        )
        self._rest: list[pa.RecordBatch] = []

    def exact(self, batch: pa.RecordBatch) -> dict[str, pa.Array]:
        """The INT96 columns of the next rows; `INEXACT` where microseconds lose precision."""
        rows = self._next(batch.num_rows)
        return {name: _exact(batch.column(name), rows.column(name)) for name in self._columns}

    def _next(self, count: int) -> pa.Table:
        have = sum(rest.num_rows for rest in self._rest)
        while have < count:
            batch = next(self._batches, None)
            if batch is None:
                raise UserError("CORRUPT_FILE", "the Parquet file holds fewer rows when it is read again")
            self._rest.append(batch)
            have += batch.num_rows
        rows = pa.Table.from_batches(self._rest)
        self._rest = rows.slice(count).to_batches()
        return rows.slice(0, count)


def _exact(micros: pa.Array, nanos: pa.ChunkedArray) -> pa.Array:
    in_micros = micros.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    in_nanos = nanos.cast(pa.int64()).fill_null(0).to_numpy()
    exact_rows = in_micros * np.int64(1000) == in_nanos  # both wrap at 64 bits
    values = np.where(exact_rows, in_micros, INEXACT)
    mask = micros.is_null().to_numpy(zero_copy_only=False)
    return pa.array(values, pa.int64(), mask=mask).view(micros.type)

"""Account for every row that an export read: kept, filtered or suppressed, digested as it passes."""

from collections.abc import Iterable, Iterator
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from schemas.arrow import arrow_schema
from schemas.columns import RowSchema
from schemas.digest import Digest
from schemas.manifest_selection import Account, Change
from schemas.row_digest import digest_hashes, digest_rows, row_hashes

DECISION: Final = "_decision"
"""Query column with the decision about a row. No column of an audience begins with an underscore."""
KEPT: Final = 0
FILTERED: Final = 1
SUPPRESSED: Final = 2


class Accounting:
    """Takes rows with their decision, passes on the kept ones, and counts and digests all of them.

    `read` are the columns of the version, `exported` the columns that are passed on.
    """

    def __init__(self, read: RowSchema, exported: RowSchema, change: Change | None) -> None:
        self._read = read
        self._exported_columns = exported
        self._change = change
        self._sums = {decision: Digest(schema_id=read.schema_id) for decision in (KEPT, FILTERED, SUPPRESSED)}
        self._exported = Digest(schema_id=exported.schema_id)

    @property
    def account(self) -> Account:
        """Account of the rows so far."""
        return Account(
            kept=self._sums[KEPT],
            filtered=self._sums[FILTERED],
            suppressed=self._sums[SUPPRESSED],
            exported=self._exported,
            change=self._change,
        )

    def kept(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The kept rows, in order."""
        for batch in batches:
            decisions = batch.column(DECISION).to_numpy(zero_copy_only=False)
            columns = batch.select(list(self._read.names)).cast(arrow_schema(self._read))
            h0, h1 = row_hashes(columns, self._read)
            for decision in self._sums:
                selected = decisions == decision
                self._sums[decision] += digest_hashes(h0[selected], h1[selected], self._read.schema_id)
            rows = batch.filter(pc.equal(batch.column(DECISION), KEPT))
            rows = rows.select(list(self._exported_columns.names)).cast(arrow_schema(self._exported_columns))
            self._exported += digest_rows(rows, self._exported_columns)
            yield rows

"""Account for every row that an export read: kept, filtered or suppressed, digested as it passes."""

from collections.abc import Iterable, Iterator
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from schemas.arrow import arrow_schema
from schemas.columns import RowSchema
from schemas.digest import Digest
from schemas.manifest_selection import Account, View
from schemas.row_digest import digest_hashes, digest_rows, row_hashes

DECISION: Final = "_decision"
"""Query column with the decision about a row. No column of an audience begins with an underscore."""
CHANGED: Final = "_changed"
"""Query column of a delta: whether the other view lacks this kept row."""
KEPT: Final = 0
FILTERED: Final = 1
SUPPRESSED: Final = 2


class Accounting:
    """Takes rows with their decision, passes on the kept ones, and counts and digests all of them.

    `read` are the columns of the version, `exported` the columns that are passed on. Of a `view` of a delta, only the
    kept rows that have changed are passed on.
    """

    def __init__(self, read: RowSchema, exported: RowSchema, view: View | None) -> None:
        self._read = read
        self._exported_columns = exported
        self._view = view
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
            view=self._view,
        )

    def kept(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The kept rows, or of a view those that have changed, in order."""
        for batch in batches:
            decisions = batch.column(DECISION).to_numpy(zero_copy_only=False)
            columns = batch.select(list(self._read.names)).cast(arrow_schema(self._read))
            h0, h1 = row_hashes(columns, self._read)
            for decision in self._sums:
                selected = decisions == decision
                self._sums[decision] += digest_hashes(h0[selected], h1[selected], self._read.schema_id)
            rows = batch.filter(pc.equal(batch.column(DECISION), KEPT))
            exported = rows.select(list(self._exported_columns.names)).cast(arrow_schema(self._exported_columns))
            self._exported += digest_rows(exported, self._exported_columns)
            yield exported if self._view is None else exported.filter(rows.column(CHANGED))

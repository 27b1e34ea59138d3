"""Sorted rows -> pieces of files, each of one folder, with all work done that does not depend on the file."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from connectors.sinks.folders import PartitionFolder, by_folder, regroup
from connectors.sinks.formats import FORMATS
from connectors.sinks.text_rows import formulas
from schemas.arrow import arrow_schema
from schemas.columns import USER_ID, RowSchema
from schemas.digest import Digest
from schemas.errors import UserError
from schemas.manifest import ExportFormat
from schemas.row_digest import digest_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One row or more. `content`: the data to write, rows for Parquet or lines of text.

    `first`, `last`: their user ids. `formulas`: number of texts in them that a spreadsheet may take for a formula.
    """

    folder: PartitionFolder
    content: pa.RecordBatch | pa.Buffer
    digest: Digest
    first: str
    last: str
    formulas: int


def pieces(
    batches: Iterable[pa.RecordBatch],
    schema: RowSchema,
    format_: ExportFormat,
    *,
    partition_by: Sequence[str] = (),
    batch_rows: int | None = None,
) -> Iterator[Piece]:
    """Cut rows that are sorted by `partition_by` where its values change, and into `batch_rows` (None: as they arrive).

    Raises `UserError` FORMULA_FOUND, NULL_TOKEN_TAKEN, ID_TOO_LONG, PARTITION_VALUE_TOO_LONG.
    """
    cut = by_folder(batches, partition_by)
    for folder, batch in cut if batch_rows is None else regroup(cut, batch_rows):
        rows = batch.select(list(schema.names)).cast(arrow_schema(schema))
        ids = rows.column(USER_ID)
        first, last = ids[0].as_py(), ids[-1].as_py()
        found = formulas(rows, schema) if format_.format == "csv" else 0
        if found and format_.formulas == "refuse":
            raise UserError(
                "FORMULA_FOUND",
                f"{found} texts in {len(rows)} rows begin like a spreadsheet formula; export them as they are, or "
                "escaped (--formulas escape)",
                formulas=found,
            )
        yield Piece(
            folder=folder,
            content=FORMATS[format_.format].content(rows, schema, format_),
            digest=digest_rows(rows, schema),
            first=first,
            last=last,
            formulas=found,
        )

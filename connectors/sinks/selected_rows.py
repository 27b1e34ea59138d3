"""Read the rows of a group as they are exported, to files or to a topic."""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from typing import Final

import pyarrow as pa

from connectors.sinks.accounting import Accounting
from connectors.sinks.locked_folder import locked_folder
from connectors.sinks.selection import Group, Selection
from connectors.sinks.shaping import Shape
from connectors.sinks.stages import Stages
from connectors.sinks.views import changed_rows
from connectors.storage.access import S3Access
from connectors.storage.duck import DuckLimits, batches, connect
from schemas.manifest_selection import Account, Change, View

BATCHES_AHEAD: Final = 2
"""Batches of `BATCH_ROWS` rows; more would not speed up a slower stage."""

SelectedRows = tuple[Change | None, Iterator[pa.RecordBatch]]
"""Sorted rows and their change; None for the rows of a whole version."""


def selected_rows(
    shape: Shape,
    group: Group,
    *,
    base: Shape | None = None,
    s3: S3Access,
    limits: DuckLimits,
    accounts: list[Account],
    stages: Stages,
) -> Generator[SelectedRows, None, None]:
    """Read the rows of each kind of change, to be consumed before the next kind; `accounts` then gets their account.

    `base`: the view that a delta starts from, if either view is only a part of its version. If the shape selects
    nothing, there are no accounts: the digest of the exported rows is sufficient. Rows are read in a stage. All of
    `stages`, including those of the caller, end with this generator, before its connection closes.
    """
    with (
        # A separate folder: two connections that spill into one folder write into each other's files.
        locked_folder(limits.temp_directory, "spill-") as spill,
        connect(replace(limits, temp_directory=spill), s3) as connection,
        stages,
    ):
        found: Iterable[tuple[View | None, Shape, Selection]]
        if base is None:
            for statement in group.preparation(shape.version.info.row_schema, limits.memory_bytes):
                connection.execute(statement)
            found = [(None, shape, selection) for selection in shape.selections(group)]
        else:
            found = changed_rows(shape, base, group)
        for view, side, selection in found:
            read = batches(connection, selection.sql, selection.parameters)
            rows = stages.prefetch(read, most=BATCHES_AHEAD, interrupt=connection.interrupt)
            if base is None and not shape.selects:
                yield selection.change, rows
                continue
            accounting = Accounting(side.version.info.row_schema, side.exported, view)
            yield selection.change, accounting.kept(rows)
            accounts.append(accounting.account)

"""The concurrent stages of an export: a failure in any thread leaves nothing behind."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from connectors.sinks import selected_rows as taking
from connectors.sinks.export_order import ExportOrder
from connectors.sinks.exporting import export
from connectors.sinks.local_folder import LocalFolder
from connectors.sinks.selection import PinnedVersion
from connectors.storage.duck import batches
from schemas.columns import Column, RowSchema
from schemas.errors import MusterError, UserError
from schemas.manifest import ExportFormat
from tests.integration.lake.support import limits, new_id
from tests.integration.lake.test_exporting import Lake, lake  # noqa: F401  # a fixture

PARQUET = ExportFormat(format="parquet")
SCHEMA = RowSchema(columns=(Column(name="note"),))
ROWS = 5_000
FILE_ROWS = 1_000
LONG_S = 30.0
"""Time to wait for what never comes."""


class Cancelled(Exception):  # noqa: N818  # no error
    """Raised by a caller that wants no more rows."""


@pytest.fixture
def version(lake: Lake) -> PinnedVersion:  # noqa: F811  # the fixture
    rows = [{"user_id": f"user-{n:05d}", "note": "last" if n == ROWS - 1 else None} for n in range(ROWS)]
    return lake.publish(rows, SCHEMA, "1", partitions=1)


def order_of(version: PinnedVersion, format_: ExportFormat = PARQUET) -> ExportOrder:
    """Five files with one row group each, or one text file."""
    return ExportOrder(
        export_id=new_id(),
        tenant="acme",
        audience="vip",
        version=version,
        format=format_,
        created_at="2026-11-25T00:00:00Z",
        target_bytes=1 if format_ is PARQUET else 10**9,
        row_group_rows=FILE_ROWS if format_ is PARQUET else None,
    )


def test_file_is_uploaded_while_the_next_is_written(lake: Lake, version: PinnedVersion) -> None:  # noqa: F811
    reported: list[int] = []
    changed = threading.Condition()

    def on_rows(rows: int) -> None:
        with changed:
            reported.append(rows)
            changed.notify_all()

    class Slow(LocalFolder):
        puts = 0

        def put(self, path: Path, key: str) -> None:
            self.puts += 1
            with changed:
                assert changed.wait_for(lambda: reported[-1] >= min((self.puts + 1) * FILE_ROWS, ROWS), LONG_S)
            super().put(path, key)

    to = Slow(lake.folder / "out")
    manifest = export(order_of(version), to, s3=lake.s3, limits=limits(lake.folder), on_rows=on_rows)
    assert reported == [FILE_ROWS * n for n in range(1, 6)]
    assert [file.rows for file in manifest.files] == [FILE_ROWS] * 5
    assert lake.check(str(lake.folder / "out")) == (manifest, None)


@pytest.mark.parametrize("where", ["reading", "shaping", "writing", "putting", "interrupted"])
def test_stage_failure_reaches_the_caller_without_leaking_files_or_threads(
    lake: Lake,  # noqa: F811
    version: PinnedVersion,
    where: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = set(threading.enumerate())
    out = lake.folder / "out"
    to: LocalFolder = LocalFolder(out)
    format_ = PARQUET

    def broken(*given: Any, **options: Any) -> Iterator[pa.RecordBatch]:
        yield from batches(*given, **options)
        raise duckdb.IOException("HTTP 500")

    def cancelled(rows: int) -> None:
        if rows >= 3 * FILE_ROWS and where == "writing":
            raise Cancelled

    class Failing(LocalFolder):
        puts = 0

        def put(self, path: Path, key: str) -> None:
            self.puts += 1
            if self.puts == 3:
                raise KeyboardInterrupt if where == "interrupted" else UserError("DESTINATION_NOT_WRITABLE", "gone")
            super().put(path, key)

    if where == "reading":
        monkeypatch.setattr(taking, "batches", broken)
    elif where == "shaping":
        format_ = ExportFormat(format="csv", null_token="last")
    elif where != "writing":
        to = Failing(out)
    with pytest.raises((MusterError, Cancelled, KeyboardInterrupt)) as caught:
        export(order_of(version, format_), to, s3=lake.s3, limits=limits(lake.folder), on_rows=cancelled)
    assert (
        getattr(caught.value, "code", type(caught.value).__name__)
        == {
            "reading": "LAKE_UNAVAILABLE",
            "shaping": "NULL_TOKEN_TAKEN",
            "writing": "Cancelled",
            "putting": "DESTINATION_NOT_WRITABLE",
            "interrupted": "KeyboardInterrupt",
        }[where]
    )
    assert set(threading.enumerate()) <= threads
    assert list(out.iterdir()) == []
    assert list((limits(lake.folder).temp_directory / "export").iterdir()) == []

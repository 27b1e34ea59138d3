"""What a user reads of an export: how far it is, and how it ended."""

from dataclasses import replace
from typing import Any

import pytest

from orchestration.catalog.records import Export, ExportGroup
from orchestration.cli.following import Followed, show_end
from orchestration.cli.rendering import export_line
from orchestration.operations.follow import ExportView
from orchestration.operations.job_records import export_view_record
from schemas.records import as_record
from tests.unit.orchestration.cli.jobs import EXPORT

OUTCOME = {
    "version": 3,
    "rows": 30,
    "bytes": 2048,
    "files": 1,
    "manifest": "s3://out/manifest.json",
    "rows_filtered": 70,
    "rows_suppressed": 0,
}


def group(number: int, rows: int, record: dict[str, Any] | None) -> ExportGroup:
    return ExportGroup(
        number=number, bytes=10, expected_rows=50, attempt=1, rows=rows, beat_at_ms=None, record=record, error=None
    )


GROUPS = (group(0, 20, {}), group(1, 10, None))


def record(export: Export) -> dict[str, Any]:
    return as_record(export_view_record(ExportView(export=export, groups=GROUPS), []))


def test_running_export_shows_written_and_total_rows() -> None:
    line = export_line(record(EXPORT), 0.5)
    assert line == f"export {EXPORT.job_id}  WRITING  30 of 100 rows, 1 of 2 groups"


def test_finished_export_shows_its_rows() -> None:
    """A selection reads more rows than it writes: `30 of 100` would look like a loss."""
    assert (
        export_line(record(replace(EXPORT, state="READY")), 0.5)
        == f"export {EXPORT.job_id}  READY  30 rows, 1 of 2 groups"
    )


@pytest.mark.parametrize(
    ("filtered", "said"),
    [
        (70, ["Left out: 70 rows that did not match, 0 of suppressed users."]),
        (0, []),
    ],
)
def test_finished_export_reports_omitted_rows_if_any(
    capsys: pytest.CaptureFixture[str], filtered: int, said: list[str]
) -> None:
    export = replace(EXPORT, state="READY", outcome={**OUTCOME, "rows_filtered": filtered})
    show_end(Followed(job=record(export)))
    captured = capsys.readouterr()
    assert captured.err.splitlines() + captured.out.splitlines()[1:] == said
    assert captured.out.splitlines()[0] == "version 3 of acme/vip: 30 rows in 1 file, 2.0 kB, in s3://out/manifest.json"

"""`muster receipt` and `muster rejects`: the outcome of a job's rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from connectors.private_files import write_private
from muster.records import Record
from orchestration.cli import options, remote
from orchestration.cli.commands import Answer, Group, command
from orchestration.cli.console import print_note, print_pairs, print_table
from orchestration.cli.exits import ExitCode, code_for_job
from orchestration.cli.formatting import member_pairs, number, safe
from orchestration.cli.job_facts import place_of
from orchestration.cli.rendering import column_pairs, kept_text, value_pairs
from orchestration.platform.deferred import deferred
from schemas.errors import UserError
from schemas.job_kinds import id_of, key_of

with deferred(__name__):
    from muster import errors, fetching

TOP = Group("")
PAGE: Final = 500


def print_receipt(receipt: Mapping[str, Any]) -> None:
    """Print a receipt for people: the rows in the file, their outcome, what is published."""
    by_code = ", ".join(f"{code} {number(count)}" for code, count in receipt["rejected_by_code"].items())
    rows, accepted, rejected = (number(receipt[name]) for name in ("rows", "accepted", "rejected"))
    if "snapshot" in receipt:
        _print_snapshot(receipt)
        return
    file_pairs: list[tuple[str, object]] = [
        ("source", place_of(receipt["source"])),
        ("rows", f"{rows} = {accepted} accepted + {rejected} rejected"),
        ("rejected", by_code or "none"),
    ]
    finished = ("finished", f"{receipt['finished_at']}, started {receipt['started_at']}")
    if "stored" in receipt:
        print_pairs(
            [
                (receipt["kind"], f"of {receipt['tenant']}, {receipt['state']}"),
                ("job", f"{receipt['job']}, attempt {receipt['attempt']}"),
                *file_pairs,
                ("accepted", f"{number(receipt['stored'])} stored + {number(receipt['duplicates'])} duplicates"),
                finished,
            ]
        )
        return
    pairs: list[tuple[str, object]] = [
        ("audience", f"{receipt['tenant']}/{receipt['audience']} version {receipt['version']}, {receipt['state']}"),
        ("job", f"{receipt['job']}, attempt {receipt['attempt']}, {receipt['mode']}"),
        *file_pairs,
        ("accepted", f"{number(receipt['distinct'])} distinct + {number(receipt['duplicates'])} duplicates"),
    ]
    if (counts := receipt.get("membership")) is not None:
        shown = [f"{name} {number(counts[name])}" for name in ("base", "added", "removed")]
        pairs.append(("change", ", ".join([*shown, f"kept {kept_text(counts)}"])))
    if "columns" in receipt:  # missing in receipts of earlier releases
        pairs += column_pairs(receipt["columns"], receipt["column_changes"])
    pairs += value_pairs(receipt)
    pairs += [
        ("members", number(receipt["members"])),
        ("digest", receipt["digest"]),
        ("snapshot", receipt["snapshot_id"]),
        finished,
    ]
    print_pairs(pairs)


def _print_snapshot(receipt: Mapping[str, Any]) -> None:
    rule = receipt["snapshot"]
    print_pairs(
        [
            ("audience", f"{receipt['tenant']}/{receipt['audience']} version {receipt['version']}, {receipt['state']}"),
            ("job", f"{receipt['job']}, attempt {receipt['attempt']}, {receipt['kind']}"),
            ("segment", f"{rule['segment']}, rule version {rule['rule_version']}"),
            ("as of", rule["as_of"]),
            ("members", number(receipt["members"])),
            *member_pairs(receipt),
            ("digest", receipt["digest"]),
            ("snapshot", receipt["snapshot_id"]),
            ("finished", f"{receipt['finished_at']}, started {receipt['started_at']}"),
        ]
    )


def _show_receipt(receipt: Mapping[str, Any] | None) -> None:
    if receipt is None:
        return
    print_receipt(receipt)
    print_table(
        ("PARTITION", "CHUNKS", "RECORDS", "DISTINCT"),
        [
            (p["partition"], number(p["chunks"]), number(p["records"]), number(p["distinct"]))
            for p in receipt["partitions"]
        ],
        right=("PARTITION", "CHUNKS", "RECORDS", "DISTINCT"),
    )


@command(TOP, "receipt", "muster receipt JOB", "muster receipt JOB --json", show=_show_receipt)
def receipt(*, job: options.MeantJob = None, latest: options.Latest = False) -> Answer[Mapping[str, Any] | None]:
    """Show the receipt of a READY job.

    Its counts of rows, rejects, duplicates and members add up.
    """
    with remote.service() as service:
        found: Record = service.find_job(remote.meant_job(service, job, latest=latest))
        try:
            return Answer(value=service.receipt(found["tenant"], id_of(found)))
        except errors.ApiError as exc:
            if exc.code != "NO_RECEIPT" or key_of(found) == "export":
                raise
    print_note(f"job {found['job']} is {found['state']} and has no receipt; see `muster jobs show {found['job']}`")
    code = code_for_job(found)
    return Answer(value=None, code=code if code is not ExitCode.OK else ExitCode.SYSTEM_ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejects:
    """The first rejects of a job and their total; or the `file` that all of them were written to."""

    job: str
    rows: Sequence[Mapping[str, Any]] = ()
    total: int = 0
    file: Path | None = None

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        if self.file is not None:
            return {"job": self.job, "file": str(self.file)}
        return {"job": self.job, "total": self.total, "rejects": self.rows}


def _show_rejects(found: Rejects) -> None:
    if found.file is not None:
        return
    if not found.rows:
        print_note("The job has no rejects.")
        return
    several = any(r.get("file") for r in found.rows)
    print_table(
        (*(["FILE"] if several else []), "LINE", "BYTE", "COLUMN", "CODE", "REASON", "ROW BEGINS"),
        [(*([_file(r)] if several else []), *_cells(r)) for r in found.rows],
        right=("LINE", "BYTE"),
    )
    if found.total > len(found.rows):
        print_note(
            f"{number(len(found.rows))} of {number(found.total)} rejects; --limit shows more, --to writes all of them."
        )


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return _line(row), _byte(row), row["column"] or "", row["code"], row["reason"], safe(row["raw"])[:60]


def _file(row: Mapping[str, Any]) -> str:
    return safe(str(row["file"] or "").rpartition("/")[2])


def _byte(row: Mapping[str, Any]) -> str:
    return "" if row["byte_offset"] is None else str(row["byte_offset"])


def _line(row: Mapping[str, Any]) -> str:
    if row["line"] is not None:
        return str(row["line"])
    return "" if row["ordinal"] is None else f"row {int(str(row['ordinal'])) + 1}"


@command(TOP, "rejects", "muster rejects JOB", "muster rejects JOB --to rejects.parquet", show=_show_rejects)
def rejects(
    *,
    job: options.MeantJob = None,
    latest: options.Latest = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Show at most this many rejects.")] = 20,
    to: options.OutputPath = None,
) -> Rejects:
    """Show the rejected rows of a job.

    Shows where each row is, why it was rejected, and how it begins.
    """
    with remote.service() as service:
        meant = remote.meant_job(service, job, latest=latest)
        tenant = service.find_job(meant)["tenant"]
        if to is not None:
            try:
                file = service.rejects_file(tenant, meant)
            except errors.ApiError as exc:
                if exc.code != "NO_REJECTS":
                    raise
                return Rejects(job=meant)
            content = b"".join(fetching.fetch(file["url"]))
            try:
                write_private(to, content)
            except OSError as exc:
                raise UserError("NOT_WRITABLE", f"{to} cannot be written: {exc.strerror}", path=str(to)) from exc
            print_note(f"All rejects are in {to} (Parquet).")
            return Rejects(job=meant, file=to)
        rows: list[Record] = []
        cursor = None
        while True:
            page = service.rejects(tenant, meant, rows=min(limit - len(rows), PAGE), cursor=cursor)
            rows += [{name: value for name, value in row.items() if name != "number"} for row in page["items"]]
            if (cursor := page["next"]) is None or len(rows) >= limit:
                return Rejects(job=meant, rows=rows, total=page["kept"])

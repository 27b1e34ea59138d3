"""Rows of a query, for people and for programs."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import typer

from orchestration.cli import remote
from orchestration.cli.console import out, print_line, print_note, print_table
from orchestration.cli.formatting import counted, size, without_controls
from orchestration.platform.deferred import deferred
from schemas.csv_lines import csv_lines

if TYPE_CHECKING:
    from muster.query_rows import Rows

with deferred(__name__):
    from connectors.sinks import row_files
    from orchestration.cli import downloads


@dataclass(frozen=True, slots=True, kw_only=True)
class Queried:
    """Rows of a query, which arrive while they are printed.

    `form`: how they are printed; empty for a table on a terminal, else CSV. A table has the first `limit` of them.
    """

    columns: Sequence[Mapping[str, str]]
    rows: Iterator[Sequence[Any]]
    limit: int
    form: Literal["", "table", "csv", "jsonl"] = ""

    @property
    def names(self) -> list[str]:
        """Of the columns."""
        return [one["name"] for one in self.columns]

    def as_record(self) -> Iterator[dict[str, Any]]:
        """Plain JSON data, row by row."""
        names = self.names
        return (dict(zip(names, row, strict=True)) for row in self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A file with all rows of a query."""

    to: str
    rows: int
    bytes: int

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {"to": self.to, "rows": self.rows, "bytes": self.bytes}


ENDS: Final = (".parquet", ".csv", ".jsonl")


def check_rows_file(to: Path, *, overwrite: bool) -> None:
    """Raise `typer.BadParameter` for a file of another form, and as `downloads.require_free`."""
    if to.suffix.lower() not in ENDS:
        raise typer.BadParameter(f"{to.name} does not end with {', '.join(ENDS)}", param_hint="--to")
    downloads.require_free(str(to), one_file=True, overwrite=overwrite)


def written(found: Queried, to: Path, *, overwrite: bool) -> Written:
    """Write all rows to a file. Raises as `row_files.write_rows`."""
    rows = row_files.write_rows(found.columns, found.rows, to, overwrite=overwrite)
    return Written(to=str(to), rows=rows, bytes=to.stat().st_size)


def show_queried(found: Queried | Written | None) -> None:
    """Print rows, or what was written; nothing after the prompt, which has printed its own."""
    match found:
        case Written():
            print_line(f"{found.to}: {counted(found.rows, 'row')}, {size(found.bytes)}")
        case Queried(form="jsonl"):
            sys.stdout.writelines(f"{json.dumps(row)}\n" for row in found.as_record())
        case Queried(form="table"):
            _show_table(found)
        case Queried():
            if found.form or not out().is_terminal:
                _show_csv(found)
            else:
                _show_table(found)
        case None:
            pass


def _show_csv(found: Queried) -> None:
    exact = found.form == "csv" and not out().is_terminal
    lines = chain([found.names], found.rows)
    sys.stdout.writelines(csv_lines(lines if exact else ([*map(without_controls, row)] for row in lines)))


def _show_table(found: Queried) -> None:
    names, fetched = found.names, list(islice(found.rows, found.limit + 1))
    numeric = [n for i, n in enumerate(names) if fetched and isinstance(fetched[0][i], int | float)]
    print_table(names, [["" if v is None else v for v in row] for row in fetched[: found.limit]], right=numeric)
    if len(fetched) > found.limit:
        print_note(f"The first {found.limit} rows; --limit shows more, --csv all.")


def queried(
    found: "Rows",
    *,
    limit: int,
    form: Literal["", "table", "csv", "jsonl"] = "",
) -> Queried:
    """Rows whose errors are those of Muster."""
    columns, rows = found

    def translated() -> Iterator[Sequence[Any]]:
        with remote.translated():
            yield from rows

    return Queried(columns=columns, rows=translated(), limit=limit, form=form)

"""Rows of a query, for people and for programs."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from orchestration.cli import remote
from orchestration.cli.console import out, print_note, print_table
from orchestration.cli.formatting import without_controls
from schemas.csv_lines import csv_lines

if TYPE_CHECKING:
    from muster.query_rows import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Queried:
    """Rows of a query, which arrive while they are printed; on a terminal the first `limit`, unless `csv`."""

    names: Sequence[str]
    rows: Iterator[Sequence[Any]]
    limit: int
    csv: bool = False

    def as_record(self) -> Iterator[dict[str, Any]]:
        """Plain JSON data, row by row."""
        return (dict(zip(self.names, row, strict=True)) for row in self.rows)


def show_queried(found: Queried | None) -> None:
    """Print rows; nothing after the prompt, which has printed its own."""
    if found is None:
        return
    names, rows = found.names, found.rows
    if found.csv or not out().is_terminal:
        exact = found.csv and not out().is_terminal
        lines = chain([names], rows)
        sys.stdout.writelines(csv_lines(lines if exact else ([*map(without_controls, row)] for row in lines)))
        return
    fetched = list(islice(rows, found.limit + 1))
    numeric = [n for i, n in enumerate(names) if fetched and isinstance(fetched[0][i], int | float)]
    print_table(names, [["" if v is None else v for v in row] for row in fetched[: found.limit]], right=numeric)
    if len(fetched) > found.limit:
        print_note(f"The first {found.limit} rows; --limit shows more, --csv all.")


def queried(found: "Rows", *, limit: int, as_csv: bool = False) -> Queried:
    """Rows whose errors are those of Muster."""
    columns, rows = found

    def translated() -> Iterator[Sequence[Any]]:
        with remote.translated():
            yield from rows

    return Queried(names=[one["name"] for one in columns], rows=translated(), limit=limit, csv=as_csv)

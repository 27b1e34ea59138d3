"""Cells as lines of CSV (RFC 4180), for readers of every dialect and for spreadsheets."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, Final

FORMULA: Final = "=+-@\t\r"
"""First characters of texts that a spreadsheet may take for a formula (OWASP, CSV injection)."""


def csv_lines(rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """A line for each row, ending with LF.

    Python's writer quotes a carriage return only if its own lines end with one.
    """
    written: list[str] = []
    writer = csv.writer(SimpleNamespace(write=written.append), lineterminator="\r\n")
    for row in rows:
        writer.writerow(row)
        yield written.pop().removesuffix("\r\n") + "\n"

"""The answer to a query as a CSV file, as its rows arrive."""

from collections.abc import Mapping
from typing import Any, Final

from orchestration.api.query_stream import QueryStream
from schemas.csv_lines import FORMULA, csv_lines
from schemas.errors import MusterError

NAME: Final = "query.csv"
NUMERIC: Final = frozenset(
    {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"}
    | {"BIGNUM", "FLOAT", "DOUBLE", "DECIMAL"}
)
"""DuckDB's types whose values begin with a minus, and are no texts."""


class CsvDownload(QueryStream):
    """As `muster sql --csv`, but a text that a spreadsheet would run as a formula begins with an apostrophe.

    CSV cannot say that rows are missing: after an error the connection breaks off, so that browsers keep no file.
    """

    media_type = "text/csv; charset=utf-8"
    own_headers: Mapping[str, str] = {"Content-Disposition": f'attachment; filename="{NAME}"'}

    def encoded(self, line: dict[str, Any]) -> bytes:
        """The names of the columns, or rows."""
        if "columns" in line:
            self._numeric = [one["type"].partition("(")[0] in NUMERIC for one in line["columns"]]
            rows = [[_escaped(one["name"]) for one in line["columns"]]]
        else:
            rows = [
                [value if is_number else _escaped(value) for value, is_number in zip(row, self._numeric, strict=True)]
                for row in line.get("rows", ())
            ]
        return "".join(csv_lines(rows)).encode()

    def ended(self, error: MusterError | None) -> bytes | None:
        """Nothing more."""
        return b"" if error is None else None


def _escaped(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(tuple(FORMULA)) else value

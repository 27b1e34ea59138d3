"""The answer to a query as a CSV file, as its rows arrive."""

import csv
import io
from collections.abc import Mapping
from typing import Any, Final

from orchestration.api.query_stream import QueryStream
from schemas.errors import MusterError

NAME: Final = "query.csv"
FORMULA: Final = tuple("=+-@\t\r")
"""First characters of texts that a spreadsheet may take for a formula, as `connectors.sinks.text_rows` has them."""
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
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if "columns" in line:
            self._numeric = [one["type"].partition("(")[0] in NUMERIC for one in line["columns"]]
            writer.writerow(_escaped(one["name"]) for one in line["columns"])
        for row in line.get("rows", ()):
            writer.writerow(
                value if is_number else _escaped(value) for value, is_number in zip(row, self._numeric, strict=True)
            )
        return text.getvalue().encode()

    def ended(self, error: MusterError | None) -> bytes | None:
        """Nothing more."""
        return b"" if error is None else None


def _escaped(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value

"""The answer to a query as a CSV file, as its rows arrive."""

import csv
import io
from collections.abc import Mapping
from typing import Any, Final

from orchestration.api.query_stream import QueryStream
from schemas.errors import MusterError

NAME: Final = "query.csv"


class CsvDownload(QueryStream):
    """The same bytes as `muster sql --csv`.

    CSV cannot say that rows are missing: after an error the connection breaks off, so that browsers keep no file.
    """

    media_type = "text/csv; charset=utf-8"
    own_headers: Mapping[str, str] = {"Content-Disposition": f'attachment; filename="{NAME}"'}

    def encoded(self, line: dict[str, Any]) -> bytes:
        """The names of the columns, or rows."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if "columns" in line:
            writer.writerow(one["name"] for one in line["columns"])
        writer.writerows(line.get("rows", ()))
        return text.getvalue().encode()

    def ended(self, error: MusterError | None) -> bytes | None:
        """Nothing more."""
        return b"" if error is None else None

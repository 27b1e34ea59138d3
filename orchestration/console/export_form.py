"""The destination and the form of an export, as fields of a form."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, get_args

from schemas.manifest import Compression

DOWNLOAD: Final = "download"
FORMATS: Final[Sequence[str]] = ("csv", "parquet", "jsonl")
COMPRESSIONS: Final[Sequence[str]] = get_args(Compression)


def export_of(form: Mapping[str, str]) -> dict[str, Any]:
    """Members of an export's request: where it goes, which columns and rows, in which form.

    No column is chosen: all are written. Texts that spreadsheets would run as formulas are escaped if that is wanted.
    """
    to = DOWNLOAD if form.get("place", DOWNLOAD) == DOWNLOAD else form.get("to", "").strip()
    columns = [form[name] for name in form if name.startswith("column-")]
    given: dict[str, Any] = {
        "to": to,
        "format": form.get("format", "csv"),
        "compression": form.get("compression", "none"),
        "where": form.get("where", "").strip() or None,
        "formulas": "escape" if "escape" in form else "as-is",
    }
    return {**given, "columns": columns} if columns else given

"""Options of an import on the command line, as changes to an audience's import spec."""

from collections.abc import Sequence
from typing import Any

from schemas.columns import Column
from schemas.import_spec import ImportSpec
from schemas.text_form import delimiter_of, encoding_of


def spec_changes(
    *,
    mode: str | None = None,
    id_column: str | None = None,
    columns: Sequence[str] = (),
    format_: str | None = None,
    timezone: str | None = None,
    max_reject_share: float | None = None,
    allow_empty: bool | None = None,
    allow_shrink: bool = False,
    max_shrink: float | None = None,
    null_values: Sequence[str] = (),
    delimiter: str | None = None,
    encoding: str | None = None,
    drop_columns: Sequence[str] = (),
    retype_columns: Sequence[str] = (),
    allow_missing_columns: Sequence[str] = (),
) -> dict[str, Any]:
    """The given keys of an import spec, as plain data; anything not given is left to the audience.

    `columns` are `name[:type][=name in the file]`. Raises `UserError` BAD_COLUMN, BAD_SPEC.
    """
    given: dict[str, Any] = {
        "mode": mode,
        "id_column": id_column,
        "columns": [Column.parse(text).as_record() for text in columns] or None,
        "format": format_,
        "timezone": timezone,
        "max_reject_share": max_reject_share,
        "allow_empty": allow_empty,
        "max_shrink_percent": max_shrink,
        "null_values": list(null_values) or None,
        "delimiter": None if delimiter is None else delimiter_of(delimiter),
        "encoding": None if encoding is None else encoding_of(encoding),
        "drop_columns": sorted(set(drop_columns)) or None,
        "retype_columns": sorted(set(retype_columns)) or None,
        "allow_missing_columns": sorted(set(allow_missing_columns)) or None,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    if allow_shrink:
        changes["max_shrink_percent"] = None
    ImportSpec().with_changes(changes)
    return changes

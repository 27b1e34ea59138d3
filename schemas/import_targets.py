"""Where an import goes: to an audience by its name, or to all events or profiles of a tenant by a reserved one."""

from collections.abc import Mapping
from typing import Any, Final

from schemas.activity_columns import columns_of
from schemas.columns import Column, ImportKind, ImportSpec
from schemas.errors import UserError
from schemas.ids import AudienceName, audience_name

RESERVED: Final[Mapping[ImportKind, AudienceName]] = {
    "events": AudienceName("_events"),
    "profiles": AudienceName("_profiles"),
}
"""What stands where an audience is named. No audience can be called so: names begin with a letter or a digit."""
_KINDS: Final = {name: kind for kind, name in RESERVED.items()}


def kind_of_target(name: str) -> ImportKind:
    """What the rows of an import into something of this name are."""
    return _KINDS.get(AudienceName(name), "audience")


def target_name(text: str) -> AudienceName:
    """Checked name of an audience, or a reserved one. Raises `UserError` BAD_NAME."""
    return AudienceName(text) if text in _KINDS else audience_name(text)


def activity_spec(kind: ImportKind, changes: Mapping[str, Any]) -> ImportSpec:
    """The import spec of a file of events or profiles, by the keys that were given; nothing is configured for them.

    Of the columns only those need be given that have another type than text, or another name than in the file. Raises
    `UserError` BAD_SPEC, BAD_COLUMN.
    """
    if changes.get("kind", kind) != kind:
        raise UserError("BAD_SPEC", f"{changes['kind']} cannot be imported as {kind}", kind=changes["kind"])
    given = ImportSpec.from_record({"columns": changes.get("columns", [])}).columns
    columns = columns_of(kind, given)
    record = {
        "mode": "append",
        "other_columns": True,
        **changes,
        "kind": kind,
        "columns": [_record(column) for column in columns],
    }
    return ImportSpec.from_record(record)


def _record(column: Column) -> dict[str, Any]:
    return {"name": column.name, "type": column.type, "source": column.source}

"""The target of an import: an audience by name, or all events or profiles of a tenant by a reserved name."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from schemas.activity_columns import columns_of, is_fixed
from schemas.columns import Column, ImportKind
from schemas.errors import UserError
from schemas.ids import AudienceName, audience_name
from schemas.import_spec import ImportSpec, allowed_to_be_missing

RESERVED: Final[Mapping[ImportKind, AudienceName]] = {
    "events": AudienceName("_events"),
    "profiles": AudienceName("_profiles"),
}
"""Reserved names, used in place of an audience's. No audience can have them: names begin with a letter or a digit."""
MAX_NAMED_USERS: Final = 100
"""Users that one call adds to an audience or removes by their ids; more come from a file."""
MAX_BUILD_SQL: Final = 20_000
"""Characters of a query whose result becomes an audience: the input of an execution has room for it."""
_KINDS: Final = {name: kind for kind, name in RESERVED.items()}


def kind_of_target(name: str) -> ImportKind:
    """The kind of rows that an import into this name has."""
    return _KINDS.get(AudienceName(name), "audience")


def target_name(text: str) -> AudienceName:
    """Checked name of an audience, or a reserved one. Raises `UserError` BAD_NAME."""
    return AudienceName(text) if text in _KINDS else audience_name(text)


def activity_spec(kind: ImportKind, changes: Mapping[str, Any], kept: ImportSpec | None = None) -> ImportSpec:
    """The import spec of a file of events or profiles: the tenant's `kept` spec, updated with the given keys.

    Only columns need be given whose type is not text, or whose name differs from that in the file, and that are not yet
    known. Given columns become known, unless `changes` has `known_columns` itself: it is then the record of a spec that
    a file has completed. Raises `UserError` BAD_SPEC, BAD_COLUMN.
    """
    if changes.get("kind", kind) != kind:
        raise UserError("BAD_SPEC", f"{changes['kind']} cannot be imported as {kind}", kind=changes["kind"])
    given = _columns(changes.get("columns", []))
    named = {column.name for column in given}
    own = () if kept is None else tuple(column for column in kept.columns if column.name not in named)
    columns = columns_of(kind, (*own, *given))
    known = {column.name: column for column in (() if kept is None else kept.known_columns)}
    learned = _columns(changes["known_columns"]) if "known_columns" in changes else columns
    known |= {column.name: column for column in learned if not is_fixed(kind, column.name)}
    record = {
        "mode": "append",
        "other_columns": True,
        **({} if kept is None else kept.as_record()),
        **changes,
        "allow_missing_columns": allowed_to_be_missing(() if kept is None else kept.allow_missing_columns, changes),
        "kind": kind,
        "columns": [column.as_record() for column in columns],
        "known_columns": [c.as_record() for c in known.values() if c.name not in changes.get("drop_columns", ())],
    }
    return ImportSpec.from_record(record)


def learned_spec(kept: ImportSpec | None, imported: ImportSpec) -> ImportSpec:
    """The spec that a tenant keeps for its events or profiles after an import, with the types of the columns it named.

    A known type stays, unless the import was allowed to change it.
    """
    base = activity_spec(imported.kind, {}) if kept is None else kept
    known = {column.name: column for column in base.known_columns}
    known |= {c.name: c for c in imported.known_columns if c.name not in known or c.name in imported.retype_columns}
    return replace(base, known_columns=tuple(known.values()))


def configured_spec(kept: ImportSpec | None, kind: ImportKind, changes: Mapping[str, Any]) -> ImportSpec:
    """The spec that a tenant keeps for all future files of events or profiles. Raises as `activity_spec`."""
    spec = activity_spec(kind, changes, kept)
    fixed = tuple(column for column in spec.columns if is_fixed(kind, column.name))
    may_lack = tuple(column.name for column in fixed if column.name in spec.allow_missing_columns)
    return replace(spec, columns=fixed, drop_columns=(), retype_columns=(), allow_missing_columns=may_lack)


def _columns(records: Sequence[Mapping[str, Any]]) -> tuple[Column, ...]:
    return ImportSpec.from_record({"columns": records}).columns

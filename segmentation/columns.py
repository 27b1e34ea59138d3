"""Column changes of an audience: what a version adds, drops and retypes, and which changes are allowed."""

from collections.abc import Iterable, Set
from dataclasses import dataclass, replace
from typing import Self

from schemas.columns import Column, ColumnType, RowSchema
from schemas.errors import UserError
from schemas.import_spec import ImportSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Retyped:
    """A column whose type has changed."""

    name: str
    before: ColumnType
    after: ColumnType


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnChanges:
    """Differences between the columns of two versions, each in the order of its schema."""

    added: tuple[Column, ...] = ()
    dropped: tuple[Column, ...] = ()
    retyped: tuple[Retyped, ...] = ()

    @classmethod
    def between(cls, before: RowSchema, after: RowSchema) -> Self:
        """Compare two schemas; names are case-sensitive."""
        old, new = ({c.name: c for c in schema.columns} for schema in (before, after))
        return cls(
            added=tuple(c for name, c in new.items() if name not in old),
            dropped=tuple(c for name, c in old.items() if name not in new),
            retyped=tuple(
                Retyped(name=name, before=c.type, after=new[name].type)
                for name, c in old.items()
                if name in new and new[name].type != c.type
            ),
        )

    def as_record(self) -> dict[str, list[dict[str, str]]]:
        """Plain JSON data."""
        return {
            "added": RowSchema(columns=self.added).as_record(),
            "dropped": RowSchema(columns=self.dropped).as_record(),
            "retyped": [{"name": c.name, "from": c.before, "to": c.after} for c in self.retyped],
        }


def check_change(
    audience: str, before: RowSchema, after: RowSchema, *, drop: Set[str], retype: Set[str], from_file: bool = True
) -> None:
    """Refuse to drop or retype columns that are not in `drop` or `retype`.

    `from_file`: True if the new members come from a file, which may have columns. Raises `UserError`
    COLUMNS_WOULD_CHANGE.
    """
    changes = ColumnChanges.between(before, after)
    lost = [c for c in changes.dropped if c.name not in drop]
    retyped = [c for c in changes.retyped if c.name not in retype]
    if not lost and not retyped:
        return
    what = [f"the audience {audience} would lose {', '.join(f'{c.name} ({c.type})' for c in lost)}"] if lost else []
    what += [f"{c.name} would change from {c.before} to {c.after}" for c in retyped]
    kept = _options([*((c.name, c.type) for c in lost), *((c.name, c.before) for c in retyped)])
    options = " ".join([*(f"--drop-column {c.name}" for c in lost), *(f"--retype {c.name}" for c in retyped)])
    new = _options([(c.name, c.type) for c in after.columns]) + " " if retyped else ""
    configure = f"`muster audiences configure {audience} {new}{options}`"
    hint = (
        f"Import with {kept} to keep the columns as they are. If the change is intended, add {options}; for "
        "files in the "
        f"inbox and for schedules, run {configure}"
        if from_file
        else f"A snapshot has no columns: give it its own audience or, if the change is intended, run {configure}"
    )
    raise UserError(
        "COLUMNS_WOULD_CHANGE",
        f"{', and '.join(what)}. {hint}",
        audience=audience,
        lost=[c.name for c in lost],
        retyped=[c.name for c in retyped],
    )


def ordered(columns: tuple[Column, ...], like: tuple[Column, ...]) -> tuple[Column, ...]:
    """The columns in the order of the audience's; new ones come last."""
    positions = {c.name: number for number, c in enumerate(like)}
    return tuple(sorted(columns, key=lambda c: positions.get(c.name, len(positions))))


def first_spec(imported: ImportSpec) -> ImportSpec:
    """The part of an audience's first import that the audience keeps: how its files are read, and what they do.

    What the import tolerated (rejects, an empty file, removed members) applied to its file alone.
    """
    return ImportSpec(
        id_column=imported.id_column,
        columns=imported.columns,
        format=imported.format,
        mode=imported.mode,
        timezone=imported.timezone,
        null_values=imported.null_values,
        delimiter=imported.delimiter,
        encoding=imported.encoding,
    )


def updated_spec(kept: ImportSpec, imported: ImportSpec) -> ImportSpec:
    """The spec that an audience keeps after a version is published: its columns are those of its versions.

    Everything else stays, including settings changed while the import ran. Columns that the import was allowed to drop
    or retype are done, so the permission ends.
    """
    given = {} if imported.mode == "remove" else {c.name: c for c in imported.columns}
    retyped = set(imported.retype_columns) & given.keys()
    columns = [given[c.name] if c.name in retyped else c for c in kept.columns if c.name not in imported.drop_columns]
    known = {c.name for c in columns}
    columns += [c for c in given.values() if c.name not in known]
    return replace(
        kept,
        columns=tuple(columns),
        allow_missing_columns=tuple(name for name in kept.allow_missing_columns if name in known),
        drop_columns=tuple(name for name in kept.drop_columns if name not in imported.drop_columns),
        retype_columns=tuple(name for name in kept.retype_columns if name not in retyped),
    )


def with_version_columns(kept: ImportSpec, version: RowSchema, imported: ImportSpec | None) -> ImportSpec:
    """The spec of an audience that never kept its columns: those of its newest version, then the given ones.

    `imported`: the spec of the import that made the version, for the column names in its files.
    """
    read = {c.name: c for spec in (imported, kept) if spec is not None for c in spec.columns}
    columns = [
        replace(
            read.get(c.name, c), name=c.name, type=c.type, rounded=c.type == "double" and read.get(c.name, c).rounded
        )
        for c in version.columns
        if c.name not in kept.drop_columns
    ]
    known = {c.name for c in columns}
    return replace(kept, columns=(*columns, *(c for c in kept.columns if c.name not in known)))


def _options(columns: Iterable[tuple[str, ColumnType]]) -> str:
    return " ".join(f"--column {name}:{type_}" for name, type_ in columns)

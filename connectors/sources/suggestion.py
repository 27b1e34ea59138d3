"""Suggest an import spec for a file without one, or complete a partial spec."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from connectors.sources.header import shown
from schemas.activity_columns import ATTRIBUTE_TYPES, DELETED, DELETED_COLUMN, EVENT_ID, PROPERTY_TYPES, columns_of
from schemas.columns import MAX_EXTRA_COLUMNS, USER_ID, Column, ColumnType
from schemas.errors import UserError
from schemas.import_spec import ImportSpec

ID_NAMES: Final = (USER_ID, "userid", "user", "uid", "member_id", "customer_id", "id")
"""Names of id columns, likeliest first; compared without case, spaces and underscores."""
NAME_CHARACTERS: Final = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a reader knows before the first row: names in file order, each with a first type (None: cannot be kept)."""

    columns: Sequence[tuple[str, ColumnType | None]]
    bom: bool = False
    local_times: Sequence[str] = ()
    """Columns of times that the file's own types leave without an offset."""
    file_types: Mapping[str, str] = field(default_factory=dict)
    """The file's own types of columns that are kept as text, such as decimals, or not at all."""


Chooser = Callable[[Layout], ImportSpec]
"""Chooses the import spec once the layout is known."""


def suggest(layout: Layout) -> ImportSpec:
    """An import spec that keeps as much as possible: the likeliest id column, and the others under allowed names."""
    times = Counter(name for name, _ in layout.columns)
    usable = [(n, t) for n, t in layout.columns if t is not None and times[n] == 1]
    id_column = _id_column([name for name, _ in usable])
    columns: list[Column] = []
    used = {USER_ID}
    for name, type_ in usable:
        if name != id_column and len(columns) < MAX_EXTRA_COLUMNS:
            allowed = _allowed(name, len(columns) + 1, used)
            used.add(allowed.lower())
            columns.append(Column(name=allowed, type=type_, source=None if allowed == name else name))
    return ImportSpec(id_column=id_column, columns=tuple(columns))


def completed(layout: Layout, spec: ImportSpec) -> ImportSpec:
    """The spec plus the columns it does not name: as known columns, or else under their own names, unchanged.

    Raises `UserError` BAD_COLUMN, BAD_COLUMN_TYPE, BAD_SPEC (too many columns, or two that differ only in case).
    """
    named = {spec.id_column, *(column.file_name for column in spec.columns)}
    used = {column.name for column in spec.columns}
    known = {key: c for c in spec.known_columns if c.name not in used for key in (c.name, c.file_name)}
    others = [
        replace(known[name], source=None if name == known[name].name else name)
        if name in known
        else _value(name, type_, spec, decimal=is_decimal(layout.file_types.get(name)))
        for name, type_ in dict(layout.columns).items()
        if name not in named
    ]
    return replace(spec, columns=columns_of(spec.kind, (*spec.columns, *others)))


def _value(name: str, type_: ColumnType | None, spec: ImportSpec, *, decimal: bool) -> Column:
    value_type = "double" if type_ == "long" else type_
    if spec.kind == "profiles" and name == DELETED:
        return DELETED_COLUMN
    fixed = spec.kind == "events" and name == EVENT_ID
    if decimal and not fixed:
        raise UserError(
            "BAD_COLUMN_TYPE",
            f"the column {shown([name])} is a decimal, and rules compare decimals only as text or as doubles: list it "
            f"with its exact text (--column NAME={name[:80]}) or as the nearest double (--column "
            f"NAME:double:rounded={name[:80]}), or keep only listed columns",
            column=name,
        )
    types = PROPERTY_TYPES if spec.kind == "events" else ATTRIBUTE_TYPES
    if value_type is None or (value_type not in types and not fixed):
        raise UserError(
            "BAD_COLUMN_TYPE",
            f"the column {shown([name])} is {type_ or 'nested, or of several types'}; rules on {spec.kind} compare "
            f"{', '.join(types)}. List it with one of these types, or keep only listed columns",
            column=name,
        )
    try:
        return Column(name=name, type="string" if fixed else value_type)
    except UserError as exc:
        raise UserError(
            exc.code,
            f"the column {shown([name])} needs another name: rename it with NAME[:TYPE]={name[:80]}, or keep only "
            "listed columns. Names are a letter, then letters, digits and '_', 63 characters at most",
            column=name[:200],
        ) from exc


def is_decimal(file_type: str | None) -> bool:
    """Whether a type, by its name in Parquet, is a decimal."""
    return file_type is not None and file_type.startswith("decimal")


def is_id_name(name: str) -> bool:
    """Whether a column of this name likely holds the user ids."""
    return _folded(name) in map(_folded, ID_NAMES)


def _id_column(names: Sequence[str]) -> str:
    if USER_ID in names:
        return USER_ID
    folded = {_folded(n): n for n in reversed(names)}
    for likely in ID_NAMES:
        if (found := folded.get(_folded(likely))) is not None:
            return found
    return names[0] if names else USER_ID


def _folded(name: str) -> str:
    return re.sub(r"[\s_]", "", name).casefold()


def _allowed(name: str, number: int, used: set[str]) -> str:
    allowed = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_")[: NAME_CHARACTERS - 4]
    if not allowed or not allowed[0].isalpha():
        allowed = f"column_{allowed or number}"[: NAME_CHARACTERS - 4]
    base, again = allowed, 2
    while allowed.lower() in used:
        allowed = f"{base}_{again}"
        again += 1
    return allowed

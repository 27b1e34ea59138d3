"""Columns of a file that an import does not keep, or keeps only as text: why, and what to write."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from connectors.sources.findings import Finding, names_shown, quoted
from connectors.sources.suggestion import is_decimal
from schemas.columns import MAX_EXTRA_COLUMNS
from schemas.import_spec import ImportSpec

SUGGESTED: Final = 10
"""As many columns are written out in a suggestion."""


def reasons(names: Sequence[str], spec: ImportSpec, file_types: Mapping[str, str]) -> dict[str, str]:
    """By its name in the file, why a column is not kept, and what to do. `file_types`: as in `Layout`."""
    times = Counter(names)
    kept = {spec.id_column, *(column.file_name for column in spec.columns)}
    found: dict[str, str] = {}
    for name in times:
        if times[name] > 1:
            found[name] = "it occurs more than once: rename it in the file"
        elif name in kept:
            continue
        elif name in file_types and not is_decimal(file_types[name]):
            found[name] = f"it is {file_types[name]}: write its values to the file as text, or as columns of their own"
        else:
            found[name] = f"an import keeps {MAX_EXTRA_COLUMNS} columns besides the id: choose them with --column"
    return found


def unkept_findings(names: Sequence[str], spec: ImportSpec, file_types: Mapping[str, str]) -> Iterator[Finding]:
    """Findings about decimals, and about columns that are not kept for their type or number; not for their name."""
    decimals = [column for column in spec.columns if is_decimal(file_types.get(column.file_name))]
    if decimals:
        rounded = [replace(column, type="double", rounded=True) for column in decimals[:SUGGESTED]]
        listed = [column.file_name for column in decimals]
        yield Finding(
            code="decimals",
            message=f"decimals in {names_shown(listed)}: the suggested import keeps them exactly, as text. To compare "
            "them as numbers, rounded to the nearest double",
            suggestion=" ".join(f"--column {quoted(column.notation)}" for column in rounded),
            detail={"columns": listed[:SUGGESTED]},
        )
    single = [name for name, times in Counter(names).items() if times == 1]
    kept = {spec.id_column, *(column.file_name for column in spec.columns)}
    odd = [name for name in single if name not in kept and name in file_types]
    if odd:
        typed = [f"{name} ({file_types[name]})" for name in odd]
        yield Finding(
            code="type_not_kept",
            message=f"columns of these types are not kept: {names_shown(typed)}. Write their values to the file as "
            "text, or as columns of their own",
            detail={"columns": typed[:SUGGESTED]},
        )
    beyond = [name for name in single if name not in kept and name not in file_types]
    if beyond and spec.columns:
        first, last = spec.columns[0].file_name, spec.columns[-1].file_name
        yield Finding(
            code="too_many_columns",
            message=f"the file has {len(names)} columns, and an import keeps {MAX_EXTRA_COLUMNS} besides the id, since "
            f"each one is stored and compared for every user. The suggested import keeps the first of them, from "
            f"{first!r} to {last!r}; not kept are {names_shown(beyond)}. To choose others, name each with --column",
            detail={"columns": beyond[:SUGGESTED], "count": len(beyond), "first": first, "last": last},
        )

"""Match the columns of a file with those of the import spec; detects faults of the whole file in its header."""

import difflib
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from schemas.errors import UserError
from schemas.import_spec import ImportSpec

MAX_COLUMNS: Final = 20_000
NAMES_SHOWN: Final = 50
NAME_SHOWN_CHARACTERS: Final = 100
ALIKE: Final = 0.7
"""Share of letters in common: `amuont` is like `amount`, and few names of other things are."""
NAMES_COMPARED: Final = 500
"""Names that are compared letter by letter with a missing one: 64 missing ones take a second at most."""
SETTINGS: Final = "for this file or in `muster audiences configure`"
"""Where options can be given: an upload into the inbox has no command line."""


def shown(names: Sequence[str]) -> str:
    """Names for a message: quoted, limited in number and length."""
    text = ", ".join(repr(n[:NAME_SHOWN_CHARACTERS]) for n in names[:NAMES_SHOWN])
    return text + (f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else "")


def present_spec(names: Sequence[str], spec: ImportSpec, *, alike: bool) -> ImportSpec:
    """The spec with only the columns that a file with these names has, if it may lack the others.

    `alike`: see `nearest`. Raises `UserError` MISSING_COLUMN.
    """
    known = set(names)
    if missing := sorted({spec.id_column, *(c.file_name for c in spec.needed_columns)} - known):
        near = nearest(missing, names, alike=alike)
        hint = f" Did you mean {shown([*dict.fromkeys(near.values())])}?" if near else ""
        raise missing_columns(
            f"the file has no column {shown(missing)}; `muster inspect` lists the {len(names)} that it has.{hint}",
            missing,
            names,
            spec,
        )
    lacking = {c.name for c in spec.columns if c.file_name not in known}
    return replace(spec, columns=tuple(c for c in spec.columns if c.name not in lacking)) if lacking else spec


def missing_columns(what: str, missing: Sequence[str], names: Sequence[str], spec: ImportSpec) -> UserError:
    """The error for a file that lacks columns and has those with the other names."""
    choices = ["map the columns with --id-column and --column"]
    if spec.id_column not in missing:
        choices.append("give up a column that files no longer have with --drop-column")
        choices.append("let one be null that a file may lack with --allow-missing-column")
    text = ", or ".join(choices)
    outer = sorted({n.partition(".")[0] for n in missing if "." in n} & set(names))
    nested = f" What is nested in {shown(outer)} is not read." if outer else ""
    return UserError(
        "MISSING_COLUMN", f"{what}{nested} {text[0].upper()}{text[1:]}, {SETTINGS}.", missing=list(missing)
    )


def nearest(missing: Sequence[str], names: Sequence[str], *, alike: bool) -> dict[str, str]:
    """For each missing name, the likeliest one in the file: the same but for case and spaces, or the path before a dot.

    `alike`: also one that is spelt alike. Not in CSV: the first line of a file without a header has values, and no
    message quotes those.
    """
    folded = {_folded(n): n for n in reversed(names)}
    compared = [n for n in folded if len(n) <= NAME_SHOWN_CHARACTERS][-NAMES_COMPARED:] if alike else []
    found = {}
    for name in missing:
        wanted = _folded(name)
        likely = [n for n in (wanted, wanted.partition(".")[0]) if n in folded]
        likely += difflib.get_close_matches(wanted[:NAME_SHOWN_CHARACTERS], compared, n=1, cutoff=ALIKE)
        if likely:
            found[name] = folded[likely[0]]
    return found


def wanted_columns(names: Sequence[str], spec: ImportSpec) -> list[int]:
    """File index of the id column, then of every column of the spec, all of which the file has (`present_spec`).

    Names are compared exactly. Raises `UserError` DUPLICATE_COLUMN (of a wanted column).
    """
    wanted = [spec.id_column, *(c.file_name for c in spec.columns)]
    if doubled := sorted({n for n in wanted if names.count(n) > 1}):
        raise UserError(
            "DUPLICATE_COLUMN",
            f"the file has the column {shown(doubled)} more than once, so it is unclear which one is meant",
            columns=doubled,
        )
    return [names.index(n) for n in wanted]


def check_count(columns: int) -> None:
    """Raise `UserError` TOO_MANY_COLUMNS if there are more than `MAX_COLUMNS`."""
    if columns > MAX_COLUMNS:
        raise UserError(
            "TOO_MANY_COLUMNS", f"the file has more than {MAX_COLUMNS} columns", columns=columns, limit=MAX_COLUMNS
        )


def slot_table(indexes: Sequence[int]) -> tuple[npt.NDArray[np.int32], list[int]]:
    """(slots[field] = output slot or -1, slot of each of `indexes`): a field that is wanted twice is read once."""
    fields = sorted(set(indexes))
    slots = np.full(max(fields) + 1, -1, np.int32)
    slots[fields] = np.arange(len(fields), dtype=np.int32)
    return slots, [int(slots[i]) for i in indexes]


def _folded(name: str) -> str:
    return name.strip().casefold()

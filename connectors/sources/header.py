"""Match the columns of a file with those of the import spec; detects faults of the whole file in its header."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from schemas.errors import UserError
from schemas.import_spec import ImportSpec

MAX_COLUMNS: Final = 20_000
NAMES_SHOWN: Final = 50
NAME_SHOWN_CHARACTERS: Final = 100
SETTINGS: Final = "for this file or in `muster audiences configure`"
"""Where options can be given: an upload into the inbox has no command line."""


def shown(names: Sequence[str]) -> str:
    """Names for a message: quoted, limited in number and length."""
    text = ", ".join(repr(n[:NAME_SHOWN_CHARACTERS]) for n in names[:NAMES_SHOWN])
    return text + (f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else "")


def wanted_columns(names: Sequence[str], spec: ImportSpec) -> list[int]:
    """File index of the id column, then of every column of the spec. Names are compared exactly.

    Raises `UserError` TOO_MANY_COLUMNS, DUPLICATE_COLUMN (of a wanted column), MISSING_COLUMN. None quotes a name that
    only the file has: the first line of a file without a header has values.
    """
    check_count(len(names))
    wanted = [spec.id_column, *(c.file_name for c in spec.columns)]
    if missing := sorted(set(wanted) - set(names)):
        folded = {n.strip().casefold(): n for n in names}
        near = [folded[m.strip().casefold()] for m in missing if m.strip().casefold() in folded]
        hint = f" Did you mean {shown(near)}?" if near else ""  # the spec's name, but for case and spaces
        lost = "" if spec.id_column in missing else ", or give up a column that files no longer have with --drop-column"
        raise UserError(
            "MISSING_COLUMN",
            f"the file has no column {shown(missing)}; `muster inspect` lists the {len(names)} that it has.{hint} Map "
            f"the columns with --id-column and --column{lost}, {SETTINGS}.",
            missing=missing,
        )
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

"""Which fields the rows of a JSON Lines file have: a column that no row has is misspelt or renamed."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from connectors.sources.header import MAX_COLUMNS, NAME_SHOWN_CHARACTERS, missing_columns, nearest, shown
from connectors.sources.ranges import FieldsRecord
from schemas.import_spec import ImportSpec
from schemas.kernels.members import OBJECT, Found, Ints, Mask, Members

NAMES_RECORDED: Final = 1000
NAMES_KEPT: Final = MAX_COLUMNS
"""More names than this are not counted: a file may have other names in each row."""


class FieldsSeen:
    """Finds needed columns that no row has.

    While one is missing, fields of other names are counted, for a suggestion. Once all were seen, this costs nothing.
    """

    def __init__(self, spec: ImportSpec) -> None:
        self._spec = spec
        self._missing = {spec.id_column, *(column.file_name for column in spec.needed_columns)}
        self._rows = 0
        self._others: Counter[str] = Counter()

    def add(self, members: Members, found: Found, names: Sequence[str], rows: Mask) -> None:
        """Note the members of the records that `rows` (bool[n]) marks; `found`: those with `names`."""
        self._rows += int(np.count_nonzero(rows))
        if not self._missing:
            return
        self._missing -= {n for n, of_name in zip(names, found.by_name, strict=True) if (of_name[rows] >= 0).any()}
        if self._missing:
            counts = members.keys(_top_level(members, found.others & rows)).value_counts()
            for name, count in zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True):
                self._count(name, count)

    def add_one(self, names: Iterable[str]) -> None:
        """Note the names in one row."""
        self._rows += 1
        if self._missing:
            names = set(names)
            self._missing -= names
            for name in names:
                self._count(name, 1)

    @property
    def lacking(self) -> tuple[str, ...] | None:
        """Needed columns that no row so far has. None without a single object."""
        return tuple(sorted(self._missing)) if self._rows else None

    @property
    def record(self) -> FieldsRecord:
        """What was noted so far; of other names, only the most frequent ones."""
        if not self._missing:
            return FieldsRecord(rows=self._rows)
        few = {n: count for n, count in self._others.most_common(NAMES_RECORDED) if len(n) <= NAME_SHOWN_CHARACTERS}
        return FieldsRecord(rows=self._rows, missing=tuple(sorted(self._missing)), others=few)

    def add_record(self, record: FieldsRecord) -> None:
        """Note the rows of the next range of the file."""
        self._missing = self._missing & set(record.missing) if record.rows else self._missing
        self._rows += record.rows
        for name, count in record.others.items():
            self._count(name, count)

    def check(self) -> None:
        """At the end of the file. Raises `UserError` MISSING_COLUMN; not for a file without a single object."""
        if not self._missing or not self._rows:
            return
        missing, names = sorted(self._missing), [name for name, _ in self._others.most_common()]
        near = nearest(missing, names, alike=True)
        there = [f"{shown([name])} is in {self._others[name]:,}" for name in dict.fromkeys(near.values())]
        there = there or [f"`muster inspect` lists the {len(names)} fields that they have"]
        raise missing_columns(f"no row has {shown(missing)}; {', '.join(there)}.", missing, names, self._spec)

    def _count(self, name: str, rows: int) -> None:
        if name in self._others or len(self._others) < NAMES_KEPT:
            self._others[name] += rows


def _top_level(members: Members, records: Mask) -> Ints:
    """Indices of all members of some records that are not nested in another member."""
    size = int(members.first[-1])
    objects = np.flatnonzero(members.kind[:size] == OBJECT)
    depth = np.zeros(size + 2, np.int32)
    np.add.at(depth, objects + 1, 1)
    np.add.at(depth, members.number[objects], -1)
    wanted = np.repeat(records, np.diff(members.first)) & (np.cumsum(depth)[:size] == 0)
    indices: Ints = np.flatnonzero(wanted).astype(np.int32)
    return indices

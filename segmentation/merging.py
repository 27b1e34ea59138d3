"""Decides which staged chunks a merge reads, and which merge runs next."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Final, Generic, Self, TypeVar

from schemas.digest import Digest
from schemas.ids import Seq
from schemas.layout import RunKey

MAX_OVERTAKEN: Final = 8
"""Number of smaller merges that may overtake the one that has waited longest."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedRun:
    """One staged run: its key, the digest of each of its chunks, and the bytes of its rows in memory."""

    key: RunKey
    chunks: Mapping[Seq, Digest]
    row_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSelection:
    """The chunks that a merge takes from one run."""

    run: StagedRun
    seqs: frozenset[Seq]


def select_each_chunk_once(runs: Iterable[StagedRun], known: Set[Seq] = frozenset()) -> tuple[RunSelection, ...]:
    """Choose runs so that every seq is read exactly once, even if two owners staged it; larger runs first.

    `known`: seqs that are read elsewhere. The selections are returned in order of their first seq, without runs that
    add nothing.
    """
    selected = set(known)
    selections: list[RunSelection] = []
    for run in sorted(runs, key=lambda r: (-len(r.chunks), str(r.key))):
        if new := frozenset(run.chunks.keys() - selected):
            selected |= new
            selections.append(RunSelection(run=run, seqs=new))
    return tuple(sorted(selections, key=lambda selection: (min(selection.seqs), str(selection.run.key))))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting(Generic[T]):
    item: T
    size: int
    overtaken: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeQueue(Generic[T]):
    """Pending merges, in order of arrival. The smallest goes next; each is overtaken at most `MAX_OVERTAKEN` times."""

    waiting: tuple[_Waiting[T], ...] = field(default=())

    def __len__(self) -> int:
        return len(self.waiting)

    def __contains__(self, item: object) -> bool:
        return any(w.item == item for w in self.waiting)

    def add(self, item: T, size: int) -> Self:
        """Queue an item of the given size; adding it again changes nothing."""
        return self if item in self else replace(self, waiting=(*self.waiting, _Waiting(item=item, size=size)))

    def remove(self, items: Iterable[T]) -> Self:
        """Remove items."""
        removed = list(items)
        return replace(self, waiting=tuple(w for w in self.waiting if w.item not in removed))

    def pop(self) -> tuple[Self, T | None]:
        """Take the next item. None if the queue is empty."""
        if not self.waiting:
            return self, None
        overdue = [w for w in self.waiting if w.overtaken >= MAX_OVERTAKEN]
        choice = overdue[0] if overdue else min(self.waiting, key=lambda w: w.size)
        at = next(i for i, w in enumerate(self.waiting) if w is choice)
        before = (replace(w, overtaken=w.overtaken + 1) for w in self.waiting[:at])
        return replace(self, waiting=(*before, *self.waiting[at + 1 :])), choice.item

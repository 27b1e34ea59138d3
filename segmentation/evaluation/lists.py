"""Lists of different lengths, many of them, in one pool of words: for kernels, which take them apart.

Entries of a list have `width` words. A list lies in a block of 4, 8, 16, ... entries; blocks that became too small are
used again.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from schemas.kernels.compiling import kernel
from segmentation.evaluation.columns import LONG_AGO, Columns, grown

FIRST_ENTRIES: Final = 4
FIRST_WORDS: Final = 1 << 11
SIZES: Final = 40
Numbers = npt.NDArray[np.int64]


class Lists(NamedTuple):
    """`free`: the first free block of each size, whose first word names the next one.

    `floors`: moments up to this one were pushed out by later ones, for ever.
    """

    width: int
    starts: Numbers
    sizes: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int32]
    floors: Numbers
    words: Numbers
    free: Numbers

    @property
    def nbytes(self) -> int:
        """Memory in use."""
        return sum(column.nbytes for column in self[1:])

    def grown(self, number: int) -> "Lists":
        """With room for as many lists; the new ones are empty."""
        return self._replace(
            starts=grown(self.starts, number),
            sizes=grown(self.sizes, number),
            counts=grown(self.counts, number),
            floors=grown(self.floors, number, LONG_AGO),
        )

    def enlarged(self) -> "Lists":
        """With a pool of twice the size."""
        return self._replace(words=grown(self.words, 2 * len(self.words)))

    def columns(self, number: int) -> Columns:
        """Columns of the first lists, which `lists_from_columns` reads."""
        counts = self.counts[:number]
        entries = np.empty(self.width * int(counts.sum()), np.int64)
        _copy(self.width, self.starts, counts, self.words, entries)
        return {"counts": counts, "floors": self.floors[:number], "entries": entries}


def no_lists(width: int) -> Lists:
    """Room for no list yet."""
    few, none = np.zeros(0, np.int32), np.zeros(0, np.int64)
    return Lists(width, none, few, few, none, np.zeros(FIRST_WORDS, np.int64), np.full(SIZES, -1, np.int64))


def lists_from_columns(width: int, columns: Columns) -> tuple[Lists, int]:
    """Inverse of `columns`, and the end of the used words. Lists fill their blocks, which are not used again."""
    counts, entries = columns["counts"], columns["entries"]
    lists = no_lists(width)._replace(
        starts=width * (np.cumsum(counts, dtype=np.int64) - counts),
        sizes=counts.copy(),
        counts=counts,
        floors=columns["floors"],
        words=grown(entries, FIRST_WORDS),
    )
    return lists, len(entries)


@njit(cache=True, nogil=True)
def drop(row, entries, lists):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Remove the first entries of a list."""
    base, gone = lists.starts[row], lists.width * entries
    for j in range(lists.width * (lists.counts[row] - entries)):
        lists.words[base + j] = lists.words[base + gone + j]
    lists.counts[row] -= entries


@njit(cache=True, nogil=True)
def open_place(row, place, lists, top):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Make room for one more entry at a place. Returns the end of the used words, and whether the pool had room."""
    if lists.counts[row] == lists.sizes[row]:
        top, enough = _enlarge(row, lists, top)
        if not enough:
            return top, False
    base, width = lists.starts[row], lists.width
    for j in range(width * lists.counts[row] - 1, width * place - 1, -1):
        lists.words[base + j + width] = lists.words[base + j]
    lists.counts[row] += 1
    return top, True


@njit(cache=True, nogil=True)
def _enlarge(row, lists, top):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Give a list a block of twice the size."""
    base, n, block, width = lists.starts[row], lists.counts[row], 0, lists.width
    while FIRST_ENTRIES << block < 2 * n:
        block += 1
    if lists.free[block] >= 0:
        new = lists.free[block]
        lists.free[block] = lists.words[new]
    elif top + width * (FIRST_ENTRIES << block) > lists.words.shape[0]:
        return top, False
    else:
        new = top
        top += width * (FIRST_ENTRIES << block)
    for j in range(width * n):
        lists.words[new + j] = lists.words[base + j]
    if n >= FIRST_ENTRIES and FIRST_ENTRIES << (block - 1) == n:  # a block that was given, not one that was loaded
        lists.words[base] = lists.free[block - 1]
        lists.free[block - 1] = base
    lists.starts[row] = new
    lists.sizes[row] = FIRST_ENTRIES << block
    return top, True


@kernel
def _copy(width, starts, counts, words, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    at = 0
    for row in range(counts.shape[0]):
        for j in range(width * counts[row]):
            out[at] = words[starts[row] + j]
            at += 1

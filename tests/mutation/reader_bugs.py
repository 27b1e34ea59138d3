"""Bugs in reading customers' files: in the strict scan, in JSON, in Parquet and in the checks behind them.

A kernel is recompiled from its source with some words changed. Child processes of the product or of the tests read
without the bug: suites that catch it read in their own process.
"""

import inspect
import sys
from dataclasses import replace
from itertools import accumulate
from typing import Any

import numba
import pyarrow.parquet as pq

from connectors.sources import chaining
from tests.mutation.patches import Patches


def _recompiled(patches: Patches, name: str, words: str, others: str) -> None:
    """Change words in a kernel. Raises ValueError if the kernel does not contain them."""

    def make(original: Any) -> Any:
        source = inspect.getsource(original.py_func)
        if words not in source:
            raise ValueError(f"{name} has no {words!r}")
        names = dict(vars(sys.modules[original.py_func.__module__]))
        exec(source[source.index("def ") :].replace(words, others), names)
        return numba.njit(nogil=True)(names[original.py_func.__name__])

    patches.replace(name, make)


def quote_in_a_field(patches: Patches) -> None:
    """A quote inside an unquoted field is taken as text."""
    _recompiled(patches, "connectors.sources.csv_kernel:scan", "code = BARE_QUOTE", "code = OK")


def text_after_a_quote(patches: Patches) -> None:
    """Text after a closing quote is accepted."""
    _recompiled(patches, "connectors.sources.csv_kernel:scan", "code = TEXT_AFTER_QUOTE", "code = OK")


def nul_let_through(patches: Patches) -> None:
    """A NUL is a byte like any other."""
    _recompiled(patches, "connectors.sources.csv_kernel:scan", "code = NUL_BYTE", "code = OK")


def skipping_forgets(patches: Patches) -> None:
    """In a record that is too large, a block begins as if no quote were open."""
    _recompiled(
        patches, "connectors.sources.csv_kernel:skip_record", "machine = skip[SKIP_MACHINE]", "machine = UNQUOTED"
    )


def number_wrapped(patches: Patches) -> None:
    """An integer beyond 64 bits wraps around to another one."""
    _recompiled(patches, "schemas.kernels.values:parse_longs", "if i >= safe and", "if i < 0 and")


def last_row_dropped(patches: Patches) -> None:
    """A last row without a line end is taken for one that is still being written."""

    def make(original: Any) -> Any:
        def refill(self: Any, pos: int) -> int:
            pos = original(self, pos)
            if self._eof:
                self._tail = self._data[: self._tail].tobytes().rfind(b"\n") + 1
            return pos

        return refill

    patches.replace("connectors.sources.csv_reader:CsvReader._refill", make)


def offsets_of_blocks(patches: Patches) -> None:
    """The offset of a reject is counted from the beginning of its block."""

    def make(original: Any) -> Any:
        def refill(self: Any, pos: int) -> int:
            pos = original(self, pos)
            self._base = 0
            return pos

        return refill

    patches.replace("connectors.sources.csv_reader:CsvReader._refill", make)


def mark_kept(patches: Patches) -> None:
    """The byte order mark becomes part of the first name in the header."""
    patches.replace("connectors.sources.second_file:BOM", lambda _: b"\0\0\0")


def bytes_unchecked(patches: Patches) -> None:
    """CSV is not checked for valid UTF-8."""
    patches.replace("schemas.kernels.utf8:is_utf8", lambda _: lambda *_: True)


def last_key_wins(patches: Patches) -> None:
    """If a JSON key occurs twice, the last value counts."""
    patches.replace("connectors.sources.json_values:unique", lambda _: dict)


def ids_unjudged(patches: Patches) -> None:
    """Empty and endless ids are accepted."""
    patches.replace("connectors.sources.acceptance:id_faults", lambda _: lambda _ids: None)


def pages_unchecked(patches: Patches) -> None:
    """Checksums of Parquet pages are not verified."""

    def make(_: Any) -> Any:
        return lambda file, **settings: pq.ParquetFile(file, pre_buffer=False, **settings)

    patches.replace("connectors.sources.parquet_reader:_opened", make)


def range_bases_off_by_one(patches: Patches) -> None:
    """Ordinals of a range that is not the first count one row too many before it."""

    def make(original: Any) -> Any:
        def rebased(rejects: Any, link: Any) -> Any:
            return original(rejects, replace(link, rows=link.rows + bool(link.place)))

        return rebased

    patches.replace("connectors.sources.chaining:rebased", make)


def ranges_unchained(patches: Patches) -> None:
    """A range counts wherever it begins."""

    def make(original: Any) -> Any:
        def chain(ranges: Any, readings: Any, *, again: int) -> Any:
            found = original(ranges, readings, again=again)
            known = [(place, of[0]) for place, of in enumerate(readings) if of[0].begin is not None]
            if isinstance(found, chaining.Chained) or any(one.end is None for _, one in known):
                return found
            ends = [0, *accumulate(one.rows for _, one in known)], [0, *accumulate(one.lines for _, one in known)]
            return chaining.Chained(
                links=tuple(
                    chaining.Link(place=place, reading=0, rows=rows, lines=lines)
                    for (place, _), rows, lines in zip(known, *ends, strict=False)
                )
            )

        return chain

    patches.replace("connectors.sources.chaining:chain", make)


def fault_of_a_guess(patches: Patches) -> None:
    """A fault that a range found counts before its begin is confirmed."""

    def make(original: Any) -> Any:
        def chain(ranges: Any, readings: Any, *, again: int) -> Any:
            for place, of in enumerate(readings):
                if of and of[0].fault is not None:
                    return chaining.Chained(links=(chaining.Link(place=place, reading=0, rows=0, lines=0),))
            return original(ranges, readings, again=again)

        return chain

    patches.replace("connectors.sources.chaining:chain", make)

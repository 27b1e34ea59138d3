"""Reads parts again before they are published, by the rules of `segmentation.part_check`."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from connectors.lake.faults import exceeds_limits
from connectors.lake.parts import read_part
from connectors.storage.access import S3Access
from schemas.columns import RowSchema
from schemas.errors import RetriableError
from segmentation.part_check import check_part
from segmentation.versions import Part

if TYPE_CHECKING:
    import pyarrow as pa

THREADS: Final = 2
CountedT = TypeVar("CountedT")

log = logging.getLogger("muster.lake")


def check_parts(
    s3: S3Access,
    parts: Sequence[Part],
    schema: RowSchema,
    partitions: int,
    on_rows: Callable[[int], None] | None = None,
) -> Mapping[str, int]:
    """Read all of these parts again; returns the nulls of each column. Raises `FatalError` PART_MISMATCH."""
    rows = RunningTotal(on_rows)
    nulls = Counter({column.name: 0 for column in schema.columns})

    def check(part: Part) -> Counter[str]:
        return check_part(part, rows.counted(read_part(s3, part, schema)), schema, partitions)

    with ThreadPoolExecutor(THREADS) as pool:
        for found in pool.map(check, parts):
            nulls.update(found)
    return nulls


def within_limits(count: Callable[[bool], CountedT], what: str) -> CountedT | None:
    """What `count` returns with attributes, or without if memory and disk do not suffice, or else None.

    The members are safe and known: publishing the version matters more than its counts.
    """
    for attributes, lost in ((True, "the count of changed members"), (False, "counts")):
        try:
            return count(attributes)
        except RetriableError as exc:
            if not exceeds_limits(exc):
                raise
            log.warning("%s has to do without %s: %s", what, lost, exc)
    return None


class RunningTotal:
    """Counts the rows that several threads read, and reports the total to `on_rows` after each batch."""

    def __init__(self, on_rows: Callable[[int], None] | None) -> None:
        self._on_rows = on_rows
        self._rows = 0
        self._lock = threading.Lock()

    def counted(self, batches: "Iterable[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        """The batches; each counts when the next one is requested."""
        for batch in batches:
            yield batch
            if self._on_rows is not None:
                with self._lock:
                    self._rows += batch.num_rows
                    self._on_rows(self._rows)

"""The identity of an event: events are equal if user, event, time and identity are. The identity is a 64-bit word.

identity = XXH64 chained over (as `schemas.digest` chains a row's columns, first lane)
  the event id                                if the producer gives one
  "", source, ordinal                         for a chunk: sending a file again sends the same events
  "", topic, partition, offset                for a single record: a second copy is a second event
An event id is never empty, so the three cannot be confused. Words are signed, as in Iceberg's long.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.buffers import string_buffers, validity, word_values
from schemas.kernels.hashing import chain_strings, chain_words

Words = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]


def chunk_identities(
    event_ids: pa.StringArray, sources: Sequence[str], counts: npt.NDArray[np.int64], ordinals: pa.Int64Array
) -> Words:
    """int64[n]: identities of rows of some chunks. `counts`: rows of each source; only `event_ids` may have nulls."""
    none = pa.repeat(pa.scalar(""), len(sources))
    return _identities(event_ids, lambda: _chained([ordinals], np.repeat(_chained([none, pa.array(sources)]), counts)))


def record_identities(event_ids: pa.StringArray, topic: str, partition: int, offsets: pa.Int64Array) -> Words:
    """int64[n]: identities of single records of one partition."""
    origin = _chained([pa.array([""]), pa.array([topic]), pa.array([partition], pa.int64())])
    return _identities(event_ids, lambda: _chained([offsets], np.repeat(origin, len(offsets))))


def _identities(event_ids: pa.StringArray, placed: Callable[[], Hashes]) -> Words:
    """`placed`: identities of events without an id."""
    if event_ids.null_count == len(event_ids):
        return placed().view(np.int64)
    given = _chained([event_ids.fill_null("")])
    if event_ids.null_count:
        given = np.where(validity(event_ids) == 1, given, placed())
    return given.view(np.int64)


def _chained(columns: Sequence[pa.Array], before: Hashes | None = None) -> Hashes:
    h0 = np.zeros(len(columns[0]), np.uint64) if before is None else before
    h1 = np.ones(len(columns[0]), np.uint64)  # the kernels fold two lanes; one word is enough beside user, event, time
    for column in columns:
        if pa.types.is_string(column.type):
            chain_strings(*string_buffers(column), validity(column), h0, h1)
        else:
            chain_words(word_values(column), validity(column), h0, h1)
    return h0

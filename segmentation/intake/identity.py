"""What makes two events one: the same user, event, time, and identity - a 64-bit word that stands for the rest.

identity = XXH64 chained over (as `schemas.digest` chains a row's columns, first lane)
  the event id                                where the producer gives one
  "", source, ordinal                         of a chunk: whoever sends a file again sends the same events
  "", topic, partition, offset                of a single record: a second copy is a second event
An event id is never empty, so the three cannot be mistaken for each other. Words are signed, as in Iceberg's long.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.buffers import string_buffers, validity, word_values
from schemas.hashing import chain_strings, chain_words

Words = npt.NDArray[np.int64]


def chunk_identities(event_ids: pa.StringArray, source: str, ordinals: pa.Int64Array) -> Words:
    """int64[n] of the rows of a chunk; `event_ids` may have nulls, `ordinals` has none."""
    return _identities(event_ids, [pa.repeat(pa.scalar(source), len(event_ids)), ordinals])


def record_identities(event_ids: pa.StringArray, topic: str, partition: int, offsets: pa.Int64Array) -> Words:
    """int64[n] of single records of one partition."""
    n = len(event_ids)
    return _identities(event_ids, [pa.repeat(pa.scalar(topic), n), pa.array(np.full(n, partition, np.int64)), offsets])


def _identities(event_ids: pa.StringArray, place: list[pa.Array]) -> Words:
    given = _chained([event_ids.fill_null("")])
    if event_ids.null_count:
        placed = _chained([event_ids.fill_null(""), *place])
        given = np.where(validity(event_ids) == 1, given, placed)
    return given.view(np.int64)


def _chained(columns: list[pa.Array]) -> npt.NDArray[np.uint64]:
    h0 = np.zeros(len(columns[0]), np.uint64)
    h1 = np.ones(len(columns[0]), np.uint64)  # the kernels fold two lanes; one word is enough beside user, event, time
    for column in columns:
        if pa.types.is_string(column.type):
            chain_strings(*string_buffers(column), validity(column), h0, h1)
        else:
            chain_words(word_values(column), validity(column), h0, h1)
    return h0

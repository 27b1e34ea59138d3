"""Whole numbers of varying size, as Avro and Kafka write them."""

import numpy as np

from schemas.kernels.compiling import kernel
from schemas.kernels.members import Bytes

_MOST_BITS = 70  # ten bytes of seven


@kernel
def zigzag(d: Bytes, i: int, end: int) -> tuple[int, int]:
    """The zigzag varint at i and the position after it, which is beyond `end` if the number is broken."""
    value, shift = np.uint64(0), 0
    while i < end and shift < _MOST_BITS:
        b = d[i]
        i += 1
        value |= np.uint64(b & 127) << np.uint64(shift)
        if b < 128:
            return int(np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1))), i
        shift += 7
    return 0, end + 1

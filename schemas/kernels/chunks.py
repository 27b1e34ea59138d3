"""The kernel that counts the chunks of rows without cutting them (`schemas.chunk_rule`)."""

import numpy as np
import numpy.typing as npt

from schemas.kernels.compiling import kernel


@kernel
def count_chunks(
    partition_of: npt.NDArray[np.int32],
    sizes: npt.NDArray[np.int64],
    max_rows: int,
    budget: int,
    rows: npt.NDArray[np.int64],
    used: npt.NDArray[np.int64],
    chunks: npt.NDArray[np.int64],
) -> None:
    """Add each row to the open chunk of its partition: `rows`, `used` bytes. `chunks` counts those that are full."""
    for k in range(len(partition_of)):
        p = partition_of[k]
        if rows[p] > 0 and used[p] + sizes[k] > budget:
            chunks[p] += 1
            rows[p] = 0
            used[p] = 0
        rows[p] += 1
        used[p] += sizes[k]
        if rows[p] == max_rows:
            chunks[p] += 1
            rows[p] = 0
            used[p] = 0

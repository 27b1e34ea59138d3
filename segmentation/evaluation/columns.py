"""Columns of state: they grow as users come."""

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Users = npt.NDArray[np.int32]
"""Users by their number in the partition."""
Micros = npt.NDArray[np.int64]
"""Instants, microseconds since 1970 UTC."""
Flags = npt.NDArray[np.bool_]
Columns = Mapping[str, npt.NDArray[Any]]
"""State by name, to be kept and loaded again."""
ScalarT = TypeVar("ScalarT", bound=np.generic)


def grown(array: npt.NDArray[ScalarT], size: int, fill: int = 0) -> npt.NDArray[ScalarT]:
    """The array, or a copy of at least that length, half as long again."""
    if size <= len(array):
        return array
    out: npt.NDArray[ScalarT] = np.empty((max(size, len(array) * 3 // 2), *array.shape[1:]), array.dtype)
    out[: len(array)] = array
    out[len(array) :] = fill
    return out

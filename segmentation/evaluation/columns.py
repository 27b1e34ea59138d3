"""Columns of state, which grow with the number of users."""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

Users = npt.NDArray[np.int32]
"""Users, by their number in the partition."""
Micros = npt.NDArray[np.int64]
"""Instants, microseconds since 1970 UTC."""
NEVER: Final = np.iinfo(np.int64).max
"""An instant that does not come."""
LONG_AGO: Final = np.iinfo(np.int64).min
Flags = npt.NDArray[np.bool_]
Columns = Mapping[str, npt.NDArray[Any]]
"""State by name, for storing and loading."""
ScalarT = TypeVar("ScalarT", bound=np.generic)


def grown(array: npt.NDArray[ScalarT], size: int, fill: int = 0) -> npt.NDArray[ScalarT]:
    """The array if it has `size` rows, else a copy with at least that many, grown by at least half."""
    if size <= len(array):
        return array
    out: npt.NDArray[ScalarT] = np.empty((max(size, len(array) * 3 // 2), *array.shape[1:]), array.dtype)
    out[: len(array)] = array
    out[len(array) :] = fill
    return out

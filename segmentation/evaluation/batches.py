"""What an evaluator is given, and what it says: columns of a batch, for one tenant and partition."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.columns import ColumnType
from schemas.segment_messages import ChangeCause
from segmentation.evaluation.columns import Flags, Micros

ValuesOf = Callable[[str, ColumnType], pa.Array]
"""The values of a name that are of a type: n of them, null where the row has none of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventBatch:
    """n events in the order of the log. `identity` tells events of one user, name and time apart."""

    user_ids: pa.StringArray
    events: pa.StringArray
    occurred_at: Micros
    identities: npt.NDArray[np.int64]
    values: ValuesOf


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileBatch:
    """n changes of profiles in the order of the log, each of some attributes, or (`deleted`) the end of all of them.

    `mentions(name)`: bool[n], whether a change sets or unsets an attribute. A profile that was deleted leaves its user
    known, without attributes.
    """

    user_ids: pa.StringArray
    deleted: Flags
    mentions: Callable[[str], Flags]
    values: ValuesOf


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Users who entered or left a segment, n of them, none twice.

    `effective_at`: int64[n], microseconds since 1970 UTC: from when on the answer is the new one.
    """

    segment: str
    rule_version: int
    user_ids: pa.StringArray
    entered: Flags
    effective_at: Micros
    cause: ChangeCause

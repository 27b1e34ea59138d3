"""Input and output of an evaluator: columns of a batch, for one tenant and partition."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import ColumnType
from schemas.segment_messages import ChangeCause
from segmentation.evaluation.columns import Flags, Micros

ValuesOf = Callable[[str, ColumnType], pa.Array]
"""The values of a name in a type: n of them, null for rows without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventBatch:
    """n events in log order. `identities` tell apart events with the same user, name and time."""

    user_ids: pa.StringArray
    events: pa.StringArray
    occurred_at: Micros
    identities: npt.NDArray[np.int64]
    values: ValuesOf


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileBatch:
    """n changes of profiles in log order. Each sets some attributes, or (`deleted`) removes all of them.

    `mentions(name)`: bool[n], True if a change sets or unsets the attribute. The user of a deleted profile stays known,
    without attributes.
    """

    user_ids: pa.StringArray
    deleted: Flags
    mentions: Callable[[str], Flags]
    values: ValuesOf

    def current(self, name: str, type_: ColumnType) -> pa.Array:
        """The values that hold after each change by itself: none after a deletion."""
        values = self.values(name, type_)
        return pc.if_else(pa.array(~self.deleted), values, pa.scalar(None, values.type))


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """n distinct users who entered or left a segment.

    `effective_at`: int64[n], microseconds since 1970 UTC: the instant from which the new answer holds.
    """

    segment: str
    rule_version: int
    user_ids: pa.StringArray
    entered: Flags
    effective_at: Micros
    cause: ChangeCause

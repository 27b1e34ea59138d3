"""Answers to single conditions, over whole columns: counts in a window, tests of properties and attributes."""

from functools import reduce
from typing import Final, assert_never

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import ColumnType
from segmentation.evaluation.batches import EventBatch, ProfileBatch
from segmentation.evaluation.columns import Flags, Micros, Users
from segmentation.evaluation.latest import NEVER, LatestEvents
from segmentation.evaluation.plan import AttributeTest
from segmentation.expressions.masks import mask_of
from segmentation.expressions.nodes import Presence
from segmentation.rules.nodes import Count, Events
from segmentation.rules.typed import OF_EVENTS, OF_PROFILES, typed

MICROS: Final = 1_000_000


def holds_count(count: Count, latest: LatestEvents, users: Users, at: Micros) -> Flags:
    """N are within the window if the N-th latest is."""
    since = at - count.within_s * MICROS

    def at_least(times: int) -> Flags:
        return np.ones(len(users), np.bool_) if times == 0 else latest.times(users, times) > since

    match count.quantity:
        case "at_least":
            return at_least(count.times)
        case "at_most":
            return ~at_least(count.times + 1)
        case "exactly":
            return at_least(count.times) & ~at_least(count.times + 1)
        case _:
            assert_never(count.quantity)


def deadline(count: Count, ranks: tuple[int, ...], latest: LatestEvents, users: Users, at: Micros) -> Micros:
    """When the answer changes if nothing more comes: when the next event of one of the ranks gets too old."""
    window = count.within_s * MICROS
    out = np.full(len(users), NEVER, np.int64)
    for rank in ranks:
        nth = latest.times(users, rank)
        within = nth > at - window
        out[within] = np.minimum(out[within], nth[within] + window)
    return out


def matching(kind: Events, batch: EventBatch) -> Flags:
    """bool[n]: which events of a batch have the properties that are asked for, whatever their name."""
    columns: dict[str, pa.Array] = {}

    def column(name: str, type_: ColumnType) -> str:
        columns[f"{type_} {name}"] = batch.values(name, type_)
        return f"{type_} {name}"

    masks = (mask_of(typed(test, OF_EVENTS, column, None), columns.__getitem__) for test in kind.where)
    return reduce(np.logical_and, masks, np.ones(len(batch.occurred_at), np.bool_))


def attribute_mask(test: AttributeTest, batch: ProfileBatch) -> Flags:
    """bool[n]: what a test says of each change, taken for itself."""
    columns: dict[str, pa.Array] = {}

    def column(name: str, type_: ColumnType) -> str:
        values = batch.values(name, type_)
        columns[f"{type_} {name}"] = pc.if_else(pa.array(~batch.deleted), values, pa.scalar(None, values.type))
        return f"{type_} {name}"

    return mask_of(typed(test.condition, OF_PROFILES, column, test.timezone), columns.__getitem__)


def of_nothing(test: AttributeTest) -> bool:
    """What a test says of a profile without attributes."""
    return isinstance(test.condition, Presence) and not test.condition.present

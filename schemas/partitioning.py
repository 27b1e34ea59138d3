"""Partition of a user: Kafka's default partitioner over the UTF-8 bytes of the user id.

Ordinary keyed producers (Java, or librdkafka with `partitioner=murmur2_random`) choose the same partition.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.buffers import string_buffers
from schemas.kernels.hashing import counting_sort, murmur2_partitions

PARTITIONER: Final = "murmur2"
"""Name written into snapshot summaries: parts split by another partitioner or another P must be split again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Partitioned:
    """Rows grouped by partition: rows `order[starts[p]:starts[p + 1]]` belong to partition p, in input order.

    partition_of: int32[n]; order: int32[n]; starts: int64[partitions + 1].
    """

    partition_of: npt.NDArray[np.int32]
    order: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int64]


def partition_users(user_ids: pa.StringArray, partitions: int) -> Partitioned:
    """Group user ids (no nulls) by partition."""
    partition_of, counts = partitions_of(user_ids, partitions)
    starts = np.zeros(partitions + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    order = np.empty(len(user_ids), np.int32)
    counting_sort(partition_of, starts, order)
    return Partitioned(partition_of=partition_of, order=order, starts=starts)


def partitions_of(user_ids: pa.StringArray, partitions: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """(partition of each user id, int32[n]; users in each partition, int64[partitions]). No id is null."""
    offsets, data = string_buffers(user_ids)
    partition_of = np.empty(len(user_ids), np.int32)
    return partition_of, murmur2_partitions(offsets, data, partitions, partition_of)


def partition_of(user_id: str, partitions: int) -> int:
    """Partition of one user."""
    return int(partition_users(pa.array([user_id], pa.string()), partitions).partition_of[0])

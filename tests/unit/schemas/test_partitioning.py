import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.buffers import string_buffers
from schemas.kernels.hashing import murmur2_partitions
from schemas.partitioning import partition_of, partition_users

# apache/kafka, clients/src/test/java/org/apache/kafka/common/utils/UtilsTest.java, testMurmur2
KAFKA_VECTORS = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "abc": 479470107,
}


def murmur2(key: bytes) -> int:
    """Kafka's Utils.murmur2, translated from the Java source: the oracle for the kernel."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = (0x9747B28C ^ len(key)) & mask
    whole = len(key) // 4 * 4
    for i in range(0, whole, 4):
        k = int.from_bytes(key[i : i + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    if tail := key[whole:]:
        h = (h ^ int.from_bytes(tail, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    h ^= h >> 15
    return h - (1 << 32) if h >> 31 else h


@pytest.mark.parametrize(("key", "expected"), KAFKA_VECTORS.items())
def test_the_kernel_agrees_with_kafkas_own_vectors(key: str, expected: int) -> None:
    assert murmur2(key.encode()) == expected
    offsets, data = string_buffers(pa.array([key], pa.string()))
    for partitions in (1, 2, 7, 8, 1_000, 65_537):
        out = np.empty(1, np.int32)
        murmur2_partitions(offsets, data, partitions, out)
        assert out[0] == (expected & 0x7FFFFFFF) % partitions


@given(st.text(st.characters(codec="utf-8"), max_size=40), st.integers(1, 5000))
def test_keys_follow_the_java_partitioner(key: str, partitions: int) -> None:
    assert partition_of(key, partitions) == (murmur2(key.encode()) & 0x7FFFFFFF) % partitions


def test_rows_are_grouped_by_partition_and_keep_their_order() -> None:
    users = ["21", "foobar", "21", "abc", "foobar"]
    grouped = partition_users(pa.array(users, pa.string()), 4)
    expected = {user: (KAFKA_VECTORS[user] & 0x7FFFFFFF) % 4 for user in set(users)}
    assert grouped.partition_of.tolist() == [expected[user] for user in users]
    for partition in range(4):
        mine = grouped.order[grouped.starts[partition] : grouped.starts[partition + 1]].tolist()
        assert mine == [row for row, user in enumerate(users) if expected[user] == partition]


def test_a_slice_of_a_batch_is_partitioned_like_the_rows_it_shows() -> None:
    whole = pa.array(["x", "21", "foobar", "y"], pa.string())
    expected = [(KAFKA_VECTORS[user] & 0x7FFFFFFF) % 16 for user in ("21", "foobar")]
    assert partition_users(whole.slice(1, 2), 16).partition_of.tolist() == expected


def test_empty_input_makes_no_rows_in_any_partition() -> None:
    assert partition_users(pa.array([], pa.string()), 3).starts.tolist() == [0, 0, 0, 0]

"""Hash kernels over Arrow buffers: Kafka's murmur2, XXH64, a counting sort. Compiled by numba, cached on disk, nogil.

murmur2: org.apache.kafka.common.utils.Utils#murmur2 (seed 0x9747b28c). XXH64: https://github.com/Cyan4973/xxHash
(doc/xxhash_spec.md). Kernels take plain numpy arrays: `offsets` int32[n + 1] into `data` uint8[...], `valid` uint8[n],
or uint8[0] if no value is null.

Positions are uint64 throughout: for a signed index numba checks for wrap-around at every byte, and LLVM then does not
join the bytes into one load (2.5 times slower on UUIDs).
"""

from typing import Final

import numpy as np
from numba import njit, uint32, uint64

from schemas.kernels.compiling import kernel

_P1: Final = np.uint64(0x9E3779B185EBCA87)
_P2: Final = np.uint64(0xC2B2AE3D27D4EB4F)
_P3: Final = np.uint64(0x165667B19E3779F9)
_P4: Final = np.uint64(0x85EBCA77C2B2AE63)
_P5: Final = np.uint64(0x27D4EB2F165667C5)
_ALL_ONES: Final = np.uint64(0xFFFFFFFFFFFFFFFF)


@njit(cache=True, nogil=True, inline="always")
def _read32(data, i):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    return (
        uint32(data[i])
        | (uint32(data[i + uint64(1)]) << uint32(8))
        | (uint32(data[i + uint64(2)]) << uint32(16))
        | (uint32(data[i + uint64(3)]) << uint32(24))
    )


@njit(cache=True, nogil=True, inline="always")
def read64(data, i):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Eight bytes from position i (uint64) as a little-endian word."""
    return uint64(_read32(data, i)) | (uint64(_read32(data, i + uint64(4))) << uint64(32))


@njit(cache=True, nogil=True, inline="always")
def _rotl(x, r):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    return (x << uint64(r)) | (x >> uint64(64 - r))


@njit(cache=True, nogil=True, inline="always")
def _round(acc, lane):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    return _rotl(acc + lane * _P2, 31) * _P1


@njit(cache=True, nogil=True, inline="always")
def _merge(h, lane):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    return (h ^ _round(uint64(0), lane)) * _P1 + _P4


@njit(cache=True, nogil=True, inline="always")
def _avalanche(h):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    h ^= h >> uint64(33)
    h *= _P2
    h ^= h >> uint64(29)
    h *= _P3
    h ^= h >> uint64(32)
    return h


@njit(cache=True, nogil=True, inline="always")
def _stripes(seed, data, start, end):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """The hash after all whole stripes of 32 bytes; there must be at least one."""
    v1 = seed + _P1 + _P2
    v2 = seed + _P2
    v3 = seed
    v4 = seed - _P1
    p = start
    while p + uint64(32) <= end:
        v1 = _round(v1, read64(data, p))
        v2 = _round(v2, read64(data, p + uint64(8)))
        v3 = _round(v3, read64(data, p + uint64(16)))
        v4 = _round(v4, read64(data, p + uint64(24)))
        p += uint64(32)
    h = _rotl(v1, 1) + _rotl(v2, 7) + _rotl(v3, 12) + _rotl(v4, 18)
    return _merge(_merge(_merge(_merge(h, v1), v2), v3), v4)


@njit(cache=True, nogil=True, inline="always")
def _xxh64_twice(data, start, end, a, b):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """XXH64 of data[start:end] with seed a and with seed b, in one pass: the bytes are read and mixed once."""
    length = end - start
    p = start
    if length >= uint64(32):
        a = _stripes(a, data, start, end)
        b = _stripes(b, data, start, end)
        p += length & ~uint64(31)
    else:
        a += _P5
        b += _P5
    a += length
    b += length
    while p + uint64(8) <= end:
        word = _round(uint64(0), read64(data, p))
        a = _rotl(a ^ word, 27) * _P1 + _P4
        b = _rotl(b ^ word, 27) * _P1 + _P4
        p += uint64(8)
    if p + uint64(4) <= end:
        word = uint64(_read32(data, p)) * _P1
        a = _rotl(a ^ word, 23) * _P2 + _P3
        b = _rotl(b ^ word, 23) * _P2 + _P3
        p += uint64(4)
    while p < end:
        word = uint64(data[p]) * _P5
        a = _rotl(a ^ word, 11) * _P1
        b = _rotl(b ^ word, 11) * _P1
        p += uint64(1)
    return _avalanche(a), _avalanche(b)


@njit(cache=True, nogil=True, inline="always")
def _null_hash(h):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """XXH64(b"", seed=~h)."""
    return _avalanche((h ^ _ALL_ONES) + _P5)


@kernel
def chain_strings(offsets, data, valid, h0, h1):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Fold one string column into the row hashes, in place: h = XXH64(bytes, seed=h); null: XXH64(b"", seed=~h).

    h0, h1: uint64[n], the running hashes of the two lanes.
    """
    nulls = valid.shape[0] > 0
    for k in range(h0.shape[0]):
        if nulls and valid[k] == 0:
            h0[k] = _null_hash(h0[k])
            h1[k] = _null_hash(h1[k])
        else:
            h0[k], h1[k] = _xxh64_twice(data, uint64(offsets[k]), uint64(offsets[k + 1]), h0[k], h1[k])


@kernel
def chain_words(words, valid, h0, h1):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Fold one column of 64-bit words (uint64[n]) into the row hashes: h = XXH64(8 bytes little-endian, seed=h)."""
    nulls = valid.shape[0] > 0
    for k in range(h0.shape[0]):
        if nulls and valid[k] == 0:
            h0[k] = _null_hash(h0[k])
            h1[k] = _null_hash(h1[k])
        else:
            word = _round(uint64(0), words[k])
            h0[k] = _avalanche(_rotl((h0[k] + _P5 + uint64(8)) ^ word, 27) * _P1 + _P4)
            h1[k] = _avalanche(_rotl((h1[k] + _P5 + uint64(8)) ^ word, 27) * _P1 + _P4)


@kernel
def murmur2_partitions(offsets, data, partitions, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Partition of every key by Kafka's default partitioner: (murmur2(key) & 0x7fffffff) % partitions.

    out: int32[n], written. Returns the number of keys per partition, int64[partitions].
    """
    m = uint32(0x5BD1E995)
    counts = np.zeros(partitions, np.int64)
    for k in range(out.shape[0]):
        start = uint64(offsets[k])
        length = uint64(offsets[k + 1]) - start
        h = uint32(0x9747B28C) ^ uint32(length)
        words = length >> uint64(2)
        p = start
        last = start + (words << uint64(2))
        while p < last:
            x = uint32(_read32(data, p) * m)
            p += uint64(4)
            x ^= x >> uint32(24)
            x = uint32(x * m)
            h = uint32(h * m)
            h ^= x
        rest = length & uint64(3)
        if rest == 3:
            h ^= uint32(data[p + uint64(2)]) << uint32(16)
        if rest >= 2:
            h ^= uint32(data[p + uint64(1)]) << uint32(8)
        if rest >= 1:
            h ^= uint32(data[p])
            h = uint32(h * m)
        h ^= h >> uint32(13)
        h = uint32(h * m)
        h ^= h >> uint32(15)
        v = int((h & uint32(0x7FFFFFFF)) % uint32(partitions))
        out[k] = v
        counts[v] += 1
    return counts


@kernel
def counting_sort(groups, starts, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Stable permutation that groups rows. starts: int64[groups + 1]; out: int32[n], written."""
    position = starts.copy()
    for k in range(groups.shape[0]):
        v = groups[k]
        out[position[v]] = k
        position[v] += 1


@kernel
def sum_by_group(groups, h0, h1, sums):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Add every row's two hashes to its group's sums mod 2^64. sums: uint64[groups, 2], changed in place."""
    for k in range(groups.shape[0]):
        sums[groups[k], 0] += h0[k]
        sums[groups[k], 1] += h1[k]

"""The digest: an order-free fingerprint of a multiset of rows, bound to their schema. docs/digest.md has test vectors.

A row's hash is a chain over its columns, user_id first: h = XXH64(value, seed=h), starting from seed 0 for the first
lane and seed 1 for the second; a null is XXH64(b"", seed=~h). The digest of rows is (count, sum of lane 0 mod 2^64, sum
of lane 1 mod 2^64). Sums rather than xor: xor cancels pairs, so a duplicate row would not show. Chunks, partitions,
files and exports of the same rows agree in any order, and single rows can be subtracted.

This module has the value; `schemas.row_digest` computes it from rows.
"""

from collections.abc import Iterable
from typing import Final, Self

MODULUS: Final = 2**64


class Digest:
    """Digest of `count` rows of schema `schema_id`; `sum0` and `sum1` are 0 .. 2^64 - 1.

    Not a dataclass: msgspec reads one from an object with its fields and has no hook for it, but in records a digest is
    its text (`schemas.records`).
    """

    __slots__ = ("count", "schema_id", "sum0", "sum1")

    def __init__(self, *, schema_id: str, count: int = 0, sum0: int = 0, sum1: int = 0) -> None:
        self.schema_id: Final = schema_id
        self.count: Final = count
        self.sum0: Final = sum0
        self.sum1: Final = sum1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Digest) and self._values == other._values

    def __hash__(self) -> int:
        return hash(self._values)

    def __repr__(self) -> str:
        return f"Digest.parse({str(self)!r})"

    @property
    def _values(self) -> tuple[str, int, int, int]:
        return self.schema_id, self.count, self.sum0, self.sum1

    def __add__(self, other: "Digest") -> "Digest":
        self._same_schema(other)
        return Digest(
            schema_id=self.schema_id,
            count=self.count + other.count,
            sum0=(self.sum0 + other.sum0) % MODULUS,
            sum1=(self.sum1 + other.sum1) % MODULUS,
        )

    def __sub__(self, other: "Digest") -> "Digest":
        self._same_schema(other)
        return Digest(
            schema_id=self.schema_id,
            count=self.count - other.count,
            sum0=(self.sum0 - other.sum0) % MODULUS,
            sum1=(self.sum1 - other.sum1) % MODULUS,
        )

    def _same_schema(self, other: "Digest") -> None:
        if self.schema_id != other.schema_id:
            raise ValueError(f"digests of different schemas cannot be added: {self.schema_id} and {other.schema_id}")

    def __str__(self) -> str:
        return f"{self.schema_id}:{self.count}:{self.sum0:016x}:{self.sum1:016x}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Inverse of `str`. Raises ValueError."""
        schema_id, count, sum0, sum1 = text.split(":")
        if len(schema_id) != 16 or len(sum0) != 16 or len(sum1) != 16:
            raise ValueError(f"{text[:120]!r} is not a digest")
        return cls(schema_id=schema_id, count=int(count), sum0=int(sum0, 16), sum1=int(sum1, 16))

    @classmethod
    def total(cls, schema_id: str, digests: Iterable["Digest"]) -> "Digest":
        """Sum of any number of digests of one schema."""
        total = Digest(schema_id=schema_id)
        for digest in digests:
            total += digest
        return total

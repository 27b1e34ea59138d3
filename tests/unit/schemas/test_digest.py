import copy
import json
import pickle
import random
import re
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from schemas.arrow import arrow_schema
from schemas.buffers import read_only, string_buffers
from schemas.columns import Column, RowSchema
from schemas.digest import Digest
from schemas.kernels.hashing import chain_strings, chain_words
from schemas.partitioning import partition_of
from schemas.row_digest import PartitionDigests, digest_rows
from tests.examples import examples

DOC = Path(__file__).parents[3] / "docs" / "digest.md"
NO_NULLS = read_only(np.zeros(0, np.uint8))
"""Like the product's arrays read-only: for others numba would compile kernels that the product never uses."""
USERS = RowSchema()


def block(language: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)
    assert len(found) == 1, f"docs/digest.md has {len(found)} {language} blocks"
    return str(found[0])


VECTORS: list[dict[str, Any]] = [json.loads(line) for line in block("json").splitlines()]


def rows_of(vector: dict[str, Any]) -> tuple[pa.RecordBatch, RowSchema]:
    schema = RowSchema(columns=tuple(Column.parse(text) for text in vector["columns"]))
    read: dict[str, Callable[[Any], Any]] = {
        "double": float,
        "date": date.fromisoformat,
        "timestamp": datetime.fromisoformat,
        "string": str,
        "long": int,
        "boolean": bool,
    }
    types = ["string", *(column.type for column in schema.columns)]
    columns = [
        [None if row[k] is None else read[type_](row[k]) for row in vector["rows"]] for k, type_ in enumerate(types)
    ]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, arrow_schema(schema), strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(schema)), schema


def users(*ids: str) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(ids, pa.string())], schema=arrow_schema(USERS))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["digest"])
def test_the_published_vectors_hold(vector: dict[str, Any]) -> None:
    rows, schema = rows_of(vector)
    assert str(digest_rows(rows, schema)) == vector["digest"]
    assert Digest.parse(vector["digest"]) == digest_rows(rows, schema)


def test_the_vectors_cover_every_type_a_null_and_no_rows() -> None:
    assert {text.split(":")[1] for v in VECTORS for text in v["columns"]} == {
        *("string", "long", "double", "boolean", "date", "timestamp")
    }
    assert any(None in row for v in VECTORS for row in v["rows"])
    assert any(not v["rows"] for v in VECTORS)


def test_the_python_of_the_document_gives_the_published_vector() -> None:
    namespace: dict[str, Any] = {}
    exec(block("python"), namespace)  # our own document
    published = Digest.parse(next(v["digest"] for v in VECTORS if v["rows"] == [["alice"], ["bob"]]))
    assert namespace["sums"]([[b"alice"], [b"bob"]]) == (published.sum0, published.sum1)


@examples(300)
@given(st.binary(max_size=150), st.integers(0, 2**64 - 1), st.integers(0, 3))
def test_the_string_kernel_is_xxh64(value: bytes, seed: int, before: int) -> None:
    data = np.frombuffer(b"?" * before + value + b"?", np.uint8)
    h0, h1 = np.array([seed], np.uint64), np.array([1], np.uint64)
    chain_strings(read_only(np.array([before, before + len(value)], np.int32)), data, NO_NULLS, h0, h1)
    assert (int(h0[0]), int(h1[0])) == (
        xxhash.xxh64_intdigest(value, seed=seed),
        xxhash.xxh64_intdigest(value, seed=1),
    )


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_the_word_kernel_is_xxh64_of_eight_bytes(word: int, seed: int) -> None:
    h0, h1 = np.array([seed], np.uint64), np.array([1], np.uint64)
    chain_words(read_only(np.array([word], np.uint64)), NO_NULLS, h0, h1)
    eight = word.to_bytes(8, "little")
    assert (int(h0[0]), int(h1[0])) == (
        xxhash.xxh64_intdigest(eight, seed=seed),
        xxhash.xxh64_intdigest(eight, seed=1),
    )


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=20)), st.integers())
def test_digest_ignores_order(ids: list[str], seed: int) -> None:
    shuffled = random.Random(seed).sample(ids, len(ids))
    assert digest_rows(users(*ids), USERS) == digest_rows(users(*shuffled), USERS)


def test_duplicate_row_changes_count_and_sums() -> None:
    once, twice = digest_rows(users("alice", "bob"), USERS), digest_rows(users("alice", "bob", "bob", "bob"), USERS)
    assert (once.sum0, once.sum1) != (twice.sum0, twice.sum1)


def test_one_row_can_be_subtracted() -> None:
    all_three = digest_rows(users("alice", "bob", "carol"), USERS)
    assert all_three - digest_rows(users("bob"), USERS) == digest_rows(users("carol", "alice"), USERS)


def test_digests_of_parts_add_up_to_the_whole() -> None:
    parts = [digest_rows(users("alice"), USERS), digest_rows(users(), USERS), digest_rows(users("bob"), USERS)]
    assert Digest.total(USERS.schema_id, parts) == digest_rows(users("alice", "bob"), USERS)


def test_partition_digests_equal_digests_of_their_rows() -> None:
    assert [partition_of(user, 3) for user in ("a", "b", "c", "d")] == [1, 2, 1, 2]
    totals = PartitionDigests(USERS, 3)
    for batch in (users("a", "b", "c"), users("d")):
        totals.add(batch)
    assert totals.digests() == (
        Digest(schema_id=USERS.schema_id),
        digest_rows(users("a", "c"), USERS),
        digest_rows(users("b", "d"), USERS),
    )


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (["ab", "c"], ["a", "bc"]),
        (["a", ""], ["a", None]),
        (["A", "x"], ["a", "x"]),
        (["a ", "x"], ["a", "x"]),
        (["\u00e9", "x"], ["e\u0301", "x"]),
    ],
)
def test_rows_that_look_alike_differ(left: list[str | None], right: list[str | None]) -> None:
    schema = RowSchema(columns=(Column(name="note"),))
    one, other = (
        digest_rows(
            pa.RecordBatch.from_arrays([pa.array([v], pa.string()) for v in row], schema=arrow_schema(schema)), schema
        )
        for row in (left, right)
    )
    assert one != other


def test_a_slice_and_a_table_of_chunks_digest_like_their_rows() -> None:
    whole = users("x", "alice", "bob", "y")
    expected = digest_rows(users("alice", "bob"), USERS)
    assert digest_rows(whole.slice(1, 2), USERS) == expected
    assert digest_rows(pa.Table.from_batches([whole.slice(1, 1), whole.slice(2, 1)]), USERS) == expected


def test_a_null_hides_the_value_in_its_buffer() -> None:
    schema = RowSchema(columns=(Column(name="age", type="long"),))
    hidden = pa.Array.from_buffers(
        pa.int64(), 1, [pa.py_buffer(b"\x00"), pa.py_buffer((99).to_bytes(8, "little"))], null_count=1
    )
    plain = pa.array([None], pa.int64())
    one, other = (
        digest_rows(pa.RecordBatch.from_arrays([pa.array(["a"]), ages], schema=arrow_schema(schema)), schema)
        for ages in (hidden, plain)
    )
    assert one == other


def test_digests_of_different_schemas_neither_add_nor_subtract() -> None:
    other = Digest(schema_id="0" * 16)
    with pytest.raises(ValueError, match="different schemas"):
        digest_rows(users("a"), USERS) + other
    with pytest.raises(ValueError, match="different schemas"):
        digest_rows(users("a"), USERS) - other


def test_column_with_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match="int64, but the schema says string"):
        digest_rows(pa.record_batch({"user_id": pa.array([1])}), USERS)


def test_only_string_arrays_have_string_buffers() -> None:
    with pytest.raises(TypeError, match="large_string"):
        string_buffers(pa.array(["a"], pa.large_string()))


def test_a_digest_is_a_value() -> None:
    digest = digest_rows(users("a"), USERS)
    same = Digest.parse(str(digest))
    assert {digest: 1}[same] == 1
    assert pickle.loads(pickle.dumps(digest)) == copy.deepcopy(digest) == eval(repr(digest)) == digest
    assert digest != digest + digest
    assert digest != str(digest)


@pytest.mark.parametrize("text", ["", "a:1:2:3", "a3587de89cabb13b:x:0000000000000000:0000000000000000", "::::"])
def test_invalid_digest_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # the text differs by what is wrong
        Digest.parse(text)

"""Manifests rewritten without bounds, in exactly as many bytes."""

import io
import random
from typing import Any

import fastavro
import pytest

from connectors.lake.bounds import without_bounds

PAIRS: dict[str, Any] = {
    "type": "array",
    "logicalType": "map",
    "items": {
        "type": "record",
        "name": "pair",
        "fields": [{"name": "key", "type": "int"}, {"name": "value", "type": "bytes"}],
    },
}
SIZES = {**PAIRS, "items": {**PAIRS["items"], "name": "size", "fields": [{"name": "key", "type": "int"}]}}
FILE = {
    "type": "record",
    "name": "r2",
    "fields": [
        {"name": "file_path", "type": "string"},
        {"name": "column_sizes", "type": ["null", SIZES], "default": None},
        {"name": "lower_bounds", "type": ["null", PAIRS], "default": None},
        {"name": "upper_bounds", "type": ["null", {**PAIRS, "items": "pair"}], "default": None},
    ],
}
SCHEMA = {"type": "record", "name": "manifest_entry", "fields": [{"name": "data_file", "type": FILE}]}


def manifest(files: int, dice: random.Random, codec: str = "deflate") -> bytes:
    def bound() -> list[dict[str, Any]]:
        return [{"key": 1, "value": dice.randbytes(dice.randrange(1, 17))}]

    entries = [
        {
            "data_file": {
                "file_path": f"s3://lake/{n}-{dice.random()}",
                "column_sizes": [{"key": 1}],
                "lower_bounds": bound(),
                "upper_bounds": bound(),
            }
        }
        for n in range(files)
    ]
    out = io.BytesIO()
    fastavro.writer(out, SCHEMA, entries, codec=codec, metadata={"content": "data", "format-version": "2"})
    return out.getvalue()


@pytest.mark.parametrize("codec", ["deflate", "null"])
@pytest.mark.parametrize("files", [1, 2, 8, 40])
def test_bounds_are_removed_in_place(files: int, codec: str) -> None:
    dice = random.Random(files)
    for _ in range(50):
        content = manifest(files, dice, codec)
        made = without_bounds(content)
        assert made is not None
        assert len(made) == len(content)
        before, after = fastavro.reader(io.BytesIO(content)), fastavro.reader(io.BytesIO(made))
        entries: list[Any] = list(after)
        assert [e["data_file"]["file_path"] for e in entries] == [e["data_file"]["file_path"] for e in before]  # type: ignore[index, call-overload]
        assert {e["data_file"][name] for e in entries for name in ("lower_bounds", "upper_bounds")} == {None}
        assert {name: after.metadata[name] for name in ("content", "format-version", "avro.schema")} == {
            name: before.metadata[name] for name in ("content", "format-version", "avro.schema")
        }
        assert without_bounds(made) is None

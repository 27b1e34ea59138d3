"""The manifest: its own document and its JSON Schema say the same, and rubbish is refused by name."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from schemas.columns import Column, RowSchema
from schemas.digest import Digest
from schemas.errors import UserError
from schemas.manifest import DeltaBase, ExportFormat, Manifest, ManifestFile

SCHEMA = json.loads((Path(__file__).parents[3] / "schemas" / "manifest.schema.json").read_text())
ROWS = RowSchema(columns=(Column(name="age", type="long"),))


def digest(count: int, sum0: int = 0) -> Digest:
    return Digest(schema_id=ROWS.schema_id, count=count, sum0=sum0)


FILE = ManifestFile(key="a-00000.csv", rows=2, bytes=9, sha256="0" * 64, digest=digest(2, 7), min="a", max="b")
WHOLE = Manifest(
    export="0" * 26,
    tenant="acme",
    audience="vip",
    version=3,
    snapshot_id=17,
    created_at="2026-11-25T09:00:00Z",
    format=ExportFormat(format="csv", null_token="\\N", compression="gzip"),
    schema=ROWS,
    members=2,
    digest=digest(2, 7),
    files=(FILE,),
)
DELTA = replace(
    WHOLE,
    files=(replace(FILE, change="added"), replace(FILE, key="r.csv", rows=1, digest=digest(1, 2), change="removed")),
    delta=DeltaBase(version=2, digest=digest(1, 2)),
)


@pytest.mark.parametrize("manifest", [WHOLE, DELTA], ids=["whole", "delta"])
def test_a_manifest_comes_back_and_fits_its_json_schema(manifest: Manifest) -> None:
    assert Manifest.parse(manifest.encode()) == manifest
    jsonschema.validate(json.loads(manifest.encode()), SCHEMA)
    assert manifest.fault() is None


def test_the_json_schema_knows_every_field_and_no_other() -> None:
    record, file = DELTA.as_record(), DELTA.as_record()["files"][0]  # type: ignore[index]
    assert SCHEMA["properties"].keys() == set(SCHEMA["required"]) == record.keys()
    assert SCHEMA["properties"]["files"]["items"]["properties"].keys() == file.keys()
    assert SCHEMA["properties"]["format"]["properties"].keys() == WHOLE.format.as_record().keys()


@pytest.mark.parametrize(
    "manifest",
    [
        replace(WHOLE, digest=digest(2, 8)),
        replace(WHOLE, members=3),
        replace(WHOLE, files=(replace(FILE, rows=1),)),
        replace(WHOLE, files=(replace(FILE, digest=digest(1, 3), rows=1), replace(FILE, digest=digest(1, 4), rows=1))),
        replace(DELTA, delta=DeltaBase(version=2, digest=digest(1, 3))),
        replace(DELTA, files=DELTA.files[:1]),
    ],
    ids=["digest", "members", "rows of a file", "a file twice", "base", "a file is missing"],
)
def test_sums_that_do_not_add_up_are_a_fault(manifest: Manifest) -> None:
    assert manifest.fault() is not None


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    record = json.loads(DELTA.encode())
    change(record)
    return json.dumps(record).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        changed(lambda r: r.pop("files")),
        changed(lambda r: r.update(manifest=2)),
        changed(lambda r: r.update(rows=99)),
        changed(lambda r: r.update(schema_id="0" * 16)),
        changed(lambda r: r.update(schema=[{"name": "id", "type": "string"}])),
        changed(lambda r: r["schema"][1].update(type="blob")),
        changed(lambda r: r["format"].update(name="xml")),
        changed(lambda r: r["files"][0].update(digest="x")),
        changed(lambda r: r["files"][0].update(change="moved")),
        *(changed(lambda r, key=key: r["files"][0].update(key=key)) for key in ("../x", "/x", "a//b", "", "a\\b", ".")),  # type: ignore[misc]
    ],
)
def test_rubbish_is_refused(data: bytes) -> None:
    with pytest.raises(UserError, match="BAD_MANIFEST"):
        Manifest.parse(data)


@pytest.mark.parametrize(
    "format_",
    [
        {"format": "xml"},
        {"format": "csv"},
        {"format": "csv", "null_token": "a,b"},
        {"format": "csv", "null_token": "x", "compression": "bz2"},
        {"format": "csv", "null_token": "x", "formulas": "run"},
        {"format": "parquet", "compression": "gzip"},
        {"format": "jsonl", "null_token": "x"},
        {"format": "jsonl", "formulas": "escape"},
    ],
    ids=str,
)
def test_formats_that_make_no_sense_are_refused(format_: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="BAD_FORMAT"):
        ExportFormat(**format_)

"""The manifest: its document and its JSON Schema agree, and bad input is refused by name."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from schemas.columns import Column, RowSchema
from schemas.digest import Digest
from schemas.errors import UserError
from schemas.manifest import ExportFormat, Manifest, ManifestFile
from schemas.manifest_selection import Account, AttributeSource, DeltaBase, ManifestSelection, SuppressionList

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
PART = replace(
    WHOLE,
    members=6,
    digest=digest(6, 20),
    selection=ManifestSelection(
        where="age > 3",
        attributes=(AttributeSource(audience="profiles", version=4, snapshot_id=5, columns=("age",)),),
        suppression_lists=(SuppressionList(audience="gone", version=1, snapshot_id=2, digest=digest(9, 9)),),
        accounts=(Account(kept=digest(2, 7), filtered=digest(3, 8), suppressed=digest(1, 5), exported=digest(2, 7)),),
    ),
    partition_by=("age",),
)
PART_OF_DELTA = replace(
    DELTA,
    members=3,
    digest=digest(3, 10),
    delta=DeltaBase(version=2, digest=digest(2, 4)),
    selection=ManifestSelection(
        where="age > 3",
        attributes=(),
        suppression_lists=(),
        accounts=(
            Account(
                kept=digest(2, 7), filtered=digest(1, 4), suppressed=digest(0), exported=digest(2, 7), change="added"
            ),
            Account(
                kept=digest(1, 2), filtered=digest(1, 3), suppressed=digest(0), exported=digest(1, 2), change="removed"
            ),
        ),
    ),
)
"""As releases up to 0.2.0 have written it: receivers keep such manifests."""
BETWEEN_VIEWS = replace(
    DELTA,
    members=6,
    digest=digest(6, 30),
    delta=DeltaBase(version=2, digest=digest(5, 20), export="01j00000000000000000000000", policy=3, kept=digest(3, 9)),
    policy=4,
    selection=ManifestSelection(
        where=None,
        attributes=(),
        suppression_lists=(
            SuppressionList(audience="gone", version=1, snapshot_id=2, digest=digest(9, 9), standing=True),
        ),
        accounts=(
            Account(
                kept=digest(4, 14), filtered=digest(0), suppressed=digest(2, 16), exported=digest(4, 14), view="version"
            ),
            Account(
                kept=digest(3, 9), filtered=digest(0), suppressed=digest(2, 11), exported=digest(3, 9), view="base"
            ),
        ),
    ),
)


BAD_KEYS = ("../x", "/x", "a//b", "", "a\\b", ".", "a\0b", "\udc80", "x" * 256, "\u00e9" * 128, "a/" * 1024 + "b")


def with_accounts(manifest: Manifest, *accounts: Account) -> Manifest:
    assert manifest.selection is not None
    return replace(manifest, selection=replace(manifest.selection, accounts=accounts))


def account(manifest: Manifest, number: int = 0, **changes: Any) -> Account:
    assert manifest.selection is not None
    return replace(manifest.selection.accounts[number], **changes)


def other_columns(count: int, sum0: int = 0) -> Digest:
    return Digest(schema_id="0" * 16, count=count, sum0=sum0)


@pytest.mark.parametrize(
    "manifest",
    [WHOLE, DELTA, PART, PART_OF_DELTA, BETWEEN_VIEWS],
    ids=["whole", "delta", "part", "part of a delta", "between views"],
)
def test_manifest_round_trips_and_matches_its_json_schema(manifest: Manifest) -> None:
    assert Manifest.parse(manifest.encode()) == manifest
    jsonschema_rs.validate(SCHEMA, json.loads(manifest.encode()))
    assert manifest.fault() is None


def test_json_schema_lists_exactly_the_fields() -> None:
    record, file = DELTA.as_record(), DELTA.as_record()["files"][0]  # type: ignore[index]
    assert (
        SCHEMA["properties"].keys() - {"selection", "partition_by", "policy"}
        == set(SCHEMA["required"])
        == record.keys()
    )
    assert SCHEMA["properties"]["files"]["items"]["properties"].keys() == file.keys()
    assert SCHEMA["properties"]["format"]["properties"].keys() == WHOLE.format.as_record().keys()
    assert replace(PART, policy=1).as_record().keys() == SCHEMA["properties"].keys()
    of_selection, selection = SCHEMA["properties"]["selection"], PART.as_record()["selection"]
    assert of_selection["properties"].keys() == set(of_selection["required"]) == selection.keys()  # type: ignore[attr-defined]
    for name in ("attributes", "suppression_lists"):
        known = of_selection["properties"][name]["items"]
        assert known["properties"].keys() == selection[name][0].keys()  # type: ignore[index]
        assert set(known["required"]) == known["properties"].keys() - {"standing"}
    known = of_selection["properties"]["accounts"]["items"]["properties"]
    assert known.keys() == account(PART_OF_DELTA).as_record().keys() | account(BETWEEN_VIEWS).as_record().keys()


@pytest.mark.parametrize(
    "manifest",
    [
        replace(WHOLE, digest=digest(2, 8)),
        replace(WHOLE, members=3),
        replace(WHOLE, files=(replace(FILE, rows=1),)),
        replace(WHOLE, files=(replace(FILE, digest=digest(1, 3), rows=1), replace(FILE, digest=digest(1, 4), rows=1))),
        replace(DELTA, delta=DeltaBase(version=2, digest=digest(1, 3))),
        replace(DELTA, files=DELTA.files[:1]),
        replace(PART, members=7),
        replace(PART, digest=digest(6, 21)),
        replace(PART, files=()),
        with_accounts(PART),
        with_accounts(PART, account(PART), account(PART)),
        with_accounts(PART, account(PART, change="added")),
        with_accounts(PART, account(PART, kept=digest(2, 8), filtered=digest(3, 7))),
        with_accounts(PART, account(PART, exported=digest(2, 8))),
        with_accounts(PART, account(PART, exported=other_columns(2, 7))),
        with_accounts(PART, account(PART, suppressed=digest(0))),
        replace(with_accounts(PART, account(PART, kept=digest(1, 7))), members=5, digest=digest(5, 20)),
        replace(PART, digest=other_columns(6, 20)),
        with_accounts(PART_OF_DELTA, account(PART_OF_DELTA)),
        with_accounts(PART_OF_DELTA, account(PART_OF_DELTA), account(PART_OF_DELTA, 1, filtered=digest(1, 4))),
        replace(PART_OF_DELTA, delta=None),
        replace(PART_OF_DELTA, delta=DeltaBase(version=2, digest=other_columns(2, 4))),
        replace(PART_OF_DELTA, files=PART_OF_DELTA.files[:1]),
        replace(BETWEEN_VIEWS, files=BETWEEN_VIEWS.files[:1]),
        replace(BETWEEN_VIEWS, delta=replace(BETWEEN_VIEWS.delta, digest=digest(5, 21))),  # type: ignore[type-var]
        replace(BETWEEN_VIEWS, delta=replace(BETWEEN_VIEWS.delta, kept=digest(3, 8))),  # type: ignore[type-var]
        with_accounts(BETWEEN_VIEWS, account(BETWEEN_VIEWS)),
        with_accounts(BETWEEN_VIEWS, account(BETWEEN_VIEWS), account(BETWEEN_VIEWS, 1, filtered=digest(1, 4))),
        with_accounts(
            BETWEEN_VIEWS,
            account(BETWEEN_VIEWS, suppressed=digest(1, 1), filtered=digest(1, 14)),
            account(BETWEEN_VIEWS, 1),
        ),
    ],
    ids=[
        "digest",
        "members",
        "rows of a file",
        "a file twice",
        "base",
        "a file is missing",
        "part: members",
        "part: digest",
        "part: no files",
        "no account",
        "two accounts",
        "an account of a delta",
        "kept otherwise",
        "exported otherwise",
        "exported columns",
        "suppressed lost",
        "kept fewer",
        "version's columns",
        "no account of the removed",
        "filtered removed",
        "no base",
        "base's columns",
        "part: a file is missing",
        "views: a file is missing",
        "views: digest of the base",
        "views: kept in the base",
        "views: one account",
        "views: the rows of the base",
        "views: the rows of the version",
    ],
)
def test_inconsistent_sums_are_refused(manifest: Manifest) -> None:
    assert manifest.fault() is not None


def changed(change: Callable[[dict[str, Any]], object], of: Manifest = DELTA) -> bytes:
    record = json.loads(of.encode())
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
        changed(lambda r: r.update(version=float("inf"))),
        changed(lambda r: r["files"][0].update(rows=float("inf"))),
        changed(lambda r: r.update(tenant="\ud800")),
        changed(lambda r: r["files"][0].update(change="moved")),
        changed(lambda r: r["files"][0].update(digest=str(other_columns(2, 7)))),
        changed(lambda r: r.update(digest=str(other_columns(2, 7)))),
        changed(lambda r: r["delta"].update(digest=str(other_columns(1, 2)))),
        changed(lambda r: r.update(partition_by=["country"]), PART),
        changed(lambda r: r.update(partition_by=3), PART),
        changed(lambda r: r.update(selection=[]), PART),
        changed(lambda r: r["selection"].pop("accounts"), PART),
        changed(lambda r: r["selection"].update(rows_suppressed=0), PART),
        changed(lambda r: r["selection"]["accounts"][0].update(kept=str(other_columns(2, 7))), PART),
        changed(lambda r: r["selection"]["accounts"][0].update(change="moved"), PART),
        changed(lambda r: r["selection"]["accounts"].append(None), PART),
        changed(lambda r: r["selection"]["attributes"][0].pop("columns"), PART),
        *(changed(lambda r, key=key: r["files"][0].update(key=key)) for key in BAD_KEYS),  # type: ignore[misc]
    ],
)
def test_malformed_manifest_is_refused(data: bytes) -> None:
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
def test_contradictory_formats_are_refused(format_: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="BAD_FORMAT"):
        ExportFormat(**format_)

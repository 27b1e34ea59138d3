"""Exports of selected rows and columns: omitted rows are accounted for, or there is no manifest."""

import dataclasses
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.lake.store import IcebergVersionStore
from connectors.sinks import exporting
from connectors.sinks.destinations import destination
from connectors.sinks.export_files import write_files
from connectors.sinks.export_order import ExportOrder
from connectors.sinks.exporting import GroupWritten, finish, write_group
from connectors.sinks.selection import PinnedVersion, Selection, full_groups
from connectors.sinks.shaping import Attributes, Shape, Suppression
from connectors.sinks.views import BaseView
from connectors.storage.access import S3Access
from schemas.arrow import arrow_schema
from schemas.columns import Column, RowSchema
from schemas.digest import Digest
from schemas.errors import FatalError, UserError
from schemas.ids import Attempt, JobId, Version
from schemas.manifest import ExportFormat, Manifest
from schemas.manifest_selection import DeltaBase
from schemas.reading_back import import_spec
from schemas.records import as_record, from_record
from schemas.row_digest import digest_rows
from segmentation.versions import VersionInfo
from tests.integration.lake.support import AT, BUCKET, audience, limits, new_id
from tests.integration.lake.test_exporting import FORMATS, KINDS, Lake, name_of, naughty_rows, receivers_check
from tests.raising import code_of
from tests.unit.connectors.sources.reading import parse_file
from tests.unit.segmentation.expressions.injections import INJECTIONS

PEOPLE = RowSchema(columns=(Column(name="country"), Column(name="age", type="long")))
PROFILES = RowSchema(columns=(Column(name="plan"), Column(name="score", type="double"), Column(name="note")))
PARQUET, JSONL = FORMATS[0], ExportFormat(format="jsonl")


@pytest.fixture
def lake(s3: S3Access, store: IcebergVersionStore, tmp_path: Path) -> Lake:
    return Lake(s3, tmp_path, store, audience())


def another(lake: Lake) -> Lake:
    """Another audience of the same lake."""
    return dataclasses.replace(lake, ref=audience("other"))


def people(count: int = 60) -> list[dict[str, Any]]:
    return [
        {"user_id": f"u{n:03d}", "country": ("JP", "US", None)[n % 3], "age": None if n % 7 == 0 else n}
        for n in range(count)
    ]


def members(lake: Lake, ids: list[str], partitions: int = 4) -> PinnedVersion:
    return another(lake).publish([{"user_id": id_} for id_ in ids], RowSchema(), "1", partitions=partitions)


def read(folder: Path, manifest: Manifest) -> list[dict[str, Any]]:
    """Rows of an export in JSON Lines, in the order of its files."""
    return [json.loads(line) for file in manifest.files for line in (folder / file.key).read_text().splitlines()]


def verified(lake: Lake, to: str | Path) -> Manifest:
    """Export, and check the result in every way."""
    manifest, difference = lake.check(str(to))
    assert difference is None
    if "://" not in str(to):
        assert receivers_check()(f"{to}/manifest.json") is None
    return manifest


def counts(manifest: Manifest) -> tuple[int, int, int, int]:
    assert manifest.selection is not None
    rows = manifest.selection.rows
    return rows("read"), rows("kept"), rows("filtered"), rows("suppressed")


@pytest.mark.parametrize("format_", FORMATS, ids=name_of)
@pytest.mark.parametrize("where", ["local", "s3"])
def test_filtered_export_verifies_and_contains_the_matching_rows(lake: Lake, where: str, format_: ExportFormat) -> None:
    version = lake.publish(naughty_rows(), KINDS, "1")
    matching = [row for row in naughty_rows() if row["ok"] is True or (row["n"] is not None and row["n"] < 0)]
    to = str(lake.folder / "out") if where == "local" else f"s3://{BUCKET}/exports/{new_id()}"
    manifest = lake.export(version, format_, to, shape=Shape(version=version, where="ok = true or n < 0"))
    assert verified(lake, to) == manifest
    assert counts(manifest) == (len(naughty_rows()), len(matching), len(naughty_rows()) - len(matching), 0)
    expected = digest_rows(pa.Table.from_pylist(matching, schema=arrow_schema(KINDS)), KINDS)
    assert (manifest.total(), manifest.digest) == (expected, version.info.digest)
    if where == "local" and format_.formulas == "as-is":
        found = parse_file(lake.folder / "out" / manifest.files[0].key, spec=import_spec(manifest))
        assert (found.rejects, len(found.rows)) == ([], len(matching))


def test_looked_up_columns_are_null_for_users_absent_from_the_other_audience(lake: Lake) -> None:
    version = lake.publish(people(6), PEOPLE, "1")
    others: list[dict[str, Any]] = [
        {"user_id": "u001", "plan": "gold", "score": -0.0, "note": "a,b"},
        {"user_id": "u004", "plan": None, "score": 0.5, "note": "=1"},
        {"user_id": "stranger", "plan": "x", "score": 1.0, "note": "x"},
    ]
    profiles = another(lake).publish(others, PROFILES, "1")
    shape = Shape(
        version=version, attributes=(Attributes(audience="profiles", version=profiles, columns=("score", "plan")),)
    )
    manifest = lake.export(version, JSONL, str(lake.folder / "out"), shape=shape)
    assert manifest.schema.names == ("user_id", "country", "age", "score", "plan")
    assert verified(lake, lake.folder / "out") == manifest
    assert {row["user_id"]: (row["plan"], row["score"]) for row in read(lake.folder / "out", manifest)} == {
        "u000": (None, None),
        "u001": ("gold", -0.0),
        "u002": (None, None),
        "u003": (None, None),
        "u004": (None, 0.5),
        "u005": (None, None),
    }
    assert manifest.selection is not None
    (taken,) = manifest.selection.attributes
    assert (taken.audience, taken.version, taken.snapshot_id) == ("profiles", 1, profiles.info.snapshot_id)
    found = parse_file(lake.folder / "out" / manifest.files[0].key, spec=import_spec(manifest))
    assert (found.rejects, len(found.rows)) == ([], 6)


def test_filter_sees_looked_up_columns_even_if_not_exported(lake: Lake) -> None:
    version = lake.publish(people(6), PEOPLE, "1")
    profiles = another(lake).publish([{"user_id": "u003", "plan": "gold", "score": 1.0, "note": ""}], PROFILES, "1")
    shape = Shape(
        version=version,
        where='plan = "gold"',
        attributes=(Attributes(audience="profiles", version=profiles, columns=("plan",)),),
        columns=("age", "user_id"),
    )
    manifest = lake.export(version, JSONL, str(lake.folder / "out"), shape=shape)
    assert read(lake.folder / "out", verified(lake, lake.folder / "out")) == [{"user_id": "u003", "age": 3}]
    assert counts(manifest) == (6, 1, 5, 0)


@pytest.mark.parametrize("together", [1, 2, 4], ids="{} partitions a group".format)
@pytest.mark.parametrize("partitions", [4, 3], ids=["cut alike", "cut otherwise"])
def test_suppressed_members_are_omitted_and_counted(lake: Lake, partitions: int, together: int) -> None:
    version = lake.publish(people(), PEOPLE, "1")
    gone = members(lake, ["u001", "u002", "u003", "stranger"], partitions)
    asked = members(lake, ["u003", "u004", "u059"], partitions)
    shape = Shape(
        version=version,
        where="age >= 3",
        suppress=(Suppression(audience="gone", version=gone), Suppression(audience="asked", version=asked)),
    )
    target = max(sum(part.bytes for part in version.parts[k : k + together]) for k in range(5 - together))
    assert len(full_groups(version, group_bytes=target)) < 5 - together + 1
    manifest = lake.export(version, JSONL, str(lake.folder / "out"), shape=shape, target_bytes=target)
    kept = [row["user_id"] for row in people() if (row["age"] or 0) >= 3 and row["user_id"] not in
            {"u003", "u004", "u059"}]  # fmt: skip
    assert sorted(row["user_id"] for row in read(lake.folder / "out", manifest)) == kept
    assert counts(verified(lake, lake.folder / "out")) == (60, len(kept), 57 - len(kept), 3)
    assert manifest.selection is not None
    assert [(one.audience, one.digest) for one in manifest.selection.suppression_lists] == [
        ("gone", gone.info.digest),
        ("asked", asked.info.digest),
    ]


def test_export_of_no_remaining_members_is_valid(lake: Lake) -> None:
    version = lake.publish(people(), PEOPLE, "1")
    shape = Shape(version=version, where="age > 1000")
    assert lake.export(version, PARQUET, str(lake.folder / "none"), shape=shape).files == ()
    assert counts(verified(lake, lake.folder / "none")) == (60, 0, 60, 0)
    empty = lake.publish([], PEOPLE, "2")
    lake.export(empty, PARQUET, str(lake.folder / "empty"), shape=dataclasses.replace(shape, version=empty))
    assert counts(verified(lake, lake.folder / "empty")) == (0, 0, 0, 0)


def test_chosen_columns_keep_their_given_order(lake: Lake) -> None:
    version = lake.publish(people(2), PEOPLE, "1")
    manifest = lake.export(
        version, JSONL, str(lake.folder / "out"), shape=Shape(version=version, columns=("age", "country"))
    )
    assert [list(row) for row in read(lake.folder / "out", manifest)] == [["user_id", "age", "country"]] * 2
    ids = lake.export(version, JSONL, str(lake.folder / "ids"), shape=Shape(version=version, columns=()))
    assert [list(row) for row in read(lake.folder / "ids", verified(lake, lake.folder / "ids"))] == [["user_id"]] * 2
    assert ids.schema == RowSchema()


def test_filtered_delta_adds_new_matches_and_removes_lost_ones(lake: Lake) -> None:
    def rows(**ages: int) -> list[dict[str, Any]]:
        return [{"user_id": user, "country": "JP", "age": age} for user, age in ages.items()]

    base = lake.publish(rows(stays=20, begins=10, ceases=30, older=40, gone=50, young=1), PEOPLE, "1")
    version = lake.publish(rows(stays=20, begins=20, ceases=2, older=41, young=2, new=60, baby=0), PEOPLE, "2")
    shape = Shape(version=version, where="age >= 18")
    manifest = lake.export(version, JSONL, str(lake.folder / "out"), base=base, shape=shape)
    assert verified(lake, lake.folder / "out") == manifest
    found = {
        file.change: [json.loads(line)["user_id"] for line in (lake.folder / "out" / file.key).read_text().splitlines()]
        for file in manifest.files
    }
    assert found == {"added": ["begins", "new", "older"], "removed": ["ceases", "gone", "older"]}
    assert counts(manifest) == (7, 4, 3, 0)
    assert manifest.delta is not None
    assert manifest.selection is not None
    assert manifest.delta.kept == manifest.selection.view("base")
    shape = dataclasses.replace(shape, columns=("country",), partition_by=("country",))
    folders = lake.export(version, JSONL, str(lake.folder / "folders"), base=base, shape=shape)
    assert verified(lake, lake.folder / "folders") == folders
    assert [(file.key.partition("/")[0], file.rows, file.change) for file in folders.files] == [
        ("country=JP", 2, "added"),
        ("country=JP", 2, "removed"),
    ]


def test_delta_between_views_removes_the_newly_suppressed_and_adds_the_released(lake: Lake) -> None:
    def listed(number: str, *users: str) -> PinnedVersion:
        return another(lake).publish(
            [{"user_id": user, "plan": user, "score": 0.0, "note": ""} for user in users], PROFILES, number
        )

    base = lake.publish(people(6), PEOPLE, "1")
    version = lake.publish(people(7), PEOPLE, "2")
    before, after = listed("1", "u001", "u002"), listed("2", "u002", "u003")

    def view(version: PinnedVersion, quiet: PinnedVersion) -> Shape:
        looked_up = Attributes(audience="other", version=quiet, columns=("plan",))
        return Shape(
            version=version,
            suppress=(Suppression(audience="other", version=quiet, standing=True),),
            attributes=(looked_up,),
            columns=("country",),
        )

    whole = lake.export(base, JSONL, str(lake.folder / "whole"), shape=view(base, before))
    delta = lake.export(
        version,
        JSONL,
        str(lake.folder / "delta"),
        base=base,
        shape=view(version, after),
        base_view=BaseView(shape=view(base, before), export=JobId(whole.export), policy=3, kept=whole.kept),
    )
    assert verified(lake, lake.folder / "delta") == delta
    found = {
        file.change: [row["user_id"] for row in read(lake.folder / "delta", dataclasses.replace(delta, files=(file,)))]
        for file in delta.files
    }
    assert found == {"added": ["u001", "u006"], "removed": ["u003"]}
    assert delta.delta == DeltaBase(version=1, digest=base.info.digest, export=whole.export, policy=3, kept=whole.kept)
    assert whole.kept is not None
    assert whole.kept - delta.total("removed") + delta.total("added") == delta.kept
    forged = BaseView(shape=view(base, after), export=JobId(whole.export), kept=whole.kept)
    other = partial(lake.export, version, JSONL, str(lake.folder / "o"), base=base, base_view=forged)
    assert code_of(FatalError, partial(other, shape=view(version, after))) == "EXPORT_MISMATCH"
    narrow = dataclasses.replace(view(base, before), columns=())
    mismatch = partial(lake.export, version, JSONL, "x", base=base, base_view=BaseView(shape=narrow))
    assert code_of(UserError, partial(mismatch, shape=view(version, after))) == "SCHEMA_MISMATCH"


def _without_one(selection: Selection) -> Selection:
    return dataclasses.replace(selection, rows=f"SELECT * FROM ({selection.rows}) WHERE user_id <> 'u007'")


def _one_twice(selection: Selection) -> Selection:
    twice = f"SELECT q.* FROM ({selection.rows}) q, range(2) t(k) WHERE k = 0 OR user_id = 'u007'"
    return dataclasses.replace(selection, rows=twice)


def _one_undecided(selection: Selection) -> Selection:
    changed = "* REPLACE (CASE WHEN user_id <> 'u007' THEN _decision END AS _decision)"
    return dataclasses.replace(selection, rows=f"SELECT {changed} FROM ({selection.rows})")


def _one_changed(selection: Selection) -> Selection:
    changed = "* REPLACE (CASE WHEN user_id = 'u008' THEN 9 ELSE age END AS age)"
    return dataclasses.replace(selection, rows=f"SELECT {changed} FROM ({selection.rows})")


@pytest.mark.parametrize("kept", [True, False], ids=["of the kept rows", "of those left out"])
@pytest.mark.parametrize("damage", [_without_one, _one_twice, _one_undecided, _one_changed])
def test_row_lost_duplicated_or_changed_by_the_query_is_a_mismatch(
    lake: Lake, damage: Callable[[Selection], Selection], *, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = lake.publish([dict(row, age=8) for row in people()], PEOPLE, "1")
    right = Shape.selections
    monkeypatch.setattr(Shape, "selections", lambda shape, group: [damage(s) for s in right(shape, group)])
    shape = Shape(version=version, where="age = 8 or age = 9" if kept else "age > 9")
    assert code_of(FatalError, lambda: lake.export(version, PARQUET, str(lake.folder / "o"), shape=shape)) == (
        "EXPORT_MISMATCH"
    )
    assert list((lake.folder / "o").iterdir()) == []


def test_rows_lost_before_the_files_are_a_mismatch(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    version = lake.publish(people(), PEOPLE, "1")
    monkeypatch.setattr(
        exporting, "write_files", lambda rows, *more, **how: write_files((r.slice(1) for r in rows), *more, **how)
    )
    for columns in (None, ("age",)):
        shape = Shape(version=version, where="age is set", columns=columns)
        lossy = partial(lake.export, version, PARQUET, str(lake.folder / "o"), shape=shape)
        assert code_of(FatalError, lossy) == "EXPORT_MISMATCH"


def test_duplicate_user_in_the_other_audience_is_a_mismatch(lake: Lake) -> None:
    version = lake.publish(people(3), PEOPLE, "1")
    other = another(lake).publish([{"user_id": "u001", "plan": "a", "score": 0.0, "note": ""}], PROFILES, "1")
    twice = dataclasses.replace(other, parts=other.parts * 2)
    shape = Shape(version=version, attributes=(Attributes(audience="other", version=twice, columns=("plan",)),))
    assert code_of(FatalError, lambda: lake.export(version, PARQUET, str(lake.folder / "o"), shape=shape)) == (
        "EXPORT_MISMATCH"
    )


def test_sql_injection_in_a_filter_is_refused_or_matches_no_user(lake: Lake) -> None:
    version = lake.publish(people(6), PEOPLE, "1")
    accepted = 0
    for number, text in enumerate(INJECTIONS):
        try:
            shape = Shape(version=version, where=text)
        except UserError as exc:
            assert exc.code == "BAD_FILTER"  # noqa: PT017  # which of them are values is a matter of the language
            continue
        manifest = lake.export(version, JSONL, str(lake.folder / str(number)), shape=shape)
        assert counts(manifest) == (6, 0, 6, 0)
        accepted += 1
    assert 0 < accepted < 20


def unread(schema: RowSchema) -> PinnedVersion:
    """A version whose files must not be read."""
    info = VersionInfo(
        version=Version(1),
        snapshot_id=1,
        import_id=new_id(),
        attempt=Attempt(1),
        mode="replace",
        order_key="1",
        partitions=0,
        partitioner="murmur2",
        row_schema=schema,
        members=0,
        digest=Digest(schema_id=schema.schema_id),
        base_version=None,
        source_version=None,
        counts=None,
        published_at=AT,
    )
    return PinnedVersion(info=info, parts=())


def test_filter_value_is_only_a_value(lake: Lake) -> None:
    values = (
        "'; DROP TABLE x; --", "' OR 1=1 --", '") OR (1=1', "?", "$1", "%", "\\", "';", "''", "日本", "\n", "a\x01",
    )  # fmt: skip
    rows = [{"user_id": f"u{n}", "country": value, "age": 1} for n, value in enumerate(values)]
    version = lake.publish(rows, PEOPLE, "1")
    for n, value in enumerate(values):
        shape = Shape(version=version, where=f"country = {json.dumps(value, ensure_ascii=False)}")
        manifest = lake.export(version, JSONL, str(lake.folder / str(n)), shape=shape)
        assert [row["user_id"] for row in read(lake.folder / str(n), manifest)] == [f"u{n}"]


@pytest.mark.parametrize("format_", FORMATS, ids=name_of)
def test_repeated_shaped_export_has_equal_bytes(lake: Lake, format_: ExportFormat) -> None:
    version = lake.publish(naughty_rows(), KINDS, "1")
    shape = Shape(
        version=version,
        where="n is set",
        suppress=(Suppression(audience="gone", version=members(lake, ["A", "a"])),),
        columns=("ok", "note"),
        partition_by=("ok",),
    )
    identity = new_id()
    for to in ("a", "b"):
        lake.export(version, format_, str(lake.folder / to), export_id=identity, shape=shape)
    a, b = (
        {p.relative_to(lake.folder / to): p.read_bytes() for p in (lake.folder / to).rglob("*") if p.is_file()}
        for to in ("a", "b")
    )
    assert a == b
    assert len(a) == 4
    verified(lake, lake.folder / "a")


def test_empty_shape_changes_no_byte(lake: Lake) -> None:
    version = lake.publish(naughty_rows(), KINDS, "1")
    identity = new_id()
    lake.export(version, PARQUET, str(lake.folder / "a"), export_id=identity)
    lake.export(version, PARQUET, str(lake.folder / "b"), export_id=identity, shape=Shape(version=version))
    a, b = ({p.name: p.read_bytes() for p in (lake.folder / to).iterdir()} for to in ("a", "b"))
    assert a == b
    assert not {"selection", "partition_by"} & json.loads(a["manifest.json"]).keys()


def test_separately_written_groups_make_the_same_export(lake: Lake) -> None:
    version = lake.publish(people(), PEOPLE, "1")
    order = ExportOrder(
        export_id=new_id(),
        tenant="acme",
        audience="vip",
        version=version,
        format=PARQUET,
        created_at="2026-11-25T00:00:00Z",
        target_bytes=1,
        shape=Shape(version=version, where="age > 30"),
    )
    to = destination(str(lake.folder / "out"), lake.s3)
    done = {
        group.number: write_group(order, group, to, s3=lake.s3, limits=limits(lake.folder))
        for group in [*reversed(order.groups()), *order.groups()]
    }
    groups = [from_record(GroupWritten, json.loads(json.dumps(as_record(done[number])))) for number in sorted(done)]
    assert len(groups) == 4
    manifest = finish(order, groups, to)
    assert verified(lake, lake.folder / "out") == manifest
    assert code_of(FatalError, lambda: finish(order, groups[1:], destination(str(lake.folder / "x"), lake.s3))) == (
        "EXPORT_MISMATCH"
    )


def _forged(manifest: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    *parents, name = path.split(".")
    place: Any = manifest
    for parent in parents:
        place = place[int(parent) if parent.isdigit() else parent]
    place[name] = value(place[name]) if callable(value) else value
    return manifest


def _one_less(text: str) -> str:
    digest = Digest.parse(text)
    return str(digest - Digest(schema_id=digest.schema_id, sum0=1))


@pytest.mark.parametrize("name", ["kept", "filtered", "suppressed", "exported"])
def test_forged_counts_are_detected(lake: Lake, name: str) -> None:
    version = lake.publish(people(), PEOPLE, "1")
    lake.export(version, JSONL, str(lake.folder / "out"), shape=Shape(version=version, where="age > 30"))
    path = lake.folder / "out" / "manifest.json"
    path.write_text(json.dumps(_forged(json.loads(path.read_text()), f"selection.accounts.0.{name}", _one_less)))
    _, difference = lake.check(str(lake.folder / "out"))
    assert difference is not None
    assert difference.what == "the sum of the files"
    assert receivers_check()(str(path)) is not None


def test_suppressed_rows_cannot_be_counted_as_filtered(lake: Lake) -> None:
    version = lake.publish(people(), PEOPLE, "1")
    lake.export(version, JSONL, str(lake.folder / "out"), shape=Shape(version=version, where="age > 30"))
    path = lake.folder / "out" / "manifest.json"
    path.write_text(json.dumps(_forged(json.loads(path.read_text()), "selection.rows_filtered", 3)))
    assert code_of(UserError, lambda: lake.check(str(lake.folder / "out"))) == "BAD_MANIFEST"


def test_row_groups_contain_the_chosen_rows(lake: Lake) -> None:
    rows = [{"user_id": f"u{n:05d}", "country": "JP", "age": n} for n in range(10_500)]
    version = lake.publish(rows, PEOPLE, "1")

    def groups(to: str, **options: Any) -> list[int]:
        manifest = lake.export(version, PARQUET, str(lake.folder / to), **options)
        verified(lake, lake.folder / to)
        (file,) = manifest.files
        metadata = pq.ParquetFile(lake.folder / to / file.key).metadata
        return [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)]

    assert groups("a", row_group_rows=4_000) == [4_000, 4_000, 2_500]
    assert groups("b", row_group_rows=4_000, shape=Shape(version=version, where="age < 9000")) == [4_000, 4_000, 1_000]
    for wrong, format_ in ((0, PARQUET), (999, PARQUET), (1_048_577, PARQUET), (2_000, JSONL)):
        refused = code_of(UserError, partial(lake.export, version, format_, "x", row_group_rows=wrong))
        assert refused == "BAD_FORMAT"


VALUES = ("JP", "..", ".", "/", "a/b", "\\", "%2F", "日本", "é", "e\u0301", "jp", " ", "a b+c", "=", "\x01\x7f", "",
          None, "__HIVE_DEFAULT_PARTITION__", "'\"", "*?[x]{y}", ":#^", "001", "\u2028", "🙂")  # fmt: skip


@pytest.mark.parametrize("where", ["local", "s3"])
@pytest.mark.parametrize("format_", FORMATS[:2] + FORMATS[4:5], ids=name_of)
def test_files_are_partitioned_into_folders_inside_the_destination(
    lake: Lake, where: str, format_: ExportFormat
) -> None:
    rows = [{"user_id": f"u{n:03d}", "country": VALUES[n % len(VALUES)], "age": n % 2} for n in range(100)]
    version = lake.publish(rows, PEOPLE, "1")
    to = str(lake.folder / "out") if where == "local" else f"s3://{BUCKET}/exports/{new_id()}"
    manifest = lake.export(version, format_, to, shape=Shape(version=version, partition_by=("country",)))
    assert verified(lake, to) == manifest
    assert (manifest.partition_by, manifest.selection, manifest.total()) == (("country",), None, version.info.digest)
    assert len(manifest.files) == len(VALUES)
    assert len({file.key.rpartition("/")[2] for file in manifest.files}) == len(VALUES)
    assert all(file.key.count("/") == 1 and file.key.startswith("country=") for file in manifest.files)
    if where == "local":
        found = {path for path in (lake.folder / "out").rglob("*") if path.is_file()}
        assert len(found) == len(VALUES) + 1
        assert not list((lake.folder / "out").rglob(".muster*"))


def test_duckdb_reads_folders_as_columns(lake: Lake) -> None:
    rows = [{"user_id": f"u{n:03d}", "country": VALUES[n % len(VALUES)], "age": n} for n in range(100)]
    version = lake.publish(rows, PEOPLE, "1")
    lake.export(version, PARQUET, str(lake.folder / "out"), shape=Shape(version=version, partition_by=("country",)))
    files = f"'{lake.folder}/out/*/*.parquet'"

    def countries(*, hive: bool) -> dict[str, str | None]:
        options = f"hive_partitioning = {hive}, hive_types_autocast = false"
        return dict(duckdb.sql(f"SELECT user_id, country FROM read_parquet({files}, {options})").fetchall())

    written = {row["user_id"]: row["country"] for row in rows}
    assert countries(hive=False) == written
    no_value = {None, "", "__HIVE_DEFAULT_PARTITION__"}
    assert countries(hive=True) == {user: None if country in no_value else country for user, country in written.items()}


def test_folders_of_several_columns_and_types_hold_sorted_files(lake: Lake) -> None:
    schema = RowSchema(
        columns=(Column(name="ok", type="boolean"), Column(name="born", type="date"), Column(name="n", type="long"))
    )
    day = duckdb.sql("SELECT DATE '2026-11-25'").fetchall()[0][0]
    rows = [
        {"user_id": f"u{n:02d}", "ok": (True, False, None)[n % 3], "born": (day, None)[n % 2], "n": (-1, 2)[n // 20]}
        for n in range(40)
    ]
    version = lake.publish(rows, schema, "1", partitions=1)
    shape = Shape(version=version, partition_by=("ok", "born", "n"))
    manifest = lake.export(version, JSONL, str(lake.folder / "out"), shape=shape)
    verified(lake, lake.folder / "out")
    folders = {file.key.rpartition("/")[0] for file in manifest.files}
    assert len(folders) == 12
    assert {"ok=true/born=2026-11-25/n=-1", "ok=__HIVE_DEFAULT_PARTITION__/born=__HIVE_DEFAULT_PARTITION__/n=2"} <= (
        folders
    )
    for file in manifest.files:
        ids = [json.loads(line)["user_id"] for line in (lake.folder / "out" / file.key).read_text().splitlines()]
        assert ids == sorted(ids)
        assert (ids[0], ids[-1]) == (file.min, file.max)


def test_file_in_a_wrong_folder_is_named(lake: Lake) -> None:
    version = lake.publish(people(6), PEOPLE, "1")
    manifest = lake.export(
        version, JSONL, str(lake.folder / "out"), shape=Shape(version=version, partition_by=("country",))
    )
    path = lake.folder / "out" / "manifest.json"
    (file,) = (file for file in manifest.files if file.key.startswith("country=JP/"))
    moved = file.key.replace("country=JP", "country=DE")
    (lake.folder / "out" / moved).parent.mkdir()
    (lake.folder / "out" / file.key).rename(lake.folder / "out" / moved)
    path.write_text(path.read_text().replace(file.key, moved))
    _, difference = lake.check(str(lake.folder / "out"))
    assert "IN_ANOTHER_FOLDER: a row belongs to the folder country=JP/" in str(difference)


def test_folders_beyond_the_limit_are_refused_and_removed(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    version = lake.publish(people(), PEOPLE, "1")
    monkeypatch.setattr("connectors.sinks.folders.MAX_FOLDERS", 2)
    shape = Shape(version=version, partition_by=("country",))
    for target in (1, 10**9):
        refused = code_of(
            UserError,
            partial(lake.export, version, JSONL, str(lake.folder / "o"), shape=shape, target_bytes=target),
        )
        assert refused == "TOO_MANY_PARTITIONS"
        assert list((lake.folder / "o").iterdir()) == []
    by_age = Shape(version=version, where="age = 3 or age = 5 or age = 11", partition_by=("age",))
    assert code_of(
        UserError, lambda: lake.export(version, JSONL, str(lake.folder / "o"), shape=by_age, target_bytes=1)
    ) == ("TOO_MANY_PARTITIONS")
    assert list((lake.folder / "o").iterdir()) == []


def test_impossible_shapes_are_refused_by_name() -> None:
    kinds = RowSchema(columns=(*KINDS.columns, *(Column(name=f"c{n}") for n in range(58))))
    version, other = unread(kinds), unread(PROFILES)
    lookup = Attributes(audience="other", version=other, columns=("plan",))
    refusals: list[tuple[str, dict[str, Any]]] = [
        ("UNKNOWN_COLUMN", {"columns": ("nothing",)}),
        ("UNKNOWN_COLUMN", {"columns": ("NOTE",)}),
        ("UNKNOWN_COLUMN", {"attributes": (dataclasses.replace(lookup, columns=("nothing",)),)}),
        ("UNKNOWN_COLUMN", {"columns": ("n",), "partition_by": ("note",)}),
        ("UNKNOWN_COLUMN", {"partition_by": ("user_id",)}),
        ("COLUMN_CLASH", {"columns": ("n", "n")}),
        ("COLUMN_CLASH", {"attributes": (dataclasses.replace(lookup, columns=("note",)),)}),
        ("COLUMN_CLASH", {"attributes": (lookup, lookup)}),
        ("TOO_MANY_COLUMNS", {"attributes": (lookup,)}),
        ("BAD_PARTITION_COLUMN", {"partition_by": ("share",)}),
        ("BAD_PARTITION_COLUMN", {"partition_by": ("seen",)}),
        ("BAD_PARTITION_COLUMN", {"partition_by": ("c1", "c2", "c3", "c4", "c5")}),
        ("BAD_FILTER", {"where": "plan is set"}),
    ]
    for code, options in refusals:
        assert code_of(UserError, partial(Shape, version=version, **options)) == code
    assert Shape(version=version, attributes=(lookup,), columns=("plan",)).exported.names == ("user_id", "plan")

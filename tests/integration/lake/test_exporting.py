"""Exports with a manifest: in every format, the receiver reads exactly the version, or finds no manifest."""

import dataclasses
import errno
import hashlib
import importlib.util
import json
import math
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, get_args

import duckdb
import pytest

from connectors.lake.store import IcebergVersionStore
from connectors.sinks import comparing
from connectors.sinks import selected_rows as taking
from connectors.sinks.checking import Difference, check
from connectors.sinks.comparing import Sample, compare
from connectors.sinks.destinations import destination
from connectors.sinks.export_order import ExportOrder
from connectors.sinks.exporting import GroupWritten, export, finish, require_free, write_group
from connectors.sinks.local_folder import LocalFolder
from connectors.sinks.receiving import read_manifest
from connectors.sinks.selected_rows import selected_rows
from connectors.sinks.selection import PinnedVersion, delta_groups, full_groups
from connectors.sinks.shaping import Shape
from connectors.sinks.stages import Stages
from connectors.sources.limits import ParseLimits
from connectors.storage.access import S3Access
from connectors.storage.duck import DuckLimits, connect
from schemas.columns import Column, ColumnType, RowSchema
from schemas.digest import Digest
from schemas.errors import FatalError, RetriableError, UserError
from schemas.ids import AudienceName, Version
from schemas.manifest import ExportFormat, Manifest
from schemas.reading_back import import_spec
from schemas.records import as_record, from_record
from segmentation.versions import AudienceRef, SegmentRule
from tests.integration.lake.support import AT, BUCKET, Parts, audience, limits, new_id, request
from tests.raising import code_of
from tests.unit.connectors.sources.reading import parse_file

KINDS = RowSchema(
    columns=(
        Column(name="note"),
        Column(name="n", type="long"),
        Column(name="share", type="double"),
        Column(name="ok", type="boolean"),
        Column(name="born", type="date"),
        Column(name="seen", type="timestamp"),
    )
)
ROOT = Path(__file__).parents[3]
NAUGHTY = (
    "a", "A", "a ", " a", "'", "''", '"', '""', ",", "a,b", "line\nfeed", "carriage\rreturn", "x\r\n", "=1+1", "+1",
    "-1", "@x", "\tx", "'=x", "null", "NULL", "\\N", "N/A", "nan", "0", "00", "1e5", "true", "\u00e9", "e\u0301",
    "日本", "🙂", "a\u2028b", "\u202ertl", "\x01\x1f\x7f", "\\", "\\n", "{}", "[1]", "x" * 190, "#", ";", "a;b",
    "../x", "%s", "$(id)", "\ufeffbom", "<null>x", "user_id",
)  # fmt: skip
FORMATS = [
    ExportFormat(format="parquet"),
    ExportFormat(format="csv", null_token="<none>"),
    ExportFormat(format="csv", null_token="", compression="gzip"),
    ExportFormat(format="csv", null_token="<null>", compression="zstd", formulas="escape"),
    ExportFormat(format="jsonl"),
    ExportFormat(format="jsonl", compression="gzip"),
    ExportFormat(format="jsonl", compression="zstd"),
]


def receivers_check() -> Callable[[str], str | None]:
    """`main` of the script that the documentation gives to receivers."""
    spec = importlib.util.spec_from_file_location("verify_export", ROOT / "docs" / "verify_export.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    main: Callable[[str], str | None] = script.main
    return main


def name_of(format_: ExportFormat) -> str:
    return f"{format_.suffix.removeprefix('.')} {format_.formulas}"


def naughty_rows() -> list[dict[str, Any]]:
    """Each text as an id, and other values at their limits; texts are neither empty nor a null token."""
    return [
        {
            "user_id": text,
            "note": None if k % 5 == 0 else NAUGHTY[-k],
            "n": [None, 0, -(2**63), 2**63 - 1][k % 4],
            "share": [None, -0.0, 0.1 + 0.2, 5e-324, 1.7976931348623157e308, 1e22][k % 6],
            "ok": [None, True, False][k % 3],
            "born": [None, date(1, 1, 1), date(9999, 12, 31)][k % 3],
            "seen": [None, datetime(1, 1, 1, tzinfo=UTC), datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=UTC)][k % 3],
        }
        for k, text in enumerate(NAUGHTY)
    ]


@dataclasses.dataclass
class Lake:
    """An audience with versions."""

    s3: S3Access
    folder: Path
    store: IcebergVersionStore
    ref: AudienceRef

    def publish(self, rows: list[dict[str, Any]], schema: RowSchema, order: str, partitions: int = 4) -> PinnedVersion:
        parts = Parts(self.s3).write(self.ref, new_id(), rows, schema, partitions=partitions)
        self.store.publish(request(self.ref, parts, order, row_schema=schema, partitions=partitions))
        info = self.store.current(self.ref)
        assert info is not None
        return self.pinned(info.version)

    def pinned(self, version: int) -> PinnedVersion:
        number = Version(version)
        return PinnedVersion(info=self.store.version(self.ref, number), parts=tuple(self.store.files(self.ref, number)))

    def export(self, version: PinnedVersion, format_: ExportFormat, to: str, **options: Any) -> Manifest:
        order = ExportOrder(
            export_id=options.pop("export_id", new_id()),
            tenant="acme",
            audience="vip",
            version=version,
            format=format_,
            created_at="2026-11-25T00:00:00Z",
            **options,
        )
        return export(order, destination(to, self.s3), s3=self.s3, limits=limits(self.folder))

    def check(self, to: str) -> tuple[Manifest, Difference | None]:
        """Check as a receiver who has only the address of the manifest."""
        with read_manifest(f"{to}/manifest.json", self.s3, self.folder / "received") as (manifest, files):
            return manifest, check(manifest, files, limits=ParseLimits())


@pytest.fixture
def lake(s3: S3Access, store: IcebergVersionStore, tmp_path: Path) -> Lake:
    return Lake(s3, tmp_path, store, audience())


@pytest.mark.parametrize("format_", FORMATS, ids=name_of)
@pytest.mark.parametrize("where", ["local", "s3"])
def test_export_of_unusual_values_verifies_and_round_trips(lake: Lake, format_: ExportFormat, where: str) -> None:
    version = lake.publish(naughty_rows(), KINDS, "1")
    to = str(lake.folder / "out") if where == "local" else f"s3://{BUCKET}/exports/{new_id()}"
    made = lake.export(version, format_, to)
    manifest, difference = lake.check(to)
    assert (difference, manifest) == (None, made)
    if where == "local":
        assert receivers_check()(f"{to}/manifest.json") is None
    assert (manifest.rows, manifest.digest, len(manifest.files)) == (len(NAUGHTY), version.info.digest, 1)
    assert manifest.files[0].min == min(NAUGHTY, key=lambda text: text.encode())
    if where == "local" and format_.formulas == "as-is":
        found = parse_file(lake.folder / "out" / manifest.files[0].key, spec=import_spec(manifest))
        assert (found.rejects, len(found.rows)) == ([], len(NAUGHTY))


def test_snapshot_manifest_contains_the_rule_hash(lake: Lake) -> None:
    version = lake.publish([{"user_id": "ann"}], RowSchema(), "1")
    to = str(lake.folder / "out")
    rule = SegmentRule(segment=AudienceName("buyers"), rule_version=2, rule_hash="ab" * 32, as_of=AT)
    snapshot = dataclasses.replace(version, info=dataclasses.replace(version.info, rule=rule))
    assert lake.export(snapshot, FORMATS[0], to).rule_hash == "ab" * 32
    assert lake.check(to)[0].rule_hash == "ab" * 32
    assert lake.export(version, FORMATS[0], to + "-of-a-file").rule_hash is None


def test_large_version_is_split_near_the_target_size(lake: Lake) -> None:
    rows = [{"user_id": f"user-{n:07d}"} for n in range(200_000)]
    version = lake.publish(rows, RowSchema(), "1")
    to = lake.folder / "out"
    manifest = lake.export(version, ExportFormat(format="csv", null_token="<none>"), str(to), target_bytes=300_000)
    assert len(manifest.files) == 4
    assert all(file.bytes >= 300_000 for file in manifest.files)
    assert lake.check(str(to))[1] is None
    (counted,) = duckdb.sql(f"SELECT count(DISTINCT user_id) FROM read_csv('{to}/*.csv')").fetchall()
    assert counted == (200_000,)


def test_delta_turns_its_base_into_its_version(lake: Lake) -> None:
    kept = [{"user_id": f"k{n}", "share": 0.5} for n in range(50)]
    schema = RowSchema(columns=(Column(name="share", type="double"),))
    base = lake.publish([*kept, {"user_id": "gone", "share": None}, {"user_id": "zero", "share": 0.0}], schema, "1")
    new = lake.publish([*kept, {"user_id": "new", "share": 1.0}, {"user_id": "zero", "share": -0.0}], schema, "2")
    manifest = lake.export(new, ExportFormat(format="jsonl"), str(lake.folder / "out"), base=base)
    assert lake.check(str(lake.folder / "out"))[1] is None
    assert receivers_check()(str(lake.folder / "out" / "manifest.json")) is None
    rows = {
        file.change: [json.loads(line)["user_id"] for line in (lake.folder / "out" / file.key).read_text().splitlines()]
        for file in manifest.files
    }
    assert rows == {"added": ["new", "zero"], "removed": ["gone", "zero"]}
    assert manifest.delta is not None
    assert manifest.delta.digest - manifest.total("removed") + manifest.total("added") == new.info.digest


def test_empty_delta_and_empty_export_have_no_files(lake: Lake) -> None:
    first = lake.publish([{"user_id": "u"}], RowSchema(), "1")
    second = lake.publish([{"user_id": "u"}], RowSchema(), "2")
    assert lake.export(second, FORMATS[0], str(lake.folder / "d"), base=first).files == ()
    assert lake.check(str(lake.folder / "d"))[1] is None
    empty = lake.publish([], RowSchema(), "3")
    assert lake.export(empty, FORMATS[0], str(lake.folder / "n")).files == ()
    assert lake.check(str(lake.folder / "n"))[1] is None


def test_two_versions_are_compared_value_by_value(lake: Lake) -> None:
    schema = RowSchema(columns=(Column(name="share", type="double"),))
    values = {"both": 0.5, "zero": 0.0, "null": None, "gone": 1.0, "went": 1.0}
    later = {"both": 0.5, "zero": -0.0, "null": 2.0, "new": 1.0}
    old, new = (
        lake.publish([{"user_id": user, "share": share} for user, share in rows.items()], schema, order)
        for order, rows in (("1", values), ("2", later))
    )
    found = compare(old, new, s3=lake.s3, limits=limits(lake.folder), sample=Sample(size=1))
    counts = found.counts
    assert (counts.added, counts.removed, counts.updated, counts.kept) == (1, 2, 2, 3)
    assert found.sample == {"added": ("new",), "removed": ("gone",), "changed": ("null",)}
    wanted = Sample(size=1, after="null", kinds=("changed",), values=True)
    rest = compare(old, new, s3=lake.s3, limits=limits(lake.folder), sample=wanted)
    assert (rest.counts, rest.sample) == (counts, {"changed": ("zero",)})
    assert repr(rest.changes[0].columns) == "{'share': (0.0, -0.0)}"


def test_changed_members_are_listed_with_both_values(lake: Lake) -> None:
    schema = RowSchema(columns=tuple(Column(name=f"a_{kind}", type=kind) for kind in get_args(ColumnType)))
    seen, born = datetime(2026, 11, 25, 9, 0, 0, 1, tzinfo=UTC), date(1990, 2, 28)
    full = {"string": "x" * 300, "long": 2**60, "double": math.nan, "boolean": True, "date": born, "timestamp": seen}
    values = [
        {"user_id": "o'b", **{column.name: full[column.type] if given else None for column in schema.columns}}
        for given in (False, True)
    ]
    same = {"user_id": "same", **{column.name: full[column.type] for column in schema.columns}}
    old, new = (lake.publish([same, row], schema, str(order)) for order, row in enumerate(values, start=1))
    wanted = Sample(size=9, after="n'", values=True)
    [change] = compare(old, new, s3=lake.s3, limits=limits(lake.folder), sample=wanted).changes
    shown = {**full, "string": "x" * 200 + "…", "double": "nan", "date": "1990-02-28"}
    shown |= {"timestamp": "2026-11-25T09:00:00.000001+00:00"}
    assert change.user == "o'b"
    assert change.columns == {column.name: (None, shown[column.type]) for column in schema.columns}


def test_concurrent_readers_spill_into_separate_folders(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB gives its files fixed names: two connections with one folder would overwrite each other's."""
    version = lake.publish([{"user_id": f"user-{n}"} for n in range(100)], RowSchema(), "1")
    given: list[Path] = []

    def spying(limits: DuckLimits, s3: S3Access | None = None) -> duckdb.DuckDBPyConnection:
        given.append(limits.temp_directory)
        return connect(limits, s3)

    for reading in (taking, comparing):
        monkeypatch.setattr(reading, "connect", spying)
    shape, bounds = Shape(version=version), limits(lake.folder)
    with ExitStack() as readers:
        for group in full_groups(version, group_bytes=1):
            found = selected_rows(shape, group, s3=lake.s3, limits=bounds, accounts=[], stages=Stages())
            readers.enter_context(closing(found))
            next(found)
        compare(version, version, s3=lake.s3, limits=bounds, sample=Sample(size=1))
        assert len(set(given)) == len(given) == 5
    assert list(bounds.temp_directory.iterdir()) == []


def test_delta_between_versions_with_different_columns_is_refused(lake: Lake) -> None:
    base = lake.publish([{"user_id": "u"}], RowSchema(), "1")
    other = dataclasses.replace(base, info=dataclasses.replace(base.info, row_schema=KINDS))
    assert code_of(UserError, lambda: lake.export(base, FORMATS[0], str(lake.folder / "x"), base=other)) == (
        "SCHEMA_MISMATCH"
    )


@pytest.mark.parametrize("format_", FORMATS, ids=name_of)
def test_repeated_export_has_equal_bytes(lake: Lake, format_: ExportFormat) -> None:
    version = lake.publish(naughty_rows(), KINDS, "1")
    identity = new_id()
    for to in ("a", "b"):
        lake.export(version, format_, str(lake.folder / to), export_id=identity)
    a, b = ({p.name: p.read_bytes() for p in (lake.folder / to).iterdir()} for to in ("a", "b"))
    assert a == b
    assert len(a) == 2


@pytest.mark.parametrize("where", ["local", "s3"])
def test_export_is_never_replaced_and_the_losing_racer_removes_its_files(
    lake: Lake, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = lake.publish(naughty_rows(), KINDS, "1")
    to = str(lake.folder / "out") if where == "local" else f"s3://{BUCKET}/exports/{new_id()}"
    first = lake.export(version, FORMATS[0], to)
    assert code_of(UserError, lambda: lake.export(version, FORMATS[1], to)) == "DESTINATION_EXISTS"
    # both look before either has written
    monkeypatch.setattr("connectors.sinks.exporting.require_free", lambda *_: None)
    assert code_of(UserError, lambda: lake.export(version, FORMATS[1], to)) == "DESTINATION_EXISTS"
    assert lake.check(to) == (first, None)
    if where == "local":
        names = {path.name for path in Path(to).iterdir()}
    else:
        prefix = to.removeprefix(f"s3://{BUCKET}/")
        listed = lake.s3.client().list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]
        names = {entry["Key"].rpartition("/")[2] for entry in listed}
    assert names == {"manifest.json", first.files[0].key}


def test_files_with_another_digest_get_no_manifest(lake: Lake) -> None:
    version = lake.publish(naughty_rows(), KINDS, "1")
    lying = dataclasses.replace(
        version,
        info=dataclasses.replace(version.info, digest=version.info.digest + Digest(schema_id=KINDS.schema_id, sum0=1)),
    )
    assert code_of(FatalError, lambda: lake.export(lying, FORMATS[0], str(lake.folder / "out"))) == "EXPORT_MISMATCH"
    assert list((lake.folder / "out").iterdir()) == []


def test_unreadable_manifest_is_not_written(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    version = lake.publish([{"user_id": f"u{n}"} for n in range(20)], RowSchema(), "1")
    monkeypatch.setattr("connectors.sinks.exporting.MAX_MANIFEST_BYTES", 1_000)
    act = lambda: lake.export(version, FORMATS[0], str(lake.folder / "out"), target_bytes=1)  # noqa: E731
    assert code_of(UserError, act) == "TOO_MANY_PARTITIONS"
    assert list((lake.folder / "out").iterdir()) == []


def test_full_scratch_disk_is_reported_by_a_check(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    version = lake.publish([{"user_id": "u"}], RowSchema(), "1")
    to = f"s3://{BUCKET}/exports/{new_id()}"
    lake.export(version, FORMATS[0], to)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(lake.s3.client(), "download_file", full)
    assert code_of(RetriableError, lambda: lake.check(to)) == "SCRATCH_FULL"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RetriableError("LAKE_UNAVAILABLE", "gone")], ids=repr)
@pytest.mark.parametrize("whole", [False, True])
def test_interrupted_export_removes_its_files_unless_its_manifest_exists(
    lake: Lake, error: BaseException, *, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = lake.publish([{"user_id": f"u{n}"} for n in range(20)], RowSchema(), "1")
    put = LocalFolder.put_manifest

    def interrupted(to: LocalFolder, data: bytes) -> bool:
        if whole:
            put(to, data)
        raise error

    monkeypatch.setattr(LocalFolder, "put_manifest", interrupted)
    with pytest.raises(type(error)):
        lake.export(version, FORMATS[0], str(lake.folder / "out"), target_bytes=1)
    left = list((lake.folder / "out").iterdir())
    assert len(left) == (5 if whole else 0)
    assert not whole or lake.check(str(lake.folder / "out"))[1] is None


def test_values_unsupported_by_a_format_are_refused(lake: Lake) -> None:
    version = lake.publish(
        [{"user_id": "u", "note": "\\N"}, {"user_id": "=1", "note": ""}], RowSchema(columns=(Column(name="note"),)), "1"
    )

    def to(format_: ExportFormat) -> Callable[[], Manifest]:
        return lambda: lake.export(version, format_, str(lake.folder / "out"))

    assert code_of(UserError, to(ExportFormat(format="csv", null_token="\\N"))) == "NULL_TOKEN_TAKEN"
    assert code_of(UserError, to(ExportFormat(format="csv", null_token=""))) == "NULL_TOKEN_TAKEN"
    refusing = ExportFormat(format="csv", null_token="<null>", formulas="refuse")
    assert code_of(UserError, to(refusing)) == "FORMULA_FOUND"
    assert list((lake.folder / "out").iterdir()) == []
    taken = dataclasses.replace(refusing, formulas="as-is")
    assert lake.export(version, taken, str(lake.folder / "out")).formulas_found == 1


@pytest.mark.parametrize(
    ("type_", "value", "token"),
    [
        ("long", 0, "0"),
        ("double", 0.5, "0.5"),
        ("boolean", True, "true"),
        ("date", date(2026, 11, 25), "2026-11-25"),
        ("timestamp", datetime(2026, 11, 25, tzinfo=UTC), "2026-11-25T00:00:00.000000Z"),
    ],
)
def test_value_written_as_the_null_token_is_refused(lake: Lake, type_: ColumnType, value: object, token: str) -> None:
    schema = RowSchema(columns=(Column(name="value", type=type_),))
    version = lake.publish([{"user_id": "u", "value": value}, {"user_id": "v", "value": None}], schema, "1")
    taken = ExportFormat(format="csv", null_token=token)
    assert code_of(UserError, lambda: lake.export(version, taken, str(lake.folder / "out"))) == "NULL_TOKEN_TAKEN"


def test_an_id_without_room_for_an_apostrophe_is_refused(lake: Lake) -> None:
    version = lake.publish([{"user_id": "=" * 191}], RowSchema(), "1")
    escaping = ExportFormat(format="csv", null_token="", formulas="escape")
    assert code_of(UserError, lambda: lake.export(version, escaping, str(lake.folder / "out"))) == "ID_TOO_LONG"


def test_row_that_no_import_accepts_is_named(lake: Lake) -> None:
    version = lake.publish([{"user_id": "u1"}, {"user_id": "u2"}], RowSchema(), "1")
    manifest = lake.export(version, ExportFormat(format="csv", null_token=""), str(lake.folder / "out"))
    file, path = lake.folder / "out" / manifest.files[0].key, lake.folder / "out" / "manifest.json"
    file.write_text("user_id\nu1\n  \n")
    text = path.read_text().replace(manifest.files[0].sha256, hashlib.sha256(file.read_bytes()).hexdigest())
    path.write_text(text.replace(f'"bytes": {manifest.files[0].bytes}', f'"bytes": {file.stat().st_size}'))
    _, difference = lake.check(str(lake.folder / "out"))
    assert difference is not None
    assert (difference.what, "ROW_REFUSED: row 1: id_blank" in str(difference)) == ("content", True)


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda text: text.replace("u2,2", "u2,3"), "sha256"),
        (lambda text: text + "u9,9\n", "bytes"),
        (lambda text: text.replace("u2,2\n", ""), "bytes"),
    ],
    ids=["changed", "added", "lost"],
)
def test_changed_file_is_named_with_the_difference(lake: Lake, damage: Callable[[str], str], what: str) -> None:
    schema = RowSchema(columns=(Column(name="n", type="long"),))
    version = lake.publish([{"user_id": f"u{n}", "n": n} for n in range(5)], schema, "1")
    manifest = lake.export(version, ExportFormat(format="csv", null_token=""), str(lake.folder / "out"))
    file = lake.folder / "out" / manifest.files[0].key
    file.write_text(damage(file.read_text()))
    _, difference = lake.check(str(lake.folder / "out"))
    assert difference is not None
    assert (difference.key, difference.what) == (file.name, what)


def test_forged_manifest_is_detected_by_the_rows(lake: Lake) -> None:
    """Bytes and hash are forged to match, but the rows still differ from their digest."""
    schema = RowSchema(columns=(Column(name="n", type="long"),))
    version = lake.publish([{"user_id": f"u{n}", "n": n} for n in range(5)], schema, "1")
    manifest = lake.export(version, ExportFormat(format="csv", null_token=""), str(lake.folder / "out"))
    file = lake.folder / "out" / manifest.files[0].key
    file.write_text(file.read_text().replace("u2,2", "u2,3"))
    path = lake.folder / "out" / "manifest.json"
    path.write_text(path.read_text().replace(manifest.files[0].sha256, hashlib.sha256(file.read_bytes()).hexdigest()))
    _, difference = lake.check(str(lake.folder / "out"))
    assert difference is not None
    assert (difference.key, difference.what) == (file.name, "digest")
    assert "digest differs" in str(receivers_check()(str(path)))


@pytest.mark.parametrize(
    ("field", "value"),
    [("rows", 4), ("bytes", 1), ("min", "a"), ("max", "z"), ("sha256", "0" * 64)],
)
def test_forged_manifest_line_is_detected_by_receivers(lake: Lake, field: str, value: object) -> None:
    version = lake.publish([{"user_id": f"u{n}"} for n in range(5)], RowSchema(), "1")
    lake.export(version, ExportFormat(format="csv", null_token=""), str(lake.folder / "out"))
    path = lake.folder / "out" / "manifest.json"
    record = json.loads(path.read_text())
    assert receivers_check()(str(path)) is None
    record["files"][0][field] = value
    path.write_text(json.dumps(record))
    assert "differ" in str(receivers_check()(str(path)))


def test_long_text_is_accepted_by_receivers(lake: Lake) -> None:
    version = lake.publish([{"user_id": "u", "note": "x" * 200_000}], RowSchema(columns=(Column(name="note"),)), "1")
    lake.export(version, ExportFormat(format="csv", null_token=""), str(lake.folder / "out"))
    assert receivers_check()(str(lake.folder / "out" / "manifest.json")) is None


def test_missing_file_is_named(lake: Lake) -> None:
    version = lake.publish([{"user_id": "u"}], RowSchema(), "1")
    manifest = lake.export(version, FORMATS[0], str(lake.folder / "out"))
    (lake.folder / "out" / manifest.files[0].key).unlink()
    _, difference = lake.check(str(lake.folder / "out"))
    assert difference is not None
    assert (difference.key, difference.what) == (manifest.files[0].key, "file")


def test_finished_export_can_be_finished_again_only_under_its_id(lake: Lake) -> None:
    """The end was written, but the job died before it could record that."""
    version = lake.publish([{"user_id": "u"}, {"user_id": "v"}], RowSchema(), "1")
    order = ExportOrder(
        export_id=new_id(),
        tenant="acme",
        audience="vip",
        version=version,
        format=FORMATS[0],
        created_at="2026-11-25T00:00:00Z",
    )
    to = destination(f"s3://{BUCKET}/exports/{new_id()}", lake.s3)
    groups = [write_group(order, group, to, s3=lake.s3, limits=limits(lake.folder)) for group in order.groups()]
    kept = [from_record(GroupWritten, json.loads(json.dumps(as_record(group)))) for group in groups]
    assert kept == groups
    assert finish(order, kept, to) == finish(order, kept, to)
    require_free(order, to)
    other = dataclasses.replace(order, export_id=new_id())
    assert code_of(UserError, lambda: finish(other, kept, to)) == "DESTINATION_EXISTS"
    assert code_of(UserError, lambda: require_free(other, to)) == "DESTINATION_EXISTS"


def test_delta_beyond_memory_is_computed_in_slices(lake: Lake) -> None:
    rows = [{"user_id": f"user-{n}", "share": n / 3} for n in range(3_000)]
    schema = RowSchema(columns=(Column(name="share", type="double"),))
    base = lake.publish(rows[:2_000], schema, "1")
    new = lake.publish(
        [{**row, "share": 0.5} if n % 7 == 0 else row for n, row in enumerate(rows)][1_000:], schema, "2"
    )
    [group] = delta_groups(new, base, group_bytes=10**9)
    found = []
    for memory_bytes, sliced in ((10**9, False), (2**16, True)):
        statements = group.preparation(schema, memory_bytes)
        assert (len(statements) > 1) == sliced
        with connect(limits(lake.folder), lake.s3) as connection:
            for statement in statements:
                connection.execute(statement)
            queries = [selection.sql for selection in group.selections(schema)]
            found.append([connection.execute(query).fetchall() for query in queries])
            everyone = connection.execute("SELECT count(*) FROM _delta").fetchall()
        assert everyone == [(2_000 + sum(n % 7 == 0 for n in range(1_000, 2_000)),)]
    assert found[0] == found[1]
    changed = sum(n % 7 == 0 for n in range(1_000, 2_000))
    assert [len(change) for change in found[0]] == [1_000 + changed, 1_000 + changed]


def test_delta_of_equally_partitioned_versions_is_computed_by_partition(lake: Lake) -> None:
    rows = [{"user_id": f"user-{n}"} for n in range(3_000)]
    base = lake.publish(rows[:2_000], RowSchema(), "1")
    new = lake.publish(rows[1_000:], RowSchema(), "2")
    assert len(delta_groups(new, base, group_bytes=1)) == 4
    assert len(delta_groups(new, base, group_bytes=10**9)) == 1
    cut_otherwise = lake.publish(rows[:1_500], RowSchema(), "3", partitions=3)
    assert len(delta_groups(cut_otherwise, base, group_bytes=1)) == 1
    for group_bytes in (1, 10**9):
        made = lake.export(new, FORMATS[0], str(lake.folder / str(group_bytes)), base=base, target_bytes=group_bytes)
        assert (made.total("added").count, made.total("removed").count) == (1_000, 1_000)
        assert lake.check(str(lake.folder / str(group_bytes)))[1] is None

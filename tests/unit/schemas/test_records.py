"""Records that earlier releases have stored are read, and written as they were."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, Literal, cast

import pytest

from connectors.publishing.reports import PublishReport
from connectors.sinks.exporting import GroupWritten
from connectors.sinks.topic_export import GroupSent
from connectors.sources.job import ParseJob, ParseProgress, ParseSummary
from connectors.storage.pinned import SourceObject
from connectors.verification.evidence import Evidence
from orchestration.catalog.records import Job, JobError, Lease, PartitionProgress, Retention
from orchestration.kinds.builds import CutAsked, LogStart, VersionBuild
from orchestration.kinds.materialised import as_row, from_row
from orchestration.local.status import PartStatus
from orchestration.records.questions import Outside
from schemas.columns import Column
from schemas.digest import Digest
from schemas.errors import FatalError, UserError
from schemas.ids import Attempt, JobId, Version
from schemas.import_spec import ImportSpec
from schemas.records import as_record, fields_record, from_record
from segmentation.versions import AudienceRef, MembershipCounts, Part, SegmentRule

JOB: Final = "01jd0000000000000000000000"
TWO: Final = "0123456789abcdef:2:00000000000000ff:ffffffffffffffff"
NONE: Final = "0123456789abcdef:0:0000000000000000:0000000000000000"
ACCOUNT: Final = {"kept": TWO, "filtered": NONE, "suppressed": NONE, "exported": TWO}
FILE: Final = {"key": "a=1/0.csv", "rows": 2, "bytes": 30, "sha256": "ab12", "digest": TWO, "min": "a", "max": "z"}
PART: Final = {"uri": "s3://lake/a.parquet", "rows": 2, "bytes": 30, "digest": TWO, "partition": None}
SOURCE: Final = {
    "bucket": "inbox",
    "key": "acme/vip/a.csv",
    "version_id": None,
    "etag": '"e"',
    "size": 12,
    "last_modified": "2026-11-25T09:00:00+00:00",
}
EVIDENCE: Final = {
    "rows": 3,
    "accepted": 2,
    "rejected": 1,
    "rejected_by_code": {"BAD_VALUE": 1},
    "partitions": [TWO, NONE],
    "source_bytes": 90,
    "decoded_bytes": 180,
    "schema_id": "0123456789abcdef",
}
SENT: Final = {
    "export_id": JOB,
    "attempt": 1,
    "group": 2,
    "rows": 2,
    "bytes": 100,
    "partitions": [{"chunks": 1, "digest": TWO, "removed": NONE}],
    "accounts": [{"change": "added", **ACCOUNT}],
}
RULE: Final = {"segment": "vip", "rule_version": 2, "rule_hash": "ab", "as_of": "2026-11-25T09:00:00.000001+00:00"}
COUNTS: Final = {"base": 9, "added": 2, "removed": 1, "kept": 8, "members": 10, "updated": None, "base_version": 4}
CUT: Final = {"cut_id": JOB, "at_us": 1_764_061_200_000_000, "rule_version": 2, "rule_hash": "ab"}
ERROR: Final = {"kind": "user", "code": "NO", "message": "no", "detail": {"columns": ["a"], "share": 0.5, "of": {}}}
REPORT: Final = {
    "import_id": JOB,
    "attempt": 1,
    "topic": "users",
    "rows": 2,
    "bytes": 300,
    "partitions": [{"partition": 0, "chunks": 2, "records": 2, "digest": TWO, "end_offset": -1}],
}
STATUS: Final = {
    "name": "kafka",
    "state": "ready",
    "pid": 12,
    "ports": [9092, 9093],
    "restarts": 1,
    "since": "2026-11-25T09:00:00+00:00",
    "log": "/home/kafka.log",
    "error": {"kind": "fatal", "code": "PORT_TAKEN", "message": "port 9092 is taken", "detail": {"port": 9092}},
}
SUMMARY: Final = {
    "rows": 3,
    "accepted": 2,
    "rejected": 1,
    "rejected_by_code": {"id_empty": 1},
    "source_bytes": 9,
    "decoded_bytes": 9,
    "format": "csv",
    "compression": "none",
    "lacking": None,
    "part": None,
}
STORED: Final[tuple[tuple[type[Any], Mapping[str, Any]], ...]] = (
    (Evidence, EVIDENCE),
    (SourceObject, SOURCE),
    (SourceObject, {**SOURCE, "version_id": "v", "last_modified": "2026-11-25T09:00:00.123000+02:00"}),
    (Part, PART),
    (Part, {**PART, "partition": 0}),
    (SegmentRule, RULE),
    (MembershipCounts, COUNTS),
    (MembershipCounts, {**COUNTS, "updated": 0, "base_version": None}),
    (GroupSent, SENT),
    (GroupWritten, {"files": [FILE, {**FILE, "change": "removed"}], "formulas": 1, "accounts": [ACCOUNT]}),
    (PublishReport, REPORT),
    (Retention, {"versions": 10, "days": 30}),
    (JobError, ERROR),
    (LogStart, {"since": [0, 12, 7]}),
    (CutAsked, CUT),
    (Outside, {"audience": "vip", "version": 3, "users": 12}),
    (PartStatus, STATUS),
    (ParseProgress, {"source_bytes": 3, "source_size": None, "rows": 1, "rejected": 0}),
    (ParseSummary, SUMMARY),
)


BUILT: Final = {
    "attempt": 2,
    "base_version": 4,
    "parts": [PART, {**PART, "partition": 0}],
    "columns": [{"name": "age", "type": "long"}],
    "counts": COUNTS,
}
LOG_POSITION: Final = {"partition": 0, "at_us": 5, "events": 5, "profiles": 6, "activations": 1, "changes": 8}
SNAPSHOT: Final = {
    "asked": CUT,
    "rule": RULE,
    "cuts": [LOG_POSITION],
    "outside": [{"audience": "vip", "users": 12}],
    "known_only_by": [],
}


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    digest: Digest
    digests: tuple[Digest, ...] = ()
    mode: Literal["a", "b"] = "a"
    colour: Colour = Colour.RED
    share: float = 0.0
    folder: Path = Path("/tmp")
    counts: Mapping[str, int] | None = None
    columns: tuple[Column, ...] = ()


SAMPLE: Final = {"digest": TWO}


@pytest.mark.parametrize(("cls", "record"), STORED, ids=lambda value: getattr(value, "__name__", ""))
def test_stored_record_round_trips(cls: type[Any], record: Mapping[str, Any]) -> None:
    value = from_record(cls, json.loads(json.dumps(record)))
    assert type(value) is cls
    assert json.loads(json.dumps(as_record(value))) == record


@pytest.mark.parametrize(("cls", "record"), STORED, ids=lambda value: getattr(value, "__name__", ""))
def test_unknown_keys_are_ignored(cls: type[Any], record: Mapping[str, Any]) -> None:
    assert from_record(cls, {**record, "of_a_later_release": 1}) == from_record(cls, record)


def test_version_json_bytes_are_stable() -> None:
    compact = [
        json.dumps(as_record(value), separators=(",", ":"))
        for value in (from_record(MembershipCounts, COUNTS), from_record(SegmentRule, RULE))
    ]
    assert compact == [
        '{"base":9,"added":2,"removed":1,"kept":8,"members":10,"updated":null,"base_version":4}',
        '{"segment":"vip","rule_version":2,"rule_hash":"ab","as_of":"2026-11-25T09:00:00.000001+00:00"}',
    ]


@pytest.mark.parametrize(
    ("cls", "record", "expected"),
    [
        (MembershipCounts, {k: COUNTS[k] for k in ("base", "added", "removed", "kept", "members")}, (0, None)),
        (GroupWritten, {"files": []}, (0, ())),
    ],
)
def test_missing_keys_take_their_defaults(cls: type[Any], record: Mapping[str, Any], expected: tuple[Any, ...]) -> None:
    value = from_record(cls, record)
    names = ("updated", "base_version") if cls is MembershipCounts else ("formulas", "accounts")
    assert tuple(getattr(value, name) for name in names) == expected


def test_a_lease_is_stored_with_the_fields_of_its_audience() -> None:
    record = {"audience_id": JOB, "tenant": "acme", "audience": "vip", "version": 4}
    lease = Lease.from_record(json.loads(json.dumps(record)))
    assert lease.audience == from_record(AudienceRef, record)
    assert lease.version == Version(4)
    assert as_record(lease) == record


@pytest.mark.parametrize("record", [BUILT, {**BUILT, "parts": [], "columns": [], "counts": None, **SNAPSHOT}])
def test_a_build_is_stored_with_the_fields_of_its_snapshot(record: Mapping[str, Any]) -> None:
    build = VersionBuild.of(cast(Job, SimpleNamespace(build=json.loads(json.dumps(record)))))
    assert build is not None
    assert (build.snapshot is not None) == ("rule" in record)
    assert json.loads(json.dumps(as_record(build))) == record


def test_build_without_counts_of_unknown_members_is_read() -> None:
    record = {**BUILT, **SNAPSHOT}
    del record["outside"], record["known_only_by"]
    build = VersionBuild.of(cast(Job, SimpleNamespace(build=record)))
    assert build is not None
    assert build.snapshot is not None
    assert (build.snapshot.outside, build.snapshot.known_only_by) == (None, None)


@pytest.mark.parametrize(
    ("materialised", "record"),
    [
        (
            True,
            {
                "partitions": 4,
                "chunks": 2,
                "records": 2,
                "digest": TWO,
                "distinct": 2,
                "distinct_digest": TWO,
                "part": None,
                "part_bytes": 0,
            },
        ),
        (
            False,
            {
                "partitions": 4,
                "reason": "2 chunks are missing",
                "missing_count": 2,
                "missing": [3, 5],
                "expected": TWO,
                "actual": NONE,
            },
        ),
    ],
)
def test_an_announcement_is_stored_without_the_columns_of_its_row(
    materialised: bool,  # noqa: FBT001  # a parameter of the test
    record: dict[str, Any],
) -> None:
    row = PartitionProgress(
        job_id=JobId(JOB), attempt=Attempt(1), partition=3, materialised=materialised, record=record, at_ms=5
    )
    assert as_row(from_row(row), 5) == row
    # A snapshot's row also has the position of its cut.
    assert as_row(from_row(replace(row, record={**record, "cut": {"events": 1}})), 5) == row


def test_parse_job_round_trips() -> None:
    spec = ImportSpec(columns=(Column(name="age", type="long"), Column(name="seen", source="Last seen")), format="csv")
    job = from_record(
        ParseJob,
        {
            "spec": spec.as_record(),
            "limits": {"memory_bytes": 1, "cpu_s": 2},
            "format": "csv",
            "compression": "gzip",
            "source_size": 3,
            "received_at_us": 4,
        },
    )
    assert (job.spec, job.limits.cpu_s, job.choose, job.partitions) == (spec, 2.0, False, None)
    assert from_record(ParseJob, json.loads(json.dumps(as_record(job)))) == job


def test_scalars_are_texts() -> None:
    digest = Digest.parse(TWO)
    value = Sample(digest=digest, digests=(digest,), counts={"a": 1}, folder=Path("/work"))
    record = {
        "digest": TWO,
        "digests": [TWO],
        "mode": "a",
        "colour": "red",
        "share": 0.0,
        "folder": "/work",
        "counts": {"a": 1},
        "columns": [],
    }
    assert as_record(value) == record
    assert type(as_record(value)["colour"]) is str
    assert from_record(Sample, record) == value


def test_custom_records_are_used_at_any_depth() -> None:
    sent = from_record(GroupSent, SENT)
    assert as_record(sent)["rows"] == 2
    assert "rows" not in fields_record(sent)


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({}, "Object missing required field `digest`"),
        ([], "Expected `object`, got `array`"),
        (None, "Expected `object`, got `null`"),
        ({"digest": 1}, "Expected `str`, got `int` - at `$.digest`"),
        ({**SAMPLE, "digests": [TWO, "ann@example.com"]}, "Expected a digest - at `$.digests[1]`"),
        ({**SAMPLE, "mode": "o'hara"}, "Invalid enum value - at `$.mode`"),
        ({**SAMPLE, "colour": 'ann\'s "blue"\n'}, "Invalid enum value - at `$.colour`"),
        ({**SAMPLE, "share": "1"}, "Expected `float`, got `str` - at `$.share`"),
        ({**SAMPLE, "folder": None}, "Expected `str`, got `NoneType` - at `$.folder`"),
        ({**SAMPLE, "counts": {"ann@example.com": True}}, "Expected `int`, got `bool` - at `$.counts[...]`"),
        ({**SAMPLE, "columns": [{"name": "a", "type": "text"}]}, "Invalid enum value - at `$.columns[0].type`"),
    ],
)
def test_invalid_record_is_refused_by_path_without_its_value(record: object, why: str) -> None:
    with pytest.raises(FatalError) as caught:
        from_record(Sample, record)
    assert caught.value.code == "CORRUPT_RECORD"
    assert caught.value.message == f"a record of Sample does not fit: {why}"
    assert caught.value.detail == {"record": "Sample"}


def test_errors_raised_by_a_class_are_kept() -> None:
    with pytest.raises(FatalError, match="EVIDENCE_INCONSISTENT"):
        from_record(Evidence, {**EVIDENCE, "accepted": 3})
    with pytest.raises(UserError, match="BAD_COLUMN"):
        from_record(Sample, {**SAMPLE, "columns": [{"name": "1"}]})

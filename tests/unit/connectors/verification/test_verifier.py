from dataclasses import replace
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.sources.limits import ParseLimits
from connectors.sources.parsing import ParseProgress
from connectors.sources.rejects import REJECT_SCHEMA, Reject, RejectBatch, RejectCode
from connectors.verification.evidence import Evidence
from connectors.verification.policy import describe
from connectors.verification.rejects_file import ParquetRejects
from connectors.verification.verifier import verify_file, verify_rows
from schemas.arrow import arrow_schema
from schemas.columns import Column, RowSchema
from schemas.digest import Digest
from schemas.errors import FatalError, UserError
from schemas.import_spec import ImportSpec
from schemas.partitioning import partition_of
from schemas.records import as_record, from_record
from schemas.row_digest import digest_rows
from tests.fakes.import_log import GivenRows

IDS = ImportSpec()
ALL_ALLOWED = ImportSpec(max_reject_share=1.0, allow_empty=True)


class Bucket:
    """Target for finished rejects: keeps the bytes of the file it was given."""

    def __init__(self) -> None:
        self.content: list[bytes] = []

    def upload(self, path: Path) -> str:
        self.content.append(path.read_bytes())
        return "s3://lake/rejects/acme/job.parquet"

    def rows(self) -> list[dict[str, object]]:
        (content,) = self.content
        rows: list[dict[str, object]] = pq.read_table(pa.BufferReader(content)).to_pylist()
        return rows


def batch(*users: str) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [pa.array(range(len(users)), pa.int64()), pa.array(users, pa.string())],
        schema=arrow_schema(RowSchema(), ordinal=True),
    )


def reject(line: int, code: RejectCode = RejectCode.ID_EMPTY) -> Reject:
    return Reject(ordinal=line - 2, line=line, byte_offset=10 * line, code=code, reason="why", raw=",x")


def verify_text(tmp_path: Path, text: str, spec: ImportSpec, bucket: Bucket, *, partitions: int = 2) -> Evidence:
    path = tmp_path / "users.csv"
    path.write_bytes(text.encode())
    with ParquetRejects(tmp_path / "rejects.parquet", bucket.upload) as rejects:
        return verify_file(
            path, spec, partitions=partitions, limits=ParseLimits(), rejects=rejects, on_progress=lambda _: None
        )


def test_a_file_is_counted_and_digested_partition_by_partition(tmp_path: Path) -> None:
    evidence = verify_text(tmp_path, "user_id\n21\nfoobar\nabc\n21\n", IDS, Bucket())
    by_partition = {p: [u for u in ("21", "foobar", "abc", "21") if partition_of(u, 2) == p] for p in (0, 1)}
    assert evidence == Evidence(
        rows=4,
        accepted=4,
        rejected=0,
        rejected_by_code={},
        partitions=tuple(digest_rows(batch(*by_partition[p]), RowSchema()) for p in (0, 1)),
        source_bytes=25,
        decoded_bytes=25,
        schema_id="a3587de89cabb13b",
    )
    assert by_partition == {0: ["21", "foobar", "21"], 1: ["abc"]}


def test_the_digest_covers_the_columns_of_the_spec(tmp_path: Path) -> None:
    spec = ImportSpec(columns=(Column(name="age", type="long"),))
    evidence = verify_text(tmp_path, "user_id,age,ignored\nalice,42,x\nbob,,y\ncarol,-1,z\n", spec, Bucket())
    assert str(evidence.digest) == "0e5451e8f5412cf3:3:b77c465a9cc2377d:8d59685530647177"  # docs/digest.md


def test_a_file_without_rejects_has_no_rejects_file(tmp_path: Path) -> None:
    bucket = Bucket()
    verify_text(tmp_path, "user_id\n21\n", IDS, bucket)
    assert bucket.content == []
    assert not (tmp_path / "rejects.parquet").exists()


def test_too_many_rejects_are_summarised_and_kept(tmp_path: Path) -> None:
    bucket = Bucket()
    with pytest.raises(UserError) as error:
        verify_text(tmp_path, 'user_id,age\nalice,1\n,2\nbob\nca"rol,3\n,4\n', IDS, bucket)
    assert error.value.code == "TOO_MANY_REJECTS"
    assert error.value.message.startswith(
        "4 of 5 rows were rejected (id_empty 2, bare_quote 1, field_count 1). Mostly line 3, column user_id: id_empty: "
        "the id is empty. Correct them, or allow a share of rejects with --max-reject-share, for this file or in "
        "`muster audiences configure`. Others: line 5, column "
    )
    assert error.value.message.endswith(
        "At most 0.00% are allowed (--max-reject-share). All rejects: s3://lake/rejects/acme/job.parquet"
    )
    assert [example.split(":")[0] for example in cast("list[str]", error.value.detail["examples"])] == [
        "line 3, column user_id",
        "line 5, column user_id",
        "line 4",
    ]
    assert error.value.detail["rejected_by_code"] == {"bare_quote": 1, "field_count": 1, "id_empty": 2}
    assert error.value.detail["rejects"] == "s3://lake/rejects/acme/job.parquet"
    kept = sorted((row["line"], row["code"], row["raw"]) for row in bucket.rows())
    assert kept == [
        (3, "id_empty", ",2"),
        (4, "field_count", "bob"),
        (5, "bare_quote", 'ca"rol,3'),
        (6, "id_empty", ",4"),
    ]
    assert not (tmp_path / "rejects.parquet").exists()


TIMES = ImportSpec(columns=(Column(name="seen", type="timestamp"),))


def test_times_without_an_offset_name_column_first_row_and_option(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        verify_text(tmp_path, "user_id,seen\na,\nb,2026-11-25 10:00\nc,2026-11-25T11:00:00\n", TIMES, Bucket())
    assert error.value.code == "NO_TIMEZONE"
    assert error.value.message.startswith(
        "2 of 3 rows were rejected (no_timezone 2). Mostly line 3, column seen: no_timezone: a time without an "
        "offset: give its zone with --timezone. "
    )


def test_few_times_without_an_offset_are_ordinary_rejects(tmp_path: Path) -> None:
    rows = "user_id,seen\na,2026-11-25T10:00:00Z\nb,2026-11-25T10:00:00\n,\n,\n"
    evidence = verify_text(tmp_path, rows, replace(TIMES, max_reject_share=0.75), Bucket())
    assert (evidence.accepted, evidence.rejected_by_code) == (1, {"id_empty": 2, "no_timezone": 1})
    with pytest.raises(UserError) as error:
        verify_text(tmp_path, rows, TIMES, Bucket())
    assert error.value.code == "TOO_MANY_REJECTS"
    assert "column seen: no_timezone: a time without an offset: give its zone with --timezone" in error.value.message


@pytest.mark.parametrize("share", [0.0, 0.24])
def test_more_rejects_than_the_allowed_share_of_the_rows_are_refused(tmp_path: Path, share: float) -> None:
    with pytest.raises(UserError, match="TOO_MANY_REJECTS: 1 of 4 rows"):
        verify_text(tmp_path, "user_id,x\na,1\nb,1\nc,1\n,1\n", ImportSpec(max_reject_share=share), Bucket())


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_the_allowed_share_of_rejects_passes(tmp_path: Path, share: float) -> None:
    spec = ImportSpec(max_reject_share=share)
    evidence = verify_text(tmp_path, "user_id,x\na,1\nb,1\nc,1\n,1\n", spec, Bucket())
    assert (evidence.accepted, evidence.rejected_by_code) == (3, {"id_empty": 1})


def test_share_of_rejects_is_compared_exactly(tmp_path: Path) -> None:
    rows = RejectBatch.of([reject(line) for line in range(2, 31)])
    with ParquetRejects(tmp_path / "r.parquet", str) as rejects:
        users = batch(*[f"u{n}" for n in range(71)])
        evidence = verify_rows(GivenRows(users, rows), ImportSpec(max_reject_share=0.29), partitions=1, rejects=rejects)
    assert (evidence.rows, evidence.rejected) == (100, 29)


def test_header_only_file_is_empty(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="EMPTY_FILE: the file has no rows"):
        verify_text(tmp_path, "user_id,age\n", IDS, Bucket())


def test_an_empty_file_can_be_allowed(tmp_path: Path) -> None:
    evidence = verify_text(tmp_path, "user_id,age\n", ImportSpec(allow_empty=True), Bucket(), partitions=3)
    assert (evidence.rows, evidence.partitions) == (0, (Digest(schema_id="a3587de89cabb13b"),) * 3)


def test_file_with_only_rejects_counts_as_empty(tmp_path: Path) -> None:
    bucket = Bucket()
    with pytest.raises(UserError, match="EMPTY_FILE: all 2 rows of the file are rejects: id_empty 2"):
        verify_text(tmp_path, "user_id,x\n,1\n,2\n", ImportSpec(max_reject_share=1.0), bucket)
    assert len(bucket.rows()) == 2


def test_duplicates_and_similar_ids_are_all_accepted(tmp_path: Path) -> None:
    evidence = verify_text(tmp_path, "user_id\na\na\nA\na \n\u00e9\ne\u0301\n", IDS, Bucket())
    assert evidence.accepted == 6


def test_file_fault_keeps_earlier_rejects() -> None:
    class Rejects:
        def __init__(self) -> None:
            self.lines: list[object] = []

        def write(self, rejects: RejectBatch) -> None:
            self.lines += rejects.batch.column("line").to_pylist()

        def finish(self) -> str | None:
            return "s3://lake/rejects/x.parquet"

    rows = GivenRows(RejectBatch.of([reject(5)]), fault=UserError("UNCLOSED_QUOTE", "line 9", line=9))
    rejects = Rejects()
    with pytest.raises(UserError) as error:
        verify_rows(rows, IDS, partitions=2, rejects=rejects)
    assert error.value.as_record() == {
        "kind": "user",
        "code": "UNCLOSED_QUOTE",
        "message": "line 9",
        "detail": {"line": 9, "rejects": "s3://lake/rejects/x.parquet"},
    }
    assert rejects.lines == [5]


def test_rejects_beyond_the_bound_are_counted_but_not_kept(tmp_path: Path) -> None:
    bucket = Bucket()
    rows = GivenRows(
        RejectBatch.of([reject(2), reject(3)]), RejectBatch.of([reject(4), reject(5)]), RejectBatch.of([reject(6)])
    )
    with ParquetRejects(tmp_path / "r.parquet", bucket.upload, keep=3) as rejects:
        spec = ImportSpec(max_reject_share=1.0, allow_empty=True)
        evidence = verify_rows(rows, spec, partitions=1, rejects=rejects)
    assert evidence.rejected == 5
    assert [row["line"] for row in bucket.rows()] == [2, 3, 4]
    assert pq.read_schema(pa.BufferReader(bucket.content[0])).equals(REJECT_SCHEMA)


def test_rejects_beyond_the_bound_keep_no_memory(tmp_path: Path) -> None:
    with ParquetRejects(tmp_path / "r.parquet", Bucket().upload, keep=1) as rejects:
        rejects.write(RejectBatch.of([reject(2), reject(3)]))
        before = pa.total_allocated_bytes()
        for _ in range(20):
            batch = RejectBatch.of([reject(line) for line in range(1_000)])
            size = batch.batch.get_total_buffer_size()
            rejects.write(batch)
        del batch
        assert pa.total_allocated_bytes() - before < size


def test_an_upload_that_fails_leaves_no_local_file(tmp_path: Path) -> None:
    def refuse(path: Path) -> str:
        raise OSError(path.name)

    with pytest.raises(OSError, match=r"r\.parquet"):  # noqa: SIM117  # the sink must be left by the error
        with ParquetRejects(tmp_path / "r.parquet", refuse) as rejects:
            verify_rows(GivenRows(RejectBatch.of([reject(2)])), ALL_ALLOWED, partitions=1, rejects=rejects)
    assert not (tmp_path / "r.parquet").exists()


def test_progress_is_passed_on(tmp_path: Path) -> None:
    path = tmp_path / "users.csv"
    path.write_text("user_id\na\nb\n")
    seen: list[ParseProgress] = []
    with ParquetRejects(tmp_path / "r.parquet", Bucket().upload) as rejects:
        verify_file(path, IDS, partitions=1, limits=ParseLimits(), rejects=rejects, on_progress=seen.append)
    assert (seen[-1].rows, seen[-1].rejected, seen[-1].source_bytes) == (2, 0, 12)


def test_evidence_round_trips_through_json(tmp_path: Path) -> None:
    bucket = Bucket()
    evidence = verify_text(tmp_path, "user_id,x\n21,1\n,1\nfoobar,1\n", ALL_ALLOWED, bucket)
    record = as_record(evidence)
    assert record["rejected_by_code"] == {"id_empty": 1}
    assert record["partitions"][1] == "a3587de89cabb13b:0:0000000000000000:0000000000000000"
    assert from_record(Evidence, record) == evidence


@pytest.mark.parametrize(
    ("rows", "rejected", "by_code", "why"),
    [
        (3, 1, {"id_empty": 1}, "3 rows are not 1 accepted and 1 rejected"),
        (2, 1, {"id_empty": 2}, "1 rejects are not"),
        (1, 0, {}, "the partitions hold 0 rows, not 1"),
    ],
)
def test_inconsistent_evidence_is_refused(rows: int, rejected: int, by_code: dict[str, int], why: str) -> None:
    with pytest.raises(FatalError, match=f"EVIDENCE_INCONSISTENT.*{why}"):
        Evidence(
            rows=rows,
            accepted=1,
            rejected=rejected,
            rejected_by_code=by_code,
            partitions=(Digest(schema_id="a3587de89cabb13b"),),
            source_bytes=1,
            decoded_bytes=1,
            schema_id="a3587de89cabb13b",
        )


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            Reject(ordinal=3, line=5, column="age", code=RejectCode.BAD_VALUE, reason="'x' is not a whole number"),
            "line 5, column age: bad_value: not a whole number of 64 bits (digits with an optional sign)",
        ),
        (Reject(ordinal=3, code=RejectCode.ID_MISSING, reason="none"), "row 4: id_missing: the id is missing"),
        (Reject(ordinal=None, code=RejectCode.BAD_JSON, reason="broken"), "unknown position: bad_json: not JSON"),
        (
            Reject(ordinal=3, line=4, column="ann@example.com", code=RejectCode.UNKNOWN_MEMBER, reason="unknown"),
            "line 4: unknown_member: a member that the first lines do not have",
        ),
    ],
)
def test_an_error_describes_a_reject_without_quoting_it(found: Reject, words: str) -> None:
    assert describe(found, ImportSpec(columns=(Column(name="age", type="long"),))) == words

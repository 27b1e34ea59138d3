from dataclasses import replace

from schemas.digest import Digest
from schemas.ids import Attempt, JobId, Partition
from schemas.messages import PartitionFailed, PartitionMaterialised, ProgressMessage
from segmentation.completion import Broken, Complete, Waiting, completion

JOB = JobId("01m87b5fjxy5p23eqzcwh67tr0")
SCHEMA = "a3587de89cabb13b"
VERIFIED = (
    Digest(schema_id=SCHEMA, count=3, sum0=30, sum1=31),
    Digest(schema_id=SCHEMA, count=0, sum0=0, sum1=0),
)


def materialised(partition: int, attempt: int = 1) -> PartitionMaterialised:
    digest = VERIFIED[partition]
    return PartitionMaterialised(
        import_id=JOB,
        attempt=Attempt(attempt),
        partition=Partition(partition),
        partitions=2,
        chunks=1,
        records=digest.count,
        digest=digest,
        distinct=min(digest.count, 2),
        distinct_digest=Digest(schema_id=SCHEMA, count=min(digest.count, 2), sum0=9, sum1=9),
        part="s3://lake/x.parquet" if digest.count else None,
        part_bytes=100,
    )


def failed(partition: int, attempt: int = 1) -> PartitionFailed:
    return PartitionFailed(
        import_id=JOB,
        attempt=Attempt(attempt),
        partition=Partition(partition),
        partitions=2,
        reason="chunks are missing",
        missing_count=2,
        missing=(4, 7),
        expected=VERIFIED[partition],
        actual=Digest(schema_id=SCHEMA, count=1, sum0=1, sum1=1),
    )


def test_all_partitions_reconciled_is_complete() -> None:
    found = completion(Attempt(1), VERIFIED, [materialised(1), materialised(0)])
    assert found == Complete(attempt=Attempt(1), partitions=(materialised(0), materialised(1)))


def test_empty_partition_is_awaited() -> None:
    assert completion(Attempt(1), VERIFIED, [materialised(0)]) == Waiting(done=1)


def test_partitions_of_different_attempts_do_not_combine() -> None:
    found = completion(Attempt(2), VERIFIED, [materialised(0, attempt=1), materialised(1, attempt=2)])
    assert found == Waiting(done=1)


def test_complete_older_attempt_can_win() -> None:
    announced: list[ProgressMessage] = [materialised(0, 1), materialised(1, 1), failed(0, 2)]
    assert completion(Attempt(2), VERIFIED, announced) == Complete(
        attempt=Attempt(1), partitions=(materialised(0, 1), materialised(1, 1))
    )


def test_a_failed_partition_of_the_newest_attempt_breaks_it_and_is_named() -> None:
    found = completion(Attempt(1), VERIFIED, [materialised(1), failed(0)])
    assert isinstance(found, Broken)
    assert found.fault == (
        "partition 0 did not reconcile: chunks are missing; expected "
        "a3587de89cabb13b:3:000000000000001e:000000000000001f, "
        "arrived a3587de89cabb13b:1:0000000000000001:0000000000000001; 2 chunks missing, first [4, 7]"
    )


def test_failure_of_an_older_attempt_is_ignored() -> None:
    assert completion(Attempt(2), VERIFIED, [failed(0, 1), materialised(0, 2)]) == Waiting(done=1)


def test_stream_that_contradicts_verification_is_broken() -> None:
    other = replace(materialised(0), digest=Digest(schema_id=SCHEMA, count=3, sum0=30, sum1=32))
    found = completion(Attempt(1), VERIFIED, [other, materialised(1)])
    assert isinstance(found, Broken)
    assert "partition 0: the stream has 3 records" in found.fault


def test_equal_count_of_different_records_is_broken() -> None:
    swapped = replace(materialised(0), records=2)
    assert isinstance(completion(Attempt(1), VERIFIED, [swapped, materialised(1)]), Broken)


def test_different_partition_count_is_broken() -> None:
    found = completion(Attempt(1), VERIFIED, [replace(materialised(0), partitions=4), materialised(1)])
    assert found == Broken(attempt=Attempt(1), fault="partition 0 of 4 was announced, but the job has 2")

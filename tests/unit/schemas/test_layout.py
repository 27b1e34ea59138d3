from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import UserError
from schemas.ids import Attempt, JobId, Partition, Seq, TenantName
from schemas.layout import (
    ArchiveKey,
    RunKey,
    activity_prefix,
    archived_users_prefix,
    audience_prefix,
    checkpoint_key,
    cut_key,
    intent_key,
    intent_prefix,
    is_checkpoint_key,
    is_lake_key,
    is_staging_key,
    part_import,
    part_name,
    rejects_key,
    result_key,
    s3_uri,
    split_s3_uri,
    staged_import,
    staging_prefix,
)

JOB = JobId("01aryz6s410000000000000000")
ARCHIVED = ArchiveKey(
    topic="muster.events",
    tenant=TenantName("acme"),
    partition=Partition(7),
    first_offset=120,
    end_offset=345,
    content_hash="ab12",
)


def test_keys_match_the_documented_table() -> None:
    attempt, partition = Attempt(3), Partition(7)
    assert staging_prefix(JOB) == f"imports/{JOB}/"
    assert staging_prefix(JOB, attempt) == f"imports/{JOB}/000003/"
    assert staging_prefix(JOB, attempt, partition) == f"imports/{JOB}/000003/00007/"
    assert result_key(JOB, attempt, partition) == f"imports/{JOB}/000003/00007/result.avro"
    assert intent_prefix("muster.imports", partition) == "intents/muster.imports/00007/"
    assert intent_key("muster.imports", partition, JOB, attempt) == f"intents/muster.imports/00007/{JOB}-000003.avro"
    assert audience_prefix(TenantName("acme"), JOB) == f"audiences/acme/{JOB}/"
    assert part_name(JOB, attempt, partition, "ab12") == f"{JOB}-000003-p00007-ab12.parquet"
    assert rejects_key(TenantName("acme"), JOB) == f"rejects/acme/{JOB}.parquet"
    assert activity_prefix("muster.profiles") == "activity/profiles/"
    assert str(ARCHIVED) == ("activity/events/data/acme/00007/00000000000000000120-00000000000000000345-ab12.parquet")
    assert ARCHIVED.users_key == str(ARCHIVED).replace("/data/", "/users/")
    of_all, of_tenant, of_partition = (), (ARCHIVED.tenant,), (ARCHIVED.tenant, ARCHIVED.partition)
    prefixes = [archived_users_prefix("muster.events", *of) for of in (of_all, of_tenant, of_partition)]
    assert prefixes == [f"activity/events/users/{of}" for of in ("", "acme/", "acme/00007/")]


RUN = RunKey(
    import_id=JOB,
    attempt=Attempt(3),
    partition=Partition(7),
    first_seq=Seq(0),
    last_seq=Seq(9),
    content_hash="ab12",
)


@pytest.mark.parametrize(
    "key",
    [
        str(RUN),
        result_key(JOB, Attempt(3), Partition(7)),
        intent_key("muster.imports.small", Partition(7), JOB, Attempt(3)),
        f"uploads/acme/vip/{JOB}/my people (1).csv",
        checkpoint_key(Partition(7), 12, 345, 1_795_795_364_000_000),
        checkpoint_key(Partition(7), 12, 345, 1_795_795_364_000_000, log_epoch=2),
        cut_key(JOB, Partition(7), "ab12"),
        "download/acme/x/part-0.parquet",
    ],
)
def test_every_staging_key_is_recognised(key: str) -> None:
    assert is_staging_key(key)
    assert not is_staging_key(f"x{key}")
    assert not is_lake_key(key)


@pytest.mark.parametrize(
    "key",
    [
        f"{audience_prefix(TenantName('acme'), JOB)}data/{part_name(JOB, Attempt(3), Partition(7), 'ab12')}",
        f"{audience_prefix(TenantName('acme'), JOB)}metadata/00001-ab.metadata.json",
        f"{audience_prefix(TenantName('acme'), JOB)}dropped",
        rejects_key(TenantName("acme"), JOB),
        str(ARCHIVED),
        ARCHIVED.users_key,
        "activity/events/metadata/00001-ab.metadata.json",
        "exports/vip/part-0.parquet",
    ],
)
def test_every_lake_key_is_recognised(key: str) -> None:
    assert is_lake_key(key)
    assert not is_lake_key(f"x{key}")
    assert not is_staging_key(key)


@pytest.mark.parametrize("key", ["segments/checkpoints/00007/x.npz", "segments/checkpoints/7/1-2-3.npz", "x"])
def test_foreign_keys_are_not_checkpoints(key: str) -> None:
    assert not is_checkpoint_key(key)
    assert not is_staging_key(key)


def test_archive_files_are_distinguished_from_other_objects() -> None:
    assert ArchiveKey.parse(str(ARCHIVED)) == ARCHIVED
    for other in ("activity/events/metadata/00007.json", str(ARCHIVED)[:-1], str(ARCHIVED).replace("acme", "../x")):
        assert ArchiveKey.parse(other) is None


@pytest.mark.parametrize("tenant", ["acme", "users", "data"])
def test_user_lists_are_distinguished_from_archive_files(tenant: str) -> None:
    key = replace(ARCHIVED, tenant=TenantName(tenant))
    assert ArchiveKey.parse_users(key.users_key) == key
    assert ArchiveKey.parse(key.users_key) is None
    assert ArchiveKey.parse_users(str(key)) is None


run_keys = st.builds(
    RunKey,
    import_id=st.text("0123456789abcdefghjkmnpqrstvwxyz", min_size=26, max_size=26).map(JobId),
    attempt=st.integers(1, 10**7).map(Attempt),
    partition=st.integers(0, 10**6).map(Partition),
    first_seq=st.integers(0, 10**13).map(Seq),
    last_seq=st.integers(0, 10**13).map(Seq),
    content_hash=st.text("0123456789abcdef", min_size=1, max_size=64),
)


@given(run_keys)
def test_run_key_round_trips(key: RunKey) -> None:
    assert RunKey.parse(str(key)) == key
    assert str(key).startswith(staging_prefix(key.import_id, key.attempt, key.partition))


@pytest.mark.parametrize(
    "key",
    [
        "",
        f"imports/{JOB}/000003/00007/result.avro",
        f"imports/{JOB}/000003/00007/1-2-zz.arrow",
        f"imports/{JOB}/000003/00007/1-2-ab.arrow.tmp",
        f"x/imports/{JOB}/000003/00007/1-2-ab.arrow",
        "imports/short/000003/00007/1-2-ab.arrow",
    ],
)
def test_foreign_keys_are_not_runs(key: str) -> None:
    assert RunKey.parse(key) is None


def test_keys_of_a_partition_sort_by_their_first_chunk() -> None:
    keys = [
        str(
            RunKey(
                import_id=JOB,
                attempt=Attempt(1),
                partition=Partition(0),
                first_seq=Seq(a),
                last_seq=Seq(b),
                content_hash="0",
            )
        )
        for a, b in [(0, 9), (10, 99), (100, 100), (99_999, 100_000)]
    ]
    assert keys == sorted(keys)


@pytest.mark.parametrize(("bucket", "key"), [("b", "k"), ("b", "a/b c/ü"), ("b", "")])
def test_s3_uri_round_trips(bucket: str, key: str) -> None:
    assert split_s3_uri(s3_uri(bucket, key)) == (bucket, key)


@pytest.mark.parametrize("uri", ["", "b/k", "http://b/k", "s3:///k", "s3:/b/k", "/tmp/file"])
def test_invalid_s3_uri_is_refused(uri: str) -> None:
    with pytest.raises(UserError, match="BAD_URI"):
        split_s3_uri(uri)


def test_staged_key_contains_its_import() -> None:
    assert staged_import(staging_prefix(JOB, Attempt(1), Partition(3)) + "result.avro") == JOB


@pytest.mark.parametrize("key", ["", "imports/", "imports/short/000001/x", f"uploads/{JOB}/x", f"intents/{JOB}"])
def test_foreign_objects_belong_to_no_import(key: str) -> None:
    assert staged_import(key) is None


def test_part_key_contains_its_import() -> None:
    assert part_import("audiences/acme/x/data/" + part_name(JOB, Attempt(1), Partition(3), "ab")) == JOB

"""Several files as one import, from the request to the receipt."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from connectors.storage.pinned import SourceObject
from orchestration.catalog.records import Job
from orchestration.kinds import file_sets
from orchestration.kinds.file_sets import source_of
from orchestration.operations.rejects import files_table
from schemas.errors import FatalError, UserError
from schemas.file_lists import MAX_FILES, parse_list
from schemas.layout import is_staging_key, s3_uri, staging_prefix
from tests.fakes.deployment import ACME, PARTITIONS, Deployment
from tests.fakes.sweeping import sweep

FOLDER = "acme/vip/2026-01-01/"


@pytest.fixture(autouse=True)
def _read_files(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    deployment.parse_files(monkeypatch)


def put(deployment: Deployment, *files: tuple[str, str], bucket: str = "inbox") -> None:
    for key, content in files:
        deployment.objects.put(bucket, key, content.encode())


def parts(deployment: Deployment, count: int = 3, folder: str = FOLDER) -> None:
    """Files of two users each; all have the user `same`."""
    put(deployment, *((f"{folder}part-{n}.csv", f"user_id,n\nu{n},{n}\nsame,{n}\n") for n in range(count)))


def of_prefix(deployment: Deployment, key: str = FOLDER, **given: Any) -> Job:
    """An import of all files below a prefix."""
    return deployment.register(replace(deployment.request(**given), key=key, form="prefix"))


def of_list(deployment: Deployment, content: str) -> Job:
    key = f"uploads/acme/vip/{'0' * 26}/files.txt"
    put(deployment, (key, content), bucket="staging")
    return deployment.register(deployment.request(bucket="staging", key=key, form="list"))


def read(deployment: Deployment, job: Job) -> Sequence[SourceObject]:
    found = source_of(job, objects=deployment.context.objects, bucket="staging")
    assert isinstance(found, tuple)
    return found


def fault(job: Job) -> tuple[str, str]:
    assert job.error is not None
    assert (job.state, job.failed_in, job.error.kind) == ("FAILED", "REGISTERED", "user")
    return job.error.code, job.error.message


def test_the_files_below_a_prefix_are_one_version(deployment: Deployment) -> None:
    parts(deployment)
    put(deployment, (f"{FOLDER}_SUCCESS", ""), (f"{FOLDER}.part.crc", "x"), (f"{FOLDER}_temporary/0/a.csv", "x"))
    put(deployment, (f"{FOLDER}empty.csv", ""), (f"{FOLDER}_day=1/part-9.csv", "user_id\nu9\n"))
    job = of_prefix(deployment)
    assert [file.key.removeprefix(FOLDER) for file in read(deployment, job)] == [
        *["_day=1/part-9.csv", "part-0.csv", "part-1.csv", "part-2.csv"]
    ]
    assert (job.files, job.source["left_out"]) == (4, 4)
    assert s3_uri("inbox", f"{FOLDER}empty.csv") in job.source["left_out_names"]

    job = deployment.run(job)
    assert (job.state, job.error) == ("READY", None)
    receipt = deployment.context.jobs.receipt(job.job_id)
    assert receipt is not None
    assert (receipt["rows"], receipt["source"]["files"]) == (7, 4)
    table = files_table(
        job.job_id,
        jobs=deployment.context.jobs,
        objects=deployment.context.objects,
        settings=deployment.context.settings,
    )
    assert table is not None


def test_workers_are_sent_the_rows_of_all_files_in_order(deployment: Deployment) -> None:
    parts(deployment)
    job = deployment.run(
        of_prefix(deployment, overrides={"columns": [{"name": "n", "type": "long"}]}), until="AWAITING"
    )
    evidence = job.evidence
    assert evidence is not None
    assert (evidence["rows"], evidence["accepted"]) == (6, 6)
    assert sum(marker.records for marker in deployment.markers(job)) == 6
    assert len(deployment.markers(job)) == PARTITIONS


def test_one_file_below_a_prefix_is_the_import_of_that_file(deployment: Deployment) -> None:
    parts(deployment, 1)
    alone = deployment.register(deployment.request(key=f"{FOLDER}part-0.csv"))
    again = of_prefix(deployment)
    assert again.job_id == alone.job_id
    assert "units" not in alone.source


def test_the_same_files_in_the_same_versions_are_a_duplicate(deployment: Deployment) -> None:
    parts(deployment)
    first = deployment.run(of_prefix(deployment))
    staged = deployment.objects.keys("staging")
    assert of_prefix(deployment).job_id == first.job_id
    assert deployment.objects.keys("staging") == staged  # what the duplicate has pinned is removed
    put(deployment, (f"{FOLDER}part-1.csv", "user_id\nanother\n"))
    assert of_prefix(deployment).job_id != first.job_id


def test_a_list_keeps_its_order_and_may_name_several_folders(deployment: Deployment) -> None:
    parts(deployment)
    put(deployment, ("acme/other/z.csv", "user_id\nz\n"))
    uris = [s3_uri("inbox", key) for key in (f"{FOLDER}part-2.csv", "acme/other/z.csv", f"{FOLDER}part-0.csv")]
    job = of_list(deployment, "\n".join(uris))
    assert [file.uri for file in read(deployment, job)] == uris
    assert deployment.run(job).state == "READY"


def test_an_unload_manifest_is_a_list() -> None:
    entries = [{"url": f"s3://b/{n}", "mandatory": True, "meta": {"content_length": 1}} for n in range(2)]
    assert parse_list(json.dumps({"entries": entries}).encode()) == ["s3://b/0", "s3://b/1"]
    assert parse_list(b'\xef\xbb\xbf["s3://b/a b\\n"]') == ["s3://b/a b\n"]
    assert parse_list(b"s3://b/0\r\n\r\ns3://b/1") == ["s3://b/0", "s3://b/1"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[1]",
        b"{}",
        b'{"entries": [{"uri": "s3://b/0"}]}',
        b"{",
        b"a.csv",
        b"s3://b/0\ns3://b/0",
        b"[" * 9999,
    ],
)
def test_other_lists_are_refused(content: bytes) -> None:
    with pytest.raises(UserError, match="BAD_LIST"):
        parse_list(content)


def test_lists_have_a_limit() -> None:
    lines = [f"s3://b/{n}" for n in range(MAX_FILES + 1)]
    assert len(parse_list("\n".join(lines[1:]).encode())) == MAX_FILES
    with pytest.raises(UserError, match="TOO_MANY_FILES: the list names 10001 files"):
        parse_list("\n".join(lines).encode())


def test_an_empty_prefix_is_refused_with_what_was_left_out(deployment: Deployment) -> None:
    put(deployment, (f"{FOLDER}_SUCCESS", ""))
    code, message = fault(of_prefix(deployment))
    assert (code, message) == (
        "EMPTY_SET",
        f"there is no file to import in s3://inbox/{FOLDER}; empty and hidden objects, 1 there, do not count",
    )


def test_too_many_files_and_too_many_bytes_are_refused(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    parts(deployment)
    monkeypatch.setattr(file_sets, "MAX_FILES", 2)
    assert fault(of_prefix(deployment)) == (
        "TOO_MANY_FILES",
        f"there are more than 2 files below s3://inbox/{FOLDER}; one import reads at most 10000",
    )
    monkeypatch.setattr(file_sets, "MAX_FILES", 3)
    monkeypatch.setattr(file_sets, "MAX_BYTES", 60)
    assert fault(of_prefix(deployment))[0] == "SET_TOO_LARGE"


def test_two_formats_are_refused_by_name_at_once(deployment: Deployment) -> None:
    parts(deployment)
    put(deployment, (f"{FOLDER}part-3.jsonl.gz", "x"))
    code, message = fault(of_prefix(deployment))
    assert code == "MIXED_FORMATS"
    assert message.startswith(f"s3://inbox/{FOLDER}part-0.csv is CSV, and s3://inbox/{FOLDER}part-3.jsonl.gz is JSON")


@pytest.mark.parametrize("foreign", ["s3://crm/a.csv", "s3://inbox/other/vip/a.csv", "s3://lake/audiences/x"])
def test_a_list_with_a_foreign_object_is_refused_by_name(deployment: Deployment, foreign: str) -> None:
    deployment.context.places.replace({ACME: ()}, lambda _: None)
    parts(deployment)
    code, message = fault(of_list(deployment, f"s3://inbox/{FOLDER}part-0.csv\n{foreign}\n"))
    assert code == "BAD_SOURCE"
    assert message.startswith(foreign)


def test_a_listed_object_that_is_missing_is_named(deployment: Deployment) -> None:
    parts(deployment)
    code, message = fault(of_list(deployment, f"s3://inbox/{FOLDER}part-0.csv\ns3://inbox/{FOLDER}gone.csv\n"))
    assert code == "SOURCE_GONE"
    assert "gone.csv" in message


def test_a_prefix_of_another_tenant_is_refused(deployment: Deployment) -> None:
    assert fault(of_prefix(deployment, "other/vip/"))[0] == "BAD_SOURCE"


def test_a_file_that_changes_after_its_registration_fails_the_job(deployment: Deployment) -> None:
    parts(deployment)
    job = of_prefix(deployment)
    put(deployment, (f"{FOLDER}part-1.csv", "user_id\nchanged\n"))
    with pytest.raises(Exception, match="SOURCE_CHANGED") as error:
        deployment.run(job)
    assert f"s3://inbox/{FOLDER}part-1.csv" in str(error.value)


def test_a_lost_list_is_an_error_of_the_system(deployment: Deployment) -> None:
    parts(deployment)
    job = of_prefix(deployment)
    deployment.objects.delete_prefix("staging", staging_prefix(job.job_id))
    with pytest.raises(FatalError, match="UNITS_LOST"):
        read(deployment, job)


def test_a_retry_lists_the_prefix_again_and_keeps_the_evidence_of_the_same_files(deployment: Deployment) -> None:
    parts(deployment)
    job = deployment.run(of_prefix(deployment), until="IMPORTING")
    deployment.context.import_jobs.cancel(job.job_id)
    same = deployment.retry(job)
    assert (same.evidence, same.files, same.retry_of) == (job.evidence, 3, job.job_id)
    deployment.context.import_jobs.cancel(same.job_id)
    parts(deployment, 4)
    other = deployment.retry(same)
    assert (other.evidence, other.files) == (None, 4)


def test_uploads_of_a_set_are_in_use_until_it_ends_and_then_removed(deployment: Deployment) -> None:
    keys = [f"uploads/acme/upload/{n}{'a' * 25}/people.csv" for n in range(2)]
    put(deployment, *((key, f"user_id\nu{n}\n") for n, key in enumerate(keys)), bucket="staging")
    job = of_list(deployment, json.dumps([s3_uri("staging", key) for key in keys]))
    jobs = deployment.context.jobs
    assert [[one.job_id for one in jobs.by_object("staging", key)] for key in keys] == [[job.job_id]] * 2
    staged = deployment.objects.keys("staging", staging_prefix(job.job_id))
    assert len(staged) == 1
    assert all(map(is_staging_key, staged))
    assert deployment.run(job).state == "READY"
    sweep(deployment.context, deployment.later(minutes=1))
    assert deployment.objects.keys("staging") == []


def test_small_sets_of_many_files_get_time_to_open_them(deployment: Deployment) -> None:
    parts(deployment, 1)
    view = deployment.context.import_records.view
    alone: Any = view(deployment.register(deployment.request(key=f"{FOLDER}part-0.csv")))["timeouts"]
    parts(deployment, 100)
    many: Any = view(of_prefix(deployment))["timeouts"]
    assert many["verify_s"] > alone["verify_s"] + 40

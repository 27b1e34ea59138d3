"""Exports into a third party's bucket, and every way in which such a bucket may fail us."""

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

from connectors.lake.store import IcebergVersionStore
from connectors.sinks.destinations import Destination
from connectors.sinks.export_order import ExportOrder
from connectors.sinks.exporting import export
from connectors.sinks.receiving import read_manifest
from connectors.sinks.s3_prefix import S3Prefix
from connectors.sinks.selection import PinnedVersion
from connectors.storage import writing
from connectors.storage.access import S3Access
from schemas.columns import RowSchema
from schemas.errors import MusterError, RetriableError, UserError
from schemas.ids import JobId, new_job_id
from schemas.manifest import ExportFormat, Manifest
from tests.integration.lake.support import BUCKET, PARTNER, audience, limits, new_id, secret_of, users
from tests.integration.lake.test_exporting import Lake
from tests.raising import raised
from tests.servers.faulty_s3 import Answer, Fault, FaultyProxy, Request, Stall, faulty_proxy
from tests.servers.ports import free_port

MIB = 2**20
_numbers = itertools.count()


def export_id() -> JobId:
    """An export id with a unique end, which is used in file names."""
    return new_job_id(1_764_000_000_000, next(_numbers).to_bytes(10, "big"))


@dataclasses.dataclass
class Case:
    """A version of two files, and a destination for its exports in the third party's bucket."""

    lake: Lake
    version: PinnedVersion
    prefix: str

    @property
    def uri(self) -> str:
        return f"s3://{PARTNER}/{self.prefix}"

    def access(self, key: str = "partner", **changes: Any) -> S3Access:
        return dataclasses.replace(self.lake.s3, access_key=key, secret_key=secret_of(key), **changes)

    def order(self, identity: JobId, version: PinnedVersion | None = None) -> ExportOrder:
        return ExportOrder(
            export_id=identity,
            tenant="acme",
            audience="vip",
            version=version or self.version,
            format=ExportFormat(format="csv", null_token=""),
            created_at="2026-11-25T00:00:00Z",
            target_bytes=1,
        )

    def export(self, to: Destination, identity: JobId | None = None, version: PinnedVersion | None = None) -> Manifest:
        order = self.order(identity or export_id(), version)
        return export(order, to, s3=self.lake.s3, limits=limits(self.lake.folder))

    def unread(self) -> PinnedVersion:
        """The version with missing files: any attempt to read it fails."""
        parts = tuple(dataclasses.replace(part, uri=part.uri + "-gone") for part in self.version.parts)
        return dataclasses.replace(self.version, parts=parts)

    def there(self, bucket: str = PARTNER) -> dict[str, bytes]:
        """All objects below the prefix."""
        client = self.lake.s3.client()
        listed = client.list_objects_v2(Bucket=bucket, Prefix=f"{self.prefix}/").get("Contents", [])
        return {
            entry["Key"].removeprefix(f"{self.prefix}/"): client.get_object(Bucket=bucket, Key=entry["Key"])[
                "Body"
            ].read()
            for entry in listed
        }

    def uploads(self) -> list[Any]:
        """Multipart uploads that were begun and not ended."""
        return list(self.lake.s3.client().list_multipart_uploads(Bucket=PARTNER, Prefix=self.prefix).get("Uploads", []))


@pytest.fixture(scope="module")
def published(s3: S3Access, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, PinnedVersion]:
    folder = tmp_path_factory.mktemp("lake")
    url = f"sqlite:///{folder / 'c.db'}"
    store = IcebergVersionStore(catalog_url=url, s3=s3, bucket=BUCKET, limits=limits(folder))
    lake = Lake(s3, folder, store, audience())
    return lake, lake.publish(users(*(f"u{n:02}" for n in range(40))), RowSchema(), "1", partitions=2)


@pytest.fixture
def case(published: tuple[Lake, PinnedVersion], tmp_path: Path) -> Case:
    """The shared version, with a prefix and a folder for each test."""
    lake, version = published
    return Case(lake=dataclasses.replace(lake, folder=tmp_path), version=version, prefix=f"to/{new_id()}")


@pytest.fixture
def proxy(s3: S3Access) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3.endpoint) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make boto3 retry without waiting; its patience is not under test here."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.0)


def whole(case: Case, manifest: Manifest) -> None:
    """Check that the destination has this export, and nothing else."""
    assert set(case.there()) == {"manifest.json", *(file.key for file in manifest.files)}
    assert case.there()["manifest.json"] == manifest.encode()
    assert case.lake.check(case.uri) == (manifest, None)


def test_foreign_bucket_uses_its_credentials_and_the_lake_ours(case: Case, proxy: FaultyProxy) -> None:
    manifest = case.export(S3Prefix(case.access(endpoint=proxy.endpoint), case.uri))
    assert len(manifest.files) == 2
    whole(case, manifest)
    assert all("Credential=partner/" in request.headers["Authorization"] for request in proxy.requests)
    denied = raised(UserError, lambda: case.export(S3Prefix(case.access(), f"s3://{BUCKET}/{case.prefix}")))
    assert (denied.code, denied.detail["refusal"]) == ("DESTINATION_NOT_WRITABLE", "AccessDenied")


@pytest.mark.parametrize("single_put_bytes", [2**30, 0], ids=["one request", "pieces"])
def test_objects_follow_encryption_and_storage_class_of_the_profile(
    case: Case, monkeypatch: pytest.MonkeyPatch, single_put_bytes: int, proxy: FaultyProxy
) -> None:
    monkeypatch.setattr(writing, "SINGLE_PUT_BYTES", single_put_bytes)
    extra = {"ServerSideEncryption": "AES256", "StorageClass": "STANDARD_IA", "ACL": "bucket-owner-full-control"}
    manifest = case.export(S3Prefix(case.access(endpoint=proxy.endpoint), case.uri, extra=extra))
    whole(case, manifest)
    for name in case.there():
        head = case.lake.s3.client().head_object(Bucket=PARTNER, Key=f"{case.prefix}/{name}")
        assert (head["ServerSideEncryption"], head["StorageClass"]) == ("AES256", "STANDARD_IA"), name
    begun = [r for r in proxy.requests if (r.method == "PUT" and "uploadId" not in r.path) or "?uploads" in r.path]
    assert {request.headers["x-amz-acl"] for request in begun} == {"bucket-owner-full-control"}
    assert case.uploads() == []


def test_kms_key_and_session_token_are_sent_with_every_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On moto, which remembers the key and accepts any token: SeaweedFS supports neither."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        keys = S3Access(endpoint=f"http://{host}:{port}", region="us-east-1", access_key="a", secret_key="b")
        keys.client().create_bucket(Bucket="encrypted")
        extra = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "the-key"}
        with faulty_proxy(keys.endpoint) as proxy:
            temporary = dataclasses.replace(keys, endpoint=proxy.endpoint, session_token="the-token")
            S3Prefix(temporary, "s3://encrypted/x", extra=extra).check()
            assert {request.headers["X-Amz-Security-Token"] for request in proxy.requests} == {"the-token"}
        to = S3Prefix(keys, "s3://encrypted/x", extra=extra)
        assert keys.client().list_objects_v2(Bucket="encrypted")["KeyCount"] == 0
        for name, most in (("one", 2**30), ("pieces", 0)):
            monkeypatch.setattr(writing, "SINGLE_PUT_BYTES", most)
            (tmp_path / name).write_bytes(b"content")
            to.put(tmp_path / name, name)
        assert to.put_manifest(b"{}")
        for name in ("one", "pieces", "manifest.json"):
            head = keys.client().head_object(Bucket="encrypted", Key=f"x/{name}")
            assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "the-key"), name
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("key", "bucket", "refusal", "advice"),
    [
        ("lake", "there-is-none", "NoSuchBucket", "bucket there-is-none does not exist"),
        ("reader", PARTNER, "AccessDenied", "the credentials of profile them do not have permission"),
        ("partner", BUCKET, "AccessDenied", "s3:PutObject"),
        ("nobody", PARTNER, "InvalidAccessKeyId", "the store does not know the credentials of profile them"),
    ],
)
def test_unwritable_destination_is_refused_before_reading(
    case: Case, key: str, bucket: str, refusal: str, advice: str
) -> None:
    to = S3Prefix(case.access(key), f"s3://{bucket}/{case.prefix}", profile="them")
    error = raised(UserError, lambda: case.export(to, version=case.unread()))
    assert (error.code, error.detail["refusal"]) == ("DESTINATION_NOT_WRITABLE", refusal)
    assert advice in error.message
    assert secret_of(key) not in f"{error} {error.as_record()} {error!r}"
    buckets = {entry["Name"] for entry in case.lake.s3.client().list_buckets()["Buckets"]}
    assert "there-is-none" not in buckets


def test_wrong_secret_is_reported_but_not_shown(case: Case) -> None:
    wrong = dataclasses.replace(case.access(), secret_key="very-wrong", session_token="")
    error = raised(UserError, lambda: case.export(S3Prefix(wrong, case.uri), version=case.unread()))
    assert (error.code, error.detail["refusal"]) == ("DESTINATION_NOT_WRITABLE", "SignatureDoesNotMatch")
    assert "Muster's own credentials" in error.message
    assert "very-wrong" not in f"{error} {error.as_record()} {wrong!r}"


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (
            Answer(status=301, code="PermanentRedirect", headers={"x-amz-bucket-region": "eu-west-1"}),
            "region eu-west-1",
        ),
        (Answer(status=400, code="AuthorizationHeaderMalformed"), "another region: correct the region"),
        (Answer(status=403, code="RequestTimeTooSkewed"), "the clock of this machine"),
        (Answer(status=400, code="KMS.DisabledException"), "correct kms_key_id"),
        (Answer(status=400, code="InvalidRequest"), "the store refuses the request (InvalidRequest)"),
    ],
    ids=lambda value: value.code if isinstance(value, Answer) else "",
)
def test_fault_of_a_profile_is_reported(case: Case, proxy: FaultyProxy, answer: Answer, advice: str) -> None:
    proxy.fault = lambda _: answer
    to = S3Prefix(case.access(endpoint=proxy.endpoint), case.uri)
    error = raised(UserError, to.check)
    assert error.code == "DESTINATION_NOT_WRITABLE"
    assert advice in error.message


def test_destination_check_leaves_no_objects(case: Case) -> None:
    S3Prefix(case.access(), case.uri).check()
    assert (case.there(), case.uploads()) == ({}, [])


def test_write_only_destination_works_and_is_never_overwritten(case: Case) -> None:
    to = S3Prefix(case.access("writer"), case.uri)
    manifest = case.export(to)
    whole(case, manifest)
    assert raised(UserError, lambda: case.export(to)).code == "DESTINATION_EXISTS"
    case.lake.s3.client().delete_object(Bucket=PARTNER, Key=f"{case.prefix}/manifest.json")
    repeat = case.order(JobId(manifest.export))
    taken = raised(UserError, lambda: export(repeat, to, s3=case.lake.s3, limits=limits(case.lake.folder)))
    assert taken.code == "DESTINATION_KEY_TAKEN"  # it may be the same file, but the writer cannot read it to find out
    assert to.put_manifest(manifest.encode())
    assert case.lake.check(case.uri) == (manifest, None)


@pytest.mark.parametrize("foreign", [b"x" * 9, b"somebody's"], ids=["as long", "longer"])
def test_foreign_object_is_never_overwritten(case: Case, foreign: bytes) -> None:
    identity = export_id()
    second = case.export(S3Prefix(case.access(), f"{case.uri}/elsewhere"), identity).files[1]
    for name in case.there():
        case.lake.s3.client().delete_object(Bucket=PARTNER, Key=f"{case.prefix}/{name}")
    foreign = foreign.ljust(second.bytes, b".") if foreign.startswith(b"x") else foreign
    case.lake.s3.client().put_object(Bucket=PARTNER, Key=f"{case.prefix}/{second.key}", Body=foreign)
    error = raised(UserError, lambda: case.export(S3Prefix(case.access(), case.uri), identity))
    assert (error.code, error.detail["key"]) == ("DESTINATION_KEY_TAKEN", f"{case.uri}/{second.key}")
    assert case.there() == {second.key: foreign}


def test_exports_to_one_prefix_keep_each_others_files(case: Case) -> None:
    to = S3Prefix(case.access(), case.uri)
    first = case.export(S3Prefix(case.access(), f"{case.uri}/other"))
    manifest = case.export(to)
    assert not {file.key for file in first.files} & {file.key for file in manifest.files}
    assert raised(UserError, lambda: case.export(to)).code == "DESTINATION_EXISTS"
    assert case.lake.check(case.uri) == (manifest, None)


def every(number: int, answer: Answer) -> Fault:
    return lambda request: answer if request.number % number == 0 else None


def since(number: int, answer: Answer) -> Fault:
    return lambda request: answer if request.number >= number else None


@pytest.mark.parametrize("single_put_bytes", [2**30, 0], ids=["one request", "pieces"])
@pytest.mark.parametrize("code", ["SlowDown", "ServiceUnavailable"])
def test_intermittently_failing_store_gets_the_whole_export(
    case: Case, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch, single_put_bytes: int, code: str
) -> None:
    monkeypatch.setattr(writing, "SINGLE_PUT_BYTES", single_put_bytes)
    proxy.fault = every(3, Answer(status=503, code=code))
    manifest = case.export(S3Prefix(case.access(endpoint=proxy.endpoint), case.uri))
    assert len(proxy.requests) >= 9
    whole(case, manifest)
    assert case.uploads() == []


@pytest.mark.parametrize(
    ("answer", "error", "code"),
    [
        (Answer(status=400, code="ExpiredToken"), UserError, "DESTINATION_CREDENTIALS_EXPIRED"),
        (Answer(status=503, code="SlowDown"), RetriableError, "DESTINATION_UNAVAILABLE"),
        (Answer(status=403, code="AccessDenied"), UserError, "DESTINATION_NOT_WRITABLE"),
    ],
    ids=["credentials expire", "overloaded", "permission withdrawn"],
)
def test_store_failing_midway_has_no_manifest_until_a_repeat(
    case: Case, proxy: FaultyProxy, answer: Answer, error: type[MusterError], code: str
) -> None:
    through = case.access(endpoint=proxy.endpoint)
    case.export(S3Prefix(through, f"{case.uri}-clean"))
    steps = len(proxy.requests)
    assert steps == 7
    for step in range(1, steps + 1):
        to, identity = S3Prefix(through, f"{case.uri}/{step}", profile="them"), export_id()
        proxy.requests.clear()
        proxy.fault = since(step, answer)
        failed = raised(error, lambda to=to, identity=identity: case.export(to, identity))  # type: ignore[misc]
        assert (failed.code, failed.detail["destination"]) == (code, f"{case.uri}/{step}/")
        assert not any(name.endswith("manifest.json") for name in case.there())
        proxy.fault = lambda _: None
        manifest = case.export(to, identity)
        assert set(case.there()) == {f"{step}/{name}" for name in ("manifest.json", *(f.key for f in manifest.files))}
        assert case.lake.check(f"{case.uri}/{step}") == (manifest, None)
        for name in case.there():
            case.lake.s3.client().delete_object(Bucket=PARTNER, Key=f"{case.prefix}/{name}")


def test_expired_credentials_are_reported_with_the_remedy(case: Case, proxy: FaultyProxy) -> None:
    proxy.fault = since(4, Answer(status=400, code="ExpiredToken"))
    to = S3Prefix(case.access(endpoint=proxy.endpoint), case.uri, profile="them")
    error = raised(UserError, lambda: case.export(to))
    assert "the credentials of profile them have expired (ExpiredToken); renew them and repeat" in error.message
    assert secret_of("partner") not in f"{error} {error.as_record()}"


def test_lost_answer_of_a_completed_request_is_no_fault(case: Case, proxy: FaultyProxy) -> None:
    """The request is sent again, and then finds our own object."""
    through = case.access(endpoint=proxy.endpoint)
    case.export(S3Prefix(through, f"{case.uri}-clean"))
    for step in range(1, len(proxy.requests) + 1):
        proxy.requests.clear()
        lost = Answer(status=500, code="InternalError", after=True)
        proxy.fault = lambda request, step=step, lost=lost: lost if request.number == step else None  # type: ignore[misc]
        to, identity = S3Prefix(through, f"{case.uri}/{step}"), export_id()
        manifest = case.export(to, identity)
        assert case.lake.check(f"{case.uri}/{step}") == (manifest, None)
        listed = {name for name in case.there() if name.startswith(f"{step}/")}
        assert listed == {f"{step}/{name}" for name in ("manifest.json", *(file.key for file in manifest.files))}


def test_multipart_upload_forgotten_by_the_store_is_repeated(
    case: Case, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The file distinguishes a completed upload with a lost answer from a cleaned up one."""
    monkeypatch.setattr(writing, "SINGLE_PUT_BYTES", 0)
    to = S3Prefix(case.access(endpoint=proxy.endpoint), case.uri)
    for done in (True, False):
        gone = Answer(status=404, code="NoSuchUpload", after=done)
        proxy.fault = lambda request, gone=gone: (
            gone if request.method == "POST" and "uploadId" in request.path else None
        )  # type: ignore[misc]
        path = tmp_path / f"file-{done}"
        path.write_bytes(b"content")
        error = raised(RetriableError, lambda path=path: to.put(path, path.name))  # type: ignore[misc]
        assert (error.code, error.detail["refusal"]) == ("DESTINATION_UNAVAILABLE", "NoSuchUpload")
        proxy.fault = lambda _: None
        to.put(path, path.name)
    assert case.there() == {"file-True": b"content", "file-False": b"content"}


def test_absent_or_silent_store_is_an_outage(case: Case, proxy: FaultyProxy) -> None:
    away = case.access(endpoint=f"http://127.0.0.1:{free_port()}")
    error = raised(RetriableError, lambda: case.export(S3Prefix(away, case.uri), version=case.unread()))
    assert error.code == "DESTINATION_UNAVAILABLE"

    def stalls(request: Request) -> Answer | None:
        if request.method == "PUT":
            raise Stall
        return None

    proxy.fault = stalls
    silent = S3Prefix(case.access(endpoint=proxy.endpoint, timeout_s=0.5), case.uri)
    error = raised(RetriableError, lambda: case.export(silent))
    assert (error.code, error.detail["refusal"]) == ("DESTINATION_UNAVAILABLE", "ReadTimeoutError")
    assert proxy.count("PUT") == 5  # as documented
    assert case.there() == {}


def test_missing_credentials_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    bare = S3Access(endpoint="http://127.0.0.1:9", region="us-east-9")
    error = raised(UserError, S3Prefix(bare, "s3://bucket/x", profile="them").check)
    assert error.code == "DESTINATION_NOT_WRITABLE"
    assert "the credentials of profile them were not found" in error.message


def test_failed_multipart_upload_is_aborted(
    case: Case, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(writing, "SINGLE_PUT_BYTES", 0)
    monkeypatch.setattr(writing, "PIECE_BYTES", 5 * MIB)
    path = tmp_path / "large"
    path.write_bytes(b"a" * 11 * MIB)
    proxy.fault = lambda request: Answer(status=403, code="AccessDenied") if "partNumber=2" in request.path else None
    to = S3Prefix(case.access(endpoint=proxy.endpoint), case.uri)
    assert raised(UserError, lambda: to.put(path, "large")).code == "DESTINATION_NOT_WRITABLE"
    assert (case.there(), case.uploads()) == ({}, [])
    proxy.fault = lambda _: None
    path.write_bytes(b"b" * 11 * MIB)
    to.put(path, "large")
    path.write_bytes(b"c" * 11 * MIB)
    assert raised(UserError, lambda: to.put(path, "large")).code == "DESTINATION_KEY_TAKEN"
    assert case.there() == {"large": b"b" * 11 * MIB}
    assert case.uploads() == []


def test_verification_without_read_permission_names_the_cause(case: Case, proxy: FaultyProxy) -> None:
    case.export(S3Prefix(case.access(), case.uri))
    address = f"{case.uri}/manifest.json"
    for reached, error, code in (
        (case.access("writer"), UserError, "ACCESS_DENIED"),
        (case.access("nobody"), UserError, "ACCESS_DENIED"),
        (case.access(endpoint=proxy.endpoint), RetriableError, "S3_UNAVAILABLE"),
    ):
        proxy.fault = lambda _: Answer(status=503, code="SlowDown")

        def read(reached: S3Access = reached) -> None:
            with read_manifest(address, reached, case.lake.folder / "received"):
                pass

        assert raised(error, read).code == code
    with (
        pytest.raises(UserError, match="NO_MANIFEST"),
        read_manifest(f"{case.uri}/x/manifest.json", case.access("reader"), case.lake.folder / "received"),
    ):
        pass


def test_fake_store_distinguishes_users(case: Case) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        case.access("partner").client().list_objects_v2(Bucket=BUCKET)
    client = boto3.client(
        "s3",
        endpoint_url=case.lake.s3.endpoint,
        region_name="us-east-1",
        aws_access_key_id="writer",
        aws_secret_access_key=secret_of("writer"),
        config=Config(s3={"addressing_style": "path"}),
    )
    with pytest.raises(ClientError, match="AccessDenied"):
        client.get_object(Bucket=PARTNER, Key="x")

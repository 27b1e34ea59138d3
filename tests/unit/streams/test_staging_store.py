"""How a worker classifies the errors of an object store."""

import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from connectors.storage.access import S3Access
from connectors.storage.errors import translated
from connectors.storage.objects import ObjectStore
from schemas.errors import FatalError, RetriableError
from streams.staging import S3StagingStore


class Failing(ObjectStore):
    """Every read fails in one way, with the error that boto3 raises."""

    def __init__(self, fault: Exception) -> None:
        super().__init__(S3Access(endpoint="", region=""))
        self._fault = fault
        self.reads = 0

    def get(self, bucket: str, key: str) -> bytes:
        self.reads += 1
        with translated(bucket, key):
            raise self._fault


def answer(code: str, status: int) -> ClientError:
    return ClientError(
        {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "GetObject",
    )


def read(fault: Exception) -> bytes | None:
    return S3StagingStore(Failing(fault), give_up_after_s=0).get("staging", "key")


@pytest.mark.parametrize(
    ("code", "status"),
    [("AccessDenied", 403), ("InvalidAccessKeyId", 403), ("SignatureDoesNotMatch", 403), ("NoSuchBucket", 404)],
)
def test_a_refusal_is_fatal_and_names_the_answer(code: str, status: int) -> None:
    with pytest.raises(FatalError, match=f"STORE_REFUSED: get of s3://staging/key was refused: {code}"):
        read(answer(code, status))


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (answer("SlowDown", 503), "the object store answers SlowDown"),
        (answer("InvalidRequest", 400), "the object store refused a request: InvalidRequest"),
        (answer("ExpiredToken", 400), "the object store refuses access to s3://staging/key"),
        (NoCredentialsError(), "no S3 credentials were found"),
    ],
    ids=["busy", "refused-request", "expired-keys", "no-keys"],
)
def test_transient_errors_are_outages_including_expired_role_keys(fault: Exception, why: str) -> None:
    with pytest.raises(RetriableError, match=f"STORE_UNAVAILABLE: get of s3://staging/key failed for 0 s: {why}"):
        read(fault)


def test_store_without_retries_asks_once() -> None:
    objects = Failing(answer("SlowDown", 503))
    with pytest.raises(RetriableError, match="STORE_UNAVAILABLE"):
        S3StagingStore(objects, give_up_after_s=0, monotonic=lambda: 0.0).get("staging", "key")
    assert objects.reads == 1


def test_missing_object_reads_as_none() -> None:
    assert read(answer("NoSuchKey", 404)) is None

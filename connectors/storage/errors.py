"""Errors of an object store: what boto3 raises becomes a `StoreFault`, and that becomes an error of Muster.

For buckets that Muster owns or reads, objects that are gone, changed or forbidden are a `UserError`; faults that may
pass are a `RetriableError` S3_UNAVAILABLE; a request that the store will never accept is a `FatalError` S3_REFUSED.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Literal

from schemas.errors import FatalError, MusterError, RetriableError, UserError

MISSING: Final = frozenset({"NoSuchKey", "NoSuchVersion", "NoSuchUpload", "NotFound", "404", "MethodNotAllowed", "405"})
CHANGED: Final = frozenset({"PreconditionFailed", "412", "InvalidRange", "416"})
EXPIRED_KEYS: Final = "ExpiredToken"
FORBIDDEN: Final = frozenset(
    {"AccessDenied", "Forbidden", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", EXPIRED_KEYS}
)
BUSY: Final = frozenset({"SlowDown", "RequestTimeout", "Throttling", "ConditionalRequestConflict", "OperationAborted"})
SKEWED: Final = "RequestTimeTooSkewed"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFault:
    """What boto3 raised. `code` is the store's if it answered, otherwise the name of the exception.

    `answer` is boto3's form of the response.
    """

    kind: Literal["answered", "silent", "no credentials", "bad request"]
    code: str
    answer: Mapping[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """HTTP status; 0 without a response."""
        return int(self.answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))

    @property
    def is_transient(self) -> bool:
        """True if the store answers that it is temporarily unable to serve the request."""
        return (
            self.code in BUSY
            or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR
            or self.status == HTTPStatus.TOO_MANY_REQUESTS
        )


@contextmanager
def store_faults(error: Callable[[StoreFault], MusterError]) -> Iterator[None]:
    """Translate boto3's exceptions with `error` and raise the result. Bugs pass through unchanged."""
    from boto3.exceptions import Boto3Error  # importing boto3 takes a third of a second
    from botocore import exceptions as boto
    from urllib3.exceptions import HTTPError

    try:
        yield
    except boto.ClientError as exc:
        raise error(_answered(exc.response)) from exc
    except (boto.NoCredentialsError, boto.PartialCredentialsError) as exc:
        raise error(StoreFault(kind="no credentials", code=type(exc).__name__)) from exc
    except boto.ParamValidationError as exc:
        raise error(StoreFault(kind="bad request", code=type(exc).__name__)) from exc
    except (Boto3Error, boto.BotoCoreError, HTTPError, ConnectionError, TimeoutError) as exc:
        raise error(StoreFault(kind="silent", code=type(exc).__name__)) from exc


def translated(bucket: str, key: str) -> AbstractContextManager[None]:
    """Translate boto3's exceptions into Muster's errors; `bucket` and `key` are those of the request."""
    return store_faults(partial(_error, bucket, key))


def changed(bucket: str, key: str) -> UserError:
    """The error for an object that is not the pinned one any more."""
    return UserError(
        "SOURCE_CHANGED", f"s3://{bucket}/{key} is no longer the object that was registered", bucket=bucket, key=key
    )


def _answered(response: Any) -> StoreFault:
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return StoreFault(kind="answered", code=str(response.get("Error", {}).get("Code") or status), answer=response)


def _error(bucket: str, key: str, fault: StoreFault) -> MusterError:
    if fault.kind == "no credentials":
        return UserError("ACCESS_DENIED", "no S3 credentials were found", bucket=bucket)
    if fault.kind == "bad request":
        return UserError("BAD_OBJECT_NAME", f"s3://{bucket}/{key} is not a valid object name", bucket=bucket)
    if fault.kind == "silent":
        return RetriableError(
            "S3_UNAVAILABLE", f"the object store does not respond: {fault.code}", bucket=bucket, key=key
        )
    return _refusal(bucket, key, fault)


def _refusal(bucket: str, key: str, fault: StoreFault) -> MusterError:
    code = fault.code
    detail = {"bucket": bucket, "key": key, "s3_code": code}
    if code == "NoSuchBucket":
        return UserError("NO_SUCH_BUCKET", f"bucket {bucket} does not exist", **detail)
    if code in MISSING:
        return UserError("SOURCE_GONE", f"s3://{bucket}/{key} does not exist", **detail)
    if code in CHANGED:
        return changed(bucket, key)
    if code in FORBIDDEN:
        return UserError("ACCESS_DENIED", f"the object store refuses access to s3://{bucket}/{key}", **detail)
    if fault.is_transient or code == SKEWED:
        return RetriableError("S3_UNAVAILABLE", f"the object store answers {code}", **detail)
    return FatalError("S3_REFUSED", f"the object store refused a request: {code}", **detail)

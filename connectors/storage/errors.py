"""The errors of boto3 in our words, here and nowhere else.

What is gone, changed or forbidden is a `UserError`; what may come back is a `RetriableError` S3_UNAVAILABLE; a request
that the store will never take is a `FatalError` S3_REFUSED.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from schemas.errors import FatalError, MusterError, RetriableError, UserError

GONE: Final = frozenset({"NoSuchKey", "NoSuchVersion", "NotFound", "404", "MethodNotAllowed", "405"})
CHANGED: Final = frozenset({"PreconditionFailed", "412", "InvalidRange", "416"})
FORBIDDEN: Final = frozenset(
    {"AccessDenied", "Forbidden", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"}
)
RETRIABLE: Final = frozenset(
    {
        "SlowDown",
        "RequestTimeout",
        "RequestTimeTooSkewed",
        "Throttling",
        "ConditionalRequestConflict",
        "OperationAborted",
    }
)


@contextmanager
def translated(bucket: str, key: str) -> Iterator[None]:
    """Raise what boto3 raises inside in our words; `bucket` and `key` are what the request is about."""
    from boto3.exceptions import Boto3Error
    from botocore import exceptions as boto
    from urllib3.exceptions import HTTPError

    try:
        yield
    except boto.ClientError as exc:
        raise _client_error(exc.response, bucket, key) from exc
    except boto.NoCredentialsError as exc:
        raise UserError("ACCESS_DENIED", "there are no S3 credentials", bucket=bucket) from exc
    except boto.ParamValidationError as exc:
        raise UserError("BAD_OBJECT_NAME", f"s3://{bucket}/{key} is no name of an object", bucket=bucket) from exc
    except Boto3Error as exc:  # an upload wraps what went wrong
        cause = exc.__cause__ or exc.__context__
        if isinstance(cause, boto.ClientError):
            raise _client_error(cause.response, bucket, key) from exc
        raise RetriableError("S3_UNAVAILABLE", f"writing s3://{bucket}/{key} failed: {exc}", bucket=bucket) from exc
    except (boto.BotoCoreError, HTTPError, ConnectionError, TimeoutError) as exc:
        raise RetriableError(
            "S3_UNAVAILABLE", f"the object store does not answer: {type(exc).__name__}", bucket=bucket, key=key
        ) from exc


def _client_error(response: Any, bucket: str, key: str) -> MusterError:
    code = str(response.get("Error", {}).get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    detail = {"bucket": bucket, "key": key, "s3_code": code}
    if code == "NoSuchBucket":
        return UserError("NO_SUCH_BUCKET", f"there is no bucket {bucket}", **detail)
    if code in GONE:
        return UserError("SOURCE_GONE", f"s3://{bucket}/{key} does not exist", **detail)
    if code in CHANGED:
        return changed(bucket, key)
    if code in FORBIDDEN:
        return UserError("ACCESS_DENIED", f"the object store refuses access to s3://{bucket}/{key}", **detail)
    if code in RETRIABLE or status >= 500 or status == 429:
        return RetriableError("S3_UNAVAILABLE", f"the object store answers {code or status}", **detail)
    return FatalError("S3_REFUSED", f"the object store refuses a request: {code or status}", **detail)


def changed(bucket: str, key: str) -> UserError:
    """The error for an object that is another one now."""
    return UserError(
        "SOURCE_CHANGED", f"s3://{bucket}/{key} is no longer the object that was registered", bucket=bucket, key=key
    )

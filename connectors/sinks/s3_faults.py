"""The one place where what an object store says to an export becomes an error of ours, with what to do about it.

Nothing that a store has sent is repeated but its code: its text may quote the request, and with it credentials.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from schemas.errors import MusterError, RetriableError, UserError

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

UNKNOWN_CREDENTIALS: Final = frozenset(
    {
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "InvalidToken",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
    }
)
EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
ELSEWHERE: Final = frozenset(
    {"PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
)
PASSING: Final = frozenset(
    {
        "SlowDown",
        "Throttling",
        "RequestTimeout",
        "RequestLimitExceeded",
        "ConditionalRequestConflict",
        "OperationAborted",
        "NoSuchUpload",  # an answer to the end of an upload was lost, or somebody has tidied up: a repeat will tell
    }
)
DENIED: Final = "AccessDenied"
PERMISSIONS: Final = (
    "s3:PutObject, s3:GetObject, s3:DeleteObject, s3:AbortMultipartUpload and s3:ListBucket (with a key of KMS also "
    "kms:GenerateDataKey and kms:Decrypt)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What an error is about: a bucket, a prefix in it, and the profile that leads there (none: our own access)."""

    bucket: str
    prefix: str
    profile: str | None = None

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    @property
    def credentials(self) -> str:
        """Whose they are, for people."""
        return "Muster's own credentials" if self.profile is None else f"the credentials of profile {self.profile}"


@contextmanager
def destination_faults(place: Place) -> Iterator[None]:
    """Raise what boto3 raises inside in our words.

    `UserError` DESTINATION_NOT_WRITABLE and DESTINATION_CREDENTIALS_EXPIRED, `RetriableError` DESTINATION_UNAVAILABLE.
    """
    from boto3.exceptions import Boto3Error  # noqa: PLC0415  # boto3 takes a third of a second
    from botocore import exceptions as boto  # noqa: PLC0415
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    try:
        yield
    except boto.ClientError as exc:
        raise _refusal(exc, place) from exc
    except (boto.NoCredentialsError, boto.PartialCredentialsError) as exc:
        raise _refused(place, type(exc).__name__, f"there are none where {place.credentials} should be") from exc
    except boto.ParamValidationError as exc:
        raise _refused(place, type(exc).__name__, "the request cannot be made") from exc
    except Boto3Error as exc:  # an upload wraps what went wrong
        cause = exc.__cause__ or exc.__context__
        raise (_refusal(cause, place) if isinstance(cause, boto.ClientError) else _silence(exc, place)) from exc
    except (boto.BotoCoreError, HTTPError, ConnectionError, TimeoutError) as exc:
        raise _silence(exc, place) from exc


def _silence(exc: Exception, place: Place) -> RetriableError:
    return RetriableError(
        "DESTINATION_UNAVAILABLE",
        f"{place}: the store does not answer ({type(exc).__name__})",
        destination=str(place),
        refusal=type(exc).__name__,
    )


def _refusal(exc: "ClientError", place: Place) -> MusterError:
    error = exc.response.get("Error", {})
    meta = exc.response.get("ResponseMetadata", {})
    code = str(error.get("Code", ""))
    status = int(meta.get("HTTPStatusCode", 0))
    if code in EXPIRED:
        return UserError(
            "DESTINATION_CREDENTIALS_EXPIRED",
            f"{place}: {place.credentials} have expired ({code}); renew them and repeat the export. There is no "
            "manifest, and no export without one: files of this one may be left there",
            destination=str(place),
            profile=place.profile,
            refusal=code,
        )
    if code in PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        return RetriableError(
            "DESTINATION_UNAVAILABLE",
            f"{place}: the store answers {code or status}; try again later",
            destination=str(place),
            refusal=code or str(status),
        )
    return _refused(place, code or str(status), _advice(code, status, place, _region(meta, error)))


def _advice(code: str, status: int, place: Place, region: str) -> str:
    if code == "NoSuchBucket":
        advice = f"there is no bucket {place.bucket}: have it made, or name another one"
    elif code in UNKNOWN_CREDENTIALS:
        advice = f"the store does not know {place.credentials}, or their secret is another one: correct them"
    elif code in ELSEWHERE:
        where = f"in the region {region}" if region else "in another region"
        advice = f"the bucket is {where}: correct the region that goes with {place.credentials}"
    elif code == "RequestTimeTooSkewed":
        advice = "the clock of this machine differs from the store's: set it"
    elif code.startswith("KMS."):
        advice = "the key of KMS cannot be used: correct kms_key_id, or have the key enabled"
    elif status == HTTPStatus.FORBIDDEN:
        advice = f"{place.credentials} may not do this: have them allowed {PERMISSIONS}"
    else:
        advice = "the store refuses the request"
    return advice


def _region(meta: object, error: object) -> str:
    """The region that the store itself names, if it is one: it is told to people."""
    headers = meta.get("HTTPHeaders", {}) if isinstance(meta, dict) else {}
    named = str(headers.get("x-amz-bucket-region") or (error.get("Region") if isinstance(error, dict) else "") or "")
    return named if named.replace("-", "").isalnum() and named.isascii() else ""


def _refused(place: Place, code: str, advice: str) -> UserError:
    return UserError(
        "DESTINATION_NOT_WRITABLE",
        f"{place}: {advice} ({code})",
        bucket=place.bucket,
        destination=str(place),
        profile=place.profile,
        refusal=code,
    )

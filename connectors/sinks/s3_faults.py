"""The one place that translates an object store's errors during an export into ours, with advice on what to do.

The only part of a store's answer that is repeated is its code: its text may quote the request, and credentials with it.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from connectors.storage.errors import StoreFault, store_faults
from schemas.errors import MusterError, RetriableError, UserError

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
WRONG_REGION: Final = frozenset(
    {"PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
)
TRANSIENT: Final = frozenset(
    {
        "RequestLimitExceeded",
        "NoSuchUpload",  # the answer to completing an upload was lost, or it was cleaned up: a retry will show
    }
)
DENIED: Final = "AccessDenied"
PERMISSIONS: Final = (
    "s3:PutObject, s3:GetObject, s3:DeleteObject, s3:AbortMultipartUpload and s3:ListBucket (with a KMS key also "
    "kms:GenerateDataKey and kms:Decrypt)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """The subject of an error: a bucket, a prefix in it, and the profile used (None: our own access)."""

    bucket: str
    prefix: str
    profile: str | None = None

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    @property
    def credentials(self) -> str:
        """Whose credentials are used, for people."""
        return "Muster's own credentials" if self.profile is None else f"the credentials of profile {self.profile}"


def destination_faults(location: Location) -> AbstractContextManager[None]:
    """Translate boto3's errors raised inside the block.

    Raises `UserError` DESTINATION_NOT_WRITABLE and DESTINATION_CREDENTIALS_EXPIRED, `RetriableError`
    DESTINATION_UNAVAILABLE.
    """
    return store_faults(partial(_error, location))


def _error(location: Location, fault: StoreFault) -> MusterError:
    code = fault.code
    if fault.kind == "no credentials":
        error: MusterError = _refused(location, code, f"{location.credentials} were not found")
    elif fault.kind == "bad request":
        error = _refused(location, code, "the request cannot be made")
    elif fault.kind == "silent":
        error = _unavailable(location, code, f"the store does not respond ({code})")
    elif code in EXPIRED:
        error = UserError(
            "DESTINATION_CREDENTIALS_EXPIRED",
            f"{location}: {location.credentials} have expired ({code}); renew them and repeat the export. "
            "This export has "
            "no manifest and is not valid; some of its files may remain at the destination",
            destination=str(location),
            profile=location.profile,
            refusal=code,
        )
    elif fault.is_transient or code in TRANSIENT:
        error = _unavailable(location, code, f"the store answers {code}; try again later")
    else:
        error = _refused(location, code, _advice(fault, location))
    return error


def _unavailable(location: Location, code: str, why: str) -> RetriableError:
    return RetriableError("DESTINATION_UNAVAILABLE", f"{location}: {why}", destination=str(location), refusal=code)


def _advice(fault: StoreFault, location: Location) -> str:
    code, region = fault.code, _region(fault.answer)
    if code == "NoSuchBucket":
        advice = f"bucket {location.bucket} does not exist: have it created, or choose another one"
    elif code in UNKNOWN_CREDENTIALS:
        advice = f"the store does not know {location.credentials}, or their secret is wrong: correct them"
    elif code in WRONG_REGION:
        where = f"in the region {region}" if region else "in another region"
        advice = f"the bucket is {where}: correct the region that goes with {location.credentials}"
    elif code == "RequestTimeTooSkewed":
        advice = "the clock of this machine differs from the store's: correct it"
    elif code.startswith("KMS."):
        advice = "the KMS key cannot be used: correct kms_key_id, or have the key enabled"
    elif fault.status == HTTPStatus.FORBIDDEN:
        advice = f"{location.credentials} do not have permission: have them granted {PERMISSIONS}"
    else:
        advice = "the store refuses the request"
    return advice


def _region(answer: Mapping[str, Any]) -> str:
    """The region that the store names; empty unless it looks like a region, since it is shown to people."""
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    named = str(headers.get("x-amz-bucket-region") or answer.get("Error", {}).get("Region") or "")
    return named if named.replace("-", "").isalnum() and named.isascii() else ""


def _refused(location: Location, code: str, advice: str) -> UserError:
    return UserError(
        "DESTINATION_NOT_WRITABLE",
        f"{location}: {advice} ({code})",
        bucket=location.bucket,
        destination=str(location),
        profile=location.profile,
        refusal=code,
    )

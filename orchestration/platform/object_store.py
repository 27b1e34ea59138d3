"""Access to the object store from the settings, in the form that lower packages take."""

from dataclasses import replace

from connectors.storage.access import S3Access
from orchestration.platform.settings import Settings


def s3_access(settings: Settings) -> S3Access:
    """Endpoint and credentials, for batch jobs and stream workers alike."""
    return S3Access(
        endpoint=settings.s3_endpoint,
        region=settings.s3_region,
        access_key=settings.s3_access_key,
        secret_key=settings.s3_secret_key.reveal(),
    )


def public_s3_access(settings: Settings) -> S3Access:
    """The same by the address that clients reach, which presigned requests are signed for."""
    access = s3_access(settings)
    return replace(access, endpoint=settings.s3_public_endpoint) if settings.s3_public_endpoint else access

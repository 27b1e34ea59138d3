"""How the object store is reached, by the settings, as the packages below take it."""

from connectors.storage.access import S3Access
from orchestration.platform.settings import Settings
from streams.config import StoreConfig


def s3_access(settings: Settings) -> S3Access:
    """As batch jobs take it."""
    return S3Access(
        endpoint=settings.s3_endpoint,
        region=settings.s3_region,
        access_key=settings.s3_access_key,
        secret_key=settings.s3_secret_key.reveal(),
    )


def store_config(settings: Settings) -> StoreConfig:
    """As stream processors take it."""
    return StoreConfig(
        endpoint=settings.s3_endpoint,
        region=settings.s3_region,
        access_key=settings.s3_access_key,
        secret_key=settings.s3_secret_key.reveal(),
    )

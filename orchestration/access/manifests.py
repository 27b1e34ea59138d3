"""How files of an export are read back, by the manifest that a tenant names."""

from typing import Any

from orchestration.composition.service import Services
from orchestration.kinds.places import AllowedLocations
from orchestration.operations.submit import source_of
from schemas.errors import UserError
from schemas.manifest import MAX_MANIFEST_BYTES, Manifest
from schemas.reading_back import written_as


def settings_of_manifest(services: Services, allowed: AllowedLocations, address: str, source: str) -> dict[str, Any]:
    """Keys of an import spec for a file of an export. `address`: s3://bucket/key of the manifest.

    Raises `UserError` BAD_URI, BAD_SOURCE, SOURCE_GONE, BAD_MANIFEST, and as `written_as`; `RetriableError`
    S3_UNAVAILABLE.
    """
    bucket, key = source_of(services.settings, allowed.tenant, address)
    allowed.require_source(bucket, key)
    pinned = services.objects.pin(bucket, key)
    if pinned.size > MAX_MANIFEST_BYTES:
        raise UserError("BAD_MANIFEST", f"{address[:200]} is larger than any manifest", manifest=address[:200])
    return written_as(Manifest.parse(services.objects.read_range(pinned, 0, pinned.size)), address, source)

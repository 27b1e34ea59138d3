"""Uploads: rules, and what of an upload has arrived."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from orchestration.access.request_ids import upload_id
from orchestration.catalog.selected import answer_of
from orchestration.catalog.uploads import Upload
from orchestration.composition.service import Services
from orchestration.operations.submit import upload_key
from orchestration.platform.clock import iso, now_ms
from orchestration.records import uploads as answers
from schemas.errors import UserError
from schemas.ids import AudienceName, JobId, TenantName
from schemas.layout import s3_uri

MIB: Final = 1024 * 1024
GIB: Final = 1024 * MIB
ONE_PUT_BYTES: Final = 5 * GIB
"""S3's limit of one PUT; larger objects are sent in parts."""
MAX_BYTES: Final = 5 * 1024 * GIB
MAX_PARTS: Final = 10_000
MIN_PART_BYTES: Final = 64 * MIB
UNFINISHED_BYTES: Final = 100 * GIB
"""Of all unfinished uploads of a tenant, so one larger upload is sent alone or not at all."""
VALID_MS: Final = 15 * 60 * 1000
"""How long a presigned PUT is valid: `connectors.storage.presigned`."""
FOLDER: Final = AudienceName("upload")
"""In the keys of these uploads, where those of `muster import` have the audience."""

LIST_NAME: Final = "files.json"


def new_upload(upload_id: JobId, tenant: TenantName, *, name: str, size: int, content_type: str, at_ms: int) -> Upload:
    """A requested upload. Raises `UserError` BAD_UPLOAD."""
    if not 1 <= size <= MAX_BYTES:
        raise UserError("BAD_UPLOAD", f"an upload has 1 to {MAX_BYTES} bytes, not {size}", size=size)
    if name in {".", ".."} or set(name) & set("/\\"):
        raise UserError("BAD_UPLOAD", "name must be a file name without folders", member="name")
    key = upload_key(tenant, FOLDER, upload_id, name)
    return Upload(
        upload_id=upload_id,
        tenant=tenant,
        name=name,
        content_type=content_type,
        size=size,
        key=key,
        created_at_ms=at_ms,
    )


def part_bytes(size: int) -> int:
    """Size of all parts but the last, in bytes: whole MiB."""
    return max(MIN_PART_BYTES, -(-size // MAX_PARTS // MIB) * MIB)


def part_sizes(size: int) -> list[int]:
    """The size of each part."""
    whole, rest = divmod(size, part_bytes(size))
    return [part_bytes(size)] * whole + ([rest] if rest else [])


def begun(services: Services, upload: Upload) -> answers.Upload:
    """An upload with what its client sends next: one PUT, or parts, which it requests."""
    shown = shown_upload(services, upload, stored=False)
    if upload.size > ONE_PUT_BYTES:
        return shown
    bucket = services.settings.staging_bucket
    put = services.presigner.put(bucket, upload.key, size=upload.size, content_type=upload.content_type)
    return replace(
        shown, put=answers.PresignedPut(url=put.url, headers=put.headers, expires_at=iso(now_ms() + VALID_MS))
    )


def part_requests(services: Services, upload: Upload, numbers: list[int]) -> list[answers.PresignedPart]:
    """A PUT for each of these parts. Raises `UserError` BAD_UPLOAD for a number that it does not have."""
    sizes = part_sizes(upload.size)
    if upload.multipart is None:
        raise UserError("BAD_UPLOAD", f"upload {upload.upload_id} is one PUT and has no parts", upload=upload.upload_id)
    if unknown := [number for number in numbers if not 1 <= number <= len(sizes)]:
        raise UserError("BAD_UPLOAD", f"there is no part {unknown[0]}: parts are 1 to {len(sizes)}", parts=len(sizes))
    bucket, multipart = services.settings.staging_bucket, upload.multipart
    signed = [
        (n, services.presigner.part(bucket, upload.key, multipart=multipart, number=n, size=sizes[n - 1]))
        for n in sorted(set(numbers))
    ]
    expires_at = iso(now_ms() + VALID_MS)
    return [answers.PresignedPart(part=n, url=one.url, headers=one.headers, expires_at=expires_at) for n, one in signed]


def begin_parts(services: Services, upload: Upload) -> Upload:
    """Begin the parts of a large upload, once."""
    if upload.size <= ONE_PUT_BYTES or upload.multipart is not None:
        return upload
    bucket = services.settings.staging_bucket
    multipart = services.parts.begin(bucket, upload.key, upload.content_type)
    kept = services.uploads.put_multipart(upload.upload_id, multipart)
    if kept != multipart:  # another request has begun them
        services.parts.abort(bucket, upload.key, multipart)
    return services.uploads.get(upload.tenant, upload.upload_id)


def complete_parts(services: Services, upload: Upload) -> None:
    """Make the object of its parts, unless that was done. Raises `UserError` UPLOAD_UNFINISHED."""
    if upload.multipart is None or upload.stored or _arrived(services, upload) is not None:
        return
    bucket = services.settings.staging_bucket
    found = services.parts.sizes(bucket, upload.key, upload.multipart)
    wanted = part_sizes(upload.size)
    for number, size in enumerate(wanted, 1):
        if found.get(number, (None, ""))[0] != size:
            raise UserError(
                "UPLOAD_UNFINISHED",
                f"part {number} of {len(wanted)} has not arrived completely",
                upload=upload.upload_id,
                part=number,
            )
    etags = {number: found[number][1] for number in range(1, len(wanted) + 1)}
    services.parts.complete(bucket, upload.key, upload.multipart, etags)


def stored_upload(services: Services, tenant: TenantName, id_: str) -> Upload:
    """An upload whose object has arrived. Raises `UserError` BAD_JOB_ID, UNKNOWN_UPLOAD, UPLOAD_UNFINISHED."""
    upload = services.uploads.get(tenant, upload_id(id_))
    if upload.stored:
        return upload
    size = _arrived(services, upload)
    if size != upload.size:
        raise UserError(
            "UPLOAD_UNFINISHED",
            f"upload {upload.upload_id} has {size or 0} of {upload.size} bytes; send the file first",
            upload=upload.upload_id,
        )
    services.uploads.put_stored(upload.upload_id)
    return upload


def list_of_uploads(services: Services, tenant: TenantName, ids: Sequence[str], job: JobId) -> str:
    """Store a list of these uploads for the import of all of them, and return its URI. Raises as `stored_upload`."""
    bucket = services.settings.staging_bucket
    uris = [s3_uri(bucket, stored_upload(services, tenant, id_).key) for id_ in ids]
    key = upload_key(tenant, FOLDER, job, LIST_NAME)
    services.objects.put(bucket, key, json.dumps(uris).encode())
    return s3_uri(bucket, key)


def remove(services: Services, upload: Upload) -> None:
    """Delete what has arrived, and the upload. Raises `UserError` UPLOAD_IN_USE while a job reads it."""
    bucket = services.settings.staging_bucket
    live = [job.job_id for job in services.jobs.by_object(bucket, upload.key) if job.finished_at_ms is None]
    if live:
        raise UserError("UPLOAD_IN_USE", f"job {live[0]} reads upload {upload.upload_id}", jobs=live)
    if upload.multipart is not None:
        services.parts.abort(bucket, upload.key, upload.multipart)
    services.objects.delete(bucket, upload.key)
    services.uploads.delete(upload.upload_id)


def shown_upload(services: Services, upload: Upload, *, stored: bool | None = None) -> answers.Upload:
    """An upload as its client sees it. `stored`: None looks whether its object has arrived."""
    if stored is None:
        stored = upload.stored or _arrived(services, upload) == upload.size
    parts = None
    if upload.size > ONE_PUT_BYTES:
        parts = answers.PartSizes(count=len(part_sizes(upload.size)), bytes=part_bytes(upload.size))
    return answer_of(
        answers.Upload,
        upload,
        upload=upload.upload_id,
        source=s3_uri(services.settings.staging_bucket, upload.key),
        state="stored" if stored else "unfinished",
        parts=parts,
        put=None,
    )


def _arrived(services: Services, upload: Upload) -> int | None:
    """Size of the object; None if there is none."""
    try:
        return services.objects.pin(services.settings.staging_bucket, upload.key).size
    except UserError as exc:
        if exc.code == "SOURCE_GONE":
            return None
        raise

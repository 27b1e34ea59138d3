"""Uploads of a tenant."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from orchestration.access.bodies.uploads import NewUpload, WantedParts
from orchestration.access.guard import Entry, reads, recorded
from orchestration.access.idempotency import RequestKey, once
from orchestration.access.policy import Action
from orchestration.access.problems import OF_OBJECTS, OF_UPLOADS
from orchestration.access.request_ids import upload_id
from orchestration.access.uploading import (
    UNFINISHED_BYTES,
    begin_parts,
    begun,
    complete_parts,
    new_upload,
    part_requests,
    remove,
    shown_upload,
    stored_upload,
)
from orchestration.access.views.tenant import TenantView
from orchestration.catalog import uploads as catalog
from orchestration.catalog.idempotency import Claim
from orchestration.records.uploads import PresignedPart, Upload
from schemas.ids import JobId


@dataclass(frozen=True, slots=True)
class _Made:
    """What is kept under an idempotency key: presigned requests expire."""

    upload: JobId


class Uploads(TenantView):
    """Uploads as one caller sees and makes them."""

    @recorded(
        Action.RUN_JOBS,
        "uploads create",
        "POST /uploads",
        status=201,
        problems=(*OF_UPLOADS, "BAD_UPLOAD", "TOO_MANY_UPLOADS"),
    )
    def create_upload(self, entry: Entry, body: NewUpload, *, key: RequestKey) -> Upload:
        """Begin an upload. Its answer has the request that sends the file; a repeat has a fresh one."""
        entry.object, entry.arguments = "uploads", {"name": body.name, "size": body.size}

        def start(claim: Claim) -> _Made:
            wanted = new_upload(
                claim.job_id,
                self._name,
                name=body.name,
                size=body.size,
                content_type=body.content_type,
                at_ms=claim.at_ms,
            )
            begin_parts(self._services, self._services.uploads.add(wanted, most_bytes=UNFINISHED_BYTES))
            return _Made(claim.job_id)

        made = once(_Made, self._services, self._caller, self._name, key, start)
        entry.job_id = made.upload
        return begun(self._services, self._get(made.upload))

    @reads(Action.RUN_JOBS)
    def origin(self) -> str:
        """Where browsers send files to: scheme, host and port."""
        parts = urlsplit(self._services.presigner.get(self._services.settings.staging_bucket, "-", name="-").url)
        return f"{parts.scheme}://{parts.netloc}"

    @reads(Action.RUN_JOBS, "GET /uploads/{upload}", problems=OF_OBJECTS)
    def get_upload(self, upload: str) -> Upload:
        """An upload, and whether the file has arrived."""
        return shown_upload(self._services, self._get(upload))

    @recorded(Action.RUN_JOBS, "uploads delete", "DELETE /uploads/{upload}", problems=(*OF_OBJECTS, "UPLOAD_IN_USE"))
    def delete_upload(self, entry: Entry, upload: str) -> Upload:
        """Delete an upload, whether or not it is finished. Unfinished ones end after a day."""
        entry.object, entry.arguments = "uploads", {"upload": upload[:26]}
        found = self._get(upload)
        shown = shown_upload(self._services, found)
        remove(self._services, found)
        return shown

    @recorded(
        Action.RUN_JOBS,
        "uploads parts",
        "POST /uploads/{upload}/parts",
        problems=(*OF_OBJECTS, "BAD_UPLOAD"),
        client="upload_parts",
    )
    def presign_parts(self, entry: Entry, upload: str, body: WantedParts) -> list[PresignedPart]:
        """Requests that send parts of a file above 5 GiB. A part may be sent again until the upload is complete."""
        entry.object, entry.arguments = "uploads", {"upload": upload[:26]}
        return part_requests(self._services, self._get(upload), body.parts)

    @recorded(
        Action.RUN_JOBS,
        "uploads complete",
        "PUT /uploads/{upload}/completion",
        problems=(*OF_OBJECTS, "UPLOAD_UNFINISHED"),
    )
    def complete_upload(self, entry: Entry, upload: str) -> Upload:
        """Check that the whole file has arrived, and join its parts. No effect on a complete one."""
        entry.object, entry.arguments = "uploads", {"upload": upload[:26]}
        complete_parts(self._services, self._get(upload))
        return shown_upload(self._services, stored_upload(self._services, self._name, upload), stored=True)

    def _get(self, upload: str) -> catalog.Upload:
        return self._services.uploads.get(self._name, upload_id(upload))

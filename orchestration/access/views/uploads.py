"""Uploads of a tenant."""

from urllib.parse import urlsplit

from orchestration.access.guard import Entry, reads, recorded
from orchestration.access.idempotency import RequestKey, once
from orchestration.access.pages import Record
from orchestration.access.policy import Action
from orchestration.access.request_ids import upload_id
from orchestration.access.uploading import (
    UNFINISHED_BYTES,
    begin_parts,
    begun,
    complete_parts,
    new_upload,
    part_requests,
    remove,
    stored_upload,
    upload_record,
)
from orchestration.access.views.tenant import TenantView
from orchestration.catalog.idempotency import Claim
from orchestration.catalog.uploads import Upload


class UploadsView(TenantView):
    """Uploads as one caller sees and makes them."""

    @recorded(Action.RUN_JOBS, "uploads create")
    def create_upload(self, entry: Entry, *, name: str, size: int, content_type: str, key: RequestKey) -> Record:
        """Begin an upload; returns the request that sends it, or its number of parts. A repeat gets a new request.

        Raises `UserError` BAD_UPLOAD, TOO_MANY_UPLOADS, and as `once`; `RetriableError` S3_UNAVAILABLE.
        """
        entry.object, entry.arguments = "uploads", {"name": name, "size": size}

        def start(claim: Claim) -> Record:
            wanted = new_upload(
                claim.job_id, self._name, name=name, size=size, content_type=content_type, at_ms=claim.at_ms
            )
            begin_parts(self._services, self._services.uploads.add(wanted, most_bytes=UNFINISHED_BYTES))
            return {"upload": claim.job_id}

        made = once(self._services, self._caller, self._name, key, start)
        entry.job_id = made["upload"]
        return begun(self._services, self._get(made["upload"]))

    @reads(Action.RUN_JOBS)
    def origin(self) -> str:
        """Where browsers send files to: scheme, host and port."""
        parts = urlsplit(self._services.presigner.get(self._services.settings.staging_bucket, "-", name="-").url)
        return f"{parts.scheme}://{parts.netloc}"

    @reads(Action.RUN_JOBS)
    def upload(self, id_: str) -> Record:
        """An upload, and whether it has arrived. Raises `UserError` BAD_JOB_ID, UNKNOWN_UPLOAD."""
        return upload_record(self._services, self._get(id_))

    @recorded(Action.RUN_JOBS, "uploads parts")
    def parts(self, entry: Entry, id_: str, numbers: list[int]) -> Record:
        """A request for each of these parts. Raises `UserError` BAD_JOB_ID, UNKNOWN_UPLOAD, BAD_UPLOAD."""
        entry.object, entry.arguments = "uploads", {"upload": id_[:26]}
        return part_requests(self._services, self._get(id_), numbers)

    @recorded(Action.RUN_JOBS, "uploads complete")
    def complete(self, entry: Entry, id_: str) -> Record:
        """Check that everything has arrived, and join parts. Raises as `upload`, and `UserError` UPLOAD_UNFINISHED."""
        entry.object, entry.arguments = "uploads", {"upload": id_[:26]}
        complete_parts(self._services, self._get(id_))
        return upload_record(self._services, stored_upload(self._services, self._name, id_), stored=True)

    @recorded(Action.RUN_JOBS, "uploads delete")
    def delete_upload(self, entry: Entry, id_: str) -> Record:
        """Delete an upload and everything that has arrived of it. Raises as `upload`, and `UserError` UPLOAD_IN_USE."""
        entry.object, entry.arguments = "uploads", {"upload": id_[:26]}
        found = self._get(id_)
        record = upload_record(self._services, found)
        remove(self._services, found)
        return record

    def _get(self, id_: str) -> Upload:
        return self._services.uploads.get(self._name, upload_id(id_))

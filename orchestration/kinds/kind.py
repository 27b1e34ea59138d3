"""The kinds of jobs of the import machine, each with the same four stages."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from orchestration.platform.deferred import deferred

if TYPE_CHECKING:
    from collections.abc import Callable

    from connectors.lake.activity_receipts import ActivityReceipts
    from connectors.lake.archive import ActivityArchive
    from connectors.publishing.activations import ActivationSender
    from connectors.sources.limits import ParseLimits
    from connectors.storage.access import S3Access
    from connectors.storage.duck import DuckLimits
    from connectors.storage.objects import ObjectStore
    from orchestration.catalog.records import Job
    from orchestration.kinds.records import ImportRecords, View
    from orchestration.kinds.segment_meaning import Meanings
    from orchestration.kinds.specs import Specs
    from segmentation.versions import VersionStore

with deferred(__name__):  # a function runs one stage, and starts cold
    from orchestration.kinds import build, publish, query_files, send, settle_activity, verify
    from orchestration.kinds.snapshot import build as snapshot_build
    from orchestration.kinds.snapshot import cut_requests


class Stages(Protocol):
    """The stages of one kind of job.

    A stage does nothing if the job is in none of its states, and may run twice, also at once. It raises what the
    function that it calls raises: `UserError` if the request is at fault, `RetriableError` or `FatalError`.
    """

    def verify(self, job: "Job") -> "View":
        """VERIFYING -> IMPORTING, with the evidence that the result must match."""

    def send(self, job: "Job") -> "View":
        """IMPORTING -> AWAITING: one attempt."""

    def build(self, job: "Job") -> "View":
        """AWAITING | BUILDING -> PUBLISHING, with parts and exact counts."""

    def publish(self, job: "Job") -> "View":
        """AWAITING | PUBLISHING -> READY | SUPERSEDED, with a receipt; or back to BUILDING."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceImport:
    """The members of a file become the next version of an audience."""

    records: "ImportRecords"
    specs: "Specs"
    objects: "ObjectStore"
    limits: "ParseLimits"
    versions: "VersionStore"
    s3: "S3Access"
    lake_limits: "DuckLimits"
    meanings: "Callable[[], Meanings]"

    def verify(self, job: "Job") -> "View":
        """`kinds.verify`; before, `kinds.query_files` writes the file if it is the result of a query."""
        if job.awaits_query:
            return query_files.write_file(
                job,
                records=self.records,
                specs=self.specs,
                objects=self.objects,
                meanings=self.meanings(),
                s3=self.s3,
                limits=self.lake_limits,
            )
        return verify.verify(job, records=self.records, objects=self.objects, limits=self.limits)

    def send(self, job: "Job") -> "View":
        """`kinds.send`."""
        return send.send_members(job, records=self.records, objects=self.objects, limits=self.limits)

    def build(self, job: "Job") -> "View":
        """`kinds.build`."""
        return build.build(
            job.job_id, records=self.records, versions=self.versions, s3=self.s3, limits=self.lake_limits
        )

    def publish(self, job: "Job") -> "View":
        """`kinds.publish`."""
        return publish.publish(
            job.job_id, records=self.records, versions=self.versions, specs=self.specs, objects=self.objects
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityImport:
    """The events or profiles of a file go to the log, and from there to the archive."""

    records: "ImportRecords"
    specs: "Specs"
    objects: "ObjectStore"
    limits: "ParseLimits"
    archive: "ActivityArchive"
    receipts: "ActivityReceipts"

    def verify(self, job: "Job") -> "View":
        """`kinds.verify`."""
        return verify.verify(job, records=self.records, objects=self.objects, limits=self.limits)

    def send(self, job: "Job") -> "View":
        """`kinds.send`."""
        return send.send_activity(
            job, records=self.records, objects=self.objects, limits=self.limits, archive=self.archive
        )

    def build(self, job: "Job") -> "View":
        """Nothing to do: the archive has the rows."""
        return self.records.view(job)

    def publish(self, job: "Job") -> "View":
        """`kinds.settle_activity`."""
        return settle_activity.settle(
            job,
            records=self.records,
            specs=self.specs,
            objects=self.objects,
            archive=self.archive,
            receipts=self.receipts,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentSnapshot:
    """The members of a segment at one instant become the next version of an audience."""

    records: "ImportRecords"
    specs: "Specs"
    meanings: "Meanings"
    sender: "ActivationSender"
    objects: "ObjectStore"
    versions: "VersionStore"
    s3: "S3Access"
    lake_limits: "DuckLimits"

    def verify(self, job: "Job") -> "View":
        """`kinds.snapshot.cut_requests`."""
        return cut_requests.confirm(job, records=self.records, segments=self.meanings.segments)

    def send(self, job: "Job") -> "View":
        """`kinds.snapshot.cut_requests`."""
        return cut_requests.request_cuts(
            job,
            records=self.records,
            segments=self.meanings.segments,
            activations=self.meanings.activations,
            sender=self.sender,
        )

    def build(self, job: "Job") -> "View":
        """`kinds.snapshot.build`."""
        return snapshot_build.build_snapshot(
            job.job_id, records=self.records, meanings=self.meanings, s3=self.s3, limits=self.lake_limits
        )

    def publish(self, job: "Job") -> "View":
        """`kinds.publish`."""
        return publish.publish(
            job.job_id, records=self.records, versions=self.versions, specs=self.specs, objects=self.objects
        )

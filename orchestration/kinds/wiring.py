"""Makes the parts that stages use from the stores of a process."""

from typing import TYPE_CHECKING

from orchestration.kinds.records import ExportRecords, ImportRecords
from orchestration.kinds.specs import Specs

if TYPE_CHECKING:
    from orchestration.catalog.records import Job
    from orchestration.context import Context
    from orchestration.kinds.kind import JobKind
    from orchestration.kinds.records import View
    from orchestration.kinds.segment_meaning import Meanings


def import_records(context: "Context") -> ImportRecords:
    """Records of imports and snapshots."""
    return ImportRecords(context.jobs, context.progress, context.settings)


def export_records(context: "Context") -> ExportRecords:
    """Records of exports."""
    return ExportRecords(context.exports, context.settings)


def specs(context: "Context") -> Specs:
    """The stored specs."""
    return Specs(audiences=context.audiences, jobs=context.jobs, versions=lambda: context.versions)


def register(context: "Context", event: object, execution: str) -> "View":
    """`kinds.register.register_import` with the stores of a process."""
    from orchestration.kinds.register import register_import

    return register_import(
        event,
        execution,
        records=import_records(context),
        specs=specs(context),
        objects=context.objects,
        segments=context.segments,
        audit=context.audit,
        places=context.places,
        lanes=context.lanes,
    )


def meanings(context: "Context") -> "Meanings":
    """The resolver of rules."""
    from connectors.lake.segment_queries import SegmentQueries
    from orchestration.kinds.segment_meaning import Meanings

    return Meanings(
        segments=context.segments,
        audiences=context.audiences,
        activations=context.activations,
        versions=context.versions,
        archive=context.archive,
        queries=SegmentQueries(context.s3, context.duck_limits),
    )


def kind_of(context: "Context", job: "Job") -> "JobKind":
    """The kind of a job, with its stages."""
    from orchestration.kinds.kind import ActivityImport, AudienceImport, SegmentSnapshot

    records, settings = import_records(context), context.settings
    if job.segment is not None:
        from connectors.publishing.activations import ActivationSender

        return SegmentSnapshot(
            records=records,
            specs=specs(context),
            meanings=meanings(context),
            sender=ActivationSender(settings.kafka_bootstrap, settings.partitions),
            versions=context.versions,
            s3=context.s3,
            lake_limits=context.duck_limits,
        )
    if job.kind != "audience":
        return ActivityImport(
            records=records,
            specs=specs(context),
            objects=context.objects,
            limits=context.parse_limits(),
            archive=context.archive,
            receipts=context.activity_receipts,
        )
    return AudienceImport(
        records=records,
        specs=specs(context),
        objects=context.objects,
        limits=context.parse_limits(),
        versions=context.versions,
        s3=context.s3,
        lake_limits=context.duck_limits,
    )

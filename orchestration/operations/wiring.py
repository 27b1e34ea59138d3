"""Makes the operations that use many stores from those of a process."""

from typing import TYPE_CHECKING

from orchestration.kinds import wiring as kinds

if TYPE_CHECKING:
    from orchestration.context import Context
    from orchestration.operations.activity_dry_run import ActivityDryRuns
    from orchestration.operations.backup import Backups
    from orchestration.operations.doctor import ServiceChecks
    from orchestration.operations.dry_run import DryRuns
    from orchestration.operations.export_jobs import ExportJobs
    from orchestration.operations.follow import JobProgress
    from orchestration.operations.fsck import Fsck
    from orchestration.operations.job_repair import JobRepair
    from orchestration.operations.job_search import AllJobs
    from orchestration.operations.jobs import ImportJobs
    from orchestration.operations.rebase import Rebase
    from orchestration.operations.received_exports import ReceivedExports
    from orchestration.operations.segment_check import SegmentCheck
    from orchestration.operations.submit import Submission


def activity_dry_runs(context: "Context") -> "ActivityDryRuns":
    """Dry runs of imports of events and profiles."""
    from orchestration.operations.activity_dry_run import ActivityDryRuns

    return ActivityDryRuns(
        objects=context.objects,
        parse_limits=context.parse_limits(),
        settings=context.settings,
        specs=kinds.specs(context),
    )


def all_jobs(context: "Context") -> "AllJobs":
    """The catalog's jobs of all kinds."""
    from orchestration.operations.job_search import AllJobs

    return AllJobs(exports=context.exports, jobs=context.jobs)


def backups(context: "Context") -> "Backups":
    """Backup and restore."""
    from orchestration.operations.backup import Backups

    return Backups(
        database=context.database,
        exports=context.exports,
        jobs=context.jobs,
        objects=context.objects,
        settings=context.settings,
    )


def dry_runs(context: "Context") -> "DryRuns":
    """Dry runs of audience imports."""
    from orchestration.operations.dry_run import DryRuns

    return DryRuns(
        audiences=context.audiences,
        limits=context.duck_limits,
        objects=context.objects,
        parse_limits=context.parse_limits(),
        s3=context.s3,
        settings=context.settings,
        specs=kinds.specs(context),
        versions=lambda: context.versions,
    )


def export_jobs(context: "Context") -> "ExportJobs":
    """Operations on export jobs."""
    from orchestration.operations.export_jobs import ExportJobs

    return ExportJobs(
        audiences=context.audiences,
        engine=context.engine,
        exports=context.exports,
        places=context.places,
        settings=context.settings,
    )


def fsck(context: "Context") -> "Fsck":
    """Comparison of staging, lake and catalog."""
    from orchestration.operations.archive_fsck import ArchiveFsck
    from orchestration.operations.fsck import Fsck

    return Fsck(
        archive=ArchiveFsck(
            archive=context.archive,
            audiences=context.audiences,
            objects=context.objects,
            settings=context.settings,
        ),
        audiences=context.audiences,
        exports=context.exports,
        job_repair=job_repair(context),
        jobs=context.jobs,
        objects=context.objects,
        settings=context.settings,
        versions=context.versions,
    )


def import_jobs(context: "Context") -> "ImportJobs":
    """Operations on imports and snapshots."""
    from orchestration.operations.jobs import ImportJobs

    return ImportJobs(engine=context.engine, jobs=context.jobs)


def job_progress(context: "Context") -> "JobProgress":
    """Progress of jobs of all kinds."""
    from orchestration.operations.follow import JobProgress

    return JobProgress(
        all_jobs=all_jobs(context), exports=context.exports, jobs=context.jobs, progress=context.progress
    )


def job_repair(context: "Context") -> "JobRepair":
    """Repair of jobs whose version is published."""
    from orchestration.operations.job_repair import JobRepair

    return JobRepair(
        audiences=context.audiences,
        jobs=context.jobs,
        progress=context.progress,
        specs=kinds.specs(context),
        versions=context.versions,
    )


def rebase(context: "Context") -> "Rebase":
    """Recovery after topics were lost."""
    from orchestration.operations.rebase import Rebase

    return Rebase(
        activations=context.activations,
        archive=context.archive,
        audiences=context.audiences,
        settings=context.settings,
        staging=context.staging,
    )


def received_exports(context: "Context") -> "ReceivedExports":
    """Exports as their receiver sees them."""
    from orchestration.operations.received_exports import ReceivedExports

    return ReceivedExports(
        limits=context.duck_limits,
        parse_limits=context.parse_limits(),
        s3=context.s3,
        settings=context.settings,
    )


def segment_check(context: "Context") -> "SegmentCheck":
    """Comparison of segments with their rules."""
    from orchestration.operations.segment_check import SegmentCheck

    return SegmentCheck(
        activations=context.activations,
        archive=context.archive,
        meanings=kinds.meanings(context),
        objects=context.objects,
        segments=context.segments,
        settings=context.settings,
    )


def service_checks(context: "Context") -> "ServiceChecks":
    """Checks of `muster doctor`."""
    from orchestration.operations.doctor import ServiceChecks

    return ServiceChecks(
        audiences=context.audiences,
        engine=context.engine,
        jobs=context.jobs,
        objects=context.objects,
        settings=context.settings,
        workflow=lambda: context.workflow,
    )


def submission(context: "Context") -> "Submission":
    """Starts imports."""
    from orchestration.operations.submit import Submission

    return Submission(
        audiences=context.audiences,
        engine=context.engine,
        objects=context.objects,
        settings=context.settings,
        specs=kinds.specs(context),
    )

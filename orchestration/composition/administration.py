"""What commands of administrators use beyond the parts of their process."""

from typing import TYPE_CHECKING

from orchestration.platform.deferred import deferred

if TYPE_CHECKING:
    from orchestration.composition.context import Context
    from orchestration.operations.backup import Backups
    from orchestration.operations.doctor import ServiceChecks
    from orchestration.operations.fsck import Fsck
    from orchestration.operations.job_repair import JobRepair
    from orchestration.operations.rebase import Rebase
    from orchestration.operations.received_exports import ReceivedExports

with deferred(__name__):
    from orchestration.operations import archive_fsck as archive_checks
    from orchestration.operations import backup, doctor
    from orchestration.operations import fsck as checks
    from orchestration.operations import job_repair as repairs
    from orchestration.operations import rebase as rebases
    from orchestration.operations import received_exports as receiving


def backups(context: "Context") -> "Backups":
    """Backup and restore."""
    return backup.Backups(
        database=context.database,
        exports=context.exports,
        feeds=context.feeds,
        jobs=context.jobs,
        objects=context.objects,
        settings=context.settings,
    )


def fsck(context: "Context") -> "Fsck":
    """Comparison of staging, lake and catalog."""
    return checks.Fsck(
        archive=archive_checks.ArchiveFsck(
            archive=context.archive, audiences=context.audiences, objects=context.objects, settings=context.settings
        ),
        audiences=context.audiences,
        exports=context.exports,
        job_repair=job_repair(context),
        jobs=context.jobs,
        objects=context.objects,
        settings=context.settings,
        versions=context.versions,
    )


def job_repair(context: "Context") -> "JobRepair":
    """Repair of jobs whose version is published."""
    return repairs.JobRepair(
        audiences=context.audiences,
        jobs=context.jobs,
        progress=context.progress,
        specs=context.specs,
        versions=context.versions,
    )


def rebase(context: "Context") -> "Rebase":
    """Recovery after topics were lost."""
    return rebases.Rebase(
        activations=context.activations,
        archive=context.archive,
        audiences=context.audiences,
        scaler=context.scaler,
        settings=context.settings,
        staging=context.staging,
    )


def received_exports(context: "Context") -> "ReceivedExports":
    """Exports as their receiver sees them."""
    return receiving.ReceivedExports(
        limits=context.duck_limits, parse_limits=context.parse_limits, s3=context.s3, settings=context.settings
    )


def service_checks(context: "Context") -> "ServiceChecks":
    """Checks of `muster doctor`."""
    return doctor.ServiceChecks(
        audiences=context.audiences,
        engine=context.engine,
        jobs=context.jobs,
        none_wanted=context.scaler.none_wanted,
        objects=context.objects,
        settings=context.settings,
        workflow=lambda: context.workflow,
    )

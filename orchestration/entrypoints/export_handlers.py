"""Lambda handlers of ExportAudience; for errors see `orchestration.entrypoints.handlers`."""

import functools
from typing import TYPE_CHECKING

from orchestration.entrypoints.handlers import Event, Handler, View, errors_by_name, process_context
from schemas.ids import JobId

if TYPE_CHECKING:
    from orchestration.kinds.records import ExportRecords


def _records() -> "ExportRecords":
    return process_context().export_records


def _export(event: Event) -> JobId:
    return JobId(str(event["export_id"]))


def _owned(handler: Handler) -> Handler:
    """Run the handler only for the execution that owns the export; send any other execution to its end."""

    @functools.wraps(handler)
    def wrapped(event: Event, lambda_context: object) -> View:
        return _records().view_for_non_owner(_export(event), str(event["execution"])) or handler(event, lambda_context)

    return wrapped


@errors_by_name
def register_export(event: Event, _: object) -> View:
    """{input, execution} -> view."""
    from orchestration.kinds.export.register import register_export as step

    context = process_context()
    view = step(
        event["input"],
        str(event["execution"]),
        records=_records(),
        pins=context.export_pins,
        segments=context.segments,
        audit=context.audit,
        places=context.places,
    )
    context.ensure_workers()  # the control plane watches the export
    return view


@errors_by_name
@_owned
def plan_export(event: Event, _: object) -> View:
    """{export_id, execution} -> view."""
    from orchestration.kinds.export.plan import plan_export as step
    from orchestration.kinds.export.snapshots import pin_snapshot

    context = process_context()
    export = context.exports.get(_export(event))
    if export.state == "AWAITING":
        pins = context.export_pins
        pin_snapshot(export, records=_records(), jobs=context.jobs, pins=pins, places=context.places)
    return step(_export(event), records=_records(), versions=context.versions, s3=context.s3)


@errors_by_name
def write_export_group(event: Event, _: object) -> View:
    """{export_id, execution, number} -> {}; the result or the error is stored with the group."""
    from orchestration.kinds.export.write import write_export_group as step

    context = process_context()
    step(
        _export(event),
        int(event["number"]),
        str(event["execution"]),
        records=_records(),
        versions=context.versions,
        s3=context.s3,
        limits=context.duck_limits,
    )
    return {}


@errors_by_name
def fail_export_group(event: Event, _: object) -> View:
    """{export_id, execution, number, failure} -> {}."""
    from orchestration.kinds.export.write import fail_export_group as step
    from orchestration.kinds.failures import error_of

    error = error_of(event["failure"])
    step(process_context().exports, _export(event), int(event["number"]), error, str(event["execution"]))
    return {}


@errors_by_name
@_owned
def finish_export(event: Event, _: object) -> View:
    """{export_id, execution} -> view; raises the error of a group that was given up."""
    from orchestration.kinds.export.finish import finish_export as step

    context = process_context()
    return step(_export(event), records=_records(), versions=context.versions, s3=context.s3)


@errors_by_name
@_owned
def mark_export_failed(event: Event, _: object) -> View:
    """{export_id, execution, error | failure} -> view."""
    from orchestration.kinds.failures import error_in

    return _records().mark_failed(_export(event), error_in(event))


@errors_by_name
def notify_export(event: Event, _: object) -> View:
    """{export_id, outcome} -> view."""
    return _records().notify(process_context().notices, _export(event), event["outcome"])

"""Lambda handlers of ExportAudience; `orchestration.entrypoints.handlers` says how errors leave."""

import functools
from typing import Any

from orchestration.entrypoints.handlers import Event, Handler, errors_by_name, process_context
from orchestration.kinds.view import View
from schemas.ids import JobId


def _export(event: Event) -> JobId:
    return JobId(str(event["export_id"]))


def _owned(handler: Handler) -> Handler:
    """Let only the execution that the export belongs to do anything; another one is sent to its end."""

    @functools.wraps(handler)
    def wrapped(event: Event, lambda_context: object) -> View | dict[str, Any]:
        from orchestration.kinds.export.view import not_my_export

        mine = not_my_export(process_context(), _export(event), str(event["execution"]))
        return mine or handler(event, lambda_context)

    return wrapped


@errors_by_name
def register_export(event: Event, _: object) -> View:
    """{input, execution} -> view."""
    from orchestration.kinds.export.register import register_export as step

    return step(process_context(), event["input"], str(event["execution"]))


@errors_by_name
@_owned
def plan_export(event: Event, _: object) -> View:
    """{export_id, execution} -> view."""
    from orchestration.kinds.export.plan import plan_export as step

    return step(process_context(), _export(event))


@errors_by_name
def write_export_group(event: Event, _: object) -> dict[str, Any]:
    """{export_id, execution, number} -> {}; what was written, or why not, is kept with the group."""
    from orchestration.kinds.export.write import write_export_group as step

    step(process_context(), _export(event), int(event["number"]), str(event["execution"]))
    return {}


@errors_by_name
def fail_export_group(event: Event, _: object) -> dict[str, Any]:
    """{export_id, execution, number, failure} -> {}."""
    from orchestration.kinds.export.write import fail_export_group as step
    from orchestration.kinds.fail import error_of

    error = error_of(event["failure"])
    step(process_context(), _export(event), int(event["number"]), error, str(event["execution"]))
    return {}


@errors_by_name
@_owned
def finish_export(event: Event, _: object) -> View:
    """{export_id, execution} -> view; raises why a group was given up."""
    from orchestration.kinds.export.finish import finish_export as step

    return step(process_context(), _export(event))


@errors_by_name
@_owned
def mark_export_failed(event: Event, _: object) -> View:
    """{export_id, execution, error | failure} -> view."""
    from orchestration.catalog.records import JobError
    from orchestration.kinds.export.fail import mark_export_failed as step
    from orchestration.kinds.fail import error_of

    error = JobError(**event["error"]) if "error" in event else error_of(event["failure"])
    return step(process_context(), _export(event), error)


@errors_by_name
def notify_export(event: Event, _: object) -> View:
    """{export_id, outcome} -> view."""
    from orchestration.kinds.export.notify import notify_export as step

    return step(process_context(), _export(event), str(event["outcome"]))

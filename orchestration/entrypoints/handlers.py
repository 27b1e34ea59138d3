"""Lambda handlers: decode the event, call the step, return the fields that the state machine reads.

A `MusterError` leaves as an exception named after its class, with the error record as JSON in its message: Step
Functions matches the name (`UserError`, `RetriableError`, `FatalError`, and `UnavailableError` for a `RetriableError`
with `outage`), and ExtractCause reads the record.
"""

import functools
import json
import logging
import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from connectors.sources.fork_server import PARSERS
from orchestration.composition.context import Context
from orchestration.entrypoints import container_secrets
from orchestration.platform.clock import now_ms
from orchestration.platform.embedded_metrics import embedded_line
from orchestration.platform.logs import configure
from orchestration.platform.settings import Settings
from orchestration.platform.tracing import endpoint_in, flushing, start_tracing
from orchestration.workflow.stages import OUTAGE
from schemas import tracing
from schemas.errors import FatalError, MusterError, RetriableError, UserError
from schemas.ids import JobId
from schemas.log_ids import bound, execution_name
from schemas.metrics import (
    MISSING_TASKS,
    SCHEDULE_OVERDUE,
    UNCONTROLLED_WORK,
    UNSERVED_MESSAGES,
    cloudwatch_namespace,
)

if TYPE_CHECKING:
    from orchestration.catalog.records import Job
    from orchestration.kinds.kind import Stages
    from orchestration.kinds.records import ImportRecords

Event = Mapping[str, Any]
View: TypeAlias = dict[str, Any]
"""The result of a step: the fields that the state machine reads."""
Handler = Callable[[Event, object], View]
_log = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def _kept_context() -> Context:
    settings = Settings.load()
    configure(settings)
    return Context(settings, sleeps=True)


def process_context() -> Context:
    """The context of this process, created by the first handler that needs it."""
    return _kept_context()


def forget_context() -> None:
    """Make the next handler create a new context, with the settings of that moment."""
    _kept_context.cache_clear()


def _rest() -> None:
    """Close connections to the catalog after every call: between calls the process is frozen."""
    if _kept_context.cache_info().currsize:
        _kept_context().rest()


STALE_SECRETS: Final = frozenset({"CATALOG_REFUSED", "LOGON_REFUSED"})
"""A password changed while the process slept: the next call needs what Secrets Manager has now."""


def _with_fresh_secrets(error: MusterError) -> MusterError:
    """Read the secrets again for the next call; an error that this may fix becomes retriable."""
    if error.code not in STALE_SECRETS:
        return error
    try:
        changed = container_secrets.refresh(os.environ)
    except MusterError as exc:  # the next call fails as this one did
        _log.error("the secrets could not be read again: %s", exc)
        return error
    if not changed:
        return error
    forget_context()
    return RetriableError(error.code, error.message, **error.detail)


class _Named:
    """The exception classes as Lambda names them, with the whole record as message."""

    UserError = type("UserError", (Exception,), {})
    RetriableError = type("RetriableError", (Exception,), {})
    FatalError = type("FatalError", (Exception,), {})
    UnavailableError = type(OUTAGE, (Exception,), {})


def errors_by_name(handler: Handler) -> Handler:
    """Convert a `MusterError` to an exception that Step Functions knows by its class name."""

    @functools.wraps(handler)
    def wrapped(event: Event, lambda_context: object) -> View:
        job, execution = event.get("job_id") or event.get("export_id"), execution_name(event.get("execution"))
        start_tracing(endpoint_in(os.environ), "function")
        with flushing(), bound(job=job, execution=execution), tracing.span(_span_name(handler)):
            try:
                try:
                    return handler(event, lambda_context)
                finally:
                    _rest()
            except MusterError as exc:
                error = _with_fresh_secrets(exc)
                named = {
                    UserError: _Named.UserError,
                    RetriableError: _Named.RetriableError,
                    FatalError: _Named.FatalError,
                }
                outage = isinstance(error, RetriableError) and error.outage
                name = _Named.UnavailableError if outage else named[type(error)]
                raise name(json.dumps(error.as_record(), default=str)) from exc

    return wrapped


def _span_name(handler: Handler) -> str:
    """As the stage: `verify_file` is VerifyFile."""
    return "".join(word.capitalize() for word in handler.__name__.split("_"))


def _job(event: Event) -> JobId:
    return JobId(str(event["job_id"]))


def records() -> "ImportRecords":
    """Records of imports and snapshots."""
    return process_context().import_records


def _kind(event: Event) -> "tuple[Stages, Job]":
    context = process_context()
    job = context.jobs.get(_job(event))
    return context.kind_of(job), job


def owned(handler: Handler) -> Handler:
    """Run the handler only for the execution that owns the job; send any other execution to its end."""

    @functools.wraps(handler)
    def wrapped(event: Event, lambda_context: object) -> View:
        return records().view_for_non_owner(_job(event), str(event["execution"])) or handler(event, lambda_context)

    return wrapped


@errors_by_name
def register_import(event: Event, _: object) -> View:
    """{input, execution} -> view."""
    return process_context().register(event["input"], str(event["execution"]))


@errors_by_name
@owned
def verify_file(event: Event, _: object) -> View:
    """{job_id} -> view."""
    PARSERS.prepare()  # it loads while the job is read; a warm function has it already
    kind, job = _kind(event)
    return kind.verify(job)


@errors_by_name
@owned
def import_to_kafka(event: Event, _: object) -> View:
    """{job_id} -> view."""
    PARSERS.prepare()
    kind, job = _kind(event)
    return kind.send(job)


@errors_by_name
@owned
def read_outcome(event: Event, _: object) -> View:
    """{job_id} -> view; raises the error that a task has recorded."""
    from orchestration.kinds.failures import read_outcome as step

    return step(records(), _job(event))


@errors_by_name
def begin_await(event: Event, _: object) -> View:
    """{job_id | export_id, execution, task_token}: store the token for the control plane, or answer it at once."""
    from orchestration.kinds.wait import begin_await as step

    context = process_context()
    of_export = "export_id" in event
    job = JobId(str(event["export_id"])) if of_export else _job(event)
    kept = context.export_records if of_export else records()
    step(kept, context.engine, job, str(event["execution"]), str(event["task_token"]))
    return {}


@errors_by_name
@owned
def retry_import(event: Event, _: object) -> View:
    """{job_id, failure} -> view."""
    from orchestration.kinds.failures import retry_import as step

    return step(records(), _job(event), event["failure"])


@errors_by_name
@owned
def build_version(event: Event, _: object) -> View:
    """{job_id} -> view."""
    kind, job = _kind(event)
    return kind.build(job)


@errors_by_name
@owned
def publish_version(event: Event, _: object) -> View:
    """{job_id} -> view."""
    kind, job = _kind(event)
    return kind.publish(job)


@errors_by_name
def notify(event: Event, _: object) -> View:
    """{job_id, outcome} -> view; {outcome: not-registered, input, failure, execution} -> {}."""
    notices = process_context().notices
    if "job_id" in event:
        return records().notify(notices, _job(event), event["outcome"])
    from orchestration.kinds.unregistered import notify_unregistered

    notify_unregistered(notices, event["input"], event["failure"], str(event["execution"]))
    return {}


@errors_by_name
def extract_cause(event: Event, _: object) -> View:
    """{job_id, failure: {Error, Cause}} -> {job_id, error}."""
    from orchestration.kinds.failures import extract_cause as step

    return step(_job(event), event["failure"])


@errors_by_name
@owned
def mark_failed(event: Event, _: object) -> View:
    """{job_id, error | failure} -> view."""
    from orchestration.kinds.failures import error_in

    return records().mark_failed(_job(event), error_in(event))


@errors_by_name
def ensure_workers(event: Event, _: object) -> View:
    """By time: {housekeeping?} -> {}. For a job whose wait had no heartbeat: {job_id, execution} -> view."""
    context, now = process_context(), now_ms()
    if "job_id" in event:
        from orchestration.operations.watching import wait_again

        view = records().view_for_non_owner(_job(event), str(event["execution"]))
        return view or wait_again(records(), context.scaler, _job(event), now)
    if context.settings.deployment:
        due = context.schedules.next_due_ms()
        _write_metrics(context, {SCHEDULE_OVERDUE.name: 0 if due is None else max(0, now - due) / 1000})
    context.scaler.renew(now, housekeeping=bool(event.get("housekeeping")))
    return {}


@errors_by_name
def watch_workers(_event: Event, _: object) -> View:
    """{} -> {}, once a minute."""
    context = process_context()
    sight = context.watcher.watch(now_ms())
    if sight is not None and context.settings.deployment:
        _write_metrics(context, {UNSERVED_MESSAGES: sight.unserved, UNCONTROLLED_WORK: int(sight.uncontrolled)})
        counts = context.scaled_services.counts().values()
        _write_metrics(context, {MISSING_TASKS: sum(one.missing for one in counts)})
    return {}


def _write_metrics(context: Context, values: Mapping[str, float]) -> None:
    """Print metrics that CloudWatch reads from the log of a function."""
    print(embedded_line(cloudwatch_namespace(context.settings.deployment), now_ms(), values), flush=True)  # noqa: T201

"""Lambda handlers: decode the event, call the step, give back what the state machine looks at.

An error of ours leaves as an exception named after its class, with the error record as JSON in its message: that is
what Step Functions matches (`UserError`, `RetriableError`, `FatalError`) and what ExtractCause reads.
"""

import functools
import json
import logging
import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from connectors.sources.fork_server import PARSERS
from orchestration.context import Context
from orchestration.entrypoints import container_secrets
from orchestration.kinds.view import View
from orchestration.platform.logs import configure
from orchestration.platform.settings import Settings
from schemas.errors import FatalError, MusterError, RetriableError, UserError
from schemas.ids import JobId
from schemas.log_ids import bound

Event = Mapping[str, Any]
Handler = Callable[[Event, object], View | dict[str, Any]]
_log = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def _kept_context() -> Context:
    settings = Settings.load()
    configure(settings)
    return Context(settings, sleeps=True)


def process_context() -> Context:
    """The context of this process, made by its first handler that asks for one."""
    return _kept_context()


def forget_context() -> None:
    """Let the next handler make a context of its own, with the settings as they are then."""
    _kept_context.cache_clear()


def _rest() -> None:
    """No connection to the catalog outlasts a call: between calls the process is frozen."""
    if _kept_context.cache_info().currsize:
        _kept_context().rest()


STALE_SECRETS: Final = frozenset({"CATALOG_REFUSED", "LOGON_REFUSED"})
"""A password was changed while the process slept: what Secrets Manager has now is for the next call."""


def _after_refusal(error: MusterError) -> MusterError:
    """Read the secrets again for the next call; an error that this may mend is one to be tried again."""
    if error.code not in STALE_SECRETS:
        return error
    try:
        changed = container_secrets.provide_again(os.environ)
    except MusterError as exc:  # the next call fails as this one did
        _log.error("the secrets cannot be read again: %s", exc)
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


def errors_by_name(handler: Handler) -> Handler:
    """Let an error of ours leave as an exception that Step Functions knows by the name of its class."""

    @functools.wraps(handler)
    def wrapped(event: Event, lambda_context: object) -> View | dict[str, Any]:
        with bound(job=event.get("job_id") or event.get("export_id")):
            try:
                try:
                    return handler(event, lambda_context)
                finally:
                    _rest()
            except MusterError as exc:
                error = _after_refusal(exc)
                named = {
                    UserError: _Named.UserError,
                    RetriableError: _Named.RetriableError,
                    FatalError: _Named.FatalError,
                }
                raise named[type(error)](json.dumps(error.as_record(), default=str)) from exc

    return wrapped


def _job(event: Event) -> JobId:
    return JobId(str(event["job_id"]))


def _owned(handler: Handler) -> Handler:
    """Let only the execution that the job belongs to do anything; another one is sent to its end."""

    @functools.wraps(handler)
    def wrapped(event: Event, lambda_context: object) -> View | dict[str, Any]:
        from orchestration.kinds.view import not_mine

        return not_mine(process_context(), _job(event), str(event["execution"])) or handler(event, lambda_context)

    return wrapped


@errors_by_name
def register_import(event: Event, _: object) -> View:
    """{input, execution} -> view."""
    from orchestration.kinds.register import register_import as step

    return step(process_context(), event["input"], str(event["execution"]))


@errors_by_name
@_owned
def verify_file(event: Event, _: object) -> View:
    """{job_id} -> view."""
    from orchestration.kinds.verify import verify

    PARSERS.prepare()  # it loads while the job is read; a warm function has it from the last time
    return verify(process_context(), _job(event))


@errors_by_name
@_owned
def import_to_kafka(event: Event, _: object) -> View:
    """{job_id} -> view."""
    from orchestration.kinds.send import send

    PARSERS.prepare()
    return send(process_context(), _job(event))


@errors_by_name
@_owned
def read_outcome(event: Event, _: object) -> View:
    """{job_id} -> view; raises what a task has recorded."""
    from orchestration.kinds.fail import read_outcome as step

    return step(process_context(), _job(event))


@errors_by_name
def begin_await(event: Event, _: object) -> dict[str, Any]:
    """{job_id, execution, task_token}: keep the token, which the relay answers; at once when there is no wait."""
    from orchestration.kinds.wait import begin_await as step

    step(process_context(), _job(event), str(event["execution"]), str(event["task_token"]))
    return {}


@errors_by_name
@_owned
def retry_import(event: Event, _: object) -> View:
    """{job_id, failure} -> view."""
    from orchestration.kinds.fail import retry_import as step

    return step(process_context(), _job(event), event["failure"])


@errors_by_name
@_owned
def build_version(event: Event, _: object) -> View:
    """{job_id} -> view."""
    from orchestration.kinds.build import build

    return build(process_context(), _job(event))


@errors_by_name
@_owned
def publish_version(event: Event, _: object) -> View:
    """{job_id} -> view."""
    from orchestration.kinds.publish import publish

    return publish(process_context(), _job(event))


@errors_by_name
def notify(event: Event, _: object) -> View | dict[str, Any]:
    """{job_id, outcome} -> view; {outcome: not-registered, input, failure, execution} -> {}."""
    from orchestration.kinds import notify as step

    if "job_id" not in event:
        step.notify_unregistered(process_context(), event["input"], event["failure"], str(event["execution"]))
        return {}
    return step.notify(process_context(), _job(event), str(event["outcome"]))


@errors_by_name
def extract_cause(event: Event, _: object) -> dict[str, Any]:
    """{job_id, failure: {Error, Cause}} -> {job_id, error}."""
    from orchestration.kinds.fail import extract_cause as step

    return step(_job(event), event["failure"])


@errors_by_name
@_owned
def mark_failed(event: Event, _: object) -> View:
    """{job_id, error | failure} -> view."""
    from orchestration.catalog.records import JobError
    from orchestration.kinds.fail import error_of
    from orchestration.kinds.fail import mark_failed as step

    error = JobError(**event["error"]) if "error" in event else error_of(event["failure"])
    return step(process_context(), _job(event), error)

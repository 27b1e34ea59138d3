"""The audit entry that every run of a command with an effect leaves, even if the run was refused."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import typer

from orchestration.cli import session
from orchestration.cli.console import print_note
from orchestration.cli.session import SESSION
from orchestration.platform.deferred import deferred
from schemas.errors import MusterError
from schemas.ids import JobId, audience_name, job_id, tenant_name
from schemas.records import as_record

if TYPE_CHECKING:
    from orchestration.context import Context

with deferred(__name__):
    from orchestration.catalog import auditing, records
    from orchestration.operations import notifying, segments, wiring

_SCHEDULE_COMMANDS: Final = "schedules "
_SEGMENT_COMMANDS: Final = "segments "
_TENANT_COMMANDS: Final = "tenants "
_NOT_RECORDED: Final = frozenset({"json", "wait", "timeout", "tenant", "name", "audience", "job", "yes"})


@contextmanager
def audited(path: str, given: Mapping[str, Any]) -> Iterator[None]:
    """Record the run of the command `path` with the arguments `given`, and what it changed."""
    SESSION.job = None
    before = _current_state(path, given)
    try:
        yield
    except MusterError as exc:
        _record(path, given, before, exc.code)
        raise
    except typer.Abort:
        raise
    except (typer.Exit, KeyboardInterrupt):  # commands end with an Exit; Ctrl-C during a wait ends only the wait
        _record(path, given, before, None)
        raise
    except BaseException as exc:
        _record(path, given, before, type(exc).__name__)
        raise
    _record(path, given, before, None)


def _context() -> "Context | None":
    try:
        return session.catalog_context()
    except MusterError:
        return None


def _current_state(path: str, given: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The catalog's view of the command's schedule, segment, job or audience. None if there is none."""
    if (context := _context()) is None:
        return None
    try:
        if "name" in given and path.startswith((_SCHEDULE_COMMANDS, _SEGMENT_COMMANDS)):
            return _schedule_or_segment_state(context, path, given)
        if (job := given.get("job") or SESSION.job) is not None:
            found = wiring.all_jobs(context).find(job_id(job))
            attempt = {"attempt": found.attempt} if isinstance(found, records.Job) else {}
            return None if found is None else {"state": found.state, **attempt}
        name = given.get("new_name") if given.get("renamed") else given.get("audience") or given.get("name")
        if name is None or "tenant" not in given:
            return None
        audience = context.audiences.get(tenant_name(given["tenant"]), audience_name(name))
        recipients = context.recipients.get(audience.tenant, audience.audience_id)
        return {
            "name": audience.name,
            "spec": audience.spec.as_record(),
            "retention": as_record(audience.retention),
            "told": notifying.recipients_record(recipients),
        }
    except MusterError:
        return None
    finally:
        context.database.close()


def _schedule_or_segment_state(context: "Context", path: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
    if path.startswith(_SCHEDULE_COMMANDS):
        schedule = context.schedules.get(tenant_name(given["tenant"]), given["name"])
        return {n: getattr(schedule, n) for n in ("kind", "expression", "timezone", "request", "enabled")}
    overview = segments.find(context.segments, given["tenant"], given["name"])
    segment = overview.segment
    return {"state": segment.state, "rule_version": segment.rule_version, "rule": overview.rule.text}


def _record(path: str, given: Mapping[str, Any], before: Mapping[str, Any] | None, error: str | None) -> None:
    if (context := _context()) is None:
        return
    job = SESSION.job or given.get("job")
    name = given.get("audience") or given.get("name")
    if "name" in given and path.startswith((_SCHEDULE_COMMANDS, _SEGMENT_COMMANDS)):
        name = f"{path.split(maxsplit=1)[0]}/{given['name']}"
    tenant = given.get("tenant")
    object_ = "/".join(str(part) for part in (tenant, name) if part) or str(job or path)
    after = _current_state(path, {**given, "renamed": path == "audiences rename"}) if error is None else None
    arguments = {key: _shown(value) for key, value in given.items() if key not in _NOT_RECORDED and value is not None}
    written = auditing.record(
        context.audit,
        SESSION.actor,
        path,
        object_,
        job_id=None if job is None else JobId(str(job)),
        arguments=arguments,
        before=before,
        after=after,
        error=error,
        tenant=_tenant(context, path, given, job),
    )
    context.database.close()
    if not written:
        print_note("The entry could not be written to the audit trail; it is in the log of this command.")


def _tenant(context: "Context", path: str, given: Mapping[str, Any], job: object) -> str | None:
    """The tenant whose administrators may read the entry: the one named, or that of the job. None for others."""
    if given.get("tenant") is not None:
        return str(given["tenant"])
    if path.startswith(_TENANT_COMMANDS):
        return str(given.get("name"))
    try:
        found = None if job is None else wiring.all_jobs(context).find(job_id(str(job)))
    except MusterError:
        return None
    return None if found is None else found.tenant


def _shown(value: Any) -> Any:
    """An argument without possible secrets: a URL loses its query."""
    if isinstance(value, list | tuple):
        return [_shown(part) for part in value]
    if isinstance(value, bool | int | float):
        return value
    text = str(value)
    return text.partition("?")[0] if text.startswith(("http://", "https://")) else text

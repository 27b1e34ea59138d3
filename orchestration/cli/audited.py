"""Which commands change something, and how each of them gets into the audit trail.

A test holds that every command is in one of the two lists.
"""

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from orchestration.cli.session import SESSION
from schemas.errors import MusterError

if TYPE_CHECKING:
    from orchestration.context import Context

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

CHANGES: Final = frozenset(
    {
        "import",
        "jobs cancel",
        "jobs retry",
        "tenants create",
        "tenants configure",
        "audiences create",
        "audiences configure",
        "audiences rename",
        "audiences delete",
        "audiences rollback",
        "audiences compact",
        "audiences expire",
        "audiences pin",
        "audiences unpin",
        "dead-letters replay",
        "fsck",
        "notifications resend",
        "notifications key",
        "backup",
        "restore",
        "export",
        "exports cancel",
        "exports retry",
        "schedules create import",
        "schedules create export",
        "schedules create snapshot",
        "schedules pause",
        "schedules resume",
        "schedules delete",
        "schedules run",
        "segments create",
        "segments snapshot",
        "segments edit",
        "segments pause",
        "segments resume",
        "segments delete",
        "segments begin-anew",
    }
)
"""Commands that write an entry. `fsck` only with --repair, `import` not with --dry-run."""
READS: Final = frozenset(
    {
        "up",
        "down",
        "status",
        "doctor",
        "connect",
        "worker",
        "inspect",
        "receipt",
        "rejects",
        "sql",
        "exports list",
        "exports show",
        "exports wait",
        "verify",
        "jobs list",
        "jobs show",
        "jobs wait",
        "tenants list",
        "audiences list",
        "audiences show",
        "audiences versions",
        "audiences diff",
        "dead-letters list",
        "notifications list",
        "audit",
        "schedules list",
        "schedules show",
        "segments list",
        "segments show",
        "segments versions",
        "segments preview",
        "segments check",
        "explain",
        "deploy synth",
        "deploy diff",
    }
)
"""Commands that change nothing which the catalog knows of."""
_OF_SCHEDULES: Final = "schedules "
_OF_SEGMENTS: Final = "segments "
_NOT_RECORDED: Final = frozenset({"json", "wait", "timeout", "tenant", "name", "audience", "job", "yes"})


def audited(path: str, function: CommandT) -> CommandT:
    """The command with its entry in the audit trail: one for each run, also for one that was refused."""
    if path not in CHANGES:
        return function

    @functools.wraps(function)
    def wrapped(**given: Any) -> Any:
        if (path == "fsck" and not given.get("repair")) or given.get("dry_run"):
            return function(**given)
        SESSION.job = None
        before = _look(path, given)
        try:
            result = function(**given)
        except MusterError as exc:
            _record(path, given, before, exc.code)
            raise
        except BaseException as exc:
            # An Exit is the way in which a command ends; a Ctrl-C while waiting ends the waiting alone.
            aborted = type(exc).__name__ == "Abort"
            if not aborted:
                _record(path, given, before, None)
            raise
        _record(path, given, before, None)
        return result

    return wrapped  # type: ignore[return-value]


def _context() -> "Context | None":
    from orchestration.cli.session import catalog_context

    try:
        return catalog_context()
    except MusterError:
        return None


def _look(path: str, given: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the catalog says of the command's schedule, segment, job or audience; none when there is none."""
    if (context := _context()) is None:
        return None
    from orchestration.operations.notifying import recipients_record
    from schemas.ids import audience_name, job_id, tenant_name

    try:
        if "name" in given and path.startswith((_OF_SCHEDULES, _OF_SEGMENTS)):
            return _look_within(context, path, given)
        if (job := given.get("job") or SESSION.job) is not None:
            found = context.jobs.find(job_id(job))
            return None if found is None else {"state": found.state, "attempt": found.attempt}
        name = given.get("new_name") if given.get("renamed") else given.get("audience") or given.get("name")
        if name is None or "tenant" not in given:
            return None
        audience = context.audiences.get(tenant_name(given["tenant"]), audience_name(name))
        told = context.recipients.of(audience.tenant, audience.audience_id)
        return {
            "name": audience.name,
            "spec": audience.spec.as_record(),
            "retention": audience.retention.as_record(),
            "told": recipients_record(told),
        }
    except MusterError:
        return None
    finally:
        context.database.close()


def _look_within(context: "Context", path: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
    from orchestration.operations.segments import find
    from schemas.ids import tenant_name

    if path.startswith(_OF_SCHEDULES):
        schedule = context.schedules.get(tenant_name(given["tenant"]), given["name"])
        return {n: getattr(schedule, n) for n in ("kind", "expression", "timezone", "request", "enabled")}
    standing = find(context, given["tenant"], given["name"])
    segment = standing.segment
    return {"state": segment.state, "rule_version": segment.rule_version, "rule": standing.rule.text}


def _record(path: str, given: Mapping[str, Any], before: Mapping[str, Any] | None, error: str | None) -> None:
    from orchestration.catalog.auditing import record
    from orchestration.cli.console import say
    from schemas.ids import JobId

    if (context := _context()) is None:
        return
    job = SESSION.job or given.get("job")
    name = given.get("audience") or given.get("name")
    if "name" in given and path.startswith((_OF_SCHEDULES, _OF_SEGMENTS)):
        name = f"{path.split(maxsplit=1)[0]}/{given['name']}"
    tenant = given.get("tenant")
    object_ = "/".join(str(part) for part in (tenant, name) if part) or str(job or path)
    after = _look(path, {**given, "renamed": path == "audiences rename"}) if error is None else None
    arguments = {key: _shown(value) for key, value in given.items() if key not in _NOT_RECORDED and value is not None}
    written = record(
        context.audit,
        SESSION.actor,
        path,
        object_,
        job_id=None if job is None else JobId(str(job)),
        arguments=arguments,
        before=before,
        after=after,
        error=error,
    )
    context.database.close()
    if not written:
        say("This could not be written to the audit trail; it is in the log of this command.")


def _shown(value: Any) -> Any:
    """An argument without what may be a secret: the query of a URL."""
    if isinstance(value, list | tuple):
        return [_shown(part) for part in value]
    if isinstance(value, bool | int | float):
        return value
    text = str(value)
    return text.partition("?")[0] if text.startswith(("http://", "https://")) else text

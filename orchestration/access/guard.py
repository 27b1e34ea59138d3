"""Decorators that authorize and audit the methods of views, and say where the API serves them.

`reads(action)` and `recorded(action, name)` are the only ways to write a method of a view; a test finds any other.
`recorded` leaves an entry for every call, also for one that was refused: for every change, and for every read of users.

A method with a `route` is an operation of the API, whole: `api.serving` routes it, and the document and the client's
method are generated from it. The types of its parameters and of its answer say the rest (`api.endpoints`).
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from orchestration.access.authentication import Caller
from orchestration.access.policy import DEPLOYMENT, IN_A_TENANT, IN_THE_DEPLOYMENT, Action
from orchestration.catalog import auditing
from orchestration.composition.service import Services
from orchestration.readers.cancellation import Cancellation
from orchestration.readers.questions import Question
from schemas.errors import MusterError, UserError
from schemas.ids import JobId, TenantName
from schemas.records import WithFields, as_record, from_record

ViewT = TypeVar("ViewT", bound="View")
ValueT = TypeVar("ValueT")
GivenP = ParamSpec("GivenP")

OF_USERS: Final = frozenset({Action.READ_USERS, Action.READ_REJECTS, Action.READ_PAYLOADS})
"""Reads that show users, which are recorded."""
SHOWN: Final = 2000
"""Characters of a rule or a query in an audit entry: one that is refused may be as long as a body."""


@dataclass(frozen=True, slots=True)
class Http:
    """How the API serves a method.

    `route` is "METHOD /path", below the tenant. `problems`: codes besides those that follow from its types and path.
    `client`: its name in the client, where that is not the method's without `get_` or `list_`.
    """

    route: str
    status: int
    problems: tuple[str, ...]
    client: str | None


@dataclass(slots=True, kw_only=True)
class Entry:
    """What a recorded method adds to its audit entry. `object`: what it acts on, below the tenant."""

    object: str = ""
    job_id: JobId | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    before: Mapping[str, Any] | WithFields | None = None
    after: Mapping[str, Any] | WithFields | None = None


class View:
    """What one caller may see and do in one scope: a tenant, or the deployment."""

    def __init__(self, services: Services, caller: Caller, *, tenant: TenantName | None) -> None:
        self._services = services
        self._caller = caller
        self._tenant = tenant

    @property
    def permitted(self) -> frozenset[Action]:
        """The actions that the caller may take here."""
        rights = self._caller.rights
        return rights.deployment if self._tenant is None else rights.in_tenant(self._tenant)

    def require(self, action: Action) -> None:
        """Raises `UserError` FORBIDDEN, with the roles that would be needed."""
        if action in self.permitted:
            return
        where = "the deployment" if self._tenant is None else f"tenant {self._tenant}"
        roles = sorted((IN_THE_DEPLOYMENT if self._tenant is None else IN_A_TENANT).get(action, ()))
        raise UserError(
            "FORBIDDEN",
            f"this needs the role {' or '.join(roles)} in {where} ({action.covers}); your grants and your token's cap "
            "do not include it",
            action=action.value,
            scope=DEPLOYMENT if self._tenant is None else self._tenant,
            roles=roles,
        )

    @property
    def _only_own(self) -> JobId | None:
        """Whose things the caller may handle: its own, or with MANAGE_ACCESS those of all (None)."""
        return None if Action.MANAGE_ACCESS in self.permitted else self._caller.principal_id

    def _ask(self, record: type[ValueT], question: Question, cancellation: Cancellation) -> ValueT:
        """What readers answer, as a record. Raises as `Readers.ask`."""
        return from_record(record, self._services.readers.ask(question, cancellation))

    def record(self, action: str, entry: Entry, error: str | None) -> None:
        """Write the entry of a call. If that fails, it goes to the log (`catalog.auditing`)."""
        auditing.record(
            self._services.audit,
            self._caller.principal.name,
            action,
            "/".join(part for part in (self._tenant, entry.object) if part) or action,
            job_id=entry.job_id,
            arguments={**entry.arguments, **({"as": self._caller.note} if self._caller.note else {})},
            before=_plain(entry.before),
            after=_plain(entry.after),
            error=error,
            tenant=self._tenant,
            principal=self._caller.principal_id,
            token=None if self._caller.token is None else self._caller.token.token_id,
            session=None if self._caller.session is None else self._caller.session.session_id,
            request_id=self._caller.request_id,
        )


def _plain(record: Any) -> Mapping[str, Any] | None:
    return record if record is None or isinstance(record, Mapping) else as_record(record)


Method = Callable[Concatenate[ViewT, GivenP], ValueT]


def reads(
    action: Action,
    route: str | None = None,
    *,
    status: int = 200,
    problems: tuple[str, ...] = (),
    client: str | None = None,
) -> Callable[[Method[ViewT, GivenP, ValueT]], Method[ViewT, GivenP, ValueT]]:
    """A method that changes nothing and shows no users. Without a `route`, the API does not serve it (`Http`)."""
    if action in OF_USERS:
        raise TypeError(f"a method with {action} shows users: declare it with recorded()")

    def guarded(method: Method[ViewT, GivenP, ValueT]) -> Method[ViewT, GivenP, ValueT]:
        @wraps(method)
        def call(self: ViewT, /, *args: GivenP.args, **kwargs: GivenP.kwargs) -> ValueT:
            self.require(action)
            return method(self, *args, **kwargs)

        call.action = action  # type: ignore[attr-defined]
        call.http = None if route is None else Http(route, status, problems, client)  # type: ignore[attr-defined]
        return call

    return guarded


def recorded(
    action: Action,
    name: str,
    route: str | None = None,
    *,
    status: int = 200,
    problems: tuple[str, ...] = (),
    client: str | None = None,
) -> Callable[[Callable[Concatenate[ViewT, Entry, GivenP], ValueT]], Method[ViewT, GivenP, ValueT]]:
    """A method that changes something or shows users: every call leaves an entry `name` in the audit trail.

    The method gets its `Entry` as its first argument. A change may be work for the control plane or for workers, which
    are started then.
    """

    def guarded(method: Callable[Concatenate[ViewT, Entry, GivenP], ValueT]) -> Method[ViewT, GivenP, ValueT]:
        @wraps(method)
        def call(self: ViewT, /, *args: GivenP.args, **kwargs: GivenP.kwargs) -> ValueT:
            entry = Entry()
            try:
                self.require(action)
                value = method(self, entry, *args, **kwargs)
            except MusterError as exc:
                self.record(name, entry, exc.code)
                raise
            except Exception as exc:
                self.record(name, entry, type(exc).__name__)
                raise
            self.record(name, entry, None)
            if action not in OF_USERS:
                self._services.ensure_workers()
            return value

        call.action = action  # type: ignore[attr-defined]
        call.http = None if route is None else Http(route, status, problems, client)  # type: ignore[attr-defined]
        return call

    return guarded


def view_of(method: Callable[..., Any]) -> type[View]:
    """The view that defines a method."""
    found: object = vars(sys.modules[method.__module__])[method.__qualname__.partition(".")[0]]
    if not isinstance(found, type) or not issubclass(found, View):
        raise TypeError(f"{method.__qualname__} is not a method of a view")
    return found


def action_of(method: Callable[..., Any]) -> Action:
    """The action that a method of a view requires. Raises TypeError for one that requires none."""
    found = getattr(method, "action", None)
    if not isinstance(found, Action):
        raise TypeError(f"{method.__qualname__} requires no action: declare it with reads() or recorded()")
    return found

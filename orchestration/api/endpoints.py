"""Endpoints as the methods of views define them: the routes, the document and the client are made from them."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from orchestration.access.guard import Entry, Http, View
from orchestration.access.idempotency import RequestKey
from orchestration.access.pages import WITH_ETAG, Page, Revised
from orchestration.access.problems import OF_KEYS, OF_READERS, OF_TAGS
from orchestration.access.revisions import Seen
from orchestration.access.views.tenant import TenantView
from orchestration.readers.cancellation import Cancellation

Kind = Literal["record", "page", "list"]
KINDS: Final[Mapping[Any, Kind]] = {Page: "page", list: "list"}
ROLES: Final = (Entry, Seen, RequestKey, Cancellation)
"""Types of parameters that no client names: each has one meaning."""
OF_ROLES: Final[Mapping[Any, tuple[str, ...]]] = {Seen: OF_TAGS, RequestKey: OF_KEYS, Cancellation: OF_READERS}
"""Problems that follow from a parameter's type."""
OF_PATHS: Final[Mapping[str, tuple[str, ...]]] = {
    "audience": ("UNKNOWN_AUDIENCE", "BAD_NAME"),
    "feed": ("UNKNOWN_FEED", "BAD_NAME"),
    "job": ("UNKNOWN_JOB", "BAD_JOB_ID"),
    "operation": ("UNKNOWN_OPERATION", "BAD_JOB_ID"),
    "principal": ("UNKNOWN_PRINCIPAL", "BAD_JOB_ID"),
    "schedule": ("UNKNOWN_SCHEDULE", "BAD_NAME"),
    "segment": ("UNKNOWN_SEGMENT", "BAD_NAME"),
    "session": ("UNKNOWN_SESSION", "BAD_JOB_ID"),
    "token": ("UNKNOWN_TOKEN", "BAD_JOB_ID"),
    "upload": ("UNKNOWN_UPLOAD", "BAD_JOB_ID"),
}
"""Problems that follow from a parameter of the path."""
_IN_PATH: Final = re.compile(r"{(\w+)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One operation of the API.

    `path`, `query`: its parameters by name. `roles`: names of the parameters of `ROLES`. `resume`: the parameter that
    takes a page's key. `record`: the type of its answer, or of the items of its answer.
    """

    view: type[View]
    method: Callable[..., Any]
    http: Http
    verb: str
    route: str
    path: Mapping[str, Any]
    query: Mapping[str, inspect.Parameter]
    roles: Mapping[Any, str]
    body: tuple[str, type[BaseModel]] | None
    resume: str | None
    kind: Kind
    record: Any
    tagged: bool

    @property
    def name(self) -> str:
        """The id of the operation in the document."""
        return self.method.__name__

    @property
    def client(self) -> str:
        """The name of its method in the client."""
        return self.http.client or self.name.removeprefix("list_").removeprefix("get_")

    @property
    def in_tenant(self) -> bool:
        """Whether its path is below a tenant."""
        return issubclass(self.view, TenantView)

    @property
    def begins(self) -> bool:
        """Whether its answer says where to ask for what has begun."""
        return self.http.status == 202 and hasattr(self.record, "location")

    @property
    def problems(self) -> tuple[str, ...]:
        """The codes that the method lists, and those that follow from its parameters."""
        return (
            *self.http.problems,
            *(code for role in self.roles for code in OF_ROLES.get(role, ())),
            *(code for name in self.path for code in OF_PATHS.get(name, ())),
            *(["BAD_BODY"] if self.body is not None else []),
            *(["BAD_CURSOR"] if self.kind == "page" else []),
        )


def endpoints_of(view: type[View]) -> Iterator[Endpoint]:
    """The endpoints of a view, in the order in which they are written."""
    for method in vars(view).values():
        if getattr(method, "http", None) is not None:
            yield _endpoint(view, method)


def _endpoint(view: type[View], method: Any) -> Endpoint:
    verb, _, route = method.http.route.partition(" ")
    hints = get_type_hints(method.__wrapped__, include_extras=True)
    names, body, path = _IN_PATH.findall(route), None, {}
    roles: dict[Any, str] = {}
    query: dict[str, inspect.Parameter] = {}
    for name, parameter in list(inspect.signature(method.__wrapped__).parameters.items())[1:]:
        hint = hints[name]
        if hint in ROLES:
            roles[hint] = name
        elif isinstance(hint, type) and issubclass(hint, BaseModel):
            body = (name, hint)
        elif name in names:
            path[name] = hint
        else:
            query[name] = parameter.replace(annotation=hint)
    answer = hints["return"]
    tagged = WITH_ETAG in getattr(answer, "__metadata__", ()) or get_origin(answer) is Revised
    if tagged:
        answer = answer.__origin__ if get_origin(answer) is not Revised else get_args(answer)[0]
    kind = KINDS.get(get_origin(answer), "record")
    resume = next((name for name in ("after", "before") if name in query), None) if kind == "page" else None
    return Endpoint(
        view=view,
        method=method,
        http=method.http,
        verb=verb,
        route=route,
        path={name: path[name] for name in names},
        query={name: one for name, one in query.items() if kind != "page" or name not in {resume, "limit"}},
        roles=roles,
        body=body,
        resume=resume,
        kind=kind,
        record=answer if kind == "record" else get_args(answer)[0],
        tagged=tagged,
    )

"""Serves the endpoints of views. What their methods say is all there is to say."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Annotated, Any, Final, get_args

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from orchestration.access.guard import View
from orchestration.access.idempotency import RequestKey
from orchestration.access.pages import Revised
from orchestration.access.revisions import Seen, revision_of
from orchestration.api.answers import items_answer, json_answer, location
from orchestration.api.endpoints import Endpoint, endpoints_of
from orchestration.api.etags import IfMatch, etag, seen_revision
from orchestration.api.keys import IdempotencyKey, key_of
from orchestration.api.operation import operation
from orchestration.api.paging import DEFAULT_LIMIT, Cursor, Limit, page_answer, start
from orchestration.api.schema import list_model, model_of, page_model
from orchestration.api.service import asked, service_of
from orchestration.readers.cancellation import Cancellation
from orchestration.records.fields import About

MODELS: Final[Mapping[str, Callable[[Any], Any]]] = {"record": model_of, "page": page_model, "list": list_model}


def serve(view: type[View], *, tag: str) -> APIRouter:
    """A router of all endpoints of a view."""
    router = APIRouter(tags=[tag])
    for one in endpoints_of(view):
        declared = operation(
            one.method,
            MODELS[one.kind](one.record),
            *one.problems,
            status=one.http.status,
            headers=[*(["ETag"] if one.tagged else []), *(["Location"] if one.begins else [])],
        )
        path = ("/tenants/{tenant}" if one.in_tenant else "") + one.route
        router.add_api_route(path, _handler(one), methods=[one.verb], name=one.name, **declared)
    return router


def _handler(one: Endpoint) -> Any:
    """A handler whose parameters FastAPI reads and checks."""

    async def handle(request: Request, **given: Any) -> Response:
        filters = {name: given[name] for name in one.query}
        arguments = {name: given[name] for name in one.path} | filters
        if one.body is not None:
            arguments[one.body[0]] = given["body"]
        if Seen in one.roles:
            arguments[one.roles[Seen]] = seen_revision(given["if_match"])
        if RequestKey in one.roles:
            arguments[one.roles[RequestKey]] = key_of(request, given["idempotency_key"], given.get("body"))
        if one.kind == "page":
            arguments["limit"] = given["limit"]
            if (at := start(request, given["cursor"], **filters)) is not None:
                arguments[str(one.resume)] = at
        tenant = given["tenant"] if one.in_tenant else None
        found = await _called(request, one, tenant, arguments)
        if one.kind == "page":
            return page_answer(request, found, **filters)
        return items_answer(found) if one.kind == "list" else _answer(one, found, tenant)

    handle.__doc__ = one.method.__doc__
    handle.__signature__ = inspect.Signature(_parameters(one))  # type: ignore[attr-defined]
    return handle


async def _called(request: Request, one: Endpoint, tenant: str | None, arguments: dict[str, Any]) -> Any:
    """What the method returns. A question to readers is given up when its client leaves."""
    service, caller = service_of(request), request.state.caller
    scope: dict[str, Any] = {} if tenant is None else {"tenant": tenant}
    view: Callable[..., View] = one.view

    def call(**more: Any) -> Any:
        return one.method(view(service.services, caller, **scope), **arguments, **more)

    if (name := one.roles.get(Cancellation)) is None:
        return await service.calls.run(call)
    return await asked(request, tenant or "", lambda cancellation: call(**{name: cancellation}))


def _answer(one: Endpoint, found: Any, tenant: str | None) -> Response:
    record, revision = (found.record, found.revision) if isinstance(found, Revised) else (found, None)
    headers = location(str(tenant), record) if one.begins else {}
    if one.tagged:
        headers["ETag"] = etag(revision or revision_of(record, record.revision))
    return json_answer(record, one.http.status, headers)


def _parameters(one: Endpoint) -> list[inspect.Parameter]:
    """The parameters of a handler. Those with codes of their own are optional for FastAPI."""
    given: dict[str, tuple[Any, Any]] = {"request": (Request, ...)}
    if one.in_tenant:
        given["tenant"] = (str, ...)
    given |= {name: (_described(hint, Path), ...) for name, hint in one.path.items()}
    if one.body is not None:
        given["body"] = (one.body[1], ...)
    given |= {name: (_described(of.annotation, Query), of.default) for name, of in one.query.items()}
    if one.kind == "page":
        given |= {"limit": (Limit, DEFAULT_LIMIT), "cursor": (Cursor, None)}
    if Seen in one.roles:
        given["if_match"] = (IfMatch, None)
    if RequestKey in one.roles:
        given["idempotency_key"] = (IdempotencyKey, None)
    kind = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(name, kind, annotation=hint, default=inspect.Parameter.empty if default is ... else default)
        for name, (hint, default) in given.items()
    ]


def _described(hint: Any, place: Callable[..., Any]) -> Any:
    """A parameter's type for FastAPI, which reads descriptions of the place alone."""
    extra = get_args(hint)[1:] if hasattr(hint, "__metadata__") else ()
    kind = hint.__origin__ if extra else hint
    about = next((one for one in extra if isinstance(one, About)), About())
    others = [one for one in extra if not isinstance(one, About)]
    return Annotated[(kind, *others, place(**asdict(about)))]

"""Requests that schemathesis makes of the OpenAPI document, sent to the application in this process."""

from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import requests
import schemathesis
from schemathesis import Case, GenerationMode, Response
from schemathesis.checks import not_a_server_error
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from orchestration.access.policy import Rights
from orchestration.platform.clock import fresh_id
from schemas.errors import UserError
from tests.fakes.asgi import AsgiClient
from tests.fakes.tenants import ACME, World
from tests.unit.orchestration.api.operations import (
    DOCUMENT,
    OPERATIONS,
    Call,
    body_of,
    headers_of,
    things_of,
)

CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
BASE: Final = "http://127.0.0.1:18480"
OWN: Final = {"authorization", "content-length", "content-type", "cookie", "host", "user-agent"}
"""Headers that the client makes, or that say who calls."""


@cache
def schema() -> Any:
    """The committed document, as schemathesis reads it."""
    found = schemathesis.openapi.from_dict(deepcopy(DOCUMENT))  # it writes the links that it infers into it
    found.config.generation.update(with_security_parameters=False)
    return found


@cache
def operations() -> dict[str, Any]:
    """Operations by their ids."""
    found = (one.ok() for one in schema().get_all_operations())
    return {str(one.definition.raw["operationId"]): one for one in found}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fuzzer:
    """Sends cases to a world, and holds the answers against the document."""

    world: World
    client: AsgiClient

    def call(self, case: Case[Any], caller: str) -> Response:
        """Send a case as it is. Streams are left once they have begun."""
        prepared = requests.Request(**case.as_transport_kwargs(base_url=BASE)).prepare()
        parts, body = urlsplit(str(prepared.url)), prepared.body
        assert body is None or isinstance(body, str | bytes)  # never a stream
        raw = body.encode() if isinstance(body, str) else body
        name = str(case.operation.definition.raw["operationId"])
        answer = self.client.send(
            str(prepared.method),
            unquote(parts.path),
            token=self.world.tokens[caller].text.reveal(),
            raw=None if raw is None else [raw],
            query=parse_qs(parts.query, keep_blank_values=True),
            headers={key: str(value) for key, value in prepared.headers.items() if key.lower() not in OWN},
            until=OPERATIONS[name].until,
        )
        headers: dict[str, list[str]] = {}
        for key, value in answer.pairs:
            headers.setdefault(key, []).append(value)
        return Response(answer.status, headers, answer.body, prepared, 0.0, verify=False)

    def check(self, case: Case[Any], response: Response) -> None:
        """No 500, the declared form, bad data refused, and a code that the operation declares."""
        refused = 400 <= response.status_code < 500  # with whatever code: schemathesis does not know them all
        streamed = response.headers["content-type"] == ["text/event-stream"]  # whose events test_document.py validates
        left = {*([response_schema_conformance] if streamed else []), *([negative_data_rejection] if refused else [])}
        checks = [one for one in CHECKS if one not in left]
        case.validate_response(response, checks=checks, transport_kwargs={})
        if response.status_code >= 400:
            problem = response.json()
            assert problem["code"] in case.operation.definition.raw["x-problems"], problem

    def rights(self, caller: str) -> Rights | None:
        """What a caller may do at this moment. None: its token is refused."""
        try:
            return self.world.caller(caller).rights
        except UserError:
            return None

    def make_for_others(self, case: Case[Any], caller: str) -> None:
        """Of a scenario: requests whose answers others take are those of the rows, so that they succeed."""
        operation = OPERATIONS[str(case.operation.definition.raw["operationId"])]
        call = Call(world=self.world, caller=caller, tenant=ACME)
        names = {one["name"].lower(): one["name"] for one in operation.record.get("parameters", ())}
        if "tenant" in names:
            case.path_parameters["tenant"] = ACME
        if "idempotency-key" in names:
            case.headers[names["idempotency-key"]] = fresh_id()
        if operation.links:
            if (body := body_of(operation, call)) is not None:
                case.body = body
            case.path_parameters.update({name: thing.own(call) for name, thing in things_of(operation).items()})

    def make_real(self, case: Case[Any], caller: str) -> None:
        """Replace what must exist - tenant, ids, tags, keys - unless the case is wrong in this place."""
        operation, meta = OPERATIONS[str(case.operation.definition.raw["operationId"])], case.meta
        assert meta is not None
        wrong = {place for place, one in meta.components.items() if one.mode is GenerationMode.NEGATIVE}
        call = Call(world=self.world, caller=caller, tenant=ACME)
        if ParameterLocation.PATH not in wrong:
            for name in case.path_parameters:
                case.path_parameters[name] = ACME if name == "tenant" else things_of(operation)[name].own(call)
        if ParameterLocation.HEADER not in wrong:
            known = {one["name"].lower(): one["name"] for one in operation.record.get("parameters", ())}
            case.headers.update(
                {known[name.lower()]: value for name, value in headers_of(operation, call, self.client).items()}
            )

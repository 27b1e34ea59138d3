"""The OpenAPI document is committed, complete, and true."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from orchestration.access import bodies
from orchestration.access.bodies.common import Shape
from orchestration.access.policy import Action
from orchestration.api import query_stream
from orchestration.api.application import routes
from orchestration.api.document import document, text
from orchestration.api.reference import reference
from orchestration.api.routes import jobs
from orchestration.api.schema import MODELS
from orchestration.api.write_client import CLIENT, texts
from schemas.ids import NAME_PATTERN
from tests.fakes.asgi import AsgiClient
from tests.fakes.tenants import ACME, EXPORT, JOB, World, id_of
from tests.packages import modules_of
from tests.unit.orchestration.api.operations import DOCUMENT, OPERATIONS, Call, Operation, send
from tests.unit.orchestration.api.streamed import received

ROOT = Path(__file__).parents[4]
routes()  # makes the models of records
SHAPES = MODELS | {
    name: value
    for module in (*modules_of(bodies), jobs, query_stream)
    for name, value in vars(module).items()
    if isinstance(value, type) and issubclass(value, Shape) and value is not Shape
}
OF_THE_STREAM = ("ready", "alive", "end")
"""Events that are of no thing."""
LOADED_BY_THE_SERVICE_NEVER = ("duckdb", "pyiceberg", "pyarrow", "numpy", "numba", "confluent_kafka", "boto3", "faust")


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema of the document that stands alone."""
    return {**schema, "components": DOCUMENT["components"]}


def response(operation: Operation, status: int) -> dict[str, Any]:
    found: dict[str, Any] = operation.record["responses"][str(status)]
    if "$ref" in found:
        found = DOCUMENT["components"]["responses"][found["$ref"].rpartition("/")[2]]
    return found


def check(operation: Operation, answer: Any) -> None:
    """An answer has a declared status, and the form and the headers that are declared for it."""
    declared = response(operation, answer.status)
    assert {name.lower() for name in declared.get("headers", ())} <= answer.headers.keys()
    content = declared["content"]
    assert answer.headers["content-type"] in content
    form = jsonschema_rs.Draft202012Validator(resolved(content[answer.headers["content-type"]]["schema"]))
    if answer.headers["content-type"] == "text/event-stream":
        for data in [data for name, data in received(answer.body) if name not in OF_THE_STREAM]:
            form.validate(data)
    elif answer.headers["content-type"] == "application/x-ndjson":
        for line in answer.body.splitlines():
            form.validate(json.loads(line))
    else:
        form.validate(answer.json)


def test_committed_document_matches_the_routes() -> None:
    committed = (ROOT / "docs" / "openapi.json").read_text()
    assert committed == text(document(routes())), "run `make openapi`, and review the difference"


def test_the_client_is_that_of_the_operations() -> None:
    for name, made in texts().items():
        assert (CLIENT / name).read_text() == made, "run `make openapi`"


def test_human_readable_page_is_generated_from_the_document() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    assert page == reference(DOCUMENT), "run `make openapi`"
    assert all(f"`{one.method} {one.path}`" in page for one in OPERATIONS.values())


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=list(OPERATIONS))
def test_every_operation_declares_its_action_problems_and_an_example(operation: Operation) -> None:
    record = operation.record
    assert record["x-action"] == "public" or Action(record["x-action"])
    assert {"WRONG_HOST", "CATALOG_UNAVAILABLE", "INTERNAL"} <= set(record["x-problems"])
    assert record["description"]
    schemas = [
        schema["schema"]
        for status, one in record["responses"].items()
        if status < "4"
        for schema in one["content"].values()
    ]
    parts = [part for schema in schemas for part in (schema, *schema.get("anyOf", ()))]
    named = [part["$ref"].rpartition("/")[2] for part in parts if "$ref" in part]
    assert named
    assert any(SHAPES[name].example for name in named)
    if named == ["Operation"] and "202" in record["responses"]:
        assert "Location" in record["responses"]["202"]["headers"]
    if (body := record.get("requestBody")) is not None:
        assert SHAPES[body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]].example


@pytest.mark.parametrize("name", [name for name, shape in SHAPES.items() if shape.example])
def test_every_example_matches_its_schema(name: str) -> None:
    SHAPES[name].model_validate(SHAPES[name].example)
    schema = {"$ref": f"#/components/schemas/{name}"}
    jsonschema_rs.Draft202012Validator(resolved(schema)).validate(SHAPES[name].example)


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=list(OPERATIONS))
@pytest.mark.parametrize("caller", ["acme-admin", "acme-viewer", "deployment-admin", "stranger"])
def test_every_answer_matches_its_schema(operation: Operation, caller: str, world: World, client: AsgiClient) -> None:
    call = Call(world=world, caller=caller, tenant=ACME)
    check(operation, send(client, operation, call, token=world.tokens[caller].text.reveal()))


@pytest.mark.parametrize("number", [JOB, EXPORT])
def test_job_of_each_kind_matches_its_schema(number: int, world: World, client: AsgiClient) -> None:
    call = Call(world=world, caller="acme-admin", tenant=ACME)
    token = world.tokens["acme-admin"].text.reveal()
    operation = OPERATIONS["get_job"]
    check(operation, send(client, operation, call, token=token, values={"job": id_of(ACME, number)}))


def test_required_headers_are_declared_as_required() -> None:
    for operation in OPERATIONS.values():
        given = [one for one in operation.record.get("parameters", ()) if one["in"] == "header"]
        required, codes = {one["name"] for one in given if one["required"]}, operation.record["x-problems"]
        assert ("if-match" in required) == ("NO_ETAG" in codes)
        assert ("idempotency-key" in required) == ("NO_IDEMPOTENCY_KEY" in codes)


def test_names_and_ids_declare_their_patterns() -> None:
    for operation in OPERATIONS.values():
        for given in operation.record.get("parameters", ()):
            if given["in"] == "path" and given["schema"]["type"] == "string":
                assert "pattern" in given["schema"] or "enum" in given["schema"], (operation.name, given["name"])
    members = DOCUMENT["components"]["schemas"]
    for shape, name in {
        "NewTenant": "tenant",
        "NewSegment": "segment",
        "NewSchedule": "name",
        "NewExport": "audience",
    }.items():
        assert members[shape]["properties"][name]["pattern"] == f"^{NAME_PATTERN.pattern}$"


def test_document_is_served_publicly_and_unchanged(client: AsgiClient) -> None:
    assert client.get("/v1/openapi.json").json == DOCUMENT


def test_service_process_does_not_load_duckdb_pyiceberg_or_arrow(world: World) -> None:
    script = f"""
import sys
from orchestration.api.application import application
from orchestration.api.service import Service
from orchestration.access.owner import ensure_owner_token
from orchestration.composition.service import Services
from orchestration.platform.settings import Settings
from tests.fakes.asgi import AsgiClient
settings = Settings.load()
services = Services(settings)
client = AsgiClient(application(Service(services=services, hosts=frozenset({{"127.0.0.1"}}))))
token = ensure_owner_token(services, settings.home).read_text().strip()
for path in ("/v1/tenants/acme/segments", "/v1/tenants/acme/schedules", "/v1/tenants/acme/jobs", "/v1/me"):
    assert client.get(path, token=token).status == 200
for path, body in (
    ("segments", {{"segment": "new", "rule": "born > 2026-11-01", "timezone": "Europe/Berlin"}}),
    ("audiences", {{"audience": "gold", "settings": {{"columns": [{{"name": "age", "type": "long"}}]}}}}),
    ("schedules", {{"name": "a", "expression": "rate(1 day)", "snapshot": {{"segment": "new"}}}}),
    ("schedules", {{"name": "b", "expression": "rate(1 day)", "import": {{"audience": "gold", "source": "s3://crm/acme/a"}}}}),
    ("schedules", {{"name": "c", "expression": "rate(1 day)", "export": {{"audience": "gold", "to": "s3://crm/acme/{{date}}"}}}}),
):
    made = client.send("POST", f"/v1/tenants/acme/{{path}}", token=token, body=body)
    assert made.status == 201, made.body
print([name for name in {LOADED_BY_THE_SERVICE_NEVER} if name in sys.modules])
"""
    found = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "MUSTER_HOME": str(world.settings.home)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert found.stdout.strip() == "[]", found.stdout

"""A file that was uploaded, before its import: what was found in it, and what the form offers."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestration.catalog.operations import Operation, OperationKind
from orchestration.catalog.records import NewJob
from orchestration.platform.clock import fresh_id
from schemas.columns import Column
from schemas.errors import UserError
from schemas.import_spec import ImportSpec
from schemas.records import as_record
from tests.fakes.asgi import AsgiClient
from tests.fakes.tenants import ACME, AT_MS, PARTITIONS, UPLOAD, VIP, World, id_of
from tests.unit.orchestration.console.test_grants import get, post

SUGGESTED = ImportSpec(columns=(Column(name="age", type="long"), Column(name="city"), Column(name="note")))
INSPECTED = {
    "rows": 600,
    "format": "csv",
    "rejected": 67,
    "rejected_by_code": {"id_empty": 67},
    "hints": [],
    "columns": [{"name": name, "nulls": 1, "examples": [f"{name}-1"]} for name in ("user_id", "age", "city", "note")],
    "spec": as_record(SUGGESTED),
    "fault": None,
}


def checked(client: AsgiClient, world: World, kind: OperationKind, result: Mapping[str, Any], *, like: str = "") -> str:
    """The part of the page that shows a look which has ended."""
    new = Operation(
        operation_id=fresh_id(),
        tenant=ACME,
        principal_id=world.principals["acme-admin"],
        kind=kind,
        action="run_jobs",
        state="running",
        created_at_ms=AT_MS,
    )
    world.stores.operations.add(new)
    world.stores.operations.finish(new.operation_id, result, now_ms=AT_MS)
    path = f"/console/tenants/acme/uploads/{id_of(ACME, UPLOAD)}/checks/{new.operation_id}"
    token = world.tokens["acme-admin"].text.reveal()
    return client.get(path, token=token, query={"audience": VIP, "like": like}).body.decode()


def a_job(world: World, spec: ImportSpec, dedupe_key: str) -> NewJob:
    return NewJob(
        job_id=fresh_id(),
        tenant=ACME,
        audience=VIP,
        audience_id=world.stores.audiences.get(ACME, VIP).audience_id,
        mode=spec.mode,
        partitions=PARTITIONS,
        spec=spec,
        source={"bucket": "crm", "key": "acme/x.csv", "size": 10},
        small=True,
        order_key="2",
        dedupe_key=dedupe_key,
        execution=None,
        retry_of=None,
        created_at_ms=AT_MS,
    )


def kept(text: str) -> list[tuple[str, bool]]:
    boxes = re.findall(r'name="keep-\d" value="1"( checked)?> (\S+)</label>', text)
    return [(name, bool(checked_)) for checked_, name in boxes]


def test_a_form_offers_what_was_found_in_the_file(client: AsgiClient, world: World) -> None:
    text = checked(client, world, "inspection", INSPECTED)
    assert kept(text) == [("age", True), ("city", True), ("note", True)]
    assert "<option selected>long</option>" in text
    assert "age-1" in text
    assert '<span class="code">id_empty</span>' in text
    assert f'name="audience" value="{VIP}"' in text
    assert f'action="/console/tenants/acme/uploads/{id_of(ACME, UPLOAD)}/start"' in text


def test_a_corrected_file_is_read_as_the_job_was_that_failed(client: AsgiClient, world: World) -> None:
    spec = ImportSpec(columns=(Column(name="town", source="city"),), mode="append", max_reject_share=0.1)
    job = a_job(world, spec, "x")
    world.stores.jobs.register(job)
    text = checked(client, world, "inspection", INSPECTED, like=job.job_id)
    assert kept(text) == [("age", False), ("city", True), ("note", False)]
    assert 'name="name-1" value="town"' in text
    assert '<option value="append" selected>' in text
    assert 'name="max_reject_percent" type="number" min="0" max="100" step="any" value="10"' in text


def test_a_file_that_repeats_another_job_is_imported_again_on_request(client: AsgiClient, world: World) -> None:
    spec = ImportSpec(columns=(Column(name="town", source="city"),), max_reject_share=0.1)
    original = a_job(world, spec, "the same content")
    world.stores.jobs.register(original)
    repeat = replace(original, job_id=fresh_id())
    assert world.stores.jobs.register(repeat) == original.job_id
    upload = id_of(ACME, UPLOAD)
    path = f"/console/tenants/acme/jobs/{repeat.job_id}"
    shown = {
        caller: client.get(path, token=world.tokens[caller].text.reveal(), query={"upload": upload}).body.decode()
        for caller in ("acme-operator", "acme-viewer")
    }
    assert all(f"Job {repeat.job_id} was not run" in text for text in shown.values())
    assert all(f'hx-get="{path}/part?upload={upload}"' in text for text in shown.values())
    assert ["/again" in text for text in shown.values()] == [True, False]
    again = f"/console/tenants/acme/uploads/{upload}/again"
    assert post(client, world, again, "acme-operator", key="k", like=original.job_id).status == 303
    (started,) = world.workflow.started
    request = json.loads(started)["import"]
    assert (request["again"], request["audience"]) == (True, VIP)
    assert ImportSpec().with_changes(request["overrides"]) == spec


def test_a_file_that_cannot_be_read_says_why_and_offers_no_import(client: AsgiClient, world: World) -> None:
    fault = UserError("NOT_UTF8_HEADER", "the header is not <UTF-8>").as_record()
    text = checked(client, world, "inspection", {**INSPECTED, "fault": fault})
    assert "the header is not &lt;UTF-8&gt;" in text
    assert "<form" not in text


def test_a_trial_says_what_would_be_published_or_why_not(client: AsgiClient, world: World) -> None:
    counts = {"rows": 600, "accepted": 533, "rejected": 67, "distinct": 533, "duplicates": 0}
    tried: dict[str, Any] = {**counts, "rejected_by_code": {"id_empty": 67}, "problems": [], "fault": None}
    assert "This import would be published." in checked(client, world, "dry_run", tried)
    problem = UserError("TOO_MANY_REJECTS", "67 of 600 rows").as_record()
    refused = checked(client, world, "dry_run", {**tried, "problems": [problem]})
    assert "67 of 600 rows" in refused
    assert "would be published" not in refused


def test_a_look_at_a_file_shows_nothing_of_other_operations(client: AsgiClient, world: World) -> None:
    text = checked(client, world, "difference", {"audience": VIP})
    assert "UNKNOWN_OPERATION" in text
    assert get(client, world, f"/console/tenants/acme/uploads/{id_of(ACME, UPLOAD)}", "acme-viewer").status == 403

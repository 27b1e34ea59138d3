"""A file that was uploaded, before its import: what was found in it, and what the form offers."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest

from connectors.sources.findings import Finding
from orchestration.catalog.operations import Operation
from orchestration.catalog.records import NewJob, Retention
from orchestration.console.import_form import settings_of
from orchestration.platform.clock import fresh_id
from orchestration.records.operations import OperationKind
from schemas.columns import Column
from schemas.errors import UserError
from schemas.import_spec import ImportSpec
from schemas.records import as_record
from tests.fakes.asgi import AsgiClient
from tests.fakes.tenants import ACME, AT_MS, PARTITIONS, UPLOAD, VIP, World, id_of
from tests.unit.orchestration.console.test_grants import FORM, get, post

SUGGESTED = ImportSpec(columns=(Column(name="age", type="long"), Column(name="city"), Column(name="note")))
INSPECTED = {
    "rows": 600,
    "format": "csv",
    "rejected": 67,
    "rejected_by_code": {"id_empty": 67},
    "hints": [],
    "findings": [],
    "columns": [{"name": name, "nulls": 1, "examples": [f"{name}-1"]} for name in ("user_id", "age", "city", "note")],
    "spec": as_record(SUGGESTED),
    "fault": None,
}


def checked(
    client: AsgiClient,
    world: World,
    kind: OperationKind,
    result: Mapping[str, Any],
    *,
    like: str = "",
    others: Sequence[str] = (),
) -> str:
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
    world.services.operations.add(new)
    world.services.operations.finish(new.operation_id, result, now_ms=AT_MS)
    path = f"/console/tenants/acme/uploads/{id_of(ACME, UPLOAD)}/checks/{new.operation_id}"
    token = world.tokens["acme-admin"].text.reveal()
    return client.get(path, token=token, query={"audience": VIP, "like": like, "with": [*others]}).body.decode()


def a_job(world: World, spec: ImportSpec, dedupe_key: str) -> NewJob:
    return NewJob(
        job_id=fresh_id(),
        tenant=ACME,
        audience=VIP,
        audience_id=world.services.audiences.get(ACME, VIP).audience_id,
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


def test_form_offers_findings_of_the_file(client: AsgiClient, world: World) -> None:
    text = checked(client, world, "inspection", INSPECTED)
    assert kept(text) == [("age", True), ("city", True), ("note", True)]
    assert "<option selected>long</option>" in text
    assert "age-1" in text
    assert '<span class="code">id_empty</span>' in text
    assert ("This import would fail" in text, '<button class="secondary">Start the import' in text) == (True, True)
    assert f'name="audience" value="{VIP}"' in text
    assert f'action="/console/tenants/acme/uploads/{id_of(ACME, UPLOAD)}/start"' in text


def test_findings_are_visible_and_change_the_form(client: AsgiClient, world: World) -> None:
    detail = {"percent": "99.8 %", "type": "long", "misfits": 12, "values": 5000, "rejects": True}
    mostly = Finding(
        code="mostly_typed", message="-", column="age", detail={**detail, "examples": [{"row": 4, "text": "<b>"}]}
    )
    times = Finding(code="local_times", message="-", detail={"columns": ["note"], "zone": "UTC"})
    later = {**times.as_record(), "code": "of_a_later_release", "message": "a sentence"}
    suggested = replace(SUGGESTED, timezone="UTC", null_values=("", "NA", "-"))
    found = {"rows": 5000, "rejected": 12, "findings": [mostly.as_record(), times.as_record(), later]}
    text = checked(client, world, "inspection", {**INSPECTED, **found, "spec": as_record(suggested)})
    assert "99.8 % of the values are long; 12 of 5,000 do not fit, such as &lt;b&gt;." in text
    assert "Times without an offset: note." in text
    assert "This import would fail" not in text  # the limit that is offered tolerates them
    assert '<p lang="en">a sentence</p>' in text
    assert re.findall(r'name="(max_reject_percent|timezone|null_values)"[^>]* value="([^"]*)"', text) == [
        ("max_reject_percent", "0.25"),
        ("timezone", "UTC"),
        ("null_values", "NA, -"),
    ]


def test_file_to_convert_shows_the_command_without_an_import(client: AsgiClient, world: World) -> None:
    separator = {"separator": "\t", "columns": 3}
    finding = Finding(code="separator", message="-", suggestion="convert < a > b", blocking=True, detail=separator)
    text = checked(client, world, "inspection", {**INSPECTED, "findings": [finding.as_record()]})
    assert r"The columns are separated by \t. This file cannot be read so" in text
    assert "<code>convert &lt; a &gt; b</code>" in text
    assert f'href="/console/tenants/acme/upload?audience={VIP}"' in text
    assert "<form" not in text


def test_delimiter_and_encoding_of_the_file_are_chosen_in_the_form(client: AsgiClient, world: World) -> None:
    encoding = {"encoding": "Shift_JIS (CP932)", "example": "東京", "reads": True}
    separator = {"separator": "\t", "columns": 3, "reads": True}
    findings = [
        Finding(code="encoding", message="-", suggestion="--encoding cp932", detail=encoding).as_record(),
        Finding(code="separator", message="-", suggestion="--delimiter tab", detail=separator).as_record(),
    ]
    spec = replace(SUGGESTED, delimiter="\t", encoding="cp932")
    found = {**INSPECTED, "findings": findings, "spec": as_record(spec)}
    text = checked(client, world, "inspection", found)
    assert "The text of the file is Shift_JIS (CP932). It is read so" in text
    assert r"The columns are separated by \t. The file is read so." in text
    assert '<option value="\t" selected>tab</option>' in text
    assert '<option value="cp932" selected>Shift_JIS (CP932)</option>' in text
    assert 'name="encoding"' not in checked(client, world, "inspection", {**INSPECTED, "format": "parquet"})
    settings = settings_of({"delimiter": "\t", "encoding": "cp932"}).changes()
    assert (settings["delimiter"], settings["encoding"]) == ("\t", "cp932")


def test_columns_of_an_existing_audience_keep_its_types_and_names(client: AsgiClient, world: World) -> None:
    columns = (Column(name="age", type="double"), Column(name="town", source="city"))
    saved = ImportSpec(columns=columns, mode="append", timezone="Asia/Tokyo")
    audience = world.services.audiences.get(ACME, VIP)
    world.services.audiences.configure(audience.audience_id, spec=saved, retention=Retention(versions=3))
    text = checked(client, world, "inspection", INSPECTED)
    assert kept(text) == [("age", True), ("city", True), ("note", True)]
    assert re.findall(r"<option selected>(\w+)</option>", text)[1:] == ["double", "string", "string"]
    assert 'name="name-1" value="town"' in text
    assert '<option value="append" selected>' in text
    assert 'name="timezone" value="Asia/Tokyo"' in text


def test_decimals_can_be_rounded_on_request(client: AsgiClient, world: World) -> None:
    spec = ImportSpec(columns=(Column(name="price", type="double", rounded=True), Column(name="city")))
    text = checked(client, world, "inspection", {**INSPECTED, "format": "parquet", "spec": as_record(spec)})
    assert text.count('<option value="double:rounded"') == 2
    assert text.count('<option value="double:rounded" selected>double, rounded</option>') == 1
    assert "double:rounded" not in checked(client, world, "inspection", INSPECTED)
    form = {"keep-0": "1", "name-0": "price", "type-0": "double:rounded", "keep-1": "1", "name-1": "city"}
    assert settings_of(form).changes()["columns"] == [
        {"name": "price", "type": "double", "source": None, "rounded": True},
        {"name": "city", "type": "string", "source": None},
    ]


def test_corrected_file_uses_settings_of_the_failed_job(client: AsgiClient, world: World) -> None:
    spec = ImportSpec(columns=(Column(name="town", source="city"),), mode="append", max_reject_share=0.1)
    job = a_job(world, spec, "x")
    world.services.jobs.register(job)
    text = checked(client, world, "inspection", INSPECTED, like=job.job_id)
    assert kept(text) == [("age", False), ("city", True), ("note", False)]
    assert 'name="name-1" value="town"' in text
    assert '<option value="append" selected>' in text
    assert 'name="max_reject_percent" type="number" min="0" max="100" step="any" value="10"' in text


def test_a_file_that_repeats_another_job_is_imported_again_on_request(client: AsgiClient, world: World) -> None:
    spec = ImportSpec(columns=(Column(name="town", source="city"),), max_reject_share=0.1)
    original = a_job(world, spec, "the same content")
    world.services.jobs.register(original)
    repeat = replace(original, job_id=fresh_id())
    assert world.services.jobs.register(repeat) == original.job_id
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


@pytest.mark.parametrize(
    "form",
    [
        {"audience": "a" * 64},
        {"audience": VIP, "max_reject_percent": "few"},
        {"audience": VIP, "max_reject_percent": "101"},
        {"audience": VIP, "mode": "mix"},
        {"audience": VIP, "keep-0": "1", "name-0": "n" * 256},
        {"audience": VIP, "keep-0": "1", "name-0": "age", "type-0": "text"},
    ],
)
def test_import_with_an_invalid_setting_is_refused(client: AsgiClient, world: World, form: dict[str, str]) -> None:
    start = f"/console/tenants/acme/uploads/{id_of(ACME, UPLOAD)}/start"
    answer = post(client, world, start, "acme-operator", key="k", **form)
    assert (answer.status, "INVALID_REQUEST" in answer.body.decode()) == (422, True)
    assert world.workflow.started == []


def test_missing_audience_column_can_be_imported_as_null(client: AsgiClient, world: World) -> None:
    audience = world.services.audiences.get(ACME, VIP)
    spec = ImportSpec(columns=(Column(name="city"), Column(name="total", type="long")))
    world.services.audiences.configure(audience.audience_id, spec=spec, retention=audience.retention, with_columns=True)
    text = checked(client, world, "inspection", INSPECTED)
    assert kept(text) == [("age", True), ("city", True), ("note", True), ("total", True)]
    assert re.findall(r'name="lacking-(\d)" value="1"> Not in this file', text) == ["3"]
    form = {"keep-3": "1", "name-3": "total", "type-3": "long"}
    assert settings_of(form).allow_missing_columns is None
    assert settings_of({**form, "lacking-3": "1"}).changes()["allow_missing_columns"] == ["total"]


def test_trial_shows_columns_that_would_become_empty(client: AsgiClient, world: World) -> None:
    tried: dict[str, Any] = {
        "rows": 2,
        "accepted": 2,
        "rejected": 0,
        "distinct": 2,
        "duplicates": 0,
        "rejected_by_code": {},
        "membership": {"base": 2, "added": 0, "removed": 0, "kept": 2, "members": 2, "updated": 1},
        "columns": [{"name": "age", "type": "long"}, {"name": "city", "type": "string"}],
        "column_changes": {"added": [], "dropped": [], "retyped": []},
        "nulls_by_column": {"age": 1, "city": 2},
        "emptied_columns": ["city"],
        "problems": [],
        "fault": None,
    }
    text = checked(client, world, "dry_run", tried)
    assert "The column city had values in the version before, and has none now." in text
    assert '<td class="wrap">age</td><td class="code">long</td><td class="num">1</td>' in text


def test_unreadable_file_shows_the_reason_without_an_import(client: AsgiClient, world: World) -> None:
    fault = UserError("NOT_UTF8_HEADER", "the header is not <UTF-8>").as_record()
    text = checked(client, world, "inspection", {**INSPECTED, "fault": fault})
    assert "the header is not &lt;UTF-8&gt;" in text
    assert "<form" not in text


def test_trial_shows_the_outcome_or_the_obstacle(client: AsgiClient, world: World) -> None:
    counts = {"rows": 600, "accepted": 533, "rejected": 67, "distinct": 533, "duplicates": 0}
    tried: dict[str, Any] = {**counts, "rejected_by_code": {"id_empty": 67}, "problems": [], "fault": None}
    assert "This import would be published." in checked(client, world, "dry_run", tried)
    problem = UserError("TOO_MANY_REJECTS", "67 of 600 rows").as_record()
    refused = checked(client, world, "dry_run", {**tried, "problems": [problem]})
    assert "67 of 600 rows" in refused
    assert "would be published" not in refused


def test_inspection_page_hides_other_operations(client: AsgiClient, world: World) -> None:
    text = checked(client, world, "difference", {"audience": VIP})
    assert "UNKNOWN_OPERATION" in text
    assert get(client, world, f"/console/tenants/acme/uploads/{id_of(ACME, UPLOAD)}", "acme-viewer").status == 403


def test_several_files_are_tried_and_started_together(client: AsgiClient, world: World) -> None:
    own = id_of(ACME, UPLOAD)
    text = checked(client, world, "inspection", INSPECTED, others=[own, own])
    assert f'action="/console/tenants/acme/uploads/{own}/start?with={own}&amp;with={own}"' in text
    assert f'hx-post="/console/tenants/acme/uploads/{own}/try?with={own}&amp;with={own}"' in text
    token, path = world.tokens["acme-admin"].text.reveal(), f"/console/tenants/acme/uploads/{own}"
    raw = [urlencode({"audience": VIP, "key": fresh_id()}).encode()]
    refused = client.send("POST", f"{path}/start", token=token, headers=FORM, query={"with": own}, raw=raw)
    assert "BAD_SPEC" in refused.body.decode()  # an upload is named twice
    page = client.get(path, token=token, query={"with": own}).body.decode()
    assert "Imported together with 1 more file:" in page
    assert " multiple>" in get(client, world, "/console/tenants/acme/upload", "acme-admin").body.decode()

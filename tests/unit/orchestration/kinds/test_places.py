"""Registration checks the places of a tenant again: they may have changed since the request was made."""

from collections.abc import Mapping

import pytest

from orchestration.catalog.places import EVERYWHERE
from orchestration.kinds.export.register import register_export
from orchestration.kinds.export.request import ExportRequest
from orchestration.operations.schedules import schedule_import
from orchestration.platform.clock import fresh_id, now_ms
from schemas.ids import JobId, TenantName
from schemas.manifest import ExportFormat
from tests.fakes.deployment import ACME, EXECUTION, Deployment


def set_places(deployment: Deployment, *places: str) -> None:
    deployment.context.places.replace({ACME: places}, check=lambda _: None)


@pytest.mark.parametrize(
    ("places", "bucket", "key", "state"),
    [
        ((), "inbox", "acme/vip/a.csv", "VERIFYING"),
        ((), "inbox", "beta/vip/a.csv", "FAILED"),
        ((), "crm", "a.csv", "FAILED"),
        (("s3://crm/acme/",), "crm", "a.csv", "FAILED"),
        (("s3://crm/acme/",), "crm", "acme/a.csv", "VERIFYING"),
        ((EVERYWHERE,), "crm", "a.csv", "VERIFYING"),
        ((EVERYWHERE,), "staging", "uploads/beta/vip/01m87b5fjxy5p23eqzcwh67tr0/a.csv", "FAILED"),
        ((EVERYWHERE,), "lake", "audiences/acme/a.parquet", "FAILED"),
    ],
)
def test_object_outside_the_allowed_locations_is_refused(
    deployment: Deployment, places: tuple[str, ...], bucket: str, key: str, state: str
) -> None:
    set_places(deployment, *places)
    job = deployment.register(deployment.request(bucket=bucket, key=key))
    assert job.state == state
    assert (job.error is not None and job.error.code) == ("BAD_SOURCE" if state == "FAILED" else False)


def test_schedule_run_is_refused_after_its_location_is_revoked(deployment: Deployment) -> None:
    context = deployment.context
    deployment.objects.put("crm", "acme/a.csv", b"user_id\nann\n")
    made = schedule_import(
        "nightly",
        "s3://crm/acme/a.csv",
        expression="rate(1 day)",
        timezone="UTC",
        tenant=ACME,
        audience="vip",
        overrides={},
        again=True,
        now_ms=now_ms(),
        audiences=context.audiences,
        schedules=context.schedules,
        settings=context.settings,
    )
    states = []
    for number, place in enumerate(("s3://crm/acme/", "s3://crm/other/")):
        set_places(deployment, place)
        due = f"2026-11-2{number + 1}T09:00:00Z"
        event = {
            "schedule": {"id": made.schedule_id, "timezone": "UTC", "due": due},
            "import": dict(made.request),
        }
        view = deployment.call("register_import", input=event, execution=f"{EXECUTION}run-{number}")
        states.append(view["state"])
    assert states == ["VERIFYING", "FAILED"]


@pytest.mark.parametrize(
    ("places", "to", "code"),
    [
        ((), "s3://theirs/out", "BAD_DESTINATION"),
        (("s3://theirs/",), "s3://theirs/out", None),
        ((EVERYWHERE,), "s3://theirs/out", None),
        ((EVERYWHERE,), "s3://staging/download/beta/x", "BAD_DESTINATION"),
        ((EVERYWHERE, "s3://staging/download/beta/"), "s3://staging/download/beta/x", "BAD_DESTINATION"),
        ((EVERYWHERE,), "s3://lake/exports/beta/x", "BAD_DESTINATION"),
        ((EVERYWHERE, "s3://lake/exports/beta/"), "s3://lake/exports/beta/x", None),
        ((), "s3://staging/download/acme/x", None),
        ((EVERYWHERE,), "exports/vip", "BAD_DESTINATION"),
    ],
)
def test_destination_outside_the_allowed_locations_is_refused(
    deployment: Deployment, places: tuple[str, ...], to: str, code: str | None
) -> None:
    job = deployment.run(deployment.register())
    deployment.context.audiences.add_tenant(TenantName("beta"), now_ms())
    set_places(deployment, *places)
    request = export_request(job.audience, to)
    register(deployment, {"export": request.as_record()})
    error = deployment.context.exports.get(request.export_id).error
    assert (None if error is None else error.code) == code


def test_each_scheduled_download_has_its_own_folder(deployment: Deployment) -> None:
    job = deployment.run(deployment.register())
    set_places(deployment)
    record = export_request(job.audience, "download").as_record()
    schedule, found = fresh_id(), []
    for day in (1, 2):
        due = f"2026-11-2{day}T09:00:00Z"
        event = {"schedule": {"id": schedule, "timezone": "UTC", "due": due}, "export": {**record, "export_id": ""}}
        export_id = str(register(deployment, event)["export_id"])
        to = deployment.context.exports.get(JobId(export_id)).request["to"]
        assert to == f"s3://staging/download/acme/{export_id}"
        found.append(to)
    assert len(set(found)) == 2


def export_request(audience: str, to: str) -> ExportRequest:
    return ExportRequest(
        export_id=fresh_id(),
        tenant=ACME,
        audience=audience,
        to=to,
        format=ExportFormat(format="csv", null_token=""),
    )


def register(deployment: Deployment, event: object) -> Mapping[str, object]:
    context = deployment.context
    return register_export(
        event,
        f"execution-{fresh_id()}",
        records=context.export_records,
        pins=context.export_pins,
        segments=context.segments,
        audit=context.audit,
        places=context.places,
    )

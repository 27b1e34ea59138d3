"""What clients of the service leave behind goes when it is due, and not before."""

from dataclasses import replace
from typing import Any

import pytest

from orchestration.catalog.idempotency import KEPT_MS, KeyedRequest
from orchestration.catalog.records import NewExport
from orchestration.catalog.uploads import Upload
from orchestration.composition import control_plane
from orchestration.control.gc.served_requests import DAY_MS
from orchestration.platform.clock import fresh_id
from schemas.ids import JobId
from schemas.layout import is_staging_key
from tests.fakes.deployment import ACME, Deployment

AT_MS = 1_800_000_000_000
STAGING = "staging"


def sweep(deployment: Deployment, now_ms: int) -> None:
    control_plane.served_requests(deployment.context).tick(now_ms)


def upload(deployment: Deployment, **changes: Any) -> Upload:
    id_ = fresh_id()
    new = Upload(
        upload_id=id_,
        tenant=ACME,
        name="a.csv",
        content_type="text/csv",
        size=1,
        key=f"uploads/{ACME}/upload/{id_}/a.csv",
        created_at_ms=AT_MS,
    )
    deployment.objects.put(STAGING, new.key, b"x")
    assert is_staging_key(new.key)
    return deployment.context.uploads.add(replace(new, **changes), most_bytes=10)


def test_an_unfinished_upload_ends_after_a_day_and_a_finished_one_stays(deployment: Deployment) -> None:
    unfinished, stored = upload(deployment), upload(deployment, stored=True)
    sweep(deployment, AT_MS + DAY_MS)
    assert deployment.objects.keys(STAGING) == sorted([unfinished.key, stored.key])
    sweep(deployment, AT_MS + DAY_MS + 1)
    assert deployment.objects.keys(STAGING) == [stored.key]
    assert [one.upload_id for one in deployment.context.uploads.begun_before(AT_MS + 1)] == [stored.upload_id]
    sweep(deployment, AT_MS + 60 * DAY_MS)
    assert deployment.context.uploads.begun_before(AT_MS + 1) == []
    assert deployment.objects.keys(STAGING) == [stored.key]  # `orphans` looks whether a job reads it


def test_unfinished_multipart_upload_is_aborted(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, aborted = upload(deployment, multipart="m1"), []
    monkeypatch.setattr(
        "connectors.storage.multipart.Parts.abort", lambda _, bucket, key, id_: aborted.append((bucket, key, id_))
    )
    sweep(deployment, AT_MS + DAY_MS + 1)
    assert aborted == [(STAGING, begun.key, "m1")]


def test_finished_download_export_is_removed_after_a_day(deployment: Deployment) -> None:
    exports, own, running = deployment.context.exports, fresh_id(), fresh_id()
    for id_ in (own, running):
        exports.register(
            NewExport(
                job_id=id_,
                tenant=ACME,
                audience="vip",
                audience_id=None,
                request={},
                leases=(),
                execution=None,
                retry_of=None,
                created_at_ms=AT_MS,
            )
        )
        deployment.objects.put(STAGING, f"download/{ACME}/{id_}/manifest.json", b"x")
    others = [f"download/{ACME}/{fresh_id()}/a.csv", "download/of-mine/a.csv"]
    for key in others:
        deployment.objects.put(STAGING, key, b"x")
    exports.move(own, "CANCELLED", now_ms=AT_MS)
    sweep(deployment, AT_MS + DAY_MS)
    assert len(deployment.objects.keys(STAGING)) == 4
    sweep(deployment, AT_MS + DAY_MS + 1)
    assert deployment.objects.keys(STAGING) == sorted([*others, f"download/{ACME}/{running}/manifest.json"])


def test_idempotency_keys_expire_after_72_hours(deployment: Deployment) -> None:
    store = deployment.context.idempotency
    asked = KeyedRequest(principal_id=JobId("p"), tenant=ACME, key="k", request="r", holder=JobId("h"))
    first = store.claim(asked, new_id=fresh_id(), now_ms=AT_MS)
    sweep(deployment, AT_MS + KEPT_MS)
    assert store.claim(asked, new_id=fresh_id(), now_ms=AT_MS).job_id == first.job_id
    sweep(deployment, AT_MS + KEPT_MS + 1)
    assert store.claim(asked, new_id=fresh_id(), now_ms=AT_MS).job_id != first.job_id

"""What an event requests, how jobs are ordered, and which requests are the same."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from connectors.storage.pinned import SourceObject
from orchestration.kinds.events import ImportRequest
from orchestration.kinds.register import dedupe_key, order_key
from orchestration.platform.settings import Settings
from schemas.ids import JobId
from schemas.import_spec import ImportSpec

SETTINGS = Settings()
FIRST, SECOND = JobId("01m87b5fjxy5p23eqzcwh67tr0"), JobId("01m87b5fjxy5p23eqzcwh67tr1")


def source(second: int = 0, version_id: str | None = "v1", etag: str = '"e"') -> SourceObject:
    return SourceObject(
        bucket="inbox",
        key="acme/vip/a.csv",
        version_id=version_id,
        etag=etag,
        size=10,
        last_modified=datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC),
    )


def request(job_id: JobId = FIRST, audience: str = "vip") -> ImportRequest:
    return ImportRequest(job_id=job_id, tenant="acme", audience=audience, bucket="inbox", key="acme/vip/a.csv")


@pytest.mark.parametrize(
    ("key", "tenant", "audience", "read"),
    [
        ("acme/vip/a.csv", "acme", "vip", "acme/vip/a.csv"),
        ("acme/vip/2026/a.csv", "acme", "vip", "acme/vip/2026/a.csv"),
        ("acme/vip/a%20+b.csv", "acme", "vip", "acme/vip/a%20+b.csv"),
        ("a.csv", "a.csv", "", "a.csv"),
        ("../vip/a.csv", "..", "vip", "../vip/a.csv"),
    ],
)
def test_event_key_names_tenant_and_audience(key: str, tenant: str, audience: str, read: str) -> None:
    detail = {"bucket": {"name": "inbox"}, "object": {"key": key, "version-id": "v1", "sequencer": "0A"}}
    made = ImportRequest.from_event(detail, FIRST)
    assert (made.tenant, made.audience, made.key, made.version_id, made.sequencer) == (
        tenant,
        audience,
        read,
        "v1",
        "0A",
    )


def test_request_round_trips_through_workflow_json() -> None:
    assert ImportRequest.from_record(request().as_record()) == request()


def test_versions_are_ordered_by_last_modified_then_sequencer_then_registration() -> None:
    keys = [
        order_key(source(0), "FF", SECOND),
        order_key(source(1), "0A", FIRST),
        order_key(source(1), "10A", FIRST),
        order_key(source(1), "10A", SECOND),
    ]
    assert keys == sorted(keys)
    assert len(set(keys)) == 4


def test_equal_object_and_options_are_the_same_import() -> None:
    assert dedupe_key(SETTINGS, (source(),), request(FIRST), ImportSpec()) == dedupe_key(
        SETTINGS, (source(),), request(SECOND), ImportSpec()
    )


@pytest.mark.parametrize(
    ("other", "spec", "audience"),
    [
        (source(version_id="v2"), ImportSpec(), "vip"),
        (source(version_id=None), ImportSpec(), "vip"),
        (source(), ImportSpec(mode="append"), "vip"),
        (source(), ImportSpec(max_reject_share=0.5), "vip"),
        (source(), ImportSpec(), "gold"),
    ],
)
def test_different_version_option_or_audience_is_another_import(
    other: SourceObject, spec: ImportSpec, audience: str
) -> None:
    mine = dedupe_key(SETTINGS, (source(),), request(), ImportSpec())
    assert dedupe_key(SETTINGS, (other,), request(audience=audience), spec) != mine


def test_without_versions_an_overwritten_object_is_another_import() -> None:
    keys = {
        dedupe_key(SETTINGS, (source(second, version_id=None, etag=etag),), request(), ImportSpec())
        for second, etag in ((0, '"a"'), (0, '"b"'), (1, '"a"'))
    }
    assert len(keys) == 3


def test_uploads_are_the_same_import_exactly_if_their_content_is() -> None:
    def key(name: str, etag: str, size: int, audience: str = "vip", spec: ImportSpec | None = None) -> str:
        upload = replace(source(etag=etag), bucket="staging", key=f"uploads/acme/vip/{name}/a.csv", size=size)
        return dedupe_key(SETTINGS, (upload,), request(audience=audience), spec or ImportSpec())

    mine = key(FIRST, '"a"', 10)
    assert key(SECOND, '"a"', 10) == mine
    others = [
        key(SECOND, '"b"', 10),
        key(SECOND, '"a"', 11),
        key(SECOND, '"a"', 10, audience="gold"),
        key(SECOND, '"a"', 10, spec=ImportSpec(mode="append")),
    ]
    assert len({mine, *others}) == 5

"""Uploads through the service of the embedded stack, with presigned requests to its object store."""

import http.client
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from connectors.storage.objects import ObjectStore
from connectors.storage.presigned import PUT_S
from muster import Access, ApiError, Client
from muster.api_types import PresignedPut, Upload
from orchestration.access import uploading
from orchestration.api.application import application
from orchestration.api.service import Service
from orchestration.composition.service import Services
from orchestration.local.seaweedfs import s3_client
from orchestration.platform.object_store import public_s3_access, s3_access
from orchestration.platform.settings import Settings
from schemas.ids import JobId, TenantName
from tests.conftest import StartStack
from tests.fakes.asgi import AsgiClient, AsgiTransport

pytestmark = pytest.mark.integration
TENANT = "default"
CONTENT = b"user_id\nann\nbob\n"


@pytest.fixture(scope="module")
def settings(start_module_stack: StartStack) -> Settings:
    return start_module_stack(parts=("catalog", "s3", "api"))


@pytest.fixture(scope="module")
def muster(settings: Settings) -> Iterator[Client]:
    token = (settings.home / "api" / "token").read_text().strip()
    with Client(Access(url=settings.api_url, token=token)) as client:
        client.create_tenant(TENANT)
        yield client


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    path.write_bytes(CONTENT)
    return path


def put_of(upload: Upload) -> PresignedPut:
    assert upload["put"] is not None
    return upload["put"]


def send(
    request: Mapping[str, Any],
    content: bytes = CONTENT,
    *,
    url: str | None = None,
    but: Mapping[str, Any] | None = None,
) -> int:
    """The status of a PUT [to another URL] [with other headers; None: without]."""
    address = urlsplit(url or request["url"])
    sent = {name: value for name, value in {**request["headers"], **(but or {})}.items() if value is not None}
    with closing(http.client.HTTPConnection(address.netloc, timeout=20)) as connection:
        connection.request("PUT", f"{address.path}?{address.query}", content, sent)
        answer = connection.getresponse()
        answer.read()
        return answer.status


def test_presigned_request_stores_the_announced_file_once(muster: Client) -> None:
    upload = muster.create_upload(TENANT, "people.csv", len(CONTENT), content_type="text/csv")
    request = put_of(upload)
    longer = CONTENT + b"eve\n"
    refused = [
        send(request, longer, but={"Content-Length": str(len(longer))}),
        send(request, but={"Content-Type": "text/html"}),
        send(request, but={"If-None-Match": None}),
        send(request, url=request["url"].replace("people.csv", "others.csv")),
        send(request, url=request["url"].replace(f"/{TENANT}/", "/other/")),
    ]
    assert refused == [403] * len(refused)
    assert muster.upload(TENANT, upload["upload"])["state"] == "unfinished"
    with pytest.raises(ApiError, match="UPLOAD_UNFINISHED"):
        muster.complete_upload(TENANT, upload["upload"])
    assert send(request) == 200
    assert send(request) == 412
    assert muster.complete_upload(TENANT, upload["upload"])["state"] == "stored"


def test_expired_presigned_request_is_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    signed_at = datetime.now(UTC) - timedelta(seconds=PUT_S + 1)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: signed_at.replace(tzinfo=None))
    request = Services(settings).presigner.put("staging", "uploads/late", size=len(CONTENT), content_type="text/csv")
    assert send({"url": request.url, "headers": request.headers}) == 403


def test_repeated_upload_request_gets_a_fresh_url(muster: Client) -> None:
    first = muster.create_upload(TENANT, "a.csv", len(CONTENT), key="same")
    second = muster.create_upload(TENANT, "a.csv", len(CONTENT), key="same")
    assert first["upload"] == second["upload"]
    assert send(put_of(second)) == 200
    assert send(put_of(first)) == 412


def test_client_sends_a_file_once_per_key(muster: Client, file: Path) -> None:
    stored = muster.send_file(TENANT, file, key="once")
    assert (stored["state"], stored["size"]) == ("stored", len(CONTENT))
    assert muster.send_file(TENANT, file, key="once") == stored


def test_parts_are_joined_when_complete(
    settings: Settings, muster: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service in this process, with small parts: files above 5 GiB are sent in parts of 64 MiB and more."""
    monkeypatch.setattr(uploading, "ONE_PUT_BYTES", 1)
    monkeypatch.setattr(uploading, "part_bytes", lambda _: 5 * 1024 * 1024)
    file, content = tmp_path / "large.bin", bytes(range(256)) * (24 * 1024)  # a part of 5 MiB, the least, and of 1 MiB
    file.write_bytes(content)
    services, token = Services(settings), (settings.home / "api" / "token").read_text().strip()
    asgi = AsgiClient(application(Service(services=services, hosts=frozenset({"127.0.0.1"}))))
    own = Client(Access(url=settings.api_url, token=token), AsgiTransport(asgi))
    half = own.create_upload(TENANT, "large.bin", len(content), key="large-upload")
    assert (half["put"], half["parts"]) == (None, {"count": 2, "bytes": 5 * 1024 * 1024})
    [first] = own.upload_parts(TENANT, half["upload"], [1])
    assert send(first, content[: 5 * 1024 * 1024]) == 200
    with pytest.raises(ApiError, match="part 2 of 2"):
        own.complete_upload(TENANT, half["upload"])
    sent = list[int]()
    for _ in range(2):  # the second time nothing is left to do
        stored = own.send_file(TENANT, file, key="large-upload", on_bytes=sent.append)
        assert (stored["upload"], stored["state"], sum(sent)) == (half["upload"], "stored", len(content))
    key = services.uploads.get(TenantName(TENANT), JobId(stored["upload"])).key
    assert services.objects.get(settings.staging_bucket, key) == content
    own.delete_upload(TENANT, stored["upload"])
    asgi.close()
    services.close()


def test_requests_are_signed_for_the_public_address(settings: Settings, muster: Client) -> None:
    elsewhere = replace(settings, s3_public_endpoint="https://files.example:8443")
    signed = Services(elsewhere).presigner.get("staging", "download/x", name="x y.csv").url
    assert signed.startswith("https://files.example:8443/staging/download/x?")
    assert public_s3_access(settings) == s3_access(settings)


def test_deleted_upload_leaves_no_objects(settings: Settings, muster: Client, file: Path) -> None:
    upload = muster.send_file(TENANT, file)["upload"]
    muster.delete_upload(TENANT, upload)
    with pytest.raises(ApiError, match="UNKNOWN_UPLOAD"):
        muster.upload(TENANT, upload)
    left = ObjectStore(s3_access(settings)).list("staging", f"uploads/{TENANT}/upload/{upload}/")
    assert list(left) == []


def preflight(request: Mapping[str, Any], origin: str) -> tuple[int, str | None]:
    """Status, and the origin that is let in, of what a browser asks before it sends an upload."""
    address = urlsplit(request["url"])
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "content-type,if-none-match",
    }
    with closing(http.client.HTTPConnection(address.netloc, timeout=20)) as connection:
        connection.request("OPTIONS", f"{address.path}?{address.query}", headers=asked)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Access-Control-Allow-Origin")


def test_only_pages_of_the_service_can_upload(settings: Settings, muster: Client) -> None:
    put = put_of(muster.create_upload(TENANT, "people.csv", len(CONTENT)))
    console = urlsplit(muster.console_url())
    for own in (settings.api_url, f"{console.scheme}://{console.netloc}"):
        assert preflight(put, own) == (200, own)
    assert preflight(put, "http://evil.example") == (403, None)


def test_parts_of_an_abandoned_upload_are_removed_after_a_week(settings: Settings) -> None:
    found = s3_client(settings).get_bucket_lifecycle_configuration(Bucket=settings.staging_bucket)
    assert [rule["AbortIncompleteMultipartUpload"] for rule in found["Rules"]] == [{"DaysAfterInitiation": 7}]

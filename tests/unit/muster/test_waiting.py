"""Jobs are awaited to their end, and exports arrive whole, or an error names the file."""

import asyncio
import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest

from muster import FINAL_STATES, Client, verify
from muster.access import Access
from muster.errors import ApiError
from schemas.ids import new_job_id
from tests.trees import ROOT

JOB = new_job_id(1_795_000_000_250, b"0123456789")
CONTENT = {"a.csv": b"user_id\nann\n", "country=JP/b.csv": b"user_id\nbob\n"}
FILES = [
    {"key": key, "rows": 1, "bytes": len(text), "sha256": hashlib.sha256(text).hexdigest(), "url": f"s3:{key}"}
    for key, text in CONTENT.items()
]
MANIFEST = json.dumps({"rows": 2, "files": FILES}).encode()


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    """Lists the files of an export, and fetches them without a network."""
    made = Client(Access(url="http://127.0.0.1:1", token="t"))
    monkeypatch.setattr(made, "export_files", lambda *_: {"items": FILES, "manifest": "s3:manifest.json"})
    monkeypatch.setattr(
        "muster.fetching.fetch", lambda url: iter([{**CONTENT, "manifest.json": MANIFEST}[url.partition(":")[2]]])
    )
    return made


def states(client: Client, monkeypatch: pytest.MonkeyPatch, found: Iterator[str]) -> None:
    monkeypatch.setattr(client, "find_job", lambda _: {"state": next(found)})
    monkeypatch.setattr("muster.following.FIRST_POLL_S", 0)
    monkeypatch.setattr("muster.following.POLL_SHARE", 0)


def test_wait_ends_with_the_final_state(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    states(client, monkeypatch, iter(["VERIFYING", "AWAITING", "FAILED"]))
    assert client.wait(JOB)["state"] == "FAILED"
    states(client, monkeypatch, iter(["VERIFYING", "READY"]))
    assert asyncio.run(client.wait_async(JOB))["state"] in FINAL_STATES


def test_wait_ends_at_its_timeout(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    states(client, monkeypatch, chain(repeat("AWAITING")))
    with pytest.raises(TimeoutError, match="it continues"):
        client.wait(JOB, timeout_s=0)
    with pytest.raises(TimeoutError, match="it continues"):
        asyncio.run(client.wait_async(JOB, timeout_s=0))


def test_download_is_whole_and_verified(client: Client, tmp_path: Path) -> None:
    manifest = client.download("default", JOB, tmp_path / "to")
    assert verify(manifest)["rows"] == 2
    assert {key: (tmp_path / "to" / key).read_bytes() for key in CONTENT} == CONTENT
    with pytest.raises(FileExistsError):
        client.download("default", JOB, tmp_path / "to")


@pytest.mark.parametrize(
    ("key", "change", "why"),
    [
        ("a.csv", b"user_id\nbob\n", "its SHA-256"),
        ("a.csv", b"user_id\n", "it has 8 bytes, not 12"),
        ("country=JP/b.csv", None, "it is missing"),
    ],
)
def test_changed_file_is_named(client: Client, tmp_path: Path, key: str, change: bytes | None, why: str) -> None:
    manifest = client.download("default", JOB, tmp_path / "to")
    path = tmp_path / "to" / key
    path.unlink() if change is None else path.write_bytes(change)
    with pytest.raises(ApiError, match=f"EXPORT_DIFFERS: {key}: {why}"):
        verify(manifest)


def test_file_that_arrives_changed_leaves_no_manifest(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muster.fetching.fetch", lambda _: iter([b"user_id\neve\n"]))
    with pytest.raises(ApiError, match=r"DOWNLOAD_DIFFERS: a\.csv"):
        client.download("default", JOB, tmp_path / "to")
    assert not (tmp_path / "to" / "manifest.json").exists()


def test_no_file_is_written_outside_the_folder(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside: list[dict[str, Any]] = [{**FILES[0], "key": "../a.csv"}]
    monkeypatch.setattr(client, "export_files", lambda *_: {"items": outside, "manifest": "s3:manifest.json"})
    with pytest.raises(ApiError, match=r"EXPORT_DIFFERS: \.\./a\.csv"):
        client.download("default", JOB, tmp_path / "to")
    assert not (tmp_path / "a.csv").exists()


def test_package_is_small() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as wheel:
        for file in sorted((ROOT / "muster").glob("*.py")):
            wheel.write(file, file.name)
    assert len(packed.getvalue()) <= 200 * 1024

"""Exports that the command line fetches: compared with their manifest, which is written last."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from muster.client import Client
from muster.errors import ApiError
from muster.presigned import CONNECT_TO
from muster.sending import send_piece
from orchestration.cli import downloads
from schemas.digest import Digest
from schemas.errors import FatalError, UserError
from schemas.manifest import Manifest, ManifestFile
from tests.fakes.tenants import ACME, manifest_of
from tests.servers.presigned import Store, object_store

CONTENT = b"user_id\nann\n" * 100


@pytest.fixture
def store() -> Iterator[Store]:
    with object_store() as made:
        yield made


class Exports:
    """The part of a client that downloads use: one export, whose files are in the store."""

    def __init__(self, store: Store, *, sha256: str = "", files: int = 1) -> None:
        self._store = store
        digest = Digest(schema_id=manifest_of(ACME).schema.schema_id, count=1)
        sha256 = sha256 or hashlib.sha256(CONTENT).hexdigest()
        self.manifest = replace(
            manifest_of(ACME),
            files=tuple(
                ManifestFile(
                    key=f"city={n}/a.csv", rows=1, bytes=len(CONTENT), sha256=sha256, digest=digest, min="a", max="a"
                )
                for n in range(files)
            ),
        )
        for file in self.manifest.files:
            store.contents[f"/{file.key}"] = CONTENT
        store.contents["/manifest.json"] = self.manifest.encode()

    def export_files(self, tenant: str, export: str) -> Any:
        assert (tenant, export) == (ACME, "e")
        items = [{"key": one.key, "url": f"{self._store.url}/{one.key}?signed"} for one in self.manifest.files]
        return {"items": items, "manifest": f"{self._store.url}/manifest.json?signed"}


def fetched(exports: Exports, to: Path) -> Manifest:
    return downloads.fetch_folder(cast(Client, exports), ACME, "e", str(to))


def test_downloaded_folder_is_complete_and_private(store: Store, tmp_path: Path) -> None:
    exports = Exports(store, files=2)
    assert fetched(exports, tmp_path / "out") == exports.manifest
    files = {str(path.relative_to(tmp_path / "out")): path for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert sorted(files) == ["city=0/a.csv", "city=1/a.csv", "manifest.json"]
    assert json.loads(files["manifest.json"].read_bytes()) == exports.manifest.as_record()
    assert {path.stat().st_mode & 0o777 for path in files.values()} == {0o600}


@pytest.mark.parametrize("fault", [403, 503, "cut"])
def test_failed_download_is_retried(store: Store, tmp_path: Path, fault: int | str) -> None:
    store.faults["/city=0/a.csv"] = [fault] * (downloads.TRIES - 1)
    fetched(Exports(store), tmp_path / "out")
    assert (tmp_path / "out" / "city=0" / "a.csv").read_bytes() == CONTENT


@pytest.mark.parametrize(("fault", "code"), [(403, "DOWNLOAD_REFUSED"), ("cut", "DOWNLOAD_CUT_OFF")])
def test_abandoned_download_leaves_no_files(store: Store, tmp_path: Path, fault: int | str, code: str) -> None:
    store.faults["/city=1/a.csv"] = [fault] * downloads.TRIES
    with pytest.raises(ApiError, match=code):
        fetched(Exports(store, files=2), tmp_path / "out")
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def test_file_that_contradicts_the_manifest_is_refused(store: Store, tmp_path: Path) -> None:
    exports = Exports(store, sha256="0" * 64)
    with pytest.raises(FatalError, match="DOWNLOAD_DIFFERS"):
        fetched(exports, tmp_path / "out")
    with pytest.raises(FatalError, match="DOWNLOAD_DIFFERS"):
        downloads.fetch_file(cast(Client, exports), ACME, "e", str(tmp_path / "a.parquet"), overwrite=False)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("files", [0, 1])
def test_single_file_is_replaced_only_on_request(store: Store, tmp_path: Path, files: int) -> None:
    client, to = cast(Client, Exports(store, files=files)), tmp_path / "a.parquet"
    written = downloads.fetch_file(client, ACME, "e", str(to), overwrite=False)
    assert (written["rows"], written["bytes"], written["to"]) == (files, to.stat().st_size, str(to))
    assert written["sha256"] == hashlib.sha256(to.read_bytes()).hexdigest()
    with pytest.raises(UserError, match="DESTINATION_EXISTS"):
        downloads.fetch_file(client, ACME, "e", str(to), overwrite=False)
    with pytest.raises(UserError, match="DESTINATION_EXISTS"):
        downloads.require_free(str(to), one_file=True, overwrite=False)
    downloads.fetch_file(client, ACME, "e", str(to), overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_export_folder_is_created_late_and_never_overwritten(store: Store, tmp_path: Path) -> None:
    downloads.require_free(str(tmp_path / "out"), one_file=False, overwrite=False)
    assert not (tmp_path / "out").exists()
    fetched(Exports(store), tmp_path / "out")
    with pytest.raises(UserError, match="DESTINATION_EXISTS"):
        downloads.require_free(str(tmp_path / "out"), one_file=False, overwrite=False)
    with pytest.raises(UserError, match="DESTINATION_EXISTS"):
        fetched(Exports(store), tmp_path / "out")
    assert (tmp_path / "out" / "city=0" / "a.csv").exists()


def test_download_keeps_the_signed_host_at_another_address(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_bytes(CONTENT)
    monkeypatch.setenv(CONNECT_TO, store.url.removeprefix("http://"))
    sent: list[int] = []
    request = {"method": "PUT", "url": "http://s3.example:8333/a?signed", "headers": {"Content-Length": "7"}}
    send_piece(request, tmp_path / "a.csv", 1, 7, sent.append)
    assert (store.contents["/a"], store.hosts, sum(sent)) == (CONTENT[1:8], ["s3.example:8333"], 7)

"""Fetches exports to `download`: every file is compared with the manifest, which is written last."""

import hashlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from connectors.private_files import FILE_MODE
from connectors.sinks import refusals
from connectors.sinks.addresses import local_path
from orchestration.cli.rendering import local_line
from orchestration.cli.screen import Screen, screen
from orchestration.platform.deferred import deferred
from schemas.errors import FatalError, UserError
from schemas.manifest import MANIFEST_NAME, Manifest, ManifestFile

if TYPE_CHECKING:
    from muster.client import Client
    from muster.records import Record

with deferred(__name__):
    from pyarrow import parquet

    from connectors.sinks import local_file, local_folder
    from muster import errors, fetching
    from schemas import arrow

TICK_S: Final = 0.25
TRIES: Final = 4
"""How often to fetch a file that does not arrive; each time with a fresh request, valid for five minutes."""


def require_free(to: str, *, one_file: bool, overwrite: bool) -> None:
    """Raises `UserError` BAD_URI, DESTINATION_EXISTS, DESTINATION_NOT_WRITABLE before anything is started."""
    target = local_path(to)
    if one_file:
        if target.exists() and not overwrite:
            raise refusals.destination_exists(to)
        return
    if (target / MANIFEST_NAME).exists():
        raise _export_exists(target)
    if target.exists():
        local_folder.LocalFolder(target).check()


def fetch_folder(found: "Client", tenant: str, export_id: str, to: str) -> Manifest:
    """Fetch an export into a folder; returns its manifest.

    Raises `UserError` DESTINATION_EXISTS, DESTINATION_NOT_WRITABLE, DESTINATION_FULL, DESTINATION_KEY_TAKEN;
    `FatalError` DOWNLOAD_DIFFERS; and as `fetching.fetch`.
    """
    folder = local_folder.LocalFolder(local_path(to))
    put: list[str] = []
    try:
        with _Download(found, tenant, export_id) as download:
            with folder.scratch(Path()) as scratch:
                for file in download.manifest.files:
                    path = scratch / "file"
                    download.fetch(file, path)
                    folder.put(path, file.key)
                    put.append(file.key)
            if not folder.put_manifest(download.content):
                raise _export_exists(local_path(to))
            return download.manifest
    except BaseException:
        for key in put if folder.manifest() is None else ():  # else they are those of another export
            folder.remove(key)
        raise


def fetch_file(found: "Client", tenant: str, export_id: str, to: str, *, overwrite: bool) -> dict[str, Any]:
    """Fetch an export of one Parquet file; returns the file as plain JSON data.

    Raises as `fetch_folder`, and `FatalError` DOWNLOAD_DIFFERS for an export of several files.
    """
    target = local_path(to)
    with _Download(found, tenant, export_id) as download:
        manifest, files = download.manifest, download.manifest.files
        if len(files) > 1:
            several = f"export {export_id} has {len(files)} files, not one; export to a folder"
            raise FatalError("DOWNLOAD_DIFFERS", several, export=export_id)
        with local_file.complete_file(target, overwrite=overwrite) as path:
            if files:
                download.fetch(files[0], path)
            else:  # an export without members has no files
                parquet.write_table(arrow.arrow_schema(manifest.schema).empty_table(), path)
            size, sha256 = (
                path.stat().st_size,
                files[0].sha256 if files else hashlib.sha256(path.read_bytes()).hexdigest(),
            )
        return {
            "audience": manifest.audience,
            "tenant": manifest.tenant,
            "version": manifest.version,
            "to": to,
            "rows": manifest.rows,
            "bytes": size,
            "sha256": sha256,
            "digest": str(manifest.digest),
        }


class _Download:
    """The files of one export, fetched with progress."""

    def __init__(self, found: "Client", tenant: str, export_id: str) -> None:
        self._found = found
        self._names = tenant, export_id
        self._screen: Screen = screen()
        self._fetched = 0
        self._drawn = 0.0
        self._began = time.monotonic()
        self.content = self._content()
        self.manifest = Manifest.parse(self.content)

    def __enter__(self) -> "_Download":
        self._screen.__enter__()
        self._show(0)
        return self

    def __exit__(self, *given: Any) -> None:
        self._screen.__exit__(*given)

    def fetch(self, file: ManifestFile, path: Path) -> None:
        """Write a file to `path`. Raises `FatalError` DOWNLOAD_DIFFERS if it is not as the manifest says."""
        before = self._fetched
        for last in range(1, TRIES + 1):
            self._fetched = before
            try:
                return self._try(file, path)
            except errors.ApiError as exc:
                if exc.code not in {"DOWNLOAD_CUT_OFF", "DOWNLOAD_REFUSED", "DOWNLOAD_UNREACHABLE"} or last == TRIES:
                    raise
        return None

    def _try(self, file: ManifestFile, path: Path) -> None:
        url = next(one["url"] for one in self._files()["items"] if one["key"] == file.key)
        hashed, written = hashlib.sha256(), 0
        with path.open("wb") as target:
            path.chmod(FILE_MODE)
            for block in fetching.fetch(url):
                hashed.update(block)
                target.write(block)
                written += len(block)
                self._show(len(block))
        if (written, hashed.hexdigest()) != (file.bytes, file.sha256):
            raise FatalError(
                "DOWNLOAD_DIFFERS",
                f"{file.key} has {written} bytes with SHA-256 {hashed.hexdigest()}, but the manifest says "
                f"{file.bytes} with {file.sha256}; export it again",
                file=file.key,
            )

    def _files(self) -> "Record":
        return self._found.export_files(*self._names)

    def _content(self) -> bytes:
        """The manifest as it was written."""
        return b"".join(fetching.fetch(self._files()["manifest"]))

    def _show(self, piece: int) -> None:
        self._fetched += piece
        total, now = sum(file.bytes for file in self.manifest.files), time.monotonic()
        if now - self._drawn >= TICK_S or self._fetched >= total:
            self._drawn = now
            line = local_line("download", self._fetched, total, now - self._began)
            self._screen.show([line], line.strip())


def _export_exists(folder: Path) -> UserError:
    manifest = str(folder / MANIFEST_NAME)
    return UserError(
        "DESTINATION_EXISTS",
        f"{manifest} already exists: exports are never overwritten; choose another destination",
        destination=manifest,
    )

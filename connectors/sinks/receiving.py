"""The receiver's side of an export: a manifest and the files it names, fetched one at a time."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from connectors.sinks.checking import Files
from connectors.sinks.refusals import room_for_scratch
from connectors.storage.access import S3Access
from connectors.storage.errors import translated
from schemas.errors import UserError
from schemas.layout import split_s3_uri
from schemas.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, Manifest


@contextmanager
def read_manifest(address: str, access: S3Access, temp: Path) -> Iterator[tuple[Manifest, Files]]:
    """The manifest at a path or `s3://bucket/key`, and its files, available inside the block.

    Raises `UserError` NO_MANIFEST, BAD_MANIFEST, ACCESS_DENIED; `RetriableError` S3_UNAVAILABLE, SCRATCH_FULL.
    """
    if "://" in address:
        bucket, key = split_s3_uri(address)
        temp.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="receive-", dir=temp) as folder:
            files = _DownloadedFiles(access, bucket, key.rpartition("/")[0], Path(folder))
            yield Manifest.parse(_bounded(files.fetch(key, address))), files
    else:
        path = Path(address)
        try:
            if path.is_dir():
                message = f"{address[:300]} is a folder: name the manifest in it, usually {path / MANIFEST_NAME}"
                raise UserError("NO_MANIFEST", message, manifest=address)
            if not path.is_file():
                raise _no_manifest(address)
            content = _bounded(path)
        except OSError as exc:
            message = f"manifest {address[:300]} cannot be read: {exc.strerror}"
            raise UserError("NO_MANIFEST", message, manifest=address) from exc
        yield Manifest.parse(content), _LocalFiles(path.parent)


def _bounded(path: Path) -> bytes:
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise UserError("BAD_MANIFEST", f"{path.name} has more than {MAX_MANIFEST_BYTES} bytes, more than any manifest")
    return path.read_bytes()


def _no_manifest(address: str) -> UserError:
    return UserError("NO_MANIFEST", f"manifest {address} does not exist", manifest=address)


class _LocalFiles:
    """Files beside a local manifest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def local(self, key: str) -> Path | None:
        path = self._folder / key
        return path if path.is_file() else None

    def done(self, path: Path) -> None:
        pass


class _DownloadedFiles:
    """Objects beside a manifest, one at a time on local disk."""

    def __init__(self, access: S3Access, bucket: str, prefix: str, folder: Path) -> None:
        self._access = access
        self._bucket = bucket
        self._prefix = prefix
        self._folder = folder

    def fetch(self, key: str, address: str) -> Path:
        """The manifest itself. Raises `UserError` NO_MANIFEST."""
        path = self._download(key)
        if path is None:
            raise _no_manifest(address)
        return path

    def local(self, key: str) -> Path | None:
        return self._download(f"{self._prefix}/{key}" if self._prefix else key)

    def done(self, path: Path) -> None:
        path.unlink()

    def _download(self, key: str) -> Path | None:
        path = self._folder / key.rpartition("/")[2]
        try:
            with room_for_scratch(self._folder), translated(self._bucket, key):
                self._access.client().download_file(self._bucket, key, str(path))
        except UserError as exc:
            if exc.code in {"SOURCE_GONE", "NO_SUCH_BUCKET"}:
                return None
            raise
        return path

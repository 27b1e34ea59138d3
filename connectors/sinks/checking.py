"""`muster verify`: read an export again from its manifest alone, and report the first difference.

Rows are read by the strict reader of imports, not by the code that wrote them, so an export that passes can be
imported.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from connectors.lake.parts import file_sha256
from connectors.sinks.folders import by_folder
from connectors.sinks.text_rows import unescaped
from connectors.sources.limits import ParseLimits
from connectors.sources.parsing import open_parsed
from connectors.sources.rejects import RejectBatch
from schemas.columns import USER_ID
from schemas.digest import Digest
from schemas.errors import UserError
from schemas.manifest import Manifest, ManifestFile
from schemas.reading_back import import_spec
from schemas.row_digest import digest_rows

RowsListener = Callable[[int], None]


class Files(Protocol):
    """Access to the files of a manifest."""

    def local(self, key: str) -> Path | None:
        """A file on local disk; None if it is missing. Raises `RetriableError` S3_UNAVAILABLE."""

    def done(self, path: Path) -> None:
        """Release a file that has been read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A difference between an export and its manifest: the file (None: the manifest itself) and the property."""

    key: str | None
    what: str
    expected: Any
    found: Any

    def __str__(self) -> str:
        where = "the manifest" if self.key is None else self.key
        return f"{where}: {self.what} should be {self.expected}, but is {self.found}"


def check(
    manifest: Manifest,
    files: Files,
    *,
    limits: ParseLimits,
    on_rows: RowsListener = lambda _: None,
) -> Difference | None:
    """Recompute everything and return the first difference, or None. Raises `UserError` for an unreadable file."""
    if (fault := manifest.fault()) is not None:
        return Difference(key=None, what="the sum of the files", expected="the version", found=fault)
    rows = 0
    for file in manifest.files:
        path = files.local(file.key)
        if path is None:
            return Difference(key=file.key, what="file", expected="there", found="missing")
        try:
            if (difference := _check_file(manifest, file, path, limits)) is not None:
                return difference
        finally:
            files.done(path)
        rows += file.rows
        on_rows(rows)
    return None


def _check_file(manifest: Manifest, file: ManifestFile, path: Path, limits: ParseLimits) -> Difference | None:
    size = path.stat().st_size
    if size != file.bytes:
        return Difference(key=file.key, what="bytes", expected=file.bytes, found=size)
    # The bytes are hashed while they are parsed; changed bytes are reported as such, whatever the parser says about
    # them.
    with ThreadPoolExecutor(1) as pool:
        hashed = pool.submit(file_sha256, path)
        try:
            content: tuple[Digest, str, str] | UserError = _read(manifest, path, _folder(manifest, file), limits)
        except UserError as exc:
            content = exc
        sha256 = hashed.result()
    if sha256 != file.sha256:
        return Difference(key=file.key, what="sha256", expected=file.sha256, found=sha256)
    if isinstance(content, UserError):
        found = f"{content.code}: {content.message}"
        return Difference(key=file.key, what="content", expected="readable", found=found)
    digest, first, last = content
    for what, value in {"rows": digest.count, "digest": digest, "min": first, "max": last}.items():
        if value != getattr(file, what):
            return Difference(key=file.key, what=what, expected=getattr(file, what), found=value)
    return None


def _folder(manifest: Manifest, file: ManifestFile) -> str:
    """Folder that the rows of a file belong to; empty if the files are not in folders."""
    return file.key.removesuffix(file.key.rpartition("/")[2]) if manifest.partition_by else ""


def _read(manifest: Manifest, path: Path, folder: str, limits: ParseLimits) -> tuple[Digest, str, str]:
    """Digest, first and last id of a file whose rows belong to `folder`.

    Raises `UserError`: ROW_REFUSED for a row that no import would accept, IN_ANOTHER_FOLDER.
    """
    digest = Digest(schema_id=manifest.schema.schema_id)
    first = last = ""
    with open_parsed(path, import_spec(manifest), limits) as parsed:
        for item in parsed:
            if isinstance(item, RejectBatch):
                reject = item.rejects()[0]
                raise UserError("ROW_REFUSED", f"row {reject.ordinal}: {reject.code} {reject.reason}")
            rows: pa.RecordBatch = item
            if manifest.format.formulas == "escape":
                rows = unescaped(rows, manifest.schema)
            if rows.num_rows:
                digest += digest_rows(rows, manifest.schema)
                for found, _ in by_folder([rows], manifest.partition_by):
                    if found.folder != folder:
                        raise UserError("IN_ANOTHER_FOLDER", f"a row belongs to the folder {found.folder}")
                ids = rows.column(USER_ID)
                first, last = first if digest.count > rows.num_rows else ids[0].as_py(), ids[-1].as_py()
    return digest, first, last

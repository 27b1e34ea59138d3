"""Backup and restore of catalog and lake together.

Backup needs no downtime, because objects of the lake never change: they are only added and expired. In this order:
1. Copy every object of the lake, including those that expire in the meantime.
2. Copy the catalog as of one moment; it names the current metadata of every table.
3. Copy the objects added since 1, metadata first, so that everything the catalog names is there. If a table was
   committed to so often that the metadata named in 2 is already gone, repeat 2 and 3.
4. Write the manifest last, with the size and sha256 of each file: without it there is no backup.

Restore, into an empty deployment with the same bucket names:
1. Compare every file with the manifest before anything is written.
2. Copy the objects into the lake.
3. Load the catalog in one transaction: from here on the audiences exist.
4. Fail jobs that were running with RESTORED: their messages are not part of a backup, and an export would write to the
   destination of the deployment that was backed up. Those that may have committed (PUBLISHING, FINISHING) roll forward.
5. Pause the feeds, for the same reason; resumed, each begins again.
A backup does not contain the inbox and staging (uploaded files, results of running jobs), the contents of Kafka,
settings or secrets.
"""

import json
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from orchestration.catalog import copying, migrate
from orchestration.catalog.records import JobError
from orchestration.operations.backup_location import BackupLocation, backup_location
from orchestration.platform.clock import iso, now_ms
from schemas.errors import RetriableError, UserError
from schemas.layout import split_s3_uri

if TYPE_CHECKING:
    from connectors.storage.objects import ObjectStore
    from orchestration.catalog.engine import Database
    from orchestration.catalog.exports import ExportStore
    from orchestration.catalog.feeds import FeedStore
    from orchestration.catalog.jobs import JobStore
    from orchestration.platform.settings import Settings

MANIFEST: Final = "manifest.json"
CATALOG: Final = "catalog.sqlite"
METADATA: Final = ".metadata.json"
FORMAT: Final = 1
TRIES: Final = 5
CONCURRENCY: Final = 4
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupReport:
    """Contents of a backup. After a restore: jobs that are now FAILED, and feeds (`tenant/name`) that now pause."""

    files: int
    bytes: int
    failed_jobs: tuple[str, ...] = ()
    paused_feeds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Backups:
    """Writes and loads backups; the steps are in the module's docstring."""

    database: "Database"
    exports: "ExportStore"
    feeds: "FeedStore"
    jobs: "JobStore"
    objects: "ObjectStore"
    settings: "Settings"

    def backup(self, to: str) -> BackupReport:
        """Write a backup to an empty location.

        Raises `UserError` DESTINATION_EXISTS, NOT_WRITABLE, `RetriableError` BACKUP_OVERTAKEN.
        """
        location = backup_location(self.objects, to)
        if location.has(MANIFEST):
            raise UserError("DESTINATION_EXISTS", f"{to} already contains a backup", to=to)
        with tempfile.TemporaryDirectory(prefix="muster-backup-") as folder:
            work = Path(folder)
            files = self._copy_lake(location, work, {})  # 1
            for _ in range(TRIES):
                (work / CATALOG).unlink(missing_ok=True)
                copying.dump(self.settings.catalog_url, work / CATALOG)  # 2
                files = self._copy_lake(location, work, files)  # 3
                if not (missing := _named(work / CATALOG) - files.keys()):
                    break
            else:
                raise RetriableError(
                    "BACKUP_OVERTAKEN",
                    f"{min(missing)}, which the catalog names, was missing {TRIES} times; try again with another "
                    "location; if that does not help, run `muster fsck`",
                    key=min(missing),
                )
            location.put(CATALOG, work / CATALOG)
            catalog = _entry(work / CATALOG)
            manifest = {
                "format": FORMAT,
                "made_at": iso(now_ms()),
                "lake_bucket": self.settings.lake_bucket,
                "revision": migrate.revisions(self.settings.catalog_url)[0],
                "catalog": catalog,
                "lake": files,
            }
            (work / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True), encoding="utf-8")
            location.put(MANIFEST, work / MANIFEST)  # 4
        return BackupReport(files=len(files), bytes=sum(entry["bytes"] for entry in files.values()))

    def restore(self, source: str) -> BackupReport:
        """Load a backup into an empty deployment.

        A restore interrupted before step 3 may be repeated; it overwrites what was already copied into the lake.

        Raises `UserError` NO_BACKUP, BACKUP_DAMAGED, NOT_EMPTY, OTHER_BUCKET.
        """
        location = backup_location(self.objects, source)
        with tempfile.TemporaryDirectory(prefix="muster-restore-") as folder:
            work = Path(folder)
            location.get(MANIFEST, work / MANIFEST)
            manifest = json.loads((work / MANIFEST).read_text(encoding="utf-8"))
            bucket = self.settings.lake_bucket
            if manifest["format"] != FORMAT:
                raise UserError("NO_BACKUP", f"{source} has format {manifest['format']}, this version reads {FORMAT}")
            if manifest["lake_bucket"] != bucket:
                was = manifest["lake_bucket"]
                raise UserError(
                    "OTHER_BUCKET", f"the backup is of bucket {was}, which its metadata names; set lake_bucket to it"
                )
            if not copying.is_empty(self.database):
                raise UserError("NOT_EMPTY", "this deployment has audiences or jobs; restore into an empty one")
            location.get(CATALOG, work / CATALOG)
            _compare(CATALOG, work / CATALOG, manifest["catalog"])
            files: dict[str, Any] = manifest["lake"]
            _each(files, lambda key, file: _fetch(location, key, file, files[key]), work)  # 1

            def write(key: str, file: Path) -> None:
                _fetch(location, key, file, files[key])
                self.objects.put_file(file, bucket, key)

            _each(files, write, work)  # 2
            copying.load(work / CATALOG, self.database)  # 3
        return BackupReport(
            files=len(files),
            bytes=sum(entry["bytes"] for entry in files.values()),
            failed_jobs=self._end_live(),
            paused_feeds=tuple(self.feeds.restored()),  # 5
        )

    def _copy_lake(self, location: BackupLocation, work: Path, have: dict[str, Any]) -> dict[str, Any]:
        bucket = self.settings.lake_bucket
        # Arrow leaves empty objects named "folder/" behind where it has deleted something.
        found = (entry.key for entry in self.objects.list(bucket) if not entry.key.endswith("/"))
        missing = [key for key in found if key not in have]
        missing.sort(key=lambda key: not key.endswith(METADATA))  # metadata before all other objects

        def copy(key: str, file: Path) -> tuple[str, dict[str, Any] | None]:
            try:
                with file.open("wb") as written:
                    for piece in self.objects.stream(self.objects.pin(bucket, key)):
                        written.write(piece)
                location.put(f"lake/{key}", file)
                return key, _entry(file)
            except UserError as exc:
                if exc.code == "SOURCE_GONE":  # expired since it was listed
                    return key, None
                raise

        copied = _each(missing, copy, work)
        return have | {key: entry for key, entry in copied if entry is not None}

    def _end_live(self) -> tuple[str, ...]:  # 4
        error = JobError(
            kind="system",
            code="RESTORED",
            message="the job was running when the backup was made; submit it again",
            detail={},
        )
        imports = [job.job_id for job in self.jobs.live() if job.state in self.jobs.life_cycle.cancellable]
        exports = [job.job_id for job in self.exports.live() if job.state in self.exports.life_cycle.cancellable]
        for job_id in imports:
            self.jobs.fail(job_id, error, now_ms=now_ms())
        for job_id in exports:
            self.exports.fail(job_id, error, now_ms=now_ms())
        return (*imports, *exports)


def _named(catalog: Path) -> set[str]:
    """Keys of the metadata that a catalog names."""
    return {split_s3_uri(uri)[1] for uri in copying.named_metadata(catalog)}


def _fetch(location: BackupLocation, key: str, file: Path, entry: dict[str, Any]) -> None:
    location.get(f"lake/{key}", file)
    _compare(key, file, entry)


def _each(keys: Iterable[str], do: Callable[[str, Path], Result], work: Path) -> list[Result]:
    """The results of `do` for each key, several at a time; each call gets its own file, which is removed afterwards."""

    def one(numbered: tuple[int, str]) -> Result:
        file = work / f"object-{numbered[0]}"
        try:
            return do(numbered[1], file)
        finally:
            file.unlink(missing_ok=True)

    with ThreadPoolExecutor(CONCURRENCY) as pool:
        return list(pool.map(one, enumerate(keys)))


def _entry(file: Path) -> dict[str, Any]:
    with file.open("rb") as read:
        digest = file_digest(read, "sha256")
    return {"bytes": file.stat().st_size, "sha256": digest.hexdigest()}


def _compare(name: str, file: Path, entry: dict[str, Any]) -> None:
    if _entry(file) != entry:
        raise UserError("BACKUP_DAMAGED", f"{name} differs from the manifest", name=name)

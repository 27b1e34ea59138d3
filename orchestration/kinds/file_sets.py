"""The files of an import that reads several: all below a prefix, or those of a list.

They are chosen and pinned once, at registration, by listing. The list is stored beside what the import stages, and the
job has its hash: every later step reads these versions, in this order, or fails.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from connectors.storage.objects import ObjectStore
from connectors.storage.pinned import Source, SourceFiles, SourceObject
from orchestration.catalog.records import Job
from orchestration.kinds.places import AllowedLocations
from schemas.errors import FatalError, UserError
from schemas.file_lists import MAX_FILES, MAX_LIST_BYTES, SourceForm, parse_list, too_many_files
from schemas.ids import JobId
from schemas.import_formats import ImportFormat, mixed_formats, named_format
from schemas.layout import s3_uri, split_s3_uri, units_key
from schemas.records import as_record, from_record

MAX_BYTES: Final = 10 * 1000**4
"""10 TB in all files of one import."""
MAX_LISTED: Final = 10 * MAX_FILES
"""Objects that are listed below a prefix, with those that are left out."""
NAMES_LEFT_OUT: Final = 100
"""Of the objects that were left out, so many are named on the job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """What an import names: an object [of a version], or the files below a prefix, or those of a list."""

    bucket: str
    key: str
    form: SourceForm = "object"
    version_id: str | None = None

    @property
    def uri(self) -> str:
        """As s3://bucket/key."""
        return s3_uri(self.bucket, self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The files at an address, and those that were left out: hidden ones and empty objects."""

    address: Address
    files: SourceFiles
    left_out: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes in all files."""
        return sum(file.size for file in self.files)

    @property
    def source(self) -> Source:
        """As a stage reads it."""
        return self.files if len(self.files) > 1 else self.files[0]

    def source_record(self, units: str) -> dict[str, Any]:
        """The source of the job: as of one object, with the prefix or list for its key, and the sum of the sizes.

        `units`: the hash of the stored list.
        """
        last = max(file.last_modified for file in self.files)
        return {
            "bucket": self.address.bucket,
            "key": self.address.key,
            "version_id": None,
            "etag": None,
            "size": self.size,
            "last_modified": last.isoformat(),
            "form": self.address.form,
            "files": len(self.files),
            "units": units,
            **self.left_out_record(),
        }

    def left_out_record(self) -> dict[str, Any]:
        """What was left out, for the job; nothing if all objects were taken."""
        if not self.left_out:
            return {}
        return {"left_out": len(self.left_out), "left_out_names": list(self.left_out[:NAMES_LEFT_OUT])}


def choose(address: Address, *, objects: ObjectStore, allowed: AllowedLocations) -> Chosen:
    """The files at an address, pinned: at least one.

    Raises `UserError` EMPTY_SET, TOO_MANY_FILES, SET_TOO_LARGE, BAD_LIST, BAD_SOURCE for a file that the tenant may not
    read, SOURCE_GONE for one that a list names and that does not exist, ACCESS_DENIED.
    """
    allowed = allowed.asking_once()
    allowed.require_source(address.bucket, address.key)
    if address.form == "object":
        pinned = objects.pin(address.bucket, address.key, address.version_id)
        return Chosen(address=address, files=(pinned,), left_out=())
    where = address.uri
    found = _below(address, objects) if address.form == "prefix" else _listed(address, objects, allowed)
    files, left_out = [], []
    for source, hidden in found:
        if hidden or not source.size:
            left_out.append(source.uri)
        else:
            files.append(source)
        if len(files) > MAX_FILES or len(files) + len(left_out) > MAX_LISTED:
            raise too_many_files(f"there are more than {min(len(files), MAX_FILES)} files below {where}")
    for source in files:
        allowed.require_source(source.bucket, source.key)
    chosen = Chosen(address=address, files=tuple(files), left_out=tuple(left_out))
    if not files:
        others = f"; empty and hidden objects, {len(left_out)} there, do not count" if left_out else ""
        raise UserError("EMPTY_SET", f"there is no file to import in {where}{others}", uri=where)
    if chosen.size > MAX_BYTES:
        raise UserError(
            "SET_TOO_LARGE",
            f"the {len(files)} files of {where} have {chosen.size} bytes; one import reads at most {MAX_BYTES}",
            bytes=chosen.size,
            limit_bytes=MAX_BYTES,
        )
    return chosen


def check_formats(files: Sequence[SourceObject], wanted: ImportFormat | None) -> None:
    """Raises `UserError` MIXED_FORMATS if the names of two files say so; verification looks at their contents."""
    if wanted is not None:
        return
    known: tuple[str, ImportFormat] | None = None
    for file in files:
        if (found := named_format(file.key)) is None:
            continue
        known = known or (file.uri, found)
        if found != known[1]:
            raise mixed_formats(*known, file.uri, found)


def store_units(files: SourceFiles, job_id: JobId, *, objects: ObjectStore, bucket: str) -> str:
    """Store the files of a job; returns the hash by which the job finds them."""
    content = json.dumps([as_record(file) for file in files]).encode()
    units = sha256(content).hexdigest()
    objects.put(bucket, units_key(job_id, units), content)
    return units


def source_of(job: Job, *, objects: ObjectStore, bucket: str) -> Source:
    """What a job reads. `bucket`: the staging bucket. Raises `FatalError` UNITS_LOST."""
    if (units := job.source.get("units")) is None:
        return from_record(SourceObject, job.source)
    try:
        content = objects.get(bucket, units_key(job.job_id, units))
    except UserError as exc:
        if exc.code != "SOURCE_GONE":
            raise
        content = b""
    if sha256(content).hexdigest() != units:
        raise FatalError(
            "UNITS_LOST", f"the stored list of the files of job {job.job_id} is gone or damaged", job=job.job_id
        )
    return tuple(from_record(SourceObject, record) for record in json.loads(content))


def same_source(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the sources of two jobs are the same versions of the same files."""
    if "units" in one or "units" in other:
        return one.get("units") == other.get("units")
    return from_record(SourceObject, one) == from_record(SourceObject, other)


def _below(address: Address, objects: ObjectStore) -> Iterator[tuple[SourceObject, bool]]:
    for source in objects.pin_below(address.bucket, address.key):
        yield source, any(map(_hidden, source.key.removeprefix(address.key).split("/")))


def _hidden(name: str) -> bool:
    """As for Spark: `_SUCCESS`, `_temporary`, `.part-0.crc`, but not the folder of a partition, `_day=1`."""
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def _listed(address: Address, objects: ObjectStore, allowed: AllowedLocations) -> Iterator[tuple[SourceObject, bool]]:
    described = objects.pin(address.bucket, address.key, address.version_id)
    content = objects.read_range(described, 0, min(described.size, MAX_LIST_BYTES + 1)) if described.size else b""
    keys: dict[str, list[str]] = {}
    named = [split_s3_uri(uri) for uri in parse_list(content)]
    for bucket, key in named:
        allowed.require_source(bucket, key)
        keys.setdefault(bucket, []).append(key)
    pinned = {bucket: objects.pin_all(bucket, wanted) for bucket, wanted in keys.items()}
    for bucket, key in named:
        yield pinned[bucket][key], False

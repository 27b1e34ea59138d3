"""The manifest of an export: all that a receiver needs to check it without calling Muster. docs/exports.md explains it.

`manifest.schema.json` beside this file is its JSON Schema, for receivers; a test compares the two.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self, cast, get_args

from schemas.columns import RowSchema
from schemas.digest import Digest
from schemas.errors import UserError
from schemas.manifest_selection import Change as Change  # noqa: PLC0414  # it is said of files too
from schemas.manifest_selection import DeltaBase, ManifestSelection
from schemas.records import as_record, fields_record

MANIFEST_VERSION: Final = 1
MANIFEST_NAME: Final = "manifest.json"
TARGET_BYTES: Final = 256 * 1024 * 1024
"""Approximate size of a file of an export."""
MAX_MANIFEST_BYTES: Final = 64 * 1024 * 1024
MAX_KEY_BYTES: Final = 2048
"""Twice the longest key of S3, in UTF-8: on a local disk, the folders of four columns alone may have 1,024."""
MAX_NAME_BYTES: Final = 255
"""Limit of file systems (NAME_MAX) on the name of a file or a folder."""

FORMAT_KEYS: Final = ("name", "compression", "null_token", "formulas")
FileFormat = Literal["parquet", "csv", "jsonl"]
"""Formats of the files of an export, the default first; also their suffixes."""
Compression = Literal["none", "gzip", "zstd"]
FormulaPolicy = Literal["as-is", "escape", "refuse"]
"""Treatment of texts that a spreadsheet may take for a formula: kept, prefixed with an apostrophe, or refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFormat:
    """The format of the rows. `null_token` is CSV's text for null; Parquet and JSON Lines have their own nulls.

    Parquet is compressed internally (Zstandard), so its `compression` is none.
    """

    format: FileFormat
    compression: Compression = "none"
    null_token: str | None = None
    formulas: FormulaPolicy = "as-is"

    def __post_init__(self) -> None:
        if self.format not in get_args(FileFormat):
            raise UserError(
                "BAD_FORMAT", f"format {self.format!r} is not one of {', '.join(sorted(get_args(FileFormat)))}"
            )
        if self.compression not in get_args(Compression):
            raise UserError("BAD_FORMAT", f"compression {self.compression!r} is not one of none, gzip, zstd")
        if self.formulas not in get_args(FormulaPolicy):
            raise UserError("BAD_FORMAT", f"formula policy {self.formulas!r} is not one of as-is, escape, refuse")
        if self.format == "parquet" and self.compression != "none":
            raise UserError("BAD_FORMAT", "Parquet is compressed internally (Zstandard); omit the compression")
        if (self.null_token is None) != (self.format != "csv"):
            raise UserError("BAD_FORMAT", "a null token applies only to CSV")
        if self.format != "csv" and self.formulas != "as-is":
            raise UserError("BAD_FORMAT", "a formula policy applies only to CSV, which spreadsheets open")
        if self.null_token is not None and set(self.null_token) & set('",\r\n\0'):
            raise UserError("BAD_FORMAT", "a null token cannot contain a quote, comma, line end or NUL")

    @property
    def suffix(self) -> str:
        """Suffix of the files' names."""
        return f".{self.format}" + {"none": "", "gzip": ".gz", "zstd": ".zst"}[self.compression]

    def as_record(self) -> dict[str, object]:
        """Plain JSON data."""
        return {
            "name": self.format,
            "compression": self.compression,
            "null_token": self.null_token,
            "formulas": self.formulas,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Inverse of `as_record`; missing keys take their defaults. Raises `UserError` BAD_FORMAT."""
        return cls(
            format=record.get("name", "parquet"),
            compression=record.get("compression", "none"),
            null_token=record.get("null_token"),
            formulas=record.get("formulas", "as-is"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFile:
    """One file. `key` is relative to the manifest; `min` and `max` are its first and last user id in byte order.

    `change` is set in a delta: added or removed rows.
    """

    key: str
    rows: int
    bytes: int
    sha256: str
    digest: Digest
    min: str
    max: str
    change: Change | None = None

    def as_record(self) -> dict[str, object]:
        """Plain JSON data; without `change` if it is None."""
        record = fields_record(self)
        if self.change is None:
            del record["change"]
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Inverse of `as_record`. Raises `UserError` BAD_MANIFEST, and KeyError, TypeError or ValueError."""
        key = str(record["key"])
        bad = key.startswith("/") or "\\" in key or "\0" in key or len(key.encode()) > MAX_KEY_BYTES
        if bad or any(part in {"", ".", ".."} or len(part.encode()) > MAX_NAME_BYTES for part in key.split("/")):
            raise UserError("BAD_MANIFEST", f"{key[:120]!r} is not a key below the manifest", key=key[:120])
        change = record.get("change")
        if change is not None and change not in get_args(Change):
            raise UserError("BAD_MANIFEST", f"change {change!r} is neither added nor removed")
        return cls(
            key=key,
            rows=int(record["rows"]),
            bytes=int(record["bytes"]),
            sha256=str(record["sha256"]),
            digest=Digest.parse(record["digest"]),
            min=str(record["min"]),
            max=str(record["max"]),
            change=cast("Change | None", change),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The contents of an export. `members` and `digest` are those of the whole version, whatever part was exported.

    `rows` is the sum of the files' rows. `rule_hash` is set if the version is a rule segment's snapshot. `schema` is
    that of the files; `selection` is set if only some rows, or other columns, were taken. The columns `partition_by`
    determine the files' folders. `policy`: the number of the tenant's consent policy; None if it never had one.
    """

    export: str
    tenant: str
    audience: str
    version: int
    snapshot_id: int
    created_at: str
    format: ExportFormat
    schema: RowSchema
    members: int
    digest: Digest
    files: tuple[ManifestFile, ...]
    rule_hash: str | None = None
    formulas_found: int = 0
    delta: DeltaBase | None = None
    selection: ManifestSelection | None = None
    partition_by: tuple[str, ...] = ()
    policy: int | None = None

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(file.rows for file in self.files)

    def total(self, change: Change | None = None) -> Digest:
        """Digest of all files of one kind of change."""
        return Digest.total(self.schema.schema_id, (f.digest for f in self.files if f.change == change))

    @property
    def kept(self) -> Digest | None:
        """What a receiver of this export, and of those that it builds on, has: the digest over the exported columns."""
        return self.digest if self.selection is None else self.selection.view("version")

    def fault(self) -> str | None:
        """The sum that does not add up. None if all do."""
        if (fault := self._sum_fault()) is not None:
            return fault
        if self.digest.count != self.members:
            return f"the digest counts {self.digest.count} members, but the manifest {self.members}"
        if any(file.rows != file.digest.count for file in self.files):
            return "the row count of a file differs from its digest"
        keys = [file.key for file in self.files]
        return "a file is listed twice" if len(set(keys)) != len(keys) else None

    def _sum_fault(self) -> str | None:
        base = None if self.delta is None else self.delta.digest
        if self.delta is not None and self.delta.kept is not None:
            kept = self.delta.digest if self.selection is None else self.selection.view("base")
            if kept != self.delta.kept:
                return f"the base has {kept}, but the delta starts from {self.delta.kept}"
        if self.selection is not None:
            files = {change: self.total(change) for change in {file.change for file in self.files}}
            return self.selection.fault(self.digest, base, files)
        found = self.total() if base is None else base - self.total("removed") + self.total("added")
        return (
            None
            if found == self.digest
            else f"the digests of the files add up to {found}, but the version's digest is {self.digest}"
        )

    def as_record(self) -> dict[str, object]:
        """Plain JSON data. Keys that an export of a whole version does not need are omitted."""
        more: dict[str, object] = {}
        if self.selection is not None:
            more["selection"] = self.selection.as_record()
        if self.partition_by:
            more["partition_by"] = list(self.partition_by)
        if self.policy is not None:
            more["policy"] = self.policy
        return {
            "manifest": MANIFEST_VERSION,
            "export": self.export,
            "tenant": self.tenant,
            "audience": self.audience,
            "version": self.version,
            "snapshot_id": self.snapshot_id,
            "rule_hash": self.rule_hash,
            "created_at": self.created_at,
            "format": self.format.as_record(),
            "schema_id": self.schema.schema_id,
            "schema": [{"name": "user_id", "type": "string"}, *self.schema.as_record()],
            "members": self.members,
            "digest": str(self.digest),
            "rows": self.rows,
            "formulas_found": self.formulas_found,
            "files": [file.as_record() for file in self.files],
            "delta": None if self.delta is None else as_record(self.delta),
            **more,
        }

    def encode(self) -> bytes:
        """The manifest as JSON; equal manifests give equal bytes."""
        return (json.dumps(self.as_record(), indent=1, ensure_ascii=False) + "\n").encode()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Parse JSON of any origin. Raises `UserError` BAD_MANIFEST."""
        try:
            record = json.loads(data)
            if b"\\ud" in data.lower():  # JSON can hold half of a surrogate pair, UTF-8 cannot
                json.dumps(record, ensure_ascii=False).encode()
            if record["manifest"] != MANIFEST_VERSION:
                raise UserError("BAD_MANIFEST", f"this is a manifest of version {record['manifest']!r}, not 1")
            manifest = cls._from_record(record)
        except UserError as exc:
            raise UserError("BAD_MANIFEST", exc.message, **exc.detail) from exc
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as exc:
            raise UserError("BAD_MANIFEST", f"not a manifest: {type(exc).__name__} {exc}"[:300]) from exc
        if manifest.schema.schema_id != record["schema_id"]:
            raise UserError("BAD_MANIFEST", "the schema does not match schema_id")
        if manifest.rows != record["rows"]:
            raise UserError("BAD_MANIFEST", f"rows is {record['rows']}, but the files have {manifest.rows}")
        _check_columns(manifest)
        return manifest

    @classmethod
    def _from_record(cls, record: Mapping[str, Any]) -> Self:
        first, *columns = record["schema"]
        if first != {"name": "user_id", "type": "string"}:
            raise UserError("BAD_MANIFEST", "the first column is not user_id")
        form = record["format"]
        delta, selection = record["delta"], record.get("selection")
        return cls(
            export=str(record["export"]),
            tenant=str(record["tenant"]),
            audience=str(record["audience"]),
            version=int(record["version"]),
            snapshot_id=int(record["snapshot_id"]),
            rule_hash=record["rule_hash"],
            created_at=str(record["created_at"]),
            format=ExportFormat.from_record({name: form[name] for name in FORMAT_KEYS}),
            schema=RowSchema.from_record(columns),
            members=int(record["members"]),
            digest=Digest.parse(record["digest"]),
            formulas_found=int(record["formulas_found"]),
            files=tuple(ManifestFile.from_record(entry) for entry in record["files"]),
            delta=None if delta is None else DeltaBase.from_record(delta),
            selection=None if selection is None else ManifestSelection.from_record(selection),
            partition_by=tuple(map(str, record.get("partition_by", ()))),
            policy=None if record.get("policy") is None else int(record["policy"]),
        )


def _check_columns(manifest: Manifest) -> None:
    """Check that digests are over the same columns, or they would not add. Raises `UserError` BAD_MANIFEST."""
    digests = [file.digest for file in manifest.files]
    if manifest.selection is None:
        digests += [manifest.digest] if manifest.delta is None else [manifest.digest, manifest.delta.digest]
    if any(digest.schema_id != manifest.schema.schema_id for digest in digests):
        raise UserError("BAD_MANIFEST", "a digest covers other columns than the schema")
    if not set(manifest.partition_by) <= set(manifest.schema.names):
        raise UserError("BAD_MANIFEST", "partition_by names a column that is not in the schema")

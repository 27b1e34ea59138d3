"""The selection of an export, and the proof that the rest was left out on purpose: a part of the manifest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from schemas.digest import Digest
from schemas.records import as_record, fields_record

Change = Literal["added", "removed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Accounts for all rows read: `kept`, `filtered` and `suppressed` are digests over the version's columns.

    `exported` is the digest of the kept rows over the exported columns. A delta has one account per `change`.
    """

    kept: Digest
    filtered: Digest
    suppressed: Digest
    exported: Digest
    change: Change | None = None

    @property
    def read(self) -> Digest:
        """Digest of all rows read."""
        return self.kept + self.filtered + self.suppressed

    def __add__(self, other: "Account") -> "Account":
        if self.change != other.change:
            raise ValueError(f"accounts of {self.change} and {other.change} rows cannot be added")
        return Account(
            kept=self.kept + other.kept,
            filtered=self.filtered + other.filtered,
            suppressed=self.suppressed + other.suppressed,
            exported=self.exported + other.exported,
            change=self.change,
        )

    def fault(self, version: Digest, files: Digest) -> str | None:
        """The first mismatch among its own parts and the files of its change. None if they agree."""
        if {self.kept.schema_id, self.filtered.schema_id, self.suppressed.schema_id} != {version.schema_id}:
            return "rows that were read are not accounted for in the columns of the version"
        if self.exported.schema_id != files.schema_id:
            return "the kept rows are not accounted for in the columns of the files"
        if self.exported != files:
            return f"the digests of the files add up to {files}, those of the kept rows to {self.exported}"
        if self.kept.count != self.exported.count:
            return f"{self.kept.count} rows were kept, but {self.exported.count} were exported"
        if self.kept.schema_id == self.exported.schema_id and self.kept != self.exported:
            return f"the digest of the exported rows is {self.exported}, but that of the kept rows is {self.kept}"
        return None

    def as_record(self) -> dict[str, object]:
        """Plain JSON data; without `change` if it is None."""
        record = fields_record(self)
        change = record.pop("change")
        return record if change is None else {"change": change, **record}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Inverse of `as_record`. Raises KeyError, TypeError or ValueError."""
        change = record.get("change")
        if change not in (None, "added", "removed"):
            raise ValueError(f"change {change!r} is neither added nor removed")
        return cls(
            kept=Digest.parse(record["kept"]),
            filtered=Digest.parse(record["filtered"]),
            suppressed=Digest.parse(record["suppressed"]),
            exported=Digest.parse(record["exported"]),
            change=change,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeSource:
    """Columns looked up in a version of another audience."""

    audience: str
    version: int
    snapshot_id: int
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionList:
    """A version whose members were left out, and its digest."""

    audience: str
    version: int
    snapshot_id: int
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestSelection:
    """The selection, and its accounts: one, or in a delta one each for added and removed rows."""

    where: str | None
    attributes: tuple[AttributeSource, ...]
    suppression_lists: tuple[SuppressionList, ...]
    accounts: tuple[Account, ...]

    def rows(self, what: Literal["read", "kept", "filtered", "suppressed"]) -> int:
        """Rows in all accounts."""
        return sum(getattr(account, what).count for account in self.accounts)

    def fault(self, version: Digest, base: Digest | None, files: Mapping[Change | None, Digest]) -> str | None:
        """The sum that does not add up. None if all do.

        `files`: digests of the files by change; `base`: digest of the version that a delta starts from.
        """
        by_change = {account.change: account for account in self.accounts}
        wanted: set[Change | None] = {None} if base is None else {"added", "removed"}
        if by_change.keys() != wanted or len(by_change) != len(self.accounts) or not files.keys() <= wanted:
            return "each kind of rows needs exactly one account"
        for change, account in by_change.items():
            no_files = Digest(schema_id=account.exported.schema_id)
            if (fault := account.fault(version, files.get(change, no_files))) is not None:
                return fault
        if base is None:
            read = by_change[None].read
        elif base.schema_id != version.schema_id:
            return "the versions of the delta have different columns"
        else:
            read = base - by_change["removed"].read + by_change["added"].read
        return (
            None if read == version else f"the digest of the rows read is {read}, but the version's digest is {version}"
        )

    def omitted_rows(self) -> dict[str, int]:
        """Rows read and not exported, by reason."""
        return {"rows_filtered": self.rows("filtered"), "rows_suppressed": self.rows("suppressed")}

    def as_record(self) -> dict[str, object]:
        """Plain JSON data."""
        return {
            "where": self.where,
            "attributes": [as_record(one) for one in self.attributes],
            "suppression_lists": [as_record(one) for one in self.suppression_lists],
            "rows_read": self.rows("read"),
            "rows_kept": self.rows("kept"),
            **self.omitted_rows(),
            "accounts": [account.as_record() for account in self.accounts],
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Inverse of `as_record`. Raises KeyError, TypeError or ValueError."""
        where = record["where"]
        selection = cls(
            where=None if where is None else str(where),
            attributes=tuple(
                AttributeSource(
                    audience=str(one["audience"]),
                    version=int(one["version"]),
                    snapshot_id=int(one["snapshot_id"]),
                    columns=tuple(map(str, one["columns"])),
                )
                for one in record["attributes"]
            ),
            suppression_lists=tuple(
                SuppressionList(
                    audience=str(one["audience"]),
                    version=int(one["version"]),
                    snapshot_id=int(one["snapshot_id"]),
                    digest=Digest.parse(one["digest"]),
                )
                for one in record["suppression_lists"]
            ),
            accounts=tuple(Account.from_record(one) for one in record["accounts"]),
        )
        for account in selection.accounts:
            account.read  # noqa: B018  # ValueError if its digests have different schemas
        for name, value in selection.as_record().items():
            if name.startswith("rows_") and record[name] != value:
                raise ValueError(f"{name} is {record[name]!r}, but the accounts have {value}")
        return selection

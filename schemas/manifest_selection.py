"""Parts of the manifest: the selection, the proof that the rest was left out on purpose, and the base of a delta."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self, get_args

from schemas.digest import Digest
from schemas.records import as_record, fields_record

Change = Literal["added", "removed"]
View = Literal["version", "base"]
"""The two sides of a delta: the exported version, and the one that it starts from."""
_CHANGES: Final = get_args(Change)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Accounts for all rows read: `kept`, `filtered` and `suppressed` are digests over the version's columns.

    `exported` is the digest of the kept rows over the exported columns. A delta has one account per `view`, or, in
    releases up to 0.2.0, per `change`: of the added and of the removed rows.
    """

    kept: Digest
    filtered: Digest
    suppressed: Digest
    exported: Digest
    view: View | None = None
    change: Change | None = None

    @property
    def of(self) -> View | Change | None:
        """What tells it from the other account of a delta."""
        return self.view or self.change

    @property
    def read(self) -> Digest:
        """Digest of all rows read."""
        return self.kept + self.filtered + self.suppressed

    def __add__(self, other: "Account") -> "Account":
        if self.of != other.of:
            raise ValueError(f"accounts of {self.of} and {other.of} rows cannot be added")
        return Account(
            kept=self.kept + other.kept,
            filtered=self.filtered + other.filtered,
            suppressed=self.suppressed + other.suppressed,
            exported=self.exported + other.exported,
            view=self.view,
            change=self.change,
        )

    def fault(self, version: Digest) -> str | None:
        """The first mismatch among its own parts. None if they agree. `version`: the digest of one, for its columns."""
        if {self.kept.schema_id, self.filtered.schema_id, self.suppressed.schema_id} != {version.schema_id}:
            return "rows that were read are not accounted for in the columns of the version"
        if self.kept.count != self.exported.count:
            return f"{self.kept.count} rows were kept, but {self.exported.count} were exported"
        if self.kept.schema_id == self.exported.schema_id and self.kept != self.exported:
            return f"the digest of the exported rows is {self.exported}, but that of the kept rows is {self.kept}"
        return None

    def as_record(self) -> dict[str, object]:
        """Plain JSON data; without `view` (or `change`) if it is the only account."""
        record = fields_record(self)
        of = {name: value for name in ("view", "change") if (value := record.pop(name)) is not None}
        return {**of, **record}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Inverse of `as_record`. Raises KeyError, TypeError or ValueError."""
        change, view = record.get("change"), record.get("view")
        if change not in (None, *_CHANGES):
            raise ValueError(f"change {change!r} is neither added nor removed")
        if view not in (None, *get_args(View)) or None not in (change, view):
            raise ValueError(f"view {view!r} is neither version nor base")
        return cls(
            kept=Digest.parse(record["kept"]),
            filtered=Digest.parse(record["filtered"]),
            suppressed=Digest.parse(record["suppressed"]),
            exported=Digest.parse(record["exported"]),
            view=view,
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
    """A version whose members were left out, and its digest. `standing`: because of the tenant's consent policy."""

    audience: str
    version: int
    snapshot_id: int
    digest: Digest
    standing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestSelection:
    """The selection, and its accounts: one, or in a delta one each for its views."""

    where: str | None
    attributes: tuple[AttributeSource, ...]
    suppression_lists: tuple[SuppressionList, ...]
    accounts: tuple[Account, ...]

    def rows(self, what: Literal["read", "kept", "filtered", "suppressed"]) -> int:
        """Rows in all accounts, without the view that a delta starts from."""
        return sum(getattr(account, what).count for account in self.accounts if account.of != "base")

    def view(self, of: View) -> Digest | None:
        """Digest of all rows of a view, over the exported columns. None for deltas of releases up to 0.2.0."""
        accounts = {account.of: account.exported for account in self.accounts}
        return accounts.get(of if "base" in accounts else None)

    def fault(self, version: Digest, base: Digest | None, files: Mapping[Change | None, Digest]) -> str | None:
        """The sum that does not add up. None if all do.

        `files`: digests of the files by change; `base`: digest of the version that a delta starts from.
        """
        accounts = {account.of: account for account in self.accounts}
        views = "base" in accounts
        wanted: set[object] = {None} if base is None else set(get_args(View) if views else _CHANGES)
        known: set[Change | None] = {None} if base is None else set(_CHANGES)
        if accounts.keys() != wanted or len(accounts) != len(self.accounts) or not files.keys() <= known:
            return "each view needs exactly one account"
        for of, account in accounts.items():
            own = base if of == "base" and base is not None else version
            if (fault := account.fault(own)) is not None:
                return fault
        none = Digest(schema_id=self.accounts[0].exported.schema_id)
        exported = [*files.values(), *(account.exported for account in self.accounts)]
        if any(digest.schema_id != none.schema_id for digest in exported):
            return "the kept rows are not accounted for in the columns of the files"
        found = {change: files.get(change, none) for change in known}
        if base is not None and views:
            return _fault_of_views(accounts["version"], accounts["base"], version, base, found)
        return _fault_of_changes(accounts, version, base, found)

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
                    standing=bool(one.get("standing", False)),
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


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaBase:
    """The view that a delta starts from: `kept` - removed + added is what the receiver has afterwards.

    `export`: the one that has delivered it, under that number of the consent policy; None if only its version is known.
    `kept`: of its rows, over the exported columns; None in manifests up to 0.2.0. `amendment` and `notices`: erasures
    that have changed the version since, and those that its receivers were told about.
    """

    version: int
    digest: Digest
    export: str | None = None
    policy: int | None = None
    kept: Digest | None = None
    amendment: int = 0
    notices: tuple[str, ...] = ()

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Inverse of `as_record`. Raises `UserError` BAD_DIGEST, and KeyError, TypeError or ValueError."""
        kept, export, policy = record.get("kept"), record.get("export"), record.get("policy")
        return cls(
            version=int(record["version"]),
            digest=Digest.parse(record["digest"]),
            export=None if export is None else str(export),
            policy=None if policy is None else int(policy),
            kept=None if kept is None else Digest.parse(kept),
            amendment=int(record.get("amendment", 0)),
            notices=tuple(map(str, record.get("notices", ()))),
        )


def _fault_of_views(
    after: Account, before: Account, version: Digest, base: Digest, files: Mapping[Change | None, Digest]
) -> str | None:
    """As `ManifestSelection.fault`, for a delta."""
    for account, whole in ((before, base), (after, version)):
        if account.read != whole:
            return f"the digest of the rows read of the {account.of} is {account.read}, but its digest is {whole}"
    applied = before.exported - files["removed"] + files["added"]
    if applied != after.exported:
        return f"the changes lead from {before.exported} to {applied}, but {after.exported} was kept"
    return None


def _fault_of_changes(
    accounts: Mapping[View | Change | None, Account],
    version: Digest,
    base: Digest | None,
    files: Mapping[Change | None, Digest],
) -> str | None:
    """As `ManifestSelection.fault`, for a whole version, and for deltas of releases up to 0.2.0."""
    for change, digest in files.items():
        if digest != (exported := accounts[change].exported):
            return f"the digests of the files add up to {digest}, those of the kept rows to {exported}"
    if base is None:
        read = accounts[None].read
    elif base.schema_id != version.schema_id:
        return "the versions of the delta have different columns"
    else:
        read = base - accounts["removed"].read + accounts["added"].read
    return None if read == version else f"the digest of the rows read is {read}, but the version's digest is {version}"

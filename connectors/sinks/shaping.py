"""Shape of an export: a filter, looked-up columns and suppression lists, over the files at hand.

All rows are read, whatever happens to them: each leaves the query with a decision, so that the digests of omitted and
exported rows add up to the digest of the version.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from connectors.lake.audience_sql import rows_sql
from connectors.sinks.accounting import DECISION, FILTERED, KEPT, SUPPRESSED
from connectors.sinks.folders import PARTITION_TYPES
from connectors.sinks.selection import Group, PinnedVersion, Selection, parts_with_same_users
from schemas.columns import MAX_EXTRA_COLUMNS, USER_ID, Column, RowSchema
from schemas.digest import Digest
from schemas.errors import UserError
from schemas.manifest_selection import Account, AttributeSource, ManifestSelection, SuppressionList, View
from schemas.sql_text import identifier
from segmentation.expressions.filters import parse_filter
from segmentation.expressions.sql import to_sql
from segmentation.versions import Part

MAX_PARTITION_COLUMNS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """Columns of another audience, looked up by user id; null for users who are not its members."""

    audience: str
    version: PinnedVersion
    columns: tuple[str, ...]

    @property
    def declared(self) -> tuple[Column, ...]:
        """The columns with their types. Raises `UserError` UNKNOWN_COLUMN."""
        return _chosen(self.columns, self.version.info.row_schema.columns, f"audience {self.audience}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """An audience whose members are left out. `standing`: because of the tenant's consent policy."""

    audience: str
    version: PinnedVersion
    standing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The selection from `version`. `columns` (None: all) are exported besides the user id, looked-up ones included.

    Raises `UserError` BAD_FILTER, UNKNOWN_COLUMN, COLUMN_CLASH, TOO_MANY_COLUMNS, BAD_PARTITION_COLUMN.
    """

    version: PinnedVersion
    where: str | None = None
    attributes: tuple[Attributes, ...] = ()
    suppress: tuple[Suppression, ...] = ()
    columns: tuple[str, ...] | None = None
    partition_by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        exported = self.exported
        if len(exported.columns) > MAX_EXTRA_COLUMNS:
            raise UserError(
                "TOO_MANY_COLUMNS",
                f"an export has at most {MAX_EXTRA_COLUMNS} columns besides {USER_ID}, not {len(exported.columns)}; "
                "choose some (--columns)",
            )
        if len(self.partition_by) > MAX_PARTITION_COLUMNS:
            raise UserError(
                "BAD_PARTITION_COLUMN",
                f"files can be partitioned into folders by at most {MAX_PARTITION_COLUMNS} columns",
            )
        for column in _chosen(self.partition_by, exported.columns, "the export"):
            if column.type not in PARTITION_TYPES:
                raise UserError(
                    "BAD_PARTITION_COLUMN",
                    f"{column.name} has the type {column.type}; folders can only be made from columns of type "
                    f"{', '.join(PARTITION_TYPES)}",
                    column=column.name,
                )
        self._condition()

    @property
    def readable(self) -> RowSchema:
        """The version's columns, followed by the looked-up ones."""
        own = self.version.info.row_schema.columns
        used = {name.lower() for name in (USER_ID, *(column.name for column in own))}
        looked_up: list[Column] = []
        for attributes in self.attributes:
            for column in attributes.declared:
                if column.name.lower() in used:
                    raise UserError(
                        "COLUMN_CLASH",
                        f"{column.name} of audience {attributes.audience} is already a column: column names must be "
                        "unique",
                        column=column.name,
                    )
                used.add(column.name.lower())
                looked_up.append(column)
        return RowSchema(columns=(*own, *looked_up))

    @property
    def exported(self) -> RowSchema:
        """The columns of the files."""
        readable = self.readable
        if self.columns is None:
            return readable
        names = [name for name in self.columns if name != USER_ID]  # always exported
        return RowSchema(columns=_chosen(names, readable.columns, "the audience with its looked-up attributes"))

    @property
    def selects(self) -> bool:
        """True if anything but all rows with all their columns is taken."""
        return self.where is not None or bool(self.attributes or self.suppress) or self.columns is not None

    @property
    def key(self) -> tuple[str, ...]:
        """The columns by which the rows are sorted."""
        return (*self.partition_by, USER_ID)

    def lookup_bytes(self, parts: tuple[Part, ...]) -> int:
        """Bytes of the files of other audiences that are read for files of the version."""
        others = [*(one.version for one in self.attributes), *(one.version for one in self.suppress)]
        return sum(part.bytes for other in others for part in parts_with_same_users(parts, self.version, other))

    def selections(self, group: Group) -> list[Selection]:
        """Queries for the rows of a group; with `selects`, for all its rows, each with its decision."""
        if self.selects:
            rows, parameters = self.decided(group.parts)
            return [Selection(rows=rows, parameters=parameters, key=self.key)]
        return [replace(found, key=self.key) for found in group.selections(self.version.info.row_schema)]

    def decided(self, parts: tuple[Part, ...]) -> tuple[str, tuple[object, ...]]:
        """Query for all rows in files of the version: the readable columns and the decision; and its parameters."""
        own = rows_sql([part.uri for part in parts], self.version.info.row_schema)
        condition, parameters = self._condition()
        tables, lists = self._lookups(parts)
        names = [f"m.{identifier(name)}" for name in self.version.info.row_schema.names]
        names += [
            f"a{k}.{identifier(column.name)}"
            for k, attributes in enumerate(self.attributes)
            for column in attributes.declared
        ]
        names += [f"{one}.{USER_ID} IS NOT NULL AS _{one}" for one in lists]
        joins = " ".join(f"LEFT JOIN ({rows}) {name} ON {name}.{USER_ID} = m.{USER_ID}" for name, rows in tables)
        listed = " OR ".join(f"r._{one}" for one in lists) or "false"
        # A row that does not match is filtered even if it is on a list: only matching rows count as suppressed.
        decision = f"CASE WHEN NOT {condition} THEN {FILTERED} WHEN {listed} THEN {SUPPRESSED} ELSE {KEPT} END"
        columns = ", ".join(f"r.{identifier(name)}" for name in self.readable.names)
        rows = (
            f"SELECT {columns}, {decision} AS {DECISION} "  # noqa: S608  # names and files are quoted, values are bound
            f"FROM (SELECT {', '.join(names)} FROM ({own}) m {joins}) r"
        )
        return rows, parameters

    def _condition(self) -> tuple[str, tuple[object, ...]]:
        """SQL over the relation `r`: true or false, never null."""
        if self.where is None:
            return "true", ()
        text, parameters = to_sql(parse_filter(self.where, self.readable), "r")
        return text, parameters

    def _lookups(self, parts: tuple[Part, ...]) -> tuple[list[tuple[str, str]], list[str]]:
        """Tables to join with, as name and query, and the names of those that are suppression lists.

        A user is in a table once, as in any version: a repeated row would break the digest.
        """
        tables = [
            (f"a{k}", rows_sql(self._uris(parts, attributes.version), RowSchema(columns=attributes.declared)))
            for k, attributes in enumerate(self.attributes)
        ]
        lists = [
            (f"s{k}", rows_sql(self._uris(parts, suppression.version), RowSchema()))
            for k, suppression in enumerate(self.suppress)
        ]
        return tables + lists, [name for name, _ in lists]

    def _uris(self, parts: tuple[Part, ...], other: PinnedVersion) -> list[str]:
        return [part.uri for part in parts_with_same_users(parts, self.version, other)]

    def manifest_selection(self, accounts: Iterable[Account], *, base: "Shape | None") -> ManifestSelection:
        """The manifest's record of the selection, with the accounts of all groups added up by view.

        `base`: the view that a delta starts from.
        """
        views: dict[View | None, Shape] = {None: self} if base is None else {"version": self, "base": base}
        sums = {}
        for view, shape in views.items():
            none = Digest(schema_id=shape.version.info.row_schema.schema_id)
            exported = Digest(schema_id=shape.exported.schema_id)
            sums[view] = Account(kept=none, filtered=none, suppressed=none, exported=exported, view=view)
        for account in accounts:
            sums[account.view] += account
        return ManifestSelection(
            where=self.where,
            attributes=tuple(
                AttributeSource(
                    audience=one.audience,
                    version=one.version.info.version,
                    snapshot_id=one.version.info.snapshot_id,
                    columns=one.columns,
                )
                for one in self.attributes
            ),
            suppression_lists=tuple(
                SuppressionList(
                    audience=one.audience,
                    version=one.version.info.version,
                    snapshot_id=one.version.info.snapshot_id,
                    digest=one.version.info.digest,
                    standing=one.standing,
                )
                for one in self.suppress
            ),
            accounts=tuple(sums.values()),
        )


def _chosen(names: Iterable[str], columns: Iterable[Column], where: str) -> tuple[Column, ...]:
    """The columns with these names, in the order of the names. Raises `UserError` UNKNOWN_COLUMN, COLUMN_CLASH."""
    declared = {column.name: column for column in columns}
    chosen: list[Column] = []
    for name in names:
        if name not in declared:
            raise UserError(
                "UNKNOWN_COLUMN",
                f"{where} has no column {name[:80]}; available are {', '.join(declared) or 'none'}"[:1000],
                column=name[:80],
            )
        if declared[name] in chosen:
            raise UserError("COLUMN_CLASH", f"column {name} is named twice", column=name)
        chosen.append(declared[name])
    return tuple(chosen)

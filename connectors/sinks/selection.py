"""Which rows an export takes: a whole version, or what was added and removed since another one. As SQL of ours."""

from dataclasses import dataclass

from connectors.lake.duck import differs, identifier, rows_sql
from schemas.columns import USER_ID, RowSchema
from schemas.errors import UserError
from schemas.manifest import Change
from segmentation.versions import Part, VersionInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedVersion:
    """A version and its files."""

    info: VersionInfo
    parts: tuple[Part, ...]

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(part.bytes for part in self.parts)

    @property
    def uris(self) -> list[str]:
        """Of all files."""
        return [part.uri for part in self.parts]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A query for sorted rows, which become files of their own."""

    sql: str
    change: Change | None = None


def whole(version: PinnedVersion, *, group_bytes: int) -> list[Selection]:
    """The members, in one selection where they are few, else in one for each file of the version."""
    schema = version.info.row_schema
    if version.bytes <= group_bytes:
        return [Selection(sql=_sorted(rows_sql(version.uris, schema)))]
    return [Selection(sql=_sorted(rows_sql([uri], schema))) for uri in version.uris]


def delta(version: PinnedVersion, base: PinnedVersion) -> list[Selection]:
    """Rows that `base` has not (added) and rows that only `base` has (removed). A changed member is in both.

    Raises `UserError` SCHEMA_MISMATCH where the versions have other columns.
    """
    schema = common_schema(version, base)
    new, old = rows_sql(version.uris, schema), rows_sql(base.uris, schema)
    return [
        Selection(sql=_only_in(new, old, schema), change="added"),
        Selection(sql=_only_in(old, new, schema), change="removed"),
    ]


def common_schema(version: PinnedVersion, base: PinnedVersion) -> RowSchema:
    """The columns of both. Raises `UserError` SCHEMA_MISMATCH."""
    if base.info.row_schema != version.info.row_schema:
        raise UserError(
            "SCHEMA_MISMATCH",
            f"versions {base.info.version} and {version.info.version} have different columns and cannot be compared",
            version=version.info.version,
            base=base.info.version,
        )
    return version.info.row_schema


def _sorted(query: str) -> str:
    return f"{query} ORDER BY {USER_ID}"


def _only_in(rows: str, others: str, schema: RowSchema) -> str:
    """Rows of a query that are not, value for value, in another one."""
    other = [f"o.{USER_ID} IS NULL", *(differs(column, "r", "o") for column in schema.columns)]
    names = ", ".join(f"r.{identifier(name)}" for name in schema.names)
    return (
        f"SELECT {names} FROM ({rows}) r LEFT JOIN ({others}) o ON r.{USER_ID} = o.{USER_ID} "  # noqa: S608  # quoted
        f"WHERE {' OR '.join(other)} ORDER BY r.{USER_ID}"
    )

"""Iceberg tables of audiences in a SQL catalog (SQLite or PostgreSQL): found by id, created at the first publish.

Namespace = tenant, table name = audience name, location = the audience's prefix in the lake bucket. The location
contains the audience id and identifies the audience, so a stale name neither misses nor duplicates it.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from connectors.lake.bounds import COUNTS, WITHOUT_BOUNDS
from connectors.lake.catalog import CATALOG_NAME, OPEN_TRIES, TABLE_PROPERTIES, LakeCatalog
from connectors.lake.snapshots import AUDIENCE_ID, LAST_VERSION
from connectors.storage.access import S3Access
from connectors.storage.listing import delete_objects, exists, list_objects
from schemas.columns import ColumnType, RowSchema
from schemas.errors import RetriableError, UserError
from schemas.ids import AudienceName
from schemas.layout import TOMBSTONE, audience_prefix, s3_uri
from segmentation.versions import AudienceRef

if TYPE_CHECKING:
    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table
    from pyiceberg.types import IcebergType


class AudienceTables:
    """Opens, creates, renames and drops the tables."""

    def __init__(
        self, *, catalog_url: str, s3: S3Access, bucket: str, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._catalog = LakeCatalog(catalog_url=catalog_url, s3=s3, bucket=bucket, sleep=sleep)

    @property
    def catalog(self) -> "SqlCatalog":
        """The pyiceberg catalog."""
        return self._catalog.sql_catalog

    def close(self) -> None:
        """Close the catalog's database connections."""
        self._catalog.close()

    def find(self, ref: AudienceRef) -> "Table | None":
        """The audience's table, whatever its current name. None before the first publish."""
        from pyiceberg.exceptions import NoSuchTableError

        for _ in range(OPEN_TRIES):  # a rename may come between reading the name and opening the table
            if (name := self._name(ref)) is None:
                return None
            try:
                table = self.catalog.load_table((ref.tenant, name))
            except (NoSuchTableError, FileNotFoundError):
                # FileNotFoundError: other commits were so frequent that the metadata file was cleaned up.
                continue
            if table.metadata.properties.get(AUDIENCE_ID) == ref.audience_id:
                return table
        raise RetriableError("AUDIENCE_BUSY", f"audience {ref.audience} is being renamed or dropped; try again")

    def find_or_create(self, ref: AudienceRef, schema: RowSchema) -> "Table":
        """The audience's table; concurrent callers that create it get the same one.

        Raises `UserError` AUDIENCE_DELETED, AUDIENCE_NAME_TAKEN.
        """
        table = self.find(ref)
        if table is None:
            self._create(ref, schema)
            table = self.find(ref)
        if table is None:
            raise RetriableError(
                "AUDIENCE_BUSY", f"audience {ref.audience} was dropped while it was being created; try again"
            )
        if LAST_VERSION not in table.metadata.properties:
            # Nothing was ever published: the table may have been created during or after the drop of the audience.
            # The tombstone is written before the drop looks for the table, so one of the two sees the other.
            self._refuse_deleted(ref, table)
        return table

    def _create(self, ref: AudienceRef, schema: RowSchema) -> None:
        from pyiceberg.exceptions import TableAlreadyExistsError

        self._catalog.ensure_namespace(ref.tenant)
        iceberg_schema = to_iceberg(schema)
        properties = {
            **TABLE_PROPERTIES,
            **COUNTS,
            **WITHOUT_BOUNDS,
            AUDIENCE_ID: ref.audience_id,
            "schema.name-mapping.default": iceberg_schema.name_mapping.model_dump_json(),
        }
        try:
            self.catalog.create_table(
                (ref.tenant, ref.audience), schema=iceberg_schema, location=self.location(ref), properties=properties
            )
        except TableAlreadyExistsError:
            if self.find(ref) is None:
                raise _name_taken(ref.audience) from None

    def rename(self, ref: AudienceRef, name: AudienceName) -> None:
        """Rename the table, if it exists. Raises `UserError` AUDIENCE_NAME_TAKEN."""
        from pyiceberg.exceptions import TableAlreadyExistsError

        old = self._name(ref)
        if old is None or old == name:
            return
        try:
            self.catalog.rename_table((ref.tenant, old), (ref.tenant, name))
        except TableAlreadyExistsError as exc:
            raise _name_taken(name) from exc

    def drop(self, ref: AudienceRef) -> None:
        """Write the tombstone first, so that no late publish recreates the table; then delete table and files."""
        from pyiceberg.exceptions import NoSuchTableError

        prefix = audience_prefix(ref.tenant, ref.audience_id)
        self._s3.client().put_object(Bucket=self._bucket, Key=prefix + TOMBSTONE, Body=b"")
        if (name := self._name(ref)) is not None:
            with suppress(NoSuchTableError):  # already dropped by another process
                self.catalog.drop_table((ref.tenant, name))
        keys = [entry.key for entry in list_objects(self._s3.client(), self._bucket, prefix)]
        delete_objects(self._s3.client(), self._bucket, [key for key in keys if key != prefix + TOMBSTONE])

    def location(self, ref: AudienceRef) -> str:
        """Location of the table, without a trailing slash."""
        return s3_uri(self._bucket, audience_prefix(ref.tenant, ref.audience_id)).rstrip("/")

    def _refuse_deleted(self, ref: AudienceRef, table: "Table") -> None:
        from pyiceberg.exceptions import NoSuchTableError

        if exists(self._s3.client(), self._bucket, audience_prefix(ref.tenant, ref.audience_id) + TOMBSTONE):
            with suppress(NoSuchTableError):
                self.catalog.drop_table(table.name())
            raise UserError("AUDIENCE_DELETED", f"audience {ref.audience} has been deleted", audience=ref.audience)

    def _name(self, ref: AudienceRef) -> str | None:
        from pyiceberg.catalog.sql import IcebergTables
        from sqlalchemy import select

        query = select(IcebergTables.table_name).where(
            IcebergTables.catalog_name == CATALOG_NAME,
            IcebergTables.table_namespace == ref.tenant,
            IcebergTables.metadata_location.startswith(self.location(ref) + "/", autoescape=True),
        )
        with self.catalog.engine.connect() as connection:
            return connection.execute(query).scalar()


def to_iceberg(schema: RowSchema) -> "Schema":
    """Iceberg schema of a row schema. Every field is optional, since DuckDB writes only optional ones."""
    from pyiceberg.schema import Schema
    from pyiceberg.types import NestedField, StringType

    fields = [NestedField(field_id=1, name=schema.names[0], field_type=StringType(), required=False)]
    fields += [
        NestedField(field_id=number, name=column.name, field_type=iceberg_type(column.type), required=False)
        for number, column in enumerate(schema.columns, start=2)
    ]
    return Schema(*fields)


def iceberg_type(type_: ColumnType) -> "IcebergType":
    """Iceberg type of a column type."""
    from pyiceberg import types

    names: dict[ColumnType, type[IcebergType]] = {
        "string": types.StringType,
        "long": types.LongType,
        "double": types.DoubleType,
        "boolean": types.BooleanType,
        "date": types.DateType,
        "timestamp": types.TimestamptzType,
    }
    return names[type_]()


def _name_taken(name: str) -> UserError:
    return UserError("AUDIENCE_NAME_TAKEN", f"another audience is named {name}; choose another name", audience=name)

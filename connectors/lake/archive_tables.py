"""Iceberg tables of the archive: one for all events and one for all profile changes, of all tenants.

Namespace `_activity`, which no tenant can be called, and table `events` or `profiles`; partitioned by tenant and by
partition of the topic. Table property `muster.archived-to.<topic>.<partition>`: the position below which the table has
the rows of all records. `muster.topic-id.<topic>`: the id of the topic with these records. After a rebase,
`muster.era.<topic>` is the log epoch of the topic, and `muster.base.<topic>.<partition>` is added to its offsets
(`segmentation.archived`).
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from connectors.lake.catalog import OPEN_TRIES, TABLE_PROPERTIES, LakeCatalog
from schemas.activity import ARCHIVE_PARTITION, OFFSET, TENANT
from schemas.activity_columns import OCCURRED_AT
from schemas.errors import FatalError, RetriableError
from schemas.ids import Partition, TenantName
from schemas.layout import ArchiveKey, activity_prefix, s3_uri, split_s3_uri
from schemas.topics import EVENTS, OWN_PREFIX
from segmentation.archived import ArchivedLog
from segmentation.archiving import ARCHIVE_SCHEMAS

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.partitioning import PartitionSpec
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table

NAMESPACE: Final = "_activity"
ARCHIVED_TO: Final = "muster.archived-to."
TOPIC_ID: Final = "muster.topic-id."
LOG_EPOCH: Final = "muster.era."
BASE: Final = "muster.base."
PARTITION_FIELD_IDS: Final = 1000
"""Id of the first partition field, from the Iceberg specification; the spec's fields are [tenant, partition]."""
PROPERTIES: Final = {
    **TABLE_PROPERTIES,
    "write.metadata.previous-versions-max": "100",  # some minutes, in which a backup copies what its catalog refers to
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "20",  # one is added by a commit every few seconds
    # Statistics of property values would make up most of the manifests, and no query uses them.
    "write.metadata.metrics.default": "counts",
    **{f"write.metadata.metrics.column.{name}": "full" for name in (TENANT, ARCHIVE_PARTITION, OFFSET)},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedFile:
    """One data file of a table at the time it was loaded; `bytes` of Parquet.

    `users`: URI of the list of its distinct users (`archive_users`), if requested and already written.
    """

    uri: str
    key: ArchiveKey
    rows: int
    bytes: int
    users: str | None = None


class ArchiveTables:
    """Opens and creates the two tables."""

    def __init__(self, catalog: LakeCatalog, bucket: str) -> None:
        self._catalog = catalog
        self.bucket = bucket

    def find(self, topic: str) -> "Table | None":
        """The table of a topic. None before the first commit."""
        from pyiceberg.exceptions import NoSuchTableError

        for _ in range(OPEN_TRIES):
            with suppress(FileNotFoundError):  # other commits were so frequent that the metadata file is gone
                try:
                    return self._catalog.sql_catalog.load_table(_identifier(topic))
                except NoSuchTableError:
                    return None
        raise RetriableError("LAKE_UNAVAILABLE", f"the table of {topic} changes faster than it can be read")

    def find_or_create(self, topic: str) -> "Table":
        """The table of a topic; concurrent callers that create it get the same one."""
        from pyiceberg.exceptions import TableAlreadyExistsError

        if (table := self.find(topic)) is not None:
            return table
        self._catalog.ensure_namespace(NAMESPACE)
        schema = iceberg_schema(topic)
        with suppress(TableAlreadyExistsError):
            self._catalog.sql_catalog.create_table(
                _identifier(topic),
                schema=schema,
                location=self.location(topic),
                partition_spec=_partition_spec(schema),
                properties={
                    **PROPERTIES,
                    **({f"write.metadata.metrics.column.{OCCURRED_AT}": "full"} if topic == EVENTS else {}),
                },
            )
        table = self.find(topic)
        if table is None:
            raise RetriableError("LAKE_UNAVAILABLE", f"the table of {topic} was dropped while it was being created")
        return table

    def location(self, topic: str) -> str:
        """Location of a table, without a trailing slash."""
        return s3_uri(self.bucket, activity_prefix(topic)).rstrip("/")


def archived_to(table: "Table | None") -> Mapping[Partition, int]:
    """The end of each partition with archived records."""
    return {} if table is None else _by_partition(table, f"{ARCHIVED_TO}{topic_of(table)}.")


def archived_to_property(topic: str, partition: Partition) -> str:
    """Name of the property that `archived_to` reads."""
    return f"{ARCHIVED_TO}{topic}.{partition}"


def archived_log(table: "Table | None") -> ArchivedLog:
    """The log whose records the table has."""
    if table is None:
        return ArchivedLog()
    topic = topic_of(table)
    return ArchivedLog(
        epoch=int(table.metadata.properties.get(LOG_EPOCH + topic, 0)), base=_by_partition(table, f"{BASE}{topic}.")
    )


def archived_topic_id(table: "Table | None") -> str | None:
    """Kafka's id of the topic whose records the table has. None if unknown."""
    return None if table is None else table.metadata.properties.get(TOPIC_ID + topic_of(table))


def _by_partition(table: "Table", prefix: str) -> dict[Partition, int]:
    return {
        Partition(int(name.removeprefix(prefix))): int(value)
        for name, value in table.metadata.properties.items()
        if name.startswith(prefix)
    }


def check_topic(table: "Table | None", topic: str, topic_id: str | None) -> None:
    """Refuse another topic with the same name: its offsets restart at 0, so its records would pass for known ones.

    Raises `RetriableError` TOPIC_REPLACED: nothing is archived and nothing acknowledged until an operator decides.
    """
    had = archived_topic_id(table)
    if had is not None and topic_id is not None and had != topic_id:
        raise RetriableError(
            "TOPIC_REPLACED",
            f"{topic} was recreated (its id is {topic_id}, the archive belongs to {had}): its offsets refer to other "
            "records. Restore the old topic; if it is lost, run muster segments rebase",
            topic=topic,
            topic_id=topic_id,
            archived=had,
        )


def topic_of(table: "Table") -> str:
    """The topic whose records a table has."""
    return OWN_PREFIX + table.name()[-1]


def live_files(
    table: "Table | None",
    *,
    tenant: TenantName | None = None,
    partition: Partition | None = None,
    occurred_after_us: int | None = None,
) -> Sequence[tuple[ArchivedFile, "DataFile"]]:
    """The files of the loaded table, ordered by tenant, partition and offset.

    Manifests without files of the tenant or the partition are not read; files whose events all occurred at or before
    `occurred_after_us` are left out. Raises `FatalError` LAKE_MISMATCH.
    """
    from pyiceberg.expressions import AlwaysTrue, And, BooleanExpression, EqualTo, GreaterThan, Reference
    from pyiceberg.expressions.literals import literal

    if table is None or table.metadata.current_snapshot_id is None:
        return ()
    found: BooleanExpression = AlwaysTrue()
    if tenant is not None:
        found = And(found, EqualTo(term=Reference(TENANT), value=literal(tenant)))
    if partition is not None:
        found = And(found, EqualTo(term=Reference(ARCHIVE_PARTITION), value=literal(partition)))
    if occurred_after_us is not None:
        found = And(found, GreaterThan(term=Reference(OCCURRED_AT), value=literal(occurred_after_us)))
    files = [(_archived(task.file), task.file) for task in table.scan(row_filter=found).plan_files()]
    return sorted(files, key=lambda file: (file[0].key.tenant, file[0].key.partition, file[0].key.first_offset))


def _archived(file: "DataFile") -> ArchivedFile:
    key = ArchiveKey.parse(split_s3_uri(file.file_path)[1])
    if key is None or (file.partition[0], file.partition[1]) != (key.tenant, key.partition):
        raise FatalError("LAKE_MISMATCH", f"{file.file_path} is not a file of the archive", uri=file.file_path)
    return ArchivedFile(uri=file.file_path, key=key, rows=file.record_count, bytes=file.file_size_in_bytes)


def iceberg_schema(topic: str) -> "Schema":
    """Schema of a table, with the field ids used in its files."""
    from pyiceberg.io.pyarrow import pyarrow_to_schema

    return pyarrow_to_schema(ARCHIVE_SCHEMAS[topic])


def _partition_spec(schema: "Schema") -> "PartitionSpec":
    from pyiceberg.partitioning import PartitionField, PartitionSpec
    from pyiceberg.transforms import IdentityTransform

    return PartitionSpec(
        *(
            PartitionField(
                source_id=schema.find_field(name).field_id,
                field_id=PARTITION_FIELD_IDS + number,
                transform=IdentityTransform(),
                name=name,
            )
            for number, name in enumerate((TENANT, ARCHIVE_PARTITION))
        )
    )


def _identifier(topic: str) -> tuple[str, str]:
    return NAMESPACE, topic.removeprefix(OWN_PREFIX)

"""Iceberg tables of the archive: one of all events, one of all changes of profiles, of all tenants.

Namespace `_activity`, which no tenant can be called, and table `events` or `profiles`; partitioned by the tenant and by
the partition of the topic. Table property `muster.archived-to.<topic>.<partition>`: the offset below which the table
has the rows of all records. `muster.topic-id.<topic>`: the id of the topic that these are of; where it was made anew,
`muster.era.<topic>` says how often, and `muster.base.<topic>.<partition>` what is added to its offsets
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
ERA: Final = "muster.era."
BASE: Final = "muster.base."
PARTITION_FIELD_IDS: Final = 1000
"""Of the first partition field, as the Iceberg specification has it; the spec's fields are [tenant, partition]."""
PROPERTIES: Final = {
    **TABLE_PROPERTIES,
    "write.metadata.previous-versions-max": "100",  # some minutes: so long a backup has for what its catalog names
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "20",  # a commit every few seconds adds one each time
    # Values of properties in the statistics would be the bulk of the manifests, and nothing is found by them.
    "write.metadata.metrics.default": "counts",
    **{f"write.metadata.metrics.column.{name}": "full" for name in (TENANT, ARCHIVE_PARTITION, OFFSET)},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedFile:
    """One data file of a table as it was when it was read; `bytes` of Parquet.

    `users`: where its users are, each once (`archive_users`), if that was asked for and they have been written.
    """

    uri: str
    key: ArchiveKey
    rows: int
    bytes: int
    users: str | None = None


class ArchiveTables:
    """Opens and makes the two tables."""

    def __init__(self, catalog: LakeCatalog, bucket: str) -> None:
        self._catalog = catalog
        self.bucket = bucket

    def find(self, topic: str) -> "Table | None":
        """The table of a topic; none before the first commit."""
        from pyiceberg.exceptions import NoSuchTableError

        for _ in range(OPEN_TRIES):
            with suppress(FileNotFoundError):  # others committed so often meanwhile that the metadata file is gone
                try:
                    return self._catalog.opened.load_table(_identifier(topic))
                except NoSuchTableError:
                    return None
        raise RetriableError("LAKE_UNAVAILABLE", f"the table of {topic} changes faster than it can be read")

    def find_or_create(self, topic: str) -> "Table":
        """The table of a topic; two callers that make it at once get the same one."""
        from pyiceberg.exceptions import TableAlreadyExistsError

        if (table := self.find(topic)) is not None:
            return table
        self._catalog.ensure_namespace(NAMESPACE)
        schema = iceberg_schema(topic)
        with suppress(TableAlreadyExistsError):
            self._catalog.opened.create_table(
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
            raise RetriableError("LAKE_UNAVAILABLE", f"the table of {topic} went away while it was made")
        return table

    def location(self, topic: str) -> str:
        """Location of a table, without a final slash."""
        return s3_uri(self.bucket, activity_prefix(topic)).rstrip("/")


def archived_to(table: "Table | None") -> Mapping[Partition, int]:
    """The end of each partition that the table has something of."""
    return {} if table is None else _by_partition(table, f"{ARCHIVED_TO}{topic_of(table)}.")


def archived_to_property(topic: str, partition: Partition) -> str:
    """Name of the property that `archived_to` reads."""
    return f"{ARCHIVED_TO}{topic}.{partition}"


def archived_log(table: "Table | None") -> ArchivedLog:
    """The log that the table has the records of."""
    if table is None:
        return ArchivedLog()
    topic = topic_of(table)
    return ArchivedLog(
        era=int(table.metadata.properties.get(ERA + topic, 0)), base=_by_partition(table, f"{BASE}{topic}.")
    )


def _by_partition(table: "Table", prefix: str) -> dict[Partition, int]:
    return {
        Partition(int(name.removeprefix(prefix))): int(value)
        for name, value in table.metadata.properties.items()
        if name.startswith(prefix)
    }


def check_topic(table: "Table | None", topic: str, topic_id: str | None) -> None:
    """Refuse another topic of the same name: it begins at offset 0 again, and its records would be taken for known.

    Raises `RetriableError` TOPIC_REPLACED: nothing is archived, and nothing acknowledged, until somebody has decided.
    """
    had = None if table is None else table.metadata.properties.get(TOPIC_ID + topic)
    if had is not None and topic_id is not None and had != topic_id:
        raise RetriableError(
            "TOPIC_REPLACED",
            f"{topic} was made anew (its id is {topic_id}, the archive is of {had}): its offsets mean other records. "
            "Bring the old topic back; where it is lost: muster segments begin-anew",
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
    """The files of the table as it was loaded, in the order of tenants, partitions and offsets.

    Manifests that have none of the tenant or the partition are not read; files of events that all occurred at or before
    a time are left out. Raises `FatalError` LAKE_MISMATCH.
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
        raise FatalError("LAKE_MISMATCH", f"{file.file_path} is no file of the archive", uri=file.file_path)
    return ArchivedFile(uri=file.file_path, key=key, rows=file.record_count, bytes=file.file_size_in_bytes)


def iceberg_schema(topic: str) -> "Schema":
    """Schema of a table, with the field ids that are in its files."""
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

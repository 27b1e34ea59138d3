"""Rows of events and profile changes: their columns, and the limits that every input path enforces.

Both kinds of rows carry a map from name to value. A chunk (`schemas.messages`) has a column per name instead.
"""

from typing import Final

import pyarrow as pa

from schemas.activity_columns import ATTRIBUTE_TYPES, DELETED, EVENT, EVENT_ID, OCCURRED_AT, PROPERTY_TYPES
from schemas.arrow import ARROW_TYPES
from schemas.columns import USER_ID

TENANT: Final = "tenant"
PROPERTIES: Final = "properties"
IDENTITY: Final = "identity"
ATTRIBUTES: Final = "attributes"
OFFSET: Final = "offset"
RECEIVED_AT: Final = "received_at"
SOURCE: Final = "source"
SOURCE_ORDINAL: Final = "ordinal"
"""The row's number in its source (`schemas.messages.EventChunk`). Single records have neither source nor ordinal."""
ARCHIVE_PARTITION: Final = "partition"
"""Column of the archive's tables: the partition of the record, int32."""

PROPERTIES_TYPE: Final = pa.map_(pa.string(), pa.struct([(t, ARROW_TYPES[t]) for t in PROPERTY_TYPES]))
"""Exactly one child of a value is set, that of its type (`schemas.columns.ColumnType`)."""
ATTRIBUTES_TYPE: Final = pa.map_(pa.string(), pa.struct([(t, ARROW_TYPES[t]) for t in ATTRIBUTE_TYPES]))
"""No child is set for an attribute that is unset."""
_MOMENT: Final = ARROW_TYPES["timestamp"]

EVENT_ROWS: Final = pa.schema(
    [
        pa.field(TENANT, pa.string(), nullable=False),
        pa.field(USER_ID, pa.string(), nullable=False),
        pa.field(EVENT, pa.string(), nullable=False),
        pa.field(OCCURRED_AT, _MOMENT, nullable=False),
        pa.field(EVENT_ID, pa.string()),
        pa.field(IDENTITY, pa.int64(), nullable=False),
        pa.field(PROPERTIES, PROPERTIES_TYPE, nullable=False),
        pa.field(OFFSET, pa.int64(), nullable=False),
        pa.field(RECEIVED_AT, _MOMENT, nullable=False),
        pa.field(SOURCE, pa.string()),
        pa.field(SOURCE_ORDINAL, pa.int64()),
    ]
)
"""Events of one partition, ascending by offset. Rows equal in tenant, user_id, event, occurred_at and identity are one
event. `offset` is the record's position in the archive (`segmentation.archived`): its Kafka offset, until the log is
replaced. `received_at` is the broker's timestamp."""

PROFILE_ROWS: Final = pa.schema(
    [
        pa.field(TENANT, pa.string(), nullable=False),
        pa.field(USER_ID, pa.string(), nullable=False),
        pa.field(DELETED, pa.bool_(), nullable=False),
        pa.field(ATTRIBUTES, ATTRIBUTES_TYPE, nullable=False),
        pa.field(OFFSET, pa.int64(), nullable=False),
        pa.field(RECEIVED_AT, _MOMENT, nullable=False),
        pa.field(SOURCE, pa.string()),
        pa.field(SOURCE_ORDINAL, pa.int64()),
    ]
)
"""Profile changes of one partition, in the order in which they apply: by offset, and within a chunk by ordinal."""

MAX_PROPERTIES: Final = 256
"""Per event; also the limit for attributes in one change."""
PROPERTY_MAX_BYTES: Final = 8 * 1024
"""For one text, in UTF-8: an address with its query fits, a document does not."""
RECORD_MAX_BYTES: Final = 256 * 1024
"""For the value of a single record; a chunk may have `schemas.topics.MESSAGE_MAX_BYTES`."""

SOURCE_MAX_CHARACTERS: Final = 4096
"""For the source of a chunk: an S3 address with its version is shorter. Every row of the chunk carries it."""

EARLIEST_US: Final = 946_684_800_000_000
"""2000-01-01T00:00:00Z. Earlier times: clocks that were never set (1970, 1980), or seconds read as milliseconds."""
MAX_AHEAD_US: Final = 24 * 60 * 60 * 1_000_000
"""How far an event may lie in the future of the broker's clock. This admits a wrong time zone, but no wrong year."""

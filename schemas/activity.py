"""Events and changes of profiles as rows: what a row holds, and the limits that every way in keeps alike.

Rows of both kinds carry a map from name to value. A chunk (`schemas.messages`) has a column for each name instead.
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
"""Which row of its source (`schemas.messages.EventChunk`) it was. Single records have neither."""
ARCHIVE_PARTITION: Final = "partition"
"""Column of the archive's tables: the partition of the record, int32."""

PROPERTIES_TYPE: Final = pa.map_(pa.string(), pa.struct([(t, ARROW_TYPES[t]) for t in PROPERTY_TYPES]))
"""Of each value one child is set, that of its type (`schemas.columns.ColumnType`)."""
ATTRIBUTES_TYPE: Final = pa.map_(pa.string(), pa.struct([(t, ARROW_TYPES[t]) for t in ATTRIBUTE_TYPES]))
"""No child is set where an attribute is unset."""
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
"""Events of one partition, ascending by offset. Those with the same tenant, user_id, event, occurred_at and identity
are one event. `offset` and `received_at` (the time that the broker gave it) are those of the Kafka record."""

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
"""Changes of profiles of one partition, in the order in which they apply: by offset, and in a chunk by ordinal."""

NAME_MAX_CHARACTERS: Final = 255
"""Of the name of an event, a property or an attribute, and of an event id."""
MAX_PROPERTIES: Final = 256
"""Of one event, and attributes of one change."""
PROPERTY_MAX_BYTES: Final = 8 * 1024
"""Of one text, in UTF-8: an address with its query fits, a document does not."""
RECORD_MAX_BYTES: Final = 256 * 1024
"""Of the value of a single record; a chunk may have `schemas.topics.MESSAGE_MAX_BYTES`."""

SOURCE_MAX_CHARACTERS: Final = 4096
"""Of the source of a chunk: an address of S3 with its version is shorter. Every row of the chunk carries it."""

EARLIEST_US: Final = 946_684_800_000_000
"""2000-01-01T00:00:00Z. Before it: clocks that were never set (1970, 1980), and seconds taken for milliseconds."""
MAX_AHEAD_US: Final = 24 * 60 * 60 * 1_000_000
"""How far an event may be in the future of the broker's clock. A wrong time zone is within, a wrong year is not."""

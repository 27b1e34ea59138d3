"""Markers of an export to a topic in JSON, as CloudEvents 1.0.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md. A marker that is sent again has the
same bytes.
"""

import json
from collections.abc import Mapping
from typing import Any, assert_never

from schemas.feed_events import time_text
from schemas.messages import ExportAborted, ExportEnded, ExportStarted

ExportMarker = ExportStarted | ExportEnded | ExportAborted


def marker(message: ExportMarker) -> bytes:
    """The bytes of a marker. The chunks of an end are messages: one for each user who is added or removed."""
    data: Mapping[str, Any]
    match message:
        case ExportStarted():
            kind = "started"
            data = {
                "tenant": message.tenant,
                "audience": message.audience,
                "version": message.version,
                "base_version": message.base_version,
                "columns": [{"name": column.name, "type": column.type} for column in message.columns.columns],
                "created_at": time_text(message.created_at_us),
                "partitions": message.partitions,
            }
        case ExportEnded():
            kind = "ended"
            records = message.digest.count
            data = {"records": records, "removed": sum(message.chunks) - records, "partitions": message.partitions}
        case ExportAborted():
            kind = "aborted"
            data = {"reason": message.reason}
        case _:
            assert_never(message)
    about = {"export": message.export_id, "attempt": message.attempt, "partition": message.partition}
    event = {
        "specversion": "1.0",
        "id": f"{message.export_id}.{message.attempt}.{message.partition}.{kind}",
        "source": f"/exports/{message.export_id}",
        "type": f"io.muster.export.{kind}",
        "datacontenttype": "application/json",
        "data": {**about, **data},
    }
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()

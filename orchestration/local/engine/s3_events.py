"""Converts SeaweedFS's filer messages about files to the EventBridge events that S3 sends for objects.

Pure: JSON in, values out. An object of a versioned bucket is the file `<key>.versions/v_<version id>`; multipart
uploads lie under `.uploads/` until they are complete; a delete marker is a version without content.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

OBJECT_PATH: Final = re.compile(r"/buckets/(?P<bucket>[^/]+)/(?P<key>.+)", re.DOTALL)
VERSION_SUFFIX: Final = re.compile(r"(?P<key>.+)\.versions/v_(?P<version>[0-9a-f]{32})", re.DOTALL)
MAX_INT64: Final = 0x7FFF_FFFF_FFFF_FFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectCreated:
    """One version of an object. `etag` is without quotes; `version_id` is empty in an unversioned bucket."""

    bucket: str
    key: str
    size: int
    etag: str
    version_id: str
    sequencer: str
    """Hexadecimal; of two versions of one key, the later has the larger text."""

    def detail(self) -> dict[str, Any]:
        """`detail` of the EventBridge event "Object Created" (Amazon S3 User Guide, "EventBridge mapping")."""
        version = {"version-id": self.version_id} if self.version_id else {}
        return {
            "version": "0",
            "bucket": {"name": self.bucket},
            "object": {
                "key": self.key,
                "size": self.size,
                "etag": self.etag,
                **version,
                "sequencer": self.sequencer,
            },
            "reason": "PutObject",
        }


def object_created(message: Mapping[str, Any]) -> ObjectCreated | None:
    """The new object in a webhook message. None if it reports anything else.

    Only the creation of a version counts: the server also updates older versions when they stop being current.
    """
    path = OBJECT_PATH.fullmatch(str(message.get("key", "")))
    body = message.get("message")
    entry = body.get("new_entry") if isinstance(body, Mapping) else None
    if path is None or not isinstance(entry, Mapping) or entry.get("is_directory"):
        return None
    key = path["key"]
    if key.startswith(".uploads/") or message.get("event_type") not in {"create", "update", "rename"}:
        return None
    extended, attributes = _mapping(entry, "extended"), _mapping(entry, "attributes")
    if _text(extended, "Seaweed-X-Amz-Delete-Marker") == "true":
        return None
    version_id = ""
    if (versioned := VERSION_SUFFIX.fullmatch(key)) is not None:
        if message.get("event_type") != "create":
            return None
        key, version_id = versioned["key"], versioned["version"]
    seconds = int(attributes.get("mtime", 0))
    return ObjectCreated(
        bucket=path["bucket"],
        key=key,
        size=int(attributes.get("file_size", 0)),
        etag=_text(extended, "Seaweed-X-Amz-ETag"),
        version_id=version_id,
        sequencer=sequencer(version_id, seconds * 1_000_000_000 + int(attributes.get("mtime_ns", 0))),
    )


def sequencer(version_id: str, modified_ns: int) -> str:
    """Sequencer of an object: its version id begins with the inverted time in ns, so that the newest sorts first."""
    nanoseconds = MAX_INT64 - int(version_id[:16], 16) if version_id else modified_ns
    return f"{max(nanoseconds, 0):016X}"


def _mapping(entry: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = entry.get(name)
    return value if isinstance(value, Mapping) else {}


def _text(extended: Mapping[str, Any], name: str) -> str:
    try:
        return base64.b64decode(str(extended.get(name, "")), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""

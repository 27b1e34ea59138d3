"""SeaweedFS's webhook messages, as version 4.48 sends them, and the S3 events they stand for."""

from typing import Any

import pytest

from orchestration.local.engine.s3_events import ObjectCreated, object_created, sequencer

VERSION = "6714f2caa30fa5d4d756b72de2a8918f"


def message(key: str, event_type: str = "create", **entry: Any) -> dict[str, Any]:
    attributes = {"file_size": 10, "mtime": 1795543399}
    # base64 of 62aa78674ee1abd4dd9aa1c99454e5de
    extended = {"Seaweed-X-Amz-ETag": "NjJhYTc4Njc0ZWUxYWJkNGRkOWFhMWM5OTQ1NGU1ZGU="}
    new_entry = {"name": "x", "attributes": attributes, "extended": extended, **entry}
    return {"event_type": event_type, "key": key, "message": {"new_entry": new_entry}}


def test_a_new_version_is_an_object_created_with_its_version_id() -> None:
    event = object_created(message(f"/buckets/inbox/acme/vip/f.csv.versions/v_{VERSION}"))

    assert event == ObjectCreated(
        bucket="inbox",
        key="acme/vip/f.csv",
        size=10,
        etag="62aa78674ee1abd4dd9aa1c99454e5de",
        version_id=VERSION,
        sequencer="18EB0D355CF05A2B",
    )
    assert event.detail()["object"] == {
        "key": "acme/vip/f.csv",
        "size": 10,
        "etag": "62aa78674ee1abd4dd9aa1c99454e5de",
        "version-id": VERSION,
        "sequencer": "18EB0D355CF05A2B",
    }


def test_unversioned_file_has_no_version_id() -> None:
    event = object_created(message("/buckets/inbox/f.csv", "update"))

    assert event is not None
    assert (event.key, event.version_id) == ("f.csv", "")
    assert "version-id" not in event.detail()["object"]


def test_key_can_resemble_a_version() -> None:
    event = object_created(message(f"/buckets/inbox/a.versions/v_{VERSION}.versions/v_{VERSION}"))

    assert event is not None
    assert event.key == f"a.versions/v_{VERSION}"


@pytest.mark.parametrize(
    "other",
    [
        message("/buckets/inbox/acme", is_directory=True),
        message("/buckets/inbox/f.csv.versions", "update", is_directory=True),
        message(f"/buckets/inbox/f.csv.versions/v_{VERSION}", "update"),
        message("/buckets/inbox/.uploads/a/0001.part"),
        message("/buckets/inbox/f.csv", "delete"),
        message(f"/buckets/inbox/f.csv.versions/v_{VERSION}", extended={"Seaweed-X-Amz-Delete-Marker": "dHJ1ZQ=="}),
        message("/etc/iam/identity.json"),
        {"event_type": "delete", "key": "/buckets/inbox/f.csv", "message": {"old_entry": {}}},
        {},
    ],
    ids=["directory", "versions", "older version", "part", "delete", "delete marker", "other", "no entry", "empty"],
)
def test_other_events_are_not_new_objects(other: dict[str, Any]) -> None:
    assert object_created(other) is None


def test_the_later_version_has_the_larger_sequencer() -> None:
    # Version ids in the order in which the server assigned them.
    ids = ["6714f2caa30fa5d4d756b72de2a8918f", "6714f2ca968345d5b58c1575d4ec9b02", "6714f2ca88e184e18b769332af31a638"]

    sequencers = [sequencer(version_id, 0) for version_id in ids]

    assert sequencers == sorted(set(sequencers))

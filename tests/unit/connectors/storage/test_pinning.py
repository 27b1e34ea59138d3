"""Objects that are pinned by listing them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from connectors.storage.pinning import list_pinned

AT = datetime(2026, 1, 1, tzinfo=UTC)


class TwoListings:
    """A client whose two listings name other ETags for an object, as SeaweedFS does for those in chunks."""

    def __init__(self, versions: dict[str, str], plain: dict[str, str]) -> None:
        self._found = {
            "list_object_versions": {
                "Versions": [entry(key, etag) | {"IsLatest": True} for key, etag in versions.items()]
            },
            "list_objects_v2": {"Contents": [entry(key, etag) for key, etag in plain.items()]},
        }
        self.asked: list[str] = []

    def get_paginator(self, name: str) -> Any:
        client = self

        class Pages:
            def paginate(self, **_: str) -> Iterator[Any]:
                client.asked.append(name)
                yield client._found[name]

        return Pages()


def entry(key: str, etag: str) -> dict[str, Any]:
    return {"Key": key, "ETag": etag, "Size": 1, "LastModified": AT, "VersionId": "null"}


def pinned(client: Any) -> dict[str, str]:
    return {one.key: one.etag for one in list_pinned(client, "b", "")}


def test_object_in_chunks_has_the_etag_of_the_plain_list() -> None:
    client = TwoListings({"a": "x-2", "b": "small", "c": "y-3"}, {"a": "x", "b": "small", "c": "y"})
    assert pinned(client) == {"a": "x", "b": "small", "c": "y"}


def test_object_that_only_one_list_has_keeps_its_etag() -> None:
    client = TwoListings({"a": "x-2", "b": "y-2", "c": "z-2", "e": "w-2"}, {"a": "x", "c": "z", "d": "new"})
    assert pinned(client) == {"a": "x", "b": "y-2", "c": "z", "e": "w-2"}


def test_small_objects_need_no_second_list() -> None:
    client = TwoListings({"a": "x", "b": "y"}, {})
    assert pinned(client) == {"a": "x", "b": "y"}
    assert client.asked == ["list_object_versions"]

"""Versions read from metadata files: what happens when a file is gone, damaged or forbidden."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from connectors.lake.history_file import parse_history
from orchestration.catalog.records import Audience
from orchestration.catalog.references import ref_of
from orchestration.operations.version_histories import TRIES, VersionHistories
from schemas.errors import FatalError, MusterError, RetriableError, UserError
from schemas.ids import AudienceName
from tests.fakes.tenants import ACME, World, make_world


class Objects:
    """Raises each of the errors once, then answers."""

    def __init__(self, content: bytes, *errors: MusterError) -> None:
        self._content = content
        self._errors = list(errors)

    def get(self, *_: str) -> bytes:
        if self._errors:
            raise self._errors.pop(0)
        return self._content


@pytest.fixture
def world(tmp_path: Path) -> Any:
    made = make_world(tmp_path)
    yield made
    made.services.database.close()


def histories(world: World, *errors: MusterError, content: bytes = b"{}") -> tuple[VersionHistories, Audience]:
    objects = cast(Any, Objects(content, *errors))
    audience = world.services.audiences.get(ACME, AudienceName("vip"))
    return replace(world.services.histories, objects=lambda: objects), audience


def gone() -> UserError:
    return UserError("SOURCE_GONE", "there is no such object")


def test_metadata_file_removed_meanwhile_is_looked_up_again(world: World) -> None:
    found, audience = histories(world, gone(), gone())
    assert found.of(audience).versions == ()


def test_current_versions_of_a_list_read_each_file_once(world: World) -> None:
    refs = [ref_of(one) for one in world.services.audiences.all(ACME)]
    whole = [world.services.histories.current(one) for one in refs]
    assert {one.version for one in whole if one} == {2}
    assert None in whole  # one without a version
    read = list[str]()

    class Counted:
        def get(self, bucket: str, key: str) -> bytes:
            read.append(key)
            return world.services.objects.get(bucket, key)

    found = replace(world.services.histories, objects=lambda: cast(Any, Counted()))
    assert [found.currents(ACME, refs) for _ in range(3)] == [whole] * 3
    assert len(read) == len([one for one in whole if one])
    assert found.currents(ACME, []) == []


def test_permanently_missing_metadata_is_an_outage(world: World) -> None:
    found, audience = histories(world, *[gone() for _ in range(TRIES)])
    with pytest.raises(RetriableError) as refused:
        found.of(audience)
    assert refused.value.code == "LAKE_UNAVAILABLE"


def test_refusal_by_the_lake_is_not_a_user_error(world: World) -> None:
    found, audience = histories(world, UserError("ACCESS_DENIED", "no"))
    with pytest.raises(FatalError) as refused:
        found.of(audience)
    assert refused.value.code == "LAKE_UNREADABLE"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 100_000,
        b'{"snapshots": [{}]}',
        b'{"snapshots": 3}',
        b'{"refs": {"v1": {"snapshot-id": 5}}}',
        b'{"snapshots": [{"snapshot-id": 5}], "refs": {"v1": {"snapshot-id": 5}}}',
        b'{"snapshots": [{"snapshot-id": 5, "summary": {}}], "refs": {"v1": {"snapshot-id": 5}}}',
    ],
)
def test_damaged_metadata_file_is_named(content: bytes) -> None:
    with pytest.raises(FatalError, match="s3://lake/x") as refused:
        parse_history(content, "s3://lake/x")
    assert refused.value.code == "LAKE_UNREADABLE"


def test_a_table_without_a_version_has_an_empty_history() -> None:
    assert parse_history(b"{}", "s3://lake/x").versions == ()

"""Idempotency keys, uploads and places in the catalog, on every database that may hold it."""

import threading
from collections.abc import Callable
from typing import TypeVar

import pytest

from orchestration.catalog import migrate
from orchestration.catalog.audiences import AudienceStore
from orchestration.catalog.engine import Database
from orchestration.catalog.idempotency import LEASE_MS, Claim, IdempotencyStore, KeyedRequest
from orchestration.catalog.operations import LAKE_CHANGES, Operation, OperationStore
from orchestration.catalog.places import EVERYWHERE, PlaceStore
from orchestration.catalog.uploads import Upload, UploadStore
from orchestration.platform.settings import Secret
from schemas.errors import UserError
from schemas.ids import AudienceName, TenantName
from tests.contract.test_catalog import database, job_number, url  # noqa: F401  # fixtures

ACME, BETA = TenantName("acme"), TenantName("beta")
AT_ONCE = 8
ValueT = TypeVar("ValueT")


@pytest.fixture
def tenants(database: Database) -> AudienceStore:  # noqa: F811
    store = AudienceStore(database)
    store.add_tenant(ACME, 1)
    store.add_tenant(BETA, 1, places=())
    return store


def at_once(call: Callable[[int], ValueT]) -> list[ValueT | UserError]:
    """What the same call returns or refuses to threads that begin together."""
    found: list[ValueT | UserError] = []
    barrier = threading.Barrier(AT_ONCE)

    def run(number: int) -> None:
        barrier.wait()
        try:
            found.append(call(number))
        except UserError as exc:
            found.append(exc)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def keyed(holder: int, *, request: str = "r") -> KeyedRequest:
    return KeyedRequest(
        principal_id=job_number(1), tenant=ACME, key="k", request=request, holder=job_number(100 + holder)
    )


def test_concurrent_uses_of_a_key_see_one_id(
    database: Database,  # noqa: F811
) -> None:
    store = IdempotencyStore(database)
    found = at_once(lambda n: store.claim(keyed(n), new_id=job_number(200 + n), now_ms=1))
    claims = [one for one in found if isinstance(one, Claim)]
    assert len(claims) == AT_ONCE
    assert [one.mine for one in claims].count(True) == 1
    assert len({one.job_id for one in claims}) == 1


def test_one_of_several_concurrent_takeovers_succeeds(database: Database) -> None:  # noqa: F811
    store = IdempotencyStore(database)
    first = store.claim(keyed(50), new_id=job_number(200), now_ms=1)
    found = at_once(lambda n: store.claim(keyed(n), new_id=job_number(201), now_ms=1 + LEASE_MS))
    assert [one.mine for one in found if isinstance(one, Claim)].count(True) == 1
    assert {one.job_id for one in found if isinstance(one, Claim)} == {first.job_id}


def test_displaced_holder_stores_no_answer(database: Database) -> None:  # noqa: F811
    store = IdempotencyStore(database)
    store.claim(keyed(1), new_id=job_number(200), now_ms=1)
    store.claim(keyed(2), new_id=job_number(201), now_ms=1 + LEASE_MS)
    store.answer(keyed(1), {"value": {"late": True}})
    assert store.claim(keyed(3), new_id=job_number(202), now_ms=2).answer is None
    store.answer(keyed(2), {"value": {"late": False}})
    assert store.claim(keyed(3), new_id=job_number(202), now_ms=2).answer == {"value": {"late": False}}


def test_concurrent_uploads_stay_within_the_limit(
    database: Database,  # noqa: F811
    tenants: AudienceStore,
) -> None:
    store = UploadStore(database)

    def add(number: int) -> Upload:
        new = Upload(
            upload_id=job_number(number),
            tenant=ACME,
            name="a.csv",
            content_type="text/csv",
            size=10,
            key=f"k{number}",
            created_at_ms=1,
        )
        return store.add(new, most_bytes=35)

    found = at_once(add)
    assert sum(isinstance(one, Upload) for one in found) == 3
    assert {one.code for one in found if isinstance(one, UserError)} == {"TOO_MANY_UPLOADS"}
    added = next(one for one in found if isinstance(one, Upload))
    assert store.put_multipart(added.upload_id, "first") == store.put_multipart(added.upload_id, "second") == "first"
    store.put_stored(added.upload_id)
    assert isinstance(add(99), Upload)


def test_tenants_older_than_locations_keep_every_location(
    url: Secret,  # noqa: F811
    database: Database,  # noqa: F811
    tenants: AudienceStore,
) -> None:
    migrate.downgrade(url, "0009")
    migrate.upgrade(url)
    assert PlaceStore(database).all() == {ACME: (EVERYWHERE,), BETA: (EVERYWHERE,)}


def test_allowed_locations_are_replaced_whole(database: Database, tenants: AudienceStore) -> None:  # noqa: F811
    store = PlaceStore(database)
    assert store.all() == {ACME: (EVERYWHERE,), BETA: ()}
    before, after = store.replace({BETA: ["s3://b/", "s3://a/", "s3://a/"]}, check=lambda _: None)
    assert (before[ACME], after) == ((EVERYWHERE,), {ACME: (), BETA: ("s3://a/", "s3://b/")})

    def refuse(_: object) -> None:
        raise UserError("STALE_ETAG", "x")

    with pytest.raises(UserError, match="STALE_ETAG"):
        store.replace({}, check=refuse)
    assert store.of(BETA) == ("s3://a/", "s3://b/")


def test_an_operation_ends_once(database: Database, tenants: AudienceStore) -> None:  # noqa: F811
    store = OperationStore(database)
    for number in (2, 1):
        store.add(
            Operation(
                operation_id=job_number(number),
                tenant=ACME,
                kind="expire",
                action="read",
                audience_id=job_number(9),
                audience=AudienceName("vip"),
                request={},
                created_at_ms=1,
            )
        )
    assert [one.operation_id for one in store.pending(LAKE_CHANGES)] == [job_number(1), job_number(2)]
    store.finish(job_number(1), {"files": 1}, now_ms=5)
    store.finish(job_number(1), UserError("X", "x"), now_ms=6)
    done = store.get(ACME, job_number(1))
    assert (done.state, done.result, done.error, done.finished_at_ms) == ("done", {"files": 1}, None, 5)
    store.forget(6)
    with pytest.raises(UserError, match="UNKNOWN_OPERATION"):
        store.get(ACME, job_number(1))
    with pytest.raises(UserError, match="UNKNOWN_OPERATION"):
        store.get(BETA, job_number(2))

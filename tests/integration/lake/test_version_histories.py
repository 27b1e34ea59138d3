"""The service reads the same history as pyiceberg, from the files of real tables."""

from contextlib import closing

import pytest

from connectors.lake.store import IcebergVersionStore
from connectors.storage.access import S3Access
from connectors.storage.objects import ObjectStore
from orchestration.catalog.engine import Database
from orchestration.catalog.records import Audience, Retention
from orchestration.operations.version_histories import VersionHistories
from orchestration.platform.settings import Secret
from schemas.import_spec import ImportSpec
from segmentation.versions import AudienceRef
from tests.integration.lake.support import AT, BUCKET, Parts, audience, new_id, request, users


def record_of(ref: AudienceRef) -> Audience:
    return Audience(
        audience_id=ref.audience_id,
        tenant=ref.tenant,
        name=ref.audience,
        spec=ImportSpec(),
        retention=Retention(),
        created_at_ms=1,
    )


def test_service_and_pyiceberg_read_equal_histories(s3: S3Access, store: IcebergVersionStore, catalog_url: str) -> None:
    ref, other = audience(), audience()
    with closing(Database(Secret(catalog_url))) as database:
        histories = VersionHistories(database=database, bucket=BUCKET, objects=lambda: ObjectStore(s3))
        assert histories.of(record_of(ref)).versions == ()
        for order, names in (("1", ("ann", "bob")), ("2", ("ann",)), ("3", ("carol", "dave", "eve"))):
            store.publish(request(ref, Parts(s3).write(ref, new_id(), users(*names)), order))
        store.publish(request(other, Parts(s3).write(other, new_id(), users("zoe")), "1"))
        current = store.current(ref)
        assert current is not None
        outcome = store.rollback(
            ref, current.base_version or current.version, operation_id=new_id(), order_key="4", at=AT, reason="wrong"
        )
        assert outcome is not None
        assert histories.of(record_of(ref)).versions == tuple(store.versions(ref))
        assert len(histories.of(record_of(ref)).versions) == 4
        assert [info.members for info in histories.of(record_of(other)).versions] == [1]
        with pytest.raises(IndexError):
            histories.of(record_of(audience())).versions[0]

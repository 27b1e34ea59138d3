"""Every S3 client with the credentials of a role: from a container's endpoint, and changed during its lifetime."""

import io
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.credentials import ReadOnlyCredentials, RefreshableCredentials
from botocore.exceptions import ClientError

from connectors.lake.audience_sql import rows_sql
from connectors.lake.store import IcebergVersionStore
from connectors.storage import role_keys
from connectors.storage.access import S3Access
from connectors.storage.duck import connect
from connectors.storage.objects import ObjectStore
from connectors.storage.writing import put_if_absent
from schemas.columns import RowSchema
from schemas.ids import Version
from streams.staging import staging_store
from tests.integration.lake.support import BUCKET, Parts, audience, limits, new_id, request, secret_of, users
from tests.servers.faulty_s3 import Answer, FaultyProxy, Request, faulty_proxy
from tests.servers.role_credentials import RoleCredentials, role_credentials
from tests.waiting import until

FILES = 20
LONG_S = 60.0


class Door:
    """A proxy in front of the server that rejects expired keys, and a role that gets new ones."""

    def __init__(self, proxy: FaultyProxy, role: RoleCredentials) -> None:
        proxy.fault = self.refuse_expired
        self.role = role
        self.s3 = S3Access(endpoint=proxy.endpoint, region="us-east-1")
        self.ended: set[str] = set()
        self.seen: list[str] = []
        self.gate_at: float = math.inf
        """Requests from this one on wait at the gate."""
        self.gate = threading.Event()

    def refuse_expired(self, request: Request) -> Answer | None:
        given = next((value for name, value in request.headers.items() if name.lower() == "authorization"), "")
        key = given.partition("Credential=")[2].partition("/")[0]
        self.seen.append(key)
        if len(self.seen) >= self.gate_at:
            assert self.gate.wait(LONG_S)
        return Answer(status=403, code="ExpiredToken") if key in self.ended else None

    def change(self) -> None:
        """Give the role new keys, and reject the old ones."""
        self.role.access_key, self.role.secret_key = "role", secret_of("role")
        self.ended.add("lake")


@pytest.fixture
def door(s3: S3Access, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    with role_credentials("lake", secret_of("lake")) as role, faulty_proxy(s3.endpoint) as proxy:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in role.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(role_keys, "RENEW_EVERY_S", 0.05)
        monkeypatch.setattr(role_keys, "_RENEWAL", role_keys._Renewal())  # another test's thread may sleep for a minute
        yield Door(proxy, role)


def test_file_client_follows_role_credentials(door: Door) -> None:
    objects = ObjectStore(door.s3)
    key = f"role/{new_id()}"
    objects.put(BUCKET, key, b"first")
    door.change()
    source = objects.pin(BUCKET, key)
    assert objects.read_range(source, 0, 5) == b"first"
    assert door.seen[-1] == "role"


def test_worker_client_follows_role_credentials(door: Door) -> None:
    store = staging_store(door.s3)
    key = f"role/{new_id()}"
    assert store.put_new(BUCKET, key, b"first")
    door.change()
    assert store.get(BUCKET, key) == b"first"
    assert door.seen[-1] == "role"


def test_arrow_and_lake_client_follow_role_credentials(door: Door) -> None:
    key = f"role/{new_id()}"
    for number in range(2):
        assert put_if_absent(door.s3.client(), BUCKET, f"{key}-{number}", b"bytes")
        with door.s3.filesystem().open_input_file(f"{BUCKET}/{key}-{number}") as file:
            assert file.read() == b"bytes"
        door.change()
    assert set(door.seen) == {"lake", "role"}


def test_publishing_and_reading_survive_a_change_of_role_keys(door: Door, catalog_url: str, tmp_path: Path) -> None:
    store = IcebergVersionStore(catalog_url=catalog_url, s3=door.s3, bucket=BUCKET, limits=limits(tmp_path))
    ref, parts = audience(), Parts(door.s3)
    for number in (1, 2):
        written = parts.write(ref, new_id(), users("21", f"user {number}"))
        store.publish(request(ref, written, str(number)))
        files = [part.uri for part in store.files(ref, Version(number))]
        with connect(limits(tmp_path), door.s3) as connection:
            rows = connection.execute(rows_sql(files, RowSchema())).fetchall()
        assert sorted(rows) == [("21",), (f"user {number}",)]
        door.change()
    store.close()
    assert set(door.seen) == {"lake", "role"}


def test_query_continues_with_renewed_keys(door: Door, s3: S3Access, tmp_path: Path) -> None:
    prefix = f"role/{new_id()}"
    for number in range(FILES):
        table = pa.table({"user_id": [f"{number}-{row}" for row in range(1000)]})
        content = io.BytesIO()
        pq.write_table(table, content, row_group_size=250)
        s3.client().put_object(Bucket=BUCKET, Key=f"{prefix}/{number}.parquet", Body=content.getvalue())
    door.gate_at = 10
    files = [f"s3://{BUCKET}/{prefix}/{number}.parquet" for number in range(FILES)]
    counted: list[object] = []
    with connect(replace(limits(tmp_path), threads=1), door.s3) as connection:
        sql = f"SELECT count(DISTINCT user_id) FROM ({rows_sql(files, RowSchema())})"  # rows_sql is our own SQL
        query = threading.Thread(target=lambda: counted.append(connection.execute(sql).fetchall()))
        query.start()
        while len(door.seen) < door.gate_at:
            time.sleep(0.01)
        door.role.access_key, door.role.secret_key = "role", secret_of("role")
        with connection.cursor() as beside:
            while beside.execute("SELECT current_setting('s3_access_key_id')").fetchone() != ("role",):
                time.sleep(0.01)
        door.gate.set()
        while door.seen[-1] != "role":
            assert query.is_alive(), "the query ended before it had seen the next keys"
            time.sleep(0.01)
        door.ended.add("lake")
        query.join()
    assert counted == [[(FILES * 1000,)]]


def test_closed_connection_stops_renewing_keys(door: Door, tmp_path: Path) -> None:
    connection = connect(limits(tmp_path), door.s3)
    assert len(role_keys._RENEWAL._followed) >= 1
    connection.close()
    until(lambda: connection not in role_keys._RENEWAL._followed and role_keys._RENEWAL._thread is None)


def test_idle_connection_uses_renewed_keys_in_its_next_query(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = f"role/{new_id()}.parquet"
    given = RefreshableCredentials.get_frozen_credentials
    faults: list[Exception] = []

    def given_at_the_third_try(of: RefreshableCredentials) -> ReadOnlyCredentials:
        if faults:
            raise faults.pop()
        return given(of)

    with connect(limits(tmp_path), door.s3) as connection:
        monkeypatch.setattr(RefreshableCredentials, "get_frozen_credentials", given_at_the_third_try)
        content = io.BytesIO()
        pq.write_table(pa.table({"user_id": ["21"]}), content)
        put_if_absent(door.s3.client(), BUCKET, key, content.getvalue())
        faults += [RuntimeError("still expired"), ClientError({"Error": {"Code": "Denied"}}, "AssumeRole")]
        door.change()
        until(lambda: connection.execute("SELECT current_setting('s3_access_key_id')").fetchone() == ("role",))
        assert connection.execute(rows_sql([f"s3://{BUCKET}/{key}"], RowSchema())).fetchall() == [("21",)]

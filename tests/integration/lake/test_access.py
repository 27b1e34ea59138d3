"""Write-once objects, also as multipart uploads, and listings and deletions beyond one page."""

from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from connectors.storage import listing, writing
from connectors.storage.access import DEFAULT_OPTIONS, OCTETS, ClientOptions, S3Access, new_client
from connectors.storage.duck import connect, extension_path
from connectors.storage.listing import delete_objects, exists, list_objects
from connectors.storage.writing import put_file, put_if_absent
from streams.staging import OPTIONS
from tests.integration.lake.support import BUCKET, limits, new_id
from tests.servers.faulty_s3 import faulty_proxy


@pytest.mark.parametrize("single_put_bytes", [2**30, 0], ids=["one request", "pieces"])
def test_a_name_is_written_once(
    s3: S3Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, single_put_bytes: int
) -> None:
    monkeypatch.setattr(writing, "SINGLE_PUT_BYTES", single_put_bytes)
    monkeypatch.setattr(writing, "PIECE_BYTES", 5 * 2**20)  # the minimum for S3
    key = f"once/{new_id()}"
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"a" * (11 * 2**20))
    second.write_bytes(b"b" * (6 * 2**20))
    assert put_if_absent(s3.client(), BUCKET, key, first)
    assert not put_if_absent(s3.client(), BUCKET, key, second)
    assert s3.client().get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"a" * (11 * 2**20)
    put_file(s3.client(), BUCKET, key, second)
    assert s3.client().head_object(Bucket=BUCKET, Key=key)["ContentLength"] == 6 * 2**20


def test_objects_beyond_a_page_are_listed_and_deleted(s3: S3Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "DELETE_BATCH", 3)
    prefix = f"many/{new_id()}/"
    for n in range(8):
        s3.client().put_object(Bucket=BUCKET, Key=f"{prefix}{n}", Body=b"x" * n)
    assert [(o.key, o.size) for o in list_objects(s3.client(), BUCKET, prefix)] == [
        (f"{prefix}{n}", n) for n in range(8)
    ]
    delete_objects(s3.client(), BUCKET, [f"{prefix}{n}" for n in range(7)] + [f"{prefix}never there"])
    assert [o.key for o in list_objects(s3.client(), BUCKET, prefix)] == [f"{prefix}7"]


def test_only_the_exact_key_exists(s3: S3Access) -> None:
    key = f"exists/{new_id()}"
    s3.client().put_object(Bucket=BUCKET, Key=key + "-longer", Body=b"")
    assert not exists(s3.client(), BUCKET, key)
    assert exists(s3.client(), BUCKET, key + "-longer")


def test_duckdb_gets_the_keys_of_the_credential_chain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, name.lower())
    found = S3Access(endpoint="", region="eu-west-1").with_keys()
    assert (found.access_key, found.secret_key, found.session_token) == (
        "aws_access_key_id",
        "aws_secret_access_key",
        "aws_session_token",
    )
    own = S3Access(endpoint="", region="eu-west-1", access_key="a", secret_key="b")
    assert own.with_keys() is own
    with connect(limits(tmp_path), S3Access(endpoint="", region="eu-west-1")) as connection:
        names = ("s3_access_key_id", "s3_secret_access_key", "s3_session_token", "s3_region")
        set_to = [connection.execute(f"SELECT current_setting('{name}')").fetchone() for name in names]
    assert set_to == [("aws_access_key_id",), ("aws_secret_access_key",), ("aws_session_token",), ("eu-west-1",)]


def test_only_the_wheels_own_extension_loads_unsigned(tmp_path: Path) -> None:
    forged = tmp_path / "forged.duckdb_extension"
    content = bytearray(extension_path("httpfs").read_bytes())
    content[len(content) // 2] ^= 1
    forged.write_bytes(content)
    s3 = S3Access(endpoint="http://127.0.0.1:9", region="us-east-1", access_key="a", secret_key="b")
    for access_to in (s3, None):
        with connect(limits(tmp_path), access_to) as connection:
            assert connection.execute("SELECT current_setting('allow_unsigned_extensions')").fetchone() == (False,)
            with pytest.raises(duckdb.Error, match="database is running"):
                connection.execute("SET allow_unsigned_extensions = true")
            with pytest.raises(duckdb.Error, match="signature"):
                connection.execute(f"LOAD '{forged}'")


@pytest.mark.parametrize("how", ["bytes", "file", "pieces"])
def test_empty_object_is_replaced_once_if_it_counts_as_absent(
    s3: S3Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "pieces":
        monkeypatch.setattr(writing, "SINGLE_PUT_BYTES", 0)
    (tmp_path / "first").write_bytes(b"first")
    body = b"first" if how == "bytes" else tmp_path / "first"
    client, key = s3.client(), f"empty/{new_id()}"
    client.put_object(Bucket=BUCKET, Key=key, Body=b"")
    assert not put_if_absent(client, BUCKET, key, body)
    assert put_if_absent(client, BUCKET, key, body, replace_empty=True)
    assert not put_if_absent(client, BUCKET, key, b"second", replace_empty=True)
    assert client.get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"first"


@pytest.mark.parametrize(
    ("options", "signed", "checksums"),
    [(DEFAULT_OPTIONS, True, False), (OPTIONS, False, False), (ClientOptions(checksums=True), True, True)],
    ids=["ordinary", "staging", "lake"],
)
def test_client_options_control_addressing_signing_and_checksums(
    s3: S3Access, options: ClientOptions, *, signed: bool, checksums: bool
) -> None:
    with faulty_proxy(s3.endpoint) as proxy:
        client = new_client(replace(s3, endpoint=proxy.endpoint), options)
        client.put_object(Bucket=BUCKET, Key=f"options/{new_id()}", Body=b"content")
        (sent,) = [{name.lower(): value for name, value in request.headers.items()} for request in proxy.requests]
    assert sent["content-type"] == OCTETS
    assert (sent["x-amz-content-sha256"] != "UNSIGNED-PAYLOAD") is signed
    assert any(name.startswith("x-amz-checksum-") for name in sent) is checksums

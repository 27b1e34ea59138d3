"""Profiles of destinations: which parts come from file or environment, and that no secret is ever shown."""

import os
import re
from pathlib import Path

import pytest

from connectors.sinks.destinations import destination
from connectors.sinks.profiles import KEYS, DestinationProfile, load_profile
from connectors.storage.access import S3Access
from schemas.errors import UserError

FULL = """
[partner]
endpoint = "https://s3.example.com:9000/"
region = "eu-west-1"
access_key = "env:PARTNER_KEY"
secret_key = "env:PARTNER_SECRET"
session_token = "env:PARTNER_TOKEN"
prefix = "s3://theirs/from-us/"
sse = "aws:kms"
kms_key_id = "arn:aws:kms:eu-west-1:111122223333:key/k"
acl = "bucket-owner-full-control"
storage_class = "STANDARD_IA"

[role]
region = "us-east-1"
"""
ENV = {"PARTNER_KEY": "AKEY", "PARTNER_SECRET": "hush-secret", "PARTNER_TOKEN": "hush-token"}
HUSH = 'access_key = "AKEY"\nsecret_key = "hush-secret"\n'
NOWHERE = S3Access(endpoint="http://127.0.0.1:9", region="us-east-1")


def profiles(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    path = tmp_path / "destinations.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def refused(path: Path, name: str = "partner", env: dict[str, str] | None = None) -> UserError:
    with pytest.raises(UserError) as caught:
        load_profile(path, name, ENV if env is None else env)
    assert "hush" not in f"{caught.value} {caught.value.as_record()} {caught.value.__cause__}"
    return caught.value


def test_profile_combines_file_and_environment(tmp_path: Path) -> None:
    # the file names variables and has no secret
    profile = load_profile(profiles(tmp_path, FULL, 0o644), "partner", ENV)
    assert profile == DestinationProfile(
        name="partner",
        access=S3Access(
            endpoint="https://s3.example.com:9000/",
            region="eu-west-1",
            access_key="AKEY",
            secret_key="hush-secret",
            session_token="hush-token",
        ),
        extra={
            "ServerSideEncryption": "aws:kms",
            "SSEKMSKeyId": "arn:aws:kms:eu-west-1:111122223333:key/k",
            "ACL": "bucket-owner-full-control",
            "StorageClass": "STANDARD_IA",
        },
        prefix="s3://theirs/from-us/",
    )
    assert "hush" not in f"{profile!r} {profile.access!r}"


def test_profile_without_keys_uses_the_role(tmp_path: Path) -> None:
    profile = load_profile(profiles(tmp_path, FULL), "role", {})
    assert (profile.access, profile.extra) == (S3Access(endpoint="", region="us-east-1"), {})


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o602])
def test_secrets_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    text = f'[partner]\nregion = "r"\n[other]\nregion = "r"\n{HUSH}'
    error = refused(profiles(tmp_path, text, mode))
    assert error.code == "BAD_PROFILES"
    assert error.message.endswith(f"chmod 600 {tmp_path}/destinations.toml")
    assert load_profile(profiles(tmp_path, text), "other", {}).access.secret_key == "hush-secret"


def test_unknown_profile_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    error = refused(profiles(tmp_path, FULL), "partners")
    assert (error.code, "it has: partner, role" in error.message) == ("UNKNOWN_PROFILE", True)
    error = refused(tmp_path / "none.toml")
    assert (error.code, "it has: none" in error.message) == ("UNKNOWN_PROFILE", True)
    for name in ("", "../partner", "a b", "x" * 64):
        text = f'["{name}"]\nregion = "r"\n'
        assert refused(profiles(tmp_path, text), name).code == "UNKNOWN_PROFILE"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[partner", "is not valid TOML"),
        ("partner = 'hush'", "profile 'partner' is not a table"),
        (
            f'[partner]\n{HUSH}regoin = "r"',
            "'regoin' of profile 'partner' is unknown; known keys are access_key, acl, ",
        ),
        (f"[partner]\n{HUSH}", "'region' of profile 'partner' is missing"),
        ("[partner]\nregion = 1", "'region' of profile 'partner' is not text, or is empty"),
        ('[partner]\nregion = ""', "'region' of profile 'partner' is not text, or is empty"),
        ('[partner]\nregion = "env:hush"', "names a variable that is not set where the export runs"),
        ('[partner]\nregion = "env:"', "names a variable that is not set where the export runs"),
        ('[partner]\nregion = "r"\naccess_key = "hush"', "'access_key' of profile 'partner' and secret_key belong"),
        ('[partner]\nregion = "r"\nsecret_key = "hush"', "'access_key' of profile 'partner' and secret_key belong"),
        (
            '[partner]\nregion = "r"\nsession_token = "hush"',
            "'session_token' of profile 'partner' cannot be used without",
        ),
        (
            '[partner]\nregion = "r"\nsse = "hush"',
            "'sse' of profile 'partner' is not one of AES256, aws:kms, aws:kms:dsse",
        ),
        ('[partner]\nregion = "r"\nacl = "public-read"', "is not one of bucket-owner-full-control"),
        ('[partner]\nregion = "r"\nstorage_class = "DEEP_ARCHIVE"', "is not one of GLACIER_IR, "),
        ('[partner]\nregion = "r"\nkms_key_id = "hush"', "'kms_key_id' of profile 'partner' needs sse"),
        ('[partner]\nregion = "r"\nsse = "AES256"\nkms_key_id = "hush"', "'kms_key_id' of profile 'partner' needs sse"),
        ('[partner]\nregion = "r"\nprefix = "s3://theirs/../x"', "'prefix' of profile 'partner' cannot be used"),
        ('[partner]\nregion = "r"\nprefix = "theirs"', "'prefix' of profile 'partner' cannot be used"),
    ],
)
def test_unusable_file_is_refused_by_profile_and_key(tmp_path: Path, text: str, message: str) -> None:
    error = refused(profiles(tmp_path, text))
    assert error.code == "BAD_PROFILES"
    assert message in error.message


@pytest.mark.parametrize(
    "endpoint",
    [
        "s3.example.com",
        "ftp://host",
        "https://",
        "https://user:hush@host",
        "https://host/path",
        "https://host?x=hush",
        "https://host:port",
        "https://host:0",
        "https://host#x",
        "http://[::1",
    ],
)
def test_endpoint_with_more_than_an_address_is_refused(tmp_path: Path, endpoint: str) -> None:
    error = refused(profiles(tmp_path, f'[partner]\nregion = "r"\nendpoint = "{endpoint}"'))
    assert (error.code, "'endpoint' of profile 'partner'" in error.message) == ("BAD_PROFILES", True)


@pytest.mark.parametrize("endpoint", ["https://host", "http://127.0.0.1:9000", "http://[::1]:9000", "https://h.x:1/"])
def test_valid_endpoints_are_accepted(tmp_path: Path, endpoint: str) -> None:
    path = profiles(tmp_path, f'[partner]\nregion = "r"\nendpoint = "{endpoint}"')
    assert load_profile(path, "partner", {}).access.endpoint == endpoint


def test_unreadable_profile_file_is_reported(tmp_path: Path) -> None:
    path = profiles(tmp_path, "")
    path.write_bytes(b"[partner]\nsecret_key = 'hush\xff'")
    assert (refused(path).code, refused(path).__cause__) == ("BAD_PROFILES", None)
    assert refused(tmp_path).code == "BAD_PROFILES"
    if os.geteuid() != 0:
        path.chmod(0)
        assert "Permission denied" in refused(path).message


@pytest.mark.parametrize(
    "uri",
    ["s3://theirs", "s3://theirs/from", "s3://theirs/from-us-too", "s3://theirs/other/from-us", "s3://other/from-us"],
)
def test_an_export_with_a_profile_stays_below_its_prefix(tmp_path: Path, uri: str) -> None:
    profile = load_profile(profiles(tmp_path, FULL), "partner", ENV)
    for within in ("s3://theirs/from-us", "s3://theirs/from-us/", "s3://theirs/from-us/vip/3"):
        assert destination(within, NOWHERE, profile).uri("x").startswith("s3://theirs/from-us/")
    with pytest.raises(UserError) as caught:
        destination(uri, NOWHERE, profile)
    assert caught.value.code == "OUTSIDE_PROFILE"
    with pytest.raises(UserError, match="BAD_URI"):
        destination("s3://theirs/from-us/../other", NOWHERE, profile)


def test_profile_for_a_folder_is_refused(tmp_path: Path) -> None:
    profile = load_profile(profiles(tmp_path, FULL), "role", {})
    with pytest.raises(UserError, match="BAD_URI: profile role is for s3://bucket/prefix, not for out"):
        destination("out", NOWHERE, profile)
    assert destination("s3://anywhere", NOWHERE, profile).uri("x") == "s3://anywhere/x"


def test_documented_profile_has_every_key_and_is_valid(tmp_path: Path) -> None:
    text = (Path(__file__).parents[4] / "docs" / "exports.md").read_text()
    (block,) = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    env = dict.fromkeys(re.findall(r"env:(\w+)", block), "x")
    profile = load_profile(profiles(tmp_path, block, 0o644), "partner", env)
    assert profile.prefix == "s3://bucket/from-us"
    assert set(re.findall(r"^(\w+) =", block, re.MULTILINE)) == KEYS

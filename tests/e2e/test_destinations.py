"""Exports to a third party's server: by a profile, whose secrets are in its file and nowhere else."""

import dataclasses
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from connectors.storage.access import S3Access
from orchestration.platform.settings import Settings
from tests.e2e.conftest import Muster, write
from tests.integration.lake.support import PARTNER, object_server, secret_of

pytestmark = [pytest.mark.e2e, pytest.mark.integration]


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[S3Access]:
    with object_server(tmp_path) as access:
        yield access


def contents(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file below a folder that others write to at the same time; files that come and go are left out."""
    for root, _, names in os.walk(folder):
        for path in (Path(root, name) for name in names):
            with suppress(FileNotFoundError):
                if path.is_file():
                    yield path, path.read_bytes()


def test_foreign_export_leaves_no_secret_behind(
    muster: Muster, deployment: Settings, theirs: S3Access, tmp_path: Path
) -> None:
    people = write(tmp_path / "people.csv", "user_id", "u1", "u2")
    assert muster("import", people, "-a", "given-away", "--wait").code == 0
    said: list[str] = []

    def export(to: str, profile: str = "partner") -> tuple[int, str | None]:
        submitted = muster("export", "given-away", "--to", to, "--profile", profile, "--json")
        if submitted.code != 0:
            said.extend((submitted.out, submitted.err))
            return submitted.code, submitted.json["error"]["code"]
        name = submitted.json["export"]
        waited = muster("jobs", "wait", name)
        shown = muster("jobs", "show", name, "--json")
        said.extend(part for answer in (submitted, waited, shown) for part in (answer.out, answer.err))
        error = shown.json["error"]
        return waited.code, None if error is None else error["code"]

    to = f"s3://{PARTNER}/from-us"
    assert export(to) == (3, "UNKNOWN_PROFILE")
    profiles = deployment.home / "destinations.toml"
    write(
        profiles,
        "[partner]",
        f'endpoint = "{theirs.endpoint}"',
        'region = "us-east-1"',
        'access_key = "partner"',
        f'secret_key = "{secret_of("partner")}"',
        f'prefix = "{to}"',
        'sse = "AES256"',
        "[expired]",
        f'endpoint = "{theirs.endpoint}"',
        'region = "us-east-1"',
        'access_key = "partner"',
        'secret_key = "partner-secret-of-yesterday"',
    )
    assert export(to) == (3, "BAD_PROFILES")
    profiles.chmod(0o600)
    assert export(to, "expired") == (3, "DESTINATION_NOT_WRITABLE")
    assert export(f"s3://{PARTNER}/elsewhere") == (3, "OUTSIDE_PROFILE")
    leaving = muster("export", "given-away", "--to", f"{to}/../elsewhere", "--profile", "partner")
    assert (leaving.code, "BAD_URI" in leaving.err) == (3, True)
    assert export(to) == (0, None)
    assert export(to) == (3, "DESTINATION_EXISTS")
    verified = muster("verify", f"{to}/manifest.json", "--profile", "partner")
    assert (verified.code, "2 rows in 1 file," in verified.out) == (0, True), verified.err
    assert muster("verify", f"{to}/manifest.json").code != 0  # our own server has no such bucket
    listed = dataclasses.replace(theirs).client().list_objects_v2(Bucket=PARTNER)["Contents"]
    assert {entry["Key"].partition("/")[0] for entry in listed} == {"from-us"}
    head = theirs.client().head_object(Bucket=PARTNER, Key="from-us/manifest.json")
    assert head["ServerSideEncryption"] == "AES256"
    said.append(muster("audit", "--json").out)
    assert not any("partner-secret" in text for text in said)
    assert [path for path, content in contents(deployment.home) if b"partner-secret" in content] == [profiles]
    profiles.unlink()

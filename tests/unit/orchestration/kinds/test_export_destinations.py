"""Where the exports of a workflow may go: nowhere in Muster's own buckets, and with the requested profile."""

from pathlib import Path

import pytest

from connectors.sinks.destinations import Destination
from orchestration.answers import versions
from orchestration.catalog.records import Audience, Retention
from orchestration.composition.context import Context
from orchestration.kinds.export.destinations import destination_of
from orchestration.kinds.export.request import ExportRequest
from orchestration.platform.settings import Settings
from schemas.errors import UserError
from schemas.ids import AudienceName, JobId, TenantName
from schemas.import_spec import ImportSpec
from schemas.manifest import ExportFormat


def request(to: str, profile: str | None = None) -> ExportRequest:
    return ExportRequest(
        export_id=JobId("0" * 26),
        tenant="acme",
        audience="vip",
        to=to,
        format=ExportFormat(format="parquet"),
        profile=profile,
    )


def place(context: Context, wanted: ExportRequest) -> Destination:
    return destination_of(wanted, s3=context.s3, settings=context.settings)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(Settings.load({"MUSTER_HOME": str(tmp_path)}))


@pytest.mark.parametrize(
    "to",
    [
        "s3://inbox",
        "s3://inbox/acme/vip",
        "s3://staging/imports/x",
        "s3://staging/intents",
        "s3://staging/uploads/acme",
        "s3://lake/audiences/acme",
        "s3://lake/rejects",
        "s3://lake/activity/events/data/acme",
        "s3://staging/segments/checkpoints/00000",
        "s3://staging/segments/cuts/x",
        "s3://staging/anything",
        "s3://staging/download",
        "s3://staging/download/beta/x",
        "s3://staging/download/acmex",
        "s3://lake",
        "s3://lake/anything",
        "s3://lake/exportsx",
        "s3://lake/exports/../audiences",
        "s3://lake/exports/./../activity",
        "s3://lake//exports/x",
    ],
)
def test_internal_locations_refuse_exports(context: Context, to: str) -> None:
    with pytest.raises(UserError) as caught:
        place(context, request(to))
    assert caught.value.code == "BAD_DESTINATION"


def test_aws_is_one_store_under_any_endpoint(tmp_path: Path) -> None:
    context = Context(Settings.load({"MUSTER_HOME": str(tmp_path), "MUSTER_S3_ENDPOINT": ""}))
    endpoint = "https://s3.dualstack.eu-west-1.amazonaws.com"
    (tmp_path / "destinations.toml").write_text(f'[dual]\nendpoint = "{endpoint}"\nregion = "eu-west-1"\n')
    with pytest.raises(UserError, match="BAD_DESTINATION"):
        place(context, request("s3://lake/audiences/acme", "dual"))
    assert place(context, request("s3://theirs/acme", "dual")).uri("x") == "s3://theirs/acme/x"


@pytest.mark.parametrize("to", ["s3://inbox/acme/vip", "s3://lake/audiences/acme", "s3://staging/download/beta/x"])
def test_profile_of_the_own_store_does_not_bypass_the_refusal(context: Context, tmp_path: Path, to: str) -> None:
    own = context.s3.endpoint
    profiles = (
        f'[own]\nendpoint = "{own}/"\nregion = "r"\n[theirs]\nendpoint = "https://theirs.example"\nregion = "r"\n'
    )
    (tmp_path / "destinations.toml").write_text(profiles)
    with pytest.raises(UserError, match="BAD_DESTINATION"):
        place(context, request(to, "own"))
    assert place(context, request(to, "theirs")).uri("x") == f"{to}/x"


@pytest.mark.parametrize("to", ["s3://lake/audiences/acme/01/data/part.parquet", "s3://inbox/acme/vip/a.parquet"])
def test_single_file_export_does_not_bypass_the_refusal(context: Context, to: str) -> None:
    vip = Audience(
        audience_id=JobId("0" * 26),
        tenant=TenantName("acme"),
        name=AudienceName("vip"),
        spec=ImportSpec(),
        retention=Retention(),
        created_at_ms=1,
    )
    with pytest.raises(UserError, match="BAD_DESTINATION"):
        versions.export(context, vip, version=1, to=to, overwrite=True)


@pytest.mark.parametrize(
    "to", ["s3://lake/exports/vip", "s3://lake/exports", "s3://staging/download/acme/a", "s3://other/imports"]
)
def test_export_prefixes_and_foreign_buckets_accept_exports(context: Context, to: str) -> None:
    assert place(context, request(to)).uri("x") == f"{to}/x"


def test_a_profile_is_read_from_the_home_when_it_is_used(context: Context, tmp_path: Path) -> None:
    wanted = ExportRequest.from_record(request("s3://inbox/on-a-server-of-theirs", "partner").as_record())
    assert wanted.profile == "partner"
    with pytest.raises(UserError, match="UNKNOWN_PROFILE"):
        place(context, wanted)
    keys = 'access_key = "env:PARTNER_KEY"\nsecret_key = "env:PARTNER_KEY"\n'
    (tmp_path / "destinations.toml").write_text(f'[partner]\nregion = "r"\n{keys}prefix = "s3://inbox/on"\n')
    with pytest.raises(UserError, match="BAD_PROFILES"):
        place(context, wanted)
    context = Context(Settings.load({"MUSTER_HOME": str(tmp_path), "PARTNER_KEY": "hush"}))
    with pytest.raises(UserError, match="OUTSIDE_PROFILE"):
        place(context, wanted)
    assert place(context, request("s3://inbox/on", "partner")).uri("x") == "s3://inbox/on/x"
    assert "hush" not in str(wanted.as_record())


def test_profile_file_location_is_configurable(tmp_path: Path) -> None:
    (tmp_path / "profiles.toml").write_text('[partner]\nregion = "r"\n')
    moved = Settings.load({"MUSTER_HOME": str(tmp_path), "MUSTER_DESTINATIONS_FILE": str(tmp_path / "profiles.toml")})
    assert place(Context(moved), request("s3://theirs", "partner")).uri("x") == "s3://theirs/x"

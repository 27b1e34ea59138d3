"""From a dry run to the work in a quote."""

from pathlib import Path

import pytest

from orchestration.answers.objects import prices_of, work_of
from orchestration.operations.activity_dry_run import ActivityDryRun
from orchestration.operations.dry_run import DryRun
from orchestration.platform.settings import Settings
from orchestration.quoting.prices import load_prices
from orchestration.quoting.work import Work
from schemas.errors import UserError
from schemas.ids import Version
from segmentation.versions import MembershipCounts
from tests.fakes.deployment import Deployment

COUNTS = MembershipCounts(base=10, added=3, removed=0, kept=10, members=13, base_version=Version(2))
APPEND = DryRun(mode="append", rows=6, accepted=5, rejected=1, rejected_by_code={}, duplicates=1, counts=COUNTS)
EVENTS = ActivityDryRun(
    kind="events",
    rows=6,
    accepted=6,
    rejected=0,
    rejected_by_code={},
    columns=(),
    partitions=(6,),
    problems=(),
    examples=(),
)


def test_object_is_quoted_by_its_bytes_and_counted_rows(deployment: Deployment) -> None:
    deployment.objects.put("inbox", "a", b"user_id\nu1\n")
    pinned = deployment.objects.pin("inbox", "a")
    assert work_of(deployment.context.objects, (pinned,), APPEND, None) == Work(
        rows=6, bytes=11, mode="append", base_members=10, members=13, cut=True
    )
    assert work_of(deployment.context.objects, (pinned, pinned), EVENTS, "avro") == Work(
        rows=6, bytes=22, kind="events", mode="append", files=2
    )


def test_parquet_is_detected_by_magic_bytes_and_copied(deployment: Deployment) -> None:
    deployment.objects.put("inbox", "a", b"PAR1....")
    assert work_of(deployment.context.objects, (deployment.objects.pin("inbox", "a"),), APPEND, None).copied
    deployment.objects.put("inbox", "b", b"user_id\n")
    assert not work_of(deployment.context.objects, (deployment.objects.pin("inbox", "b"),), APPEND, None).copied


def test_setting_names_a_custom_price_file(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text('nat_hour = { usd = 9, region = "r", date = 2026-01-01, source = "s" }\n')
    assert prices_of(Settings.load({"MUSTER_HOME": str(tmp_path), "MUSTER_PRICES_FILE": str(path)})).nat_hour.usd == 9
    assert prices_of(Settings.load({"MUSTER_HOME": str(tmp_path)})) == load_prices()
    with pytest.raises(UserError, match="BAD_SETTINGS"):
        prices_of(Settings(prices_file=tmp_path / "gone.toml"))

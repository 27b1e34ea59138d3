"""A quote on the screen."""

import pytest

from orchestration.cli.dry_runs import print_quote
from orchestration.cli.formatting import usd
from orchestration.platform.settings import Settings
from orchestration.quoting.deployment import Deployment
from orchestration.quoting.quote import quote
from orchestration.quoting.work import Work
from tests.unit.orchestration.quoting.figures import RATES, deployed, prices

M = 1_000_000


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0.0000"), (0.00004, "< 0.0001"), (0.00006, "0.0001"), (0.12345, "0.1235"), (1, "1.00"), (1234.5, "1,234.50")],
)
def test_money_shows_significant_digits(value: float, text: str) -> None:
    assert usd(value) == text


def test_a_quote_is_a_short_table(capsys: pytest.CaptureFixture[str]) -> None:
    work = Work(rows=100 * M, bytes=5_000 * M, mode="append", base_members=50 * M, members=120 * M)
    settings = Settings(s3_endpoint="http://127.0.0.1:1", workers=2, unit_bytes=2**60)
    size = deployed()
    local = Deployment(settings=settings, task=size.task, worker=size.worker)
    print_quote(quote(work, local, RATES, prices(task_vcpu_hour=1.8, s3_gb_month=0.5)).as_record())
    assert capsys.readouterr().out == (
        "\n"
        "on AWS, at list prices of 2026-01-02 for nowhere; here it costs nothing:\n"
        "STAGE        WHERE             TIME     USD\n"
        "workflow     functions          8 s  0.0000\n"
        "verify       task        2 min 40 s  0.1600\n"
        "import       task        4 min 56 s  0.2962\n"
        "materialise  workers     2 min 44 s  0.8000\n"
        "build        task        11 min 0 s  0.6600\n"
        "publish      task         3 min 0 s  0.1800\n"
        "total                   24 min 28 s    2.10\n"
        "including 0.8000 USD for workers, which cost the same without a job; "
        "6.0 GB of the brokers' disks for 7 days; 1.2 GB in the lake, 0.6000 USD a month\n"
    )


def test_divided_stage_says_how_many_run_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    work = Work(rows=100 * M, bytes=5_000 * M, cut=True)
    print_quote(quote(work, deployed(unit_bytes=256 * M), RATES, prices()).as_record())
    lines = capsys.readouterr().out.splitlines()
    assert "verify       20 x function, 4 at once" in lines[4]
    assert "publish      4 x task, 4 at once" in lines[7]


def test_paid_deployment_does_not_claim_to_be_free(capsys: pytest.CaptureFixture[str]) -> None:
    print_quote(quote(Work(rows=1, bytes=50, kind="profiles", mode="append"), deployed(), RATES, prices()).as_record())
    out = capsys.readouterr().out
    assert "on AWS, at list prices of 2026-01-02 for nowhere:\n" in out
    assert "in the lake" not in out


def test_obstacles_are_reported(capsys: pytest.CaptureFixture[str]) -> None:
    print_quote(quote(Work(rows=520 * M, bytes=250 * M), deployed(), RATES, prices()).as_record())
    assert "would not finish: OVER_15_MINUTES: verify takes 15 min in a function" in capsys.readouterr().out
